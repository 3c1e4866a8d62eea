"""`make bench-false-alarms`: how often our detector alarms without reason, and how soon with one.

Stationary streams, many runs each, until the first alarm or ten times the announced interval; then
changes of one feature in twenty, and a trivial one in a million rows. Prints tables and writes
`build/bench/false_alarms.json`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from mooring_profile import (
    DriftDetector,
    FeatureKind,
    ReferenceProfile,
    Sketch,
    SketchRecorder,
    build_profile,
)
from tests.bench.drift_simulation import (
    RunLength,
    known_profile,
    learned_profile,
    least_run_length,
    run_length,
    simulated_windows,
)
from tests.bench.drift_streams import (
    FEATURES,
    WINDOW_ROWS,
    Change,
    StreamName,
    reference_of,
    windows_of,
)

stats: Any = scipy_stats  # scipy has no annotations

CENSORED_AT = 10
QUIET = 20
LONGEST_DELAY = 200
TRIVIAL_ROWS, TRIVIAL_SHIFT = 1_000_000, 0.02
KNOWN = "normal, known exactly, nothing tolerated"
CHANGES = {
    "shift 0.25 sd": Change(QUIET, shift=0.25),
    "shift 0.5 sd": Change(QUIET, shift=0.5),
    "scale x 1.5": Change(QUIET, scale=1.5),
}


def measure_stationary(
    runs: int, announced: int, make: Callable[[int], tuple[ReferenceProfile, Iterator[Sketch]]]
) -> dict[str, float | int | None]:
    """Runs to the first alarm, each with a reference of its own."""
    lengths: list[RunLength] = []
    for seed in range(runs):
        profile, windows = make(seed)
        detector = DriftDetector(profile, false_alarm_windows=announced)
        lengths.append(run_length(detector, windows, CENSORED_AT * announced))
    alarms = sum(item.alarm for item in lengths)
    windows_judged = sum(item.windows for item in lengths)
    least = least_run_length(lengths)
    return {
        "runs": runs,
        "windows": windows_judged,
        "alarms": alarms,
        "meanRunLength": windows_judged / alarms if alarms else None,
        "meanRunLengthLower95": least,
        "lower95OverAnnounced": least / announced,
    }


def learned(name: StreamName) -> Callable[[int], tuple[ReferenceProfile, Iterator[Sketch]]]:
    """A stream with the profile of its own reference."""

    def make(seed: int) -> tuple[ReferenceProfile, Iterator[Sketch]]:
        profile = learned_profile(name, seed)
        return profile, simulated_windows(name, profile, seed)

    return make


def known(seed: int) -> tuple[ReferenceProfile, Iterator[Sketch]]:
    """Normal features whose profile is the truth."""
    profile = known_profile()
    return profile, simulated_windows(StreamName.NORMAL, profile, seed)


def measure_delay(change: Change, seed: int, announced: int) -> tuple[int, int | None, bool]:
    """Windows from the change to the alarm, the error of its estimated start, and who is named.

    A run that alarms before its change has a delay of 0 or less and counts as it is.
    """
    reference = reference_of(StreamName.NORMAL, seed)
    rng = np.random.default_rng((seed, 3))
    profile = build_profile(
        reference.columns,
        dict.fromkeys(FEATURES, FeatureKind.NUMERIC),
        score=rng.random(reference.rows),
        blocks=None,
    )
    detector = DriftDetector(profile, false_alarm_windows=announced)
    state = detector.initial()
    for number, columns in enumerate(windows_of(StreamName.NORMAL, seed, change=change)):
        recorder = SketchRecorder(profile)
        recorder.record(columns, rng.random(WINDOW_ROWS))
        state, evidence = detector.step(state, recorder.snapshot())
        alarms = [item for item in evidence if item.alarm]
        if alarms:
            since = alarms[0].since_window
            error = None if since is None else since - change.window
            return number - change.window + 1, error, alarms[0].feature == change.feature
        if number > change.window + LONGEST_DELAY:
            break
    return LONGEST_DELAY, None, False


def measure_change(change: Change, runs: int, announced: int) -> dict[str, object]:
    """Delays over many runs, with intervals."""
    found = [measure_delay(change, seed, announced) for seed in range(runs)]
    delays = np.array([delay for delay, _, _ in found])
    errors = np.array([error for _, error, _ in found if error is not None])
    half = 1.96 * delays.std(ddof=1) / np.sqrt(runs)
    low, high = (int(rank) for rank in stats.binom.ppf([0.025, 0.975], runs, 0.5))
    ordered = np.sort(delays)
    return {
        "runs": runs,
        "mean": float(delays.mean()),
        "mean95": [float(delays.mean() - half), float(delays.mean() + half)],
        "median": float(np.median(delays)),
        "median95": [int(ordered[low - 1]), int(ordered[min(high, runs - 1)])],
        "p90": float(np.quantile(delays, 0.9)),
        "alarmsBefore": int((delays < 1).sum()),
        "named": sum(named for _, _, named in found),
        "startErrorMedian": float(np.median(errors)),
        "startWithin1": int((np.abs(errors) <= 1).sum()),
        "startWithin3": int((np.abs(errors) <= 3).sum()),
    }


def measure_trivial(runs: int, announced: int) -> dict[str, int]:
    """Runs that alarm on a shift nobody cares about, in a million rows each."""
    alarms = 0
    for seed in range(runs):
        profile = learned_profile(StreamName.NORMAL, seed)
        windows = simulated_windows(
            StreamName.NORMAL, profile, seed, rows=4000, shifted=("f7", TRIVIAL_SHIFT)
        )
        detector = DriftDetector(profile, false_alarm_windows=announced)
        alarms += run_length(detector, windows, TRIVIAL_ROWS // 4000).alarm
    return {"runs": runs, "rows": TRIVIAL_ROWS, "alarms": alarms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="runs of each stream and change")
    parser.add_argument("--announced", type=int, default=100, help="windows, stationary streams")
    parser.add_argument("--delays-announced", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("build/bench/false_alarms.json"))
    options = parser.parse_args()
    makers = {KNOWN: known} | {name.value: learned(name) for name in StreamName}
    document: dict[str, Any] = {
        "announcedWindows": options.announced,
        "windowRows": WINDOW_ROWS,
        "features": len(FEATURES),
        "censoredAtWindows": CENSORED_AT * options.announced,
        "delaysAnnouncedWindows": options.delays_announced,
        "stationary": {},
        "changes": {},
    }
    for name, make in makers.items():
        began = time.monotonic()
        row = measure_stationary(options.runs, options.announced, make)
        document["stationary"][name] = row
        _say(f"{name:42} {_line(row)}  ({time.monotonic() - began:.0f} s)")
    for name, change in CHANGES.items():
        row = measure_change(change, options.runs, options.delays_announced)
        document["changes"][name] = row
        _say(f"{name:42} {_line(row)}")
    trivial = measure_trivial(options.runs, options.delays_announced)
    document["trivial"] = trivial
    _say(f"{TRIVIAL_SHIFT} sd in a million rows{'':17} {_line(trivial)}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    _say(f"written to {options.out}")


def _line(row: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
