"""`make bench-false-alarms`: how often our detector alarms without reason, and how soon with one.

Stationary streams, many runs each, until the first alarm or ten times the announced interval; then
changes of one feature in twenty, and a trivial one in a million rows. Prints tables and writes
`build/bench/false_alarms.json`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from mooring_profile import (
    DriftDetector,
    FeatureCounts,
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
RARE_SHARE, RARE_REFERENCE_ROWS, RARE_WINDOW_ROWS = 0.001, 100_000, 2000
PARTS = ("stationary", "changes", "trivial", "rare")
KNOWN = "known"
"""Normal, with a profile that is the truth and tolerates next to nothing."""
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


MAKERS = {KNOWN: known} | {name.value: learned(name) for name in StreamName}


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


def labelled_profile(seed: int) -> ReferenceProfile:
    """Twenty normal features and a label that is `fraud` in 0.1 % of 100,000 rows."""
    rng = np.random.default_rng((seed, 4))
    labels = np.where(rng.random(RARE_REFERENCE_ROWS) < RARE_SHARE, "fraud", "fine").astype(object)
    label = build_profile(
        {"label": labels}, {"label": FeatureKind.CATEGORICAL}, score=None, blocks=None
    )
    plain = learned_profile(StreamName.NORMAL, seed)
    return replace(plain, features=(*plain.features, *label.features))


def labelled_windows(profile: ReferenceProfile, seed: int, tripled_from: int) -> Iterator[Sketch]:
    """Windows of the same; from one of them on the label is `fraud` three times as often."""
    rng = np.random.default_rng((seed, 5))
    plain = replace(profile, features=profile.features[:-1])
    for number, window in enumerate(
        simulated_windows(StreamName.NORMAL, plain, seed, rows=RARE_WINDOW_ROWS)
    ):
        share = 3 * RARE_SHARE if number >= tripled_from else RARE_SHARE
        fraud = int(rng.binomial(RARE_WINDOW_ROWS, share))
        label = FeatureCounts(np.array([RARE_WINDOW_ROWS - fraud, fraud, 0]))
        yield Sketch({**window.counts, "label": label})


def measure_rare(runs: int, announced: int) -> dict[str, float | int]:
    """False alarms of a family with a rare class, and how soon its tripling is found."""
    quiet: list[RunLength] = []
    tripled: list[RunLength] = []
    for seed in range(runs):
        profile = labelled_profile(seed)
        detector = DriftDetector(profile, false_alarm_windows=announced)
        still = labelled_windows(profile, seed, announced)
        quiet.append(run_length(detector, still, announced))
        tripled.append(run_length(detector, labelled_windows(profile, seed, 0), LONGEST_DELAY))
    delays = np.array([item.windows for item in tripled])
    return {
        "runs": runs,
        "windowRows": RARE_WINDOW_ROWS,
        "windows": sum(item.windows for item in quiet),
        "alarms": sum(item.alarm for item in quiet),
        "meanRunLengthLower95": least_run_length(quiet),
        "tripledFound": sum(item.alarm for item in tripled),
        "tripledMeanWindows": float(delays.mean()),
        "tripledP90Windows": float(np.quantile(delays, 0.9)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="runs of each stream and change")
    parser.add_argument("--announced", type=int, default=100, help="windows, stationary streams")
    parser.add_argument("--delays-announced", type=int, default=1000)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--streams", nargs="+", choices=MAKERS, default=list(MAKERS))
    parser.add_argument("--out", type=Path, default=Path("build/bench/false_alarms.json"))
    options = parser.parse_args()
    document: dict[str, Any] = {
        "announcedWindows": options.announced,
        "windowRows": WINDOW_ROWS,
        "features": len(FEATURES),
        "censoredAtWindows": CENSORED_AT * options.announced,
        "delaysAnnouncedWindows": options.delays_announced,
    }
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "stationary": lambda: stationary(options.streams, options.runs, options.announced),
        "changes": lambda: all_changes(options.runs, options.delays_announced),
        "trivial": lambda: _said(
            "0.02 sd", measure_trivial(options.runs, options.delays_announced)
        ),
        "rare": lambda: _said(
            "0.1 % tripled", measure_rare(options.runs, options.delays_announced)
        ),
    }
    for part in options.parts:
        document[part] = measures[part]()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    _say(f"written to {options.out}")


def stationary(names: list[str], runs: int, announced: int) -> dict[str, Any]:
    """The chosen streams."""
    return {name: _said(name, measure_stationary(runs, announced, MAKERS[name])) for name in names}


def all_changes(runs: int, announced: int) -> dict[str, Any]:
    """Every change."""
    return {
        name: _said(name, measure_change(change, runs, announced))
        for name, change in CHANGES.items()
    }


def _said(name: str, row: dict[str, Any]) -> dict[str, Any]:
    told = "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in row.items()
    )
    _say(f"{name:42} {told}")
    return row


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
