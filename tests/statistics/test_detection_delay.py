"""Real changes are found soon, in the right feature, and trivial ones never.

Windows of 200 rows, 20 features and the score, 1,000 windows announced between false alarms of the
family, a reference of 10,000 rows. The bounded sample: `make bench-false-alarms` makes 200 runs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mooring_profile import (
    DriftDetector,
    FeatureKind,
    ReferenceProfile,
    SketchRecorder,
    StreamKind,
    build_profile,
)

ANNOUNCED = 1000
WINDOW = 200
QUIET = 20
FEATURES = [f"f{i}" for i in range(20)]


def table(rng: np.random.Generator, rows: int) -> dict[str, Any]:
    return {name: rng.normal(size=rows) for name in FEATURES}


def profile_of(rng: np.random.Generator, rows: int) -> ReferenceProfile:
    return build_profile(
        table(rng, rows),
        dict.fromkeys(FEATURES, FeatureKind.NUMERIC),
        score=rng.random(rows),
        blocks=None,
    )


def shifted(by: float) -> Callable[[Any], Any]:
    return lambda values: values + by


def scaled(values: Any) -> Any:
    return values * 1.5


def delay_of(change: Callable[[Any], Any], seed: int) -> int:
    """Windows from the change in f7 to the alarm, which must name it and about when it began."""
    rng = np.random.default_rng(seed)
    profile = profile_of(rng, 10_000)
    detector = DriftDetector(profile, false_alarm_windows=ANNOUNCED)
    state = detector.initial()
    for number in range(QUIET + 40):
        columns = table(rng, WINDOW)
        if number >= QUIET:
            columns["f7"] = change(columns["f7"])
        recorder = SketchRecorder(profile)
        recorder.record(columns, rng.random(WINDOW))
        state, evidence = detector.step(state, recorder.snapshot())
        alarms = [item for item in evidence if item.alarm]
        if alarms:
            assert [item.feature for item in alarms] == ["f7"]
            assert alarms[0].kind is StreamKind.DRIFT
            assert alarms[0].since_window is not None
            assert abs(alarms[0].since_window - QUIET) <= 3
            return number - QUIET + 1
    pytest.fail("the change was never found")


@pytest.mark.parametrize(
    ("change", "mean_delay"),
    [
        (shifted(0.25), 5.0),
        (scaled, 2.5),
        (shifted(0.5), 1.7),
    ],
    ids=["shift by a quarter of a standard deviation", "scale times 1.5", "shift by a half"],
)
def test_change_in_one_of_twenty_features_is_found_within_few_windows(
    change: Callable[[Any], Any], mean_delay: float
) -> None:
    delays = [delay_of(change, seed) for seed in range(12)]
    assert min(delays) >= 1
    assert float(np.median(delays)) <= mean_delay
    assert float(np.mean(delays)) <= mean_delay


def test_trivial_shift_raises_no_alarm_in_a_million_rows() -> None:
    rng = np.random.default_rng(3)
    profile = profile_of(rng, 50_000)
    detector = DriftDetector(profile, false_alarm_windows=ANNOUNCED)
    state = detector.initial()
    for _ in range(250):
        columns = table(rng, 4000)
        columns["f0"] = columns["f0"] + 0.02
        recorder = SketchRecorder(profile)
        recorder.record(columns, rng.random(4000))
        state, evidence = detector.step(state, recorder.snapshot())
        assert not any(item.alarm for item in evidence)
