"""`make bench-recording`: what it costs to count every prediction into the sketches.

Four looks: the recorder's counting alone by batch size; its hand-over on the request path and its
counting together, without a server; what a rollout adds; and the same server with and without the
recorder, in alternated rounds.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mooring_model.load import load_package
from mooring_profile.document import ReferenceProfile
from mooring_profile.sketch import SketchRecorder, cell_count
from mooring_serving.answer_bins import AnswerBins, answer_edges
from mooring_serving.arms import Arm
from mooring_serving.counters import Counters
from mooring_serving.protocol.messages import InferenceRequest, MatrixColumns
from mooring_serving.recorder import Recorder
from mooring_serving.served import Answer
from mooring_serving.workers.layout import SketchLayout
from mooring_serving.workers.memory import SketchMemory
from tests.bench.closed_loop import run_load
from tests.bench.models import FEATURES, BenchModel, build_model, matrix
from tests.bench.ours import CONNECTIONS, json_load, our_command, write_result
from tests.bench.processes import LOAD_CORE, SERVER_CORE, ServerProcess, started

BATCHES = (1, 8, 64, 256, 1024, 4096)
ARMS = {"recorded": "tests.serving.server_process", "unrecorded": "tests.bench.unrecorded_server"}
_REPEATS = 7


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    """CPU time of one call: the least of several means, disturbed least by others."""
    means: list[float] = []
    for _ in range(_REPEATS):
        started_at = time.thread_time()
        for _ in range(repeats):
            run()
        means.append((time.thread_time() - started_at) / repeats)
    return min(means)


def measure_counting(profile: ReferenceProfile) -> list[dict[str, float]]:
    """`SketchRecorder.record` by rows of a batch, float64 columns of one matrix."""
    names = [feature.name for feature in profile.features]
    generator = np.random.default_rng(7)
    table = matrix(569)
    found: list[dict[str, float]] = []
    for rows in BATCHES:
        drawn = table[generator.integers(0, len(table), rows)]
        drawn = drawn * generator.normal(1, 0.05, drawn.shape)
        columns = {name: drawn[:, at] for at, name in enumerate(names)}
        recorder = SketchRecorder(profile)
        score = generator.random(rows)
        seconds = best_seconds(lambda: recorder.record(columns, score), max(3, 4096 // rows))  # noqa: B023 - called at once
        values = rows * (FEATURES + 1)
        found.append(
            {
                "rows": rows,
                "batchUs": seconds * 1e6,
                "rowUs": seconds / rows * 1e6,
                "valueNs": seconds / values * 1e9,
            }
        )
    return found


def measure_path(profile: ReferenceProfile, rows: int) -> dict[str, float]:
    """The hand-over on the request path, and the counting behind it."""
    limit = 65_536
    recorder = Recorder(
        profile,
        SketchMemory.own(SketchLayout(cell_count(profile))),
        Counters(phase_limit=1),
        row_limit=limit,
    )
    names = {feature.name: at for at, feature in enumerate(profile.features)}
    columns = MatrixColumns(matrix(rows), names)
    request = InferenceRequest(None, columns, rows, None, {})
    score = Answer({}, np.zeros(rows))
    calls = min(2048, limit // rows)
    offers: list[float] = []
    counts: list[float] = []
    for _ in range(_REPEATS):
        before = time.thread_time()
        for _ in range(calls):
            recorder.offer(request, score)
        between = time.thread_time()
        recorder.flush()
        offers.append((between - before) / calls)
        counts.append((time.thread_time() - between) / (calls * rows * (FEATURES + 1)))
    return {
        "rows": rows,
        "requests": calls,
        "pathUsPerRow": min(offers) / rows * 1e6,
        "valueNs": min(counts) * 1e9,
    }


def measure_answers(profile: ReferenceProfile, rows: int) -> dict[str, float]:
    """What a rollout adds: the hand-over of an answer on the request path, and its binning."""
    bins = AnswerBins(answer_edges(profile), Counters(phase_limit=1), row_limit=1 << 20)
    request = InferenceRequest(None, {}, rows, None, {})
    values = {"label": np.zeros(rows), "probability": np.random.default_rng(3).random(rows)}
    calls = 2048
    offers: list[float] = []
    counts: list[float] = []
    for _ in range(_REPEATS):
        before = time.thread_time()
        for _ in range(calls):
            bins.offer("phase/0", Arm.STABLE, request, values)
        between = time.thread_time()
        bins.flush()
        offers.append((between - before) / (calls * rows))
        counts.append((time.thread_time() - between) / (calls * rows))
    return {
        "rows": rows,
        "requests": calls,
        "pathNsPerRow": min(offers) * 1e9,
        "binNsPerRow": min(counts) * 1e9,
    }


def measure_arm(server: ServerProcess, rows: int, seconds: float) -> tuple[float, float]:
    """CPU time of a request in µs, and requests per second."""
    load = json_load(server, rows)
    run_load(load, connections=CONNECTIONS, seconds=0.3)
    before = server.cpu_seconds()
    result = run_load(load, connections=CONNECTIONS, seconds=seconds)
    return (server.cpu_seconds() - before) / result.requests * 1e6, result.rate


def compare_arms(model: BenchModel, rows: int, rounds: int, seconds: float) -> dict[str, object]:
    """The server with and without its recorder, alternated; the order changes with each round."""
    costs: dict[str, list[float]] = {arm: [] for arm in ARMS}
    rates: dict[str, list[float]] = {arm: [] for arm in ARMS}
    memory: dict[str, float] = {}
    with (
        started(our_command(model, ARMS["recorded"]), core=SERVER_CORE) as recorded,
        started(our_command(model, ARMS["unrecorded"]), core=SERVER_CORE) as unrecorded,
    ):
        servers = {"recorded": recorded, "unrecorded": unrecorded}
        for server in servers.values():
            server.pause()
        for number in range(rounds):
            for arm in sorted(ARMS, reverse=bool(number % 2)):
                servers[arm].resume()
                cost, rate = measure_arm(servers[arm], rows, seconds)
                costs[arm].append(cost)
                rates[arm].append(rate)
                memory[arm] = servers[arm].resident_bytes() / 1e6
                servers[arm].pause()
    differences = [a - b for a, b in zip(costs["recorded"], costs["unrecorded"], strict=True)]
    return {
        "rows": rows,
        "rounds": rounds,
        "cpuUs": {arm: statistics.median(found) for arm, found in costs.items()},
        "rate": {arm: statistics.median(found) for arm, found in rates.items()},
        "residentMb": memory,
        "requestUs": statistics.median(differences),
        "requestUsLow": min(differences),
        "requestUsHigh": max(differences),
        "valueNs": statistics.median(differences) / (rows * (FEATURES + 1)) * 1e3,
    }


def print_found(
    counting: Sequence[dict[str, float]],
    paths: Sequence[dict[str, float]],
    answers: Sequence[dict[str, float]],
    arms: Sequence[dict[str, object]],
) -> None:
    """Four short tables."""
    print("counting alone      rows    µs/batch   µs/row   ns/value")
    for each in counting:
        print(
            f"{each['rows']:>24}{each['batchUs']:>12.1f}{each['rowUs']:>9.2f}{each['valueNs']:>11.1f}"
        )
    for each in paths:
        print(
            f"request of {each['rows']} rows: {each['pathUsPerRow']:.3f} µs a row on its path, then"
            f" {each['valueNs']:.1f} ns a value behind it (n={each['requests'] * _REPEATS})"
        )
    for each in answers:
        print(
            f"in a rollout, {each['rows']} rows: {each['pathNsPerRow']:.0f} ns a row on the path"
            f" for the arms' answers, {each['binNsPerRow']:.0f} ns a row behind it"
            f" (n={each['requests'] * _REPEATS})"
        )
    for each in arms:
        print(
            f"server, {each['rows']} rows: recording takes {each['requestUs']:.2f} µs of CPU a"
            f" request [{each['requestUsLow']:.2f}, {each['requestUsHigh']:.2f}],"
            f" n={each['rounds']}; {each['valueNs']:.1f} ns a value; MB {each['residentMb']}"
        )


def main() -> None:
    """Measure, print, write `build/bench/recording.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rows", nargs="*", type=int, default=[1, 64])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = build_model("linear", Path(scratch))
        profile = load_package(model.package).profile
        counting = measure_counting(profile)
        paths = [measure_path(profile, rows) for rows in options.rows]
        answers = [measure_answers(profile, rows) for rows in options.rows]
        os.sched_setaffinity(0, {LOAD_CORE})
        arms = [compare_arms(model, rows, options.rounds, options.seconds) for rows in options.rows]
    print_found(counting, paths, answers, arms)
    found = {"counting": counting, "path": paths, "answers": answers, "server": arms}
    print(f"written to {write_result('recording', found)}")


if __name__ == "__main__":
    main()
