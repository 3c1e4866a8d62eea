"""`make bench-overload`: three times what the server sustains, for two minutes.

An open loop does not slow down with the server. Measured: good answers against capacity, what else
clients got, how long the management port's probe took, and memory.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tests.bench.closed_loop import LoadResult
from tests.bench.models import build_model
from tests.bench.observer import Sample, observing
from tests.bench.open_loop import Arrivals, run_arrivals
from tests.bench.ours import json_load, measure_capacity, our_command, write_result
from tests.bench.processes import LOAD_CORE, SERVER_CORE, started


def report(
    capacity: LoadResult, result: LoadResult, samples: Sequence[Sample], factor: float
) -> dict[str, object]:
    """What the run showed."""
    probes = sorted(each.probe_ms for each in samples if each.probe_ms is not None)
    resident = [each.resident for each in samples]
    return {
        "factor": factor,
        "capacity": capacity.rate,
        "capacityP99Ms": capacity.p99_ms,
        "goodput": result.rate,
        "goodputShare": result.rate / capacity.rate,
        "statuses": dict(result.statuses),
        "unsent": result.unsent,
        "p50Ms": result.p50_ms,
        "p99Ms": result.p99_ms,
        "generatorShare": result.generator_share,
        "probes": len(samples),
        "probesFailed": sum(each.probe_ms is None for each in samples),
        "probeMedianMs": statistics.median(probes) if probes else None,
        "probeMaxMs": probes[-1] if probes else None,
        "residentFirstMb": resident[0] / 1e6 if resident else None,
        "residentMaxMb": max(resident) / 1e6 if resident else None,
        "samples": [asdict(each) for each in samples],
    }


def main() -> None:
    """Measure, print, write `build/bench/overload.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--factor", type=float, default=3)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--connections", type=int, default=480)
    parser.add_argument("--patience", type=float, default=0.1, help="s for a free connection")
    parser.add_argument("--model", choices=["linear", "forest"], default="linear")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = build_model(options.model, Path(scratch))
        os.sched_setaffinity(0, {LOAD_CORE})
        with started(our_command(model), core=SERVER_CORE) as server:
            load = json_load(server, options.rows)
            capacity = measure_capacity(load, min(5.0, options.seconds))
            arrivals = Arrivals(
                rate=options.factor * capacity.rate,
                seconds=options.seconds,
                connections=options.connections,
                patience_seconds=options.patience,
            )
            with observing(server.pid, server.ports["management"], 0.5) as observer:
                result = run_arrivals(load, arrivals, np.random.default_rng(7))
                samples = observer.finish()
    found = report(capacity, result, samples, options.factor)
    for name, value in found.items():
        if name != "samples":
            print(f"{name:<18}{value}")
    print(f"written to {write_result('overload', found)}")


if __name__ == "__main__":
    main()
