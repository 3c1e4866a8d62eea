"""`make bench-detector`: what a window costs the drift detector, in CPU time of one thread.

Windows of 200 rows are judged whole, with the evidence of every stream in words. A feature has
four streams: its distribution and its missing, invalid and out-of-range (or unseen) values.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mooring_profile import (
    DriftDetector,
    FeatureKind,
    ReferenceProfile,
    Sketch,
    SketchRecorder,
    build_profile,
)
from mooring_profile.document import Segment, SegmentProfile

REFERENCE_ROWS, WINDOW_ROWS = 5000, 200
SEGMENTED_FEATURES, SEGMENTS = 50, 20
_REPEATS = 9


def least_seconds(run: Callable[[], object]) -> float:
    """CPU time of one call: the least of several, disturbed least by others."""
    found: list[float] = []
    for _ in range(_REPEATS):
        began = time.thread_time()
        run()
        found.append(time.thread_time() - began)
    return min(found)


def table(features: int, rows: int, seed: int) -> dict[str, Any]:
    """Two numeric features for each categorical one."""
    rng = np.random.default_rng(seed)
    names = np.array([f"v{index}" for index in range(40)], dtype=object)
    return {
        f"f{index}": names[rng.integers(0, 40, rows)] if index % 3 == 2 else rng.normal(size=rows)
        for index in range(features)
    }


def profile_of(features: int) -> ReferenceProfile:
    """The profile of such a table."""
    columns = table(features, REFERENCE_ROWS, 1)
    kinds = {
        name: FeatureKind.CATEGORICAL if column.dtype == object else FeatureKind.NUMERIC
        for name, column in columns.items()
    }
    return build_profile(columns, kinds, score=None, blocks=None)


def window_of(profile: ReferenceProfile, features: int) -> Sketch:
    """A window of it."""
    recorder = SketchRecorder(profile)
    recorder.record(table(features, WINDOW_ROWS, 2), None)
    return recorder.snapshot()


def measure(profile: ReferenceProfile, window: Sketch) -> dict[str, float | int]:
    """Cost of one window and of laying the family out."""
    began = time.thread_time()
    detector = DriftDetector(profile, false_alarm_windows=1000)
    layout_seconds = time.thread_time() - began
    state, _ = detector.step(detector.initial(), window)
    whole = least_seconds(lambda: detector.step(state, window))
    silent = least_seconds(lambda: detector.advance(state, window))
    features = len(profile.streams)
    return {
        "features": features,
        "streams": len(detector.streams),
        "windowMs": whole * 1e3,
        "featureWindowUs": whole / features * 1e6,
        "featureWindowWithoutEvidenceUs": silent / features * 1e6,
        "layoutSeconds": layout_seconds,
        "stateBytes": len(json.dumps(state.to_json())),
    }


def measure_segments() -> dict[str, float | int]:
    """50 features in 20 segments: 1,000 features with a segment, beside the 50 plain ones."""
    profile = profile_of(SEGMENTED_FEATURES)
    segments = [Segment("f2", str(index)) for index in range(SEGMENTS)]
    again = tuple(
        SegmentProfile(
            segment,
            REFERENCE_ROWS,
            tuple(
                replace(feature, name=f"{segment}/{feature.name}", segment=segment)
                for feature in profile.features
            ),
        )
        for segment in segments
    )
    window = window_of(profile, SEGMENTED_FEATURES)
    counts = dict(window.counts)
    whole = replace(profile, segments=again)
    for stream in whole.streams:
        counts[stream.name] = window.counts[stream.feature]
    return measure(whole, Sketch(counts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench/detector_speed.json"))
    options = parser.parse_args()
    measure(profile_of(1), window_of(profile_of(1), 1))  # the bridges of the nulls, once a process
    document: dict[str, Any] = {
        f"{features} features": measure(
            profile_of(features), window_of(profile_of(features), features)
        )
        for features in (1, 20, 100)
    }
    document["50 features in 20 segments"] = measure_segments()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    for name, row in document.items():
        told = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
        sys.stdout.write(f"{name:28} {told}\n")


if __name__ == "__main__":
    main()
