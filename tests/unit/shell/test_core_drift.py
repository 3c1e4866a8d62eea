"""The drift watch by values: windows, restarts, coverage, the latch."""

from collections.abc import Mapping
from datetime import timedelta

import numpy as np
import pytest

from mooring_operator.core.drift import Counted, DriftWatch, begin, fold
from mooring_operator.ids import Revision
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import FeatureKind, FeatureProfile, ReferenceProfile
from mooring_profile.edetector import DriftDetector
from mooring_profile.sketch import Sketch
from tests.unit.shell.manual_clock import START

WINDOW = timedelta(minutes=5)
REVISION = Revision("1" * 12)
CALM = (100, 100, 100, 100)
SHIFTED = (10, 20, 170, 200)


@pytest.fixture(scope="module")
def detector() -> DriftDetector:
    feature = FeatureProfile(
        name="x",
        kind=FeatureKind.NUMERIC,
        counts=FeatureCounts(np.array([5000] * 4)),
        tolerance=0.05,
        design_effect=1.0,
        quality=(),
        edges=(0.0, 1.0, 2.0, 3.0, 4.0),
    )
    profile = ReferenceProfile(features=(feature,), score=None, rows=20_000)
    return DriftDetector(profile, false_alarm_windows=1000)


def _counted(bins: tuple[int, ...], times: int = 1, *, coverage: float = 1.0) -> Counted:
    counts = FeatureCounts(np.array(bins) * times)
    return Counted(Sketch({"x": counts}), rows=round(counts.rows / coverage), sketched=counts.rows)


def _fold(watch: DriftWatch, detector: DriftDetector, sources: Mapping[str, Counted]) -> DriftWatch:
    return fold(watch, detector, sources, watch.window_ends, WINDOW)


def test_watch_has_no_data_before_its_first_window(detector: DriftDetector) -> None:
    watch = begin(REVISION, detector, START, WINDOW)
    assert (watch.status.verdict, watch.window_ends) == ("NoData", START + WINDOW)


def test_windows_are_differences_of_cumulative_counts(detector: DriftDetector) -> None:
    watch = begin(REVISION, detector, START, WINDOW)
    for times in (1, 2, 3):
        watch = _fold(watch, detector, {"pod/boot": _counted(CALM, times)})
    assert watch.status.rows == 1200
    assert watch.status.windows == 3
    assert watch.status.verdict == "WithinTolerance"


def test_window_without_rows_is_no_window(detector: DriftDetector) -> None:
    watch = _fold(begin(REVISION, detector, START, WINDOW), detector, {"p": _counted(CALM)})
    again = _fold(watch, detector, {"p": _counted(CALM)})
    assert again.status == watch.status
    assert again.window_ends == watch.window_ends + WINDOW


def test_restarted_pod_is_not_subtracted(detector: DriftDetector) -> None:
    watch = _fold(begin(REVISION, detector, START, WINDOW), detector, {"p/1": _counted(CALM, 3)})
    watch = _fold(watch, detector, {"p/2": _counted(CALM, 1)})
    assert watch.status.rows == 1600
    silently = _fold(watch, detector, {"p/2": _counted((50, 50, 50, 50))})
    assert silently.status.rows == 1800


def test_verdict_is_the_same_for_one_pod_and_for_many(detector: DriftDetector) -> None:
    one = _fold(begin(REVISION, detector, START, WINDOW), detector, {"a": _counted(SHIFTED, 4)})
    many = _fold(
        begin(REVISION, detector, START, WINDOW),
        detector,
        {name: _counted(SHIFTED) for name in "abcd"},
    )
    assert one.status == many.status
    assert one.state == many.state


def test_alarm_names_the_feature_and_is_latched(detector: DriftDetector) -> None:
    watch = begin(REVISION, detector, START, WINDOW)
    for times in (1, 2, 3, 4):
        watch = _fold(watch, detector, {"p": _counted(SHIFTED, times)})
        if watch.status.verdict == "Drifted":
            break
    assert watch.status.verdict == "Drifted"
    assert [(item.name, item.kind) for item in watch.status.features] == [("x", "Distribution")]
    assert 0.1 < watch.status.features[0].effect < 0.6
    assert watch.status.at is not None
    later = _fold(watch, detector, {"p": _counted(CALM, 1000)})
    assert later.status == watch.status


def test_restarted_operator_folds_everything_since_boot_as_one_window(
    detector: DriftDetector,
) -> None:
    watch = _fold(begin(REVISION, detector, START, WINDOW), detector, {"p": _counted(SHIFTED, 9)})
    assert watch.status.windows == 1
    assert watch.status.verdict == "Drifted"


def test_window_below_the_least_coverage_is_not_judged(detector: DriftDetector) -> None:
    watch = begin(REVISION, detector, START, WINDOW)
    low = _fold(watch, detector, {"p": _counted(SHIFTED, 9, coverage=0.89)})
    assert low.status.verdict == "NoData"
    enough = _fold(watch, detector, {"p": _counted(SHIFTED, 9, coverage=0.9)})
    assert enough.status.verdict == "Drifted"
