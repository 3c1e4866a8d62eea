"""`make bench-serving`: our server with all duties against bare loops without any, side by side.

One pinned core for the server, another for the load generator, the same ONNX file and the same
request for all, rounds alternated. A bare loop decodes JSON, runs onnxruntime and encodes: no
validation, counting, receipts, routing, metrics or drain. The Parquet log of every prediction is
a duty that a deployment chooses, so it is measured apart. CPU time per request is given beside
the rate, since it hardly depends on who else uses the machine. Rivals come with a later form.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.closed_loop import build_request, run_load
from tests.serving.served_packages import cancer_package, cancer_table

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "build" / "bench" / "serving.json"
CONNECTIONS = 16
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

SERVERS: Mapping[str, Sequence[str]] = {
    "mooring": ("tests.serving.server_process",),
    "mooring + log": ("tests.serving.server_process",),
    "bare granian": ("tests.bench.bare_loops", "granian"),
    "bare protocol": ("tests.bench.bare_loops", "protocol"),
}


@dataclass(frozen=True)
class Measurement:
    """One run of one server."""

    server: str
    model: str
    rows: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    failures: int


def build_body(rows: int) -> bytes:
    """A request of `rows` rows of the table as one matrix."""
    values = cancer_table().drop(columns="benign").to_numpy()[:rows]
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": values.tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def measure(server: str, model: str, rows: int, seconds: float) -> Measurement:
    """Start a server on core 0, drive it from this core."""
    with tempfile.TemporaryDirectory() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *SERVERS[server], str(cancer_package(model))],
            cwd=ROOT,
            env=os.environ
            | {
                "MOORING_DRAIN_SECONDS": "0",
                "MOORING_PREDICTION_LOG_URI": f"file://{log}" if server.endswith("log") else "",
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {0}),
        )
        try:
            assert process.stdout is not None
            port = json.loads(process.stdout.readline())["http"]
            request = build_request("/v2/models/cancer/infer", build_body(rows), port=port)
            run_load(port, request, connections=CONNECTIONS, seconds=0.5)
            before = cpu_seconds(process.pid)
            result = run_load(port, request, connections=CONNECTIONS, seconds=seconds)
            used = cpu_seconds(process.pid) - before
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
    return Measurement(
        server=server,
        model=model,
        rows=rows,
        rate=result.rate,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        cpu_us=used / result.requests * 1e6,
        failures=result.failures,
    )


def summarize(runs: Sequence[Measurement]) -> dict[str, object]:
    """Medians over the rounds, and the best rate."""
    first = runs[0]
    return {
        "server": first.server,
        "model": first.model,
        "rows": first.rows,
        "rate": round(statistics.median(run.rate for run in runs)),
        "best": round(max(run.rate for run in runs)),
        "p50Ms": round(statistics.median(run.p50_ms for run in runs), 3),
        "p99Ms": round(statistics.median(run.p99_ms for run in runs), 3),
        "cpuUs": round(statistics.median(run.cpu_us for run in runs), 1),
        "failures": sum(run.failures for run in runs),
    }


def main() -> None:
    """Measure all servers on all cases, print a table, write `build/bench/serving.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--models", nargs="*", default=["linear", "forest"])
    parser.add_argument("--rows", nargs="*", type=int, default=[1, 64])
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench-serving needs two cores: one for the server, one for the load generator")
    for model in options.models:
        cancer_package(model)
    os.sched_setaffinity(0, {1})
    cases = [(model, rows) for model in options.models for rows in options.rows]
    runs: dict[tuple[str, str, int], list[Measurement]] = {}
    for _ in range(options.rounds):
        for model, rows in cases:
            for server in SERVERS:
                run = measure(server, model, rows, options.seconds)
                runs.setdefault((server, model, rows), []).append(run)
    summaries = [summarize(found) for found in runs.values()]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "connections": CONNECTIONS,
        "results": summaries,
        "runs": [asdict(run) for found in runs.values() for run in found],
    }
    RESULT.write_text(json.dumps(document, indent=1))
    columns = ("server", "model", "rows", "rate", "best", "p50Ms", "p99Ms", "cpuUs", "failures")
    print(("{:<14}" * len(columns)).format(*columns))
    for summary in summaries:
        print(("{:<14}" * len(columns)).format(*(str(summary[name]) for name in columns)))
    print(f"written to {RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
