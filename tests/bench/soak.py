"""`make bench-soak`: twelve minutes at full load, memory every ten seconds.

The slope of the resident memory after the first minute is given with a 95 % interval, whose errors
are taken in blocks of a minute since neighbouring samples are alike.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.bench.closed_loop import LoadResult, run_load
from tests.bench.models import build_model
from tests.bench.observer import Sample, observing
from tests.bench.ours import CONNECTIONS, json_load, our_command, write_result
from tests.bench.processes import LOAD_CORE, SERVER_CORE, started

_SETTLING_SECONDS = 60.0
_RESAMPLES = 2000


def memory_slope(
    samples: Sequence[Sample], block: int, generator: np.random.Generator
) -> tuple[float, float, float] | None:
    """Growth of memory in MB an hour: estimate, and bounds of a block bootstrap of its residuals.

    Args:
        samples: Those after settling.
        block: Neighbouring samples that are drawn together.
        generator: Of the bootstrap.

    Returns:
        Estimate, lower and upper bound (95 %); None for fewer than eight samples.
    """
    if len(samples) < 8:
        return None
    hours = np.array([each.at for each in samples]) / 3600
    megabytes = np.array([each.resident for each in samples]) / 1e6
    slope, level = _fit_line(hours, megabytes)
    residuals = megabytes - (slope * hours + level)
    starts = len(samples) - block + 1
    needed = -(-len(samples) // block)
    drawn: list[float] = []
    for _ in range(_RESAMPLES):
        firsts = generator.integers(0, max(1, starts), needed)
        order = (firsts[:, None] + np.arange(block)).ravel()[: len(samples)]
        noisy = slope * hours + level + residuals[order % len(samples)]
        drawn.append(_fit_line(hours, noisy)[0])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return slope, float(low), float(high)


def _fit_line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Slope and level by least squares."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def main() -> None:
    """Measure, print, write `build/bench/soak.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=720)
    parser.add_argument("--every", type=float, default=10)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--model", choices=["linear", "forest"], default="linear")
    options = parser.parse_args()
    runs: list[LoadResult] = []
    with tempfile.TemporaryDirectory() as scratch:
        model = build_model(options.model, Path(scratch))
        os.sched_setaffinity(0, {LOAD_CORE})
        with started(our_command(model), core=SERVER_CORE) as server:
            load = json_load(server, options.rows)
            with observing(server.pid, server.ports["management"], options.every) as observer:
                end = time.monotonic() + options.seconds
                while time.monotonic() < end:
                    seconds = min(options.every, max(0.5, end - time.monotonic()))
                    runs.append(run_load(load, connections=CONNECTIONS, seconds=seconds))
                samples = observer.finish()
    settled = [each for each in samples if each.at >= _SETTLING_SECONDS]
    slope = memory_slope(settled, max(1, round(60 / options.every)), np.random.default_rng(7))
    found: dict[str, object] = {
        "requests": sum(run.requests for run in runs),
        "failures": sum(run.failures for run in runs),
        "rateFirst": runs[0].rate,
        "rateLast": runs[-1].rate,
        "p99FirstMs": runs[0].p99_ms,
        "p99LastMs": runs[-1].p99_ms,
        "residentFirstMb": samples[0].resident / 1e6,
        "residentLastMb": samples[-1].resident / 1e6,
        "slopeMbPerHour": slope,
        "settledSamples": len(settled),
        "rates": [run.rate for run in runs],
        "samples": [asdict(each) for each in samples],
    }
    for name, value in found.items():
        if name not in ("rates", "samples"):
            print(f"{name:<18}{value}")
    print(f"written to {write_result('soak', found)}")


if __name__ == "__main__":
    main()
