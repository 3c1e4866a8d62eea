"""One arm of `make bench-profile`, in a process of its own: builds a profile, prints its cost.

Imports the kernel only, so that the resident memory is the building's.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mooring_profile.binning import Column
from mooring_profile.build import ProfilePlan, build_profile
from mooring_profile.document import FeatureKind, ReferenceProfile
from mooring_profile.plan import Batch
from mooring_profile.streaming import build_profile_of_batches

CATEGORICAL = 10
BLOCK_ROWS = 5_000
BATCH_ROWS = 50_000
ARMS = ("memory", "batches", "everything")


def kinds_of(columns: int) -> dict[str, FeatureKind]:
    """Ten categorical features, the others numeric."""
    return {
        f"f{at:02d}": FeatureKind.CATEGORICAL if at < CATEGORICAL else FeatureKind.NUMERIC
        for at in range(columns)
    }


def batch_of(number: int, rows: int, columns: int) -> Batch:
    """Rows that depend on the batch's number only: one half double precision, one half single."""
    generator = np.random.default_rng((20131, number))
    made: dict[str, Column] = {}
    common = generator.normal(size=rows)
    for at, (name, kind) in enumerate(kinds_of(columns).items()):
        if kind is FeatureKind.CATEGORICAL:
            words = np.array([f"v{value}" for value in range(4 * 2**at)], dtype=object)
            made[name] = words[generator.zipf(1.5, rows) % words.size]
            continue
        values = generator.normal(size=rows) + 0.7 * common
        values[generator.random(rows) < 0.02] = np.nan
        made[name] = values.astype(np.float32)
    blocks = (number * rows + np.arange(rows)) // BLOCK_ROWS
    return Batch(made, generator.random(rows), blocks)


def table_of(rows: int, columns: int) -> Batch:
    """All rows in memory."""
    kinds = kinds_of(columns)
    types = {
        name: object if kind is FeatureKind.CATEGORICAL else np.float32
        for name, kind in kinds.items()
    }
    table = {name: np.empty(rows, dtype=types[name]) for name in kinds}
    score = np.empty(rows)
    for start in range(0, rows, BATCH_ROWS):
        part = batch_of(start // BATCH_ROWS, BATCH_ROWS, columns)
        place = slice(start, start + BATCH_ROWS)
        for name, column in part.columns.items():
            table[name][place] = column
        score[place] = part.score
    return Batch(table, score, np.arange(rows) // BLOCK_ROWS)


@dataclass
class Cost:
    """CPU and wall seconds of the building alone: those of making rows are taken out."""

    cpu: float = 0.0
    wall: float = 0.0

    def add(self, sign: int) -> None:
        """Begins (-1) or ends (1) a stretch."""
        self.cpu += sign * time.process_time()
        self.wall += sign * time.perf_counter()


def build(arm: str, rows: int, columns: int) -> tuple[ReferenceProfile, Cost, float]:
    """The profile, what it cost, and the megabytes that were resident before."""
    kinds, cost = kinds_of(columns), Cost()

    def read() -> Iterator[Batch]:
        for at in range(rows // BATCH_ROWS):
            cost.add(1)
            batch = batch_of(at, BATCH_ROWS, columns)
            cost.add(-1)
            yield batch

    plan = None
    if arm == "everything":
        plan = ProfilePlan(segments=("f01",), threshold=0.5, multivariate=True)
    table = table_of(rows, columns) if arm == "memory" else None
    before = peak_mb()
    cost.add(-1)
    if table is not None:
        profile = build_profile(table.columns, kinds, score=table.score, blocks=table.blocks)
    else:
        profile = build_profile_of_batches(read, kinds, plan=plan)
    cost.add(1)
    return profile, cost, before


def peak_mb() -> float:
    """Largest resident memory of this process until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def run_arm(arm: str, rows: int, columns: int) -> None:
    """Builds and prints what it cost as JSON."""
    profile, cost, before = build(arm, rows, columns)
    found = {
        "arm": arm,
        "rows": profile.rows,
        "streams": len(profile.streams),
        "segments": len(profile.segments),
        "cpuSeconds": cost.cpu,
        "wallSeconds": cost.wall,
        "mbBefore": before,
        "peakMb": peak_mb(),
        "profileMb": len(json.dumps(profile.to_json())) / 1e6,
    }
    print(json.dumps(found))


def main() -> None:
    """Build one profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arm", choices=ARMS)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    options = parser.parse_args()
    run_arm(options.arm, options.rows, options.columns)


if __name__ == "__main__":
    main()
