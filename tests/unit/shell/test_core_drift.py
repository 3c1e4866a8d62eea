"""The drift watch by values: windows, restarts, coverage, the latch."""

from collections.abc import Mapping
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mooring_operator.api.monitoring_status import DriftedFeature, DriftStatus
from mooring_operator.core.drift import Counted, DriftWatch, begin, fold, latched, untold
from mooring_operator.core.timeline import Timeline
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


def _begin(detector: DriftDetector) -> DriftWatch:
    return begin(untold(REVISION), detector, START, WINDOW)


def _fold(watch: DriftWatch, detector: DriftDetector, sources: Mapping[str, Counted]) -> DriftWatch:
    return fold(watch, detector, sources, watch.window_ends)


def test_watch_has_no_data_before_its_first_window(detector: DriftDetector) -> None:
    watch = _begin(detector)
    assert (watch.status.verdict, watch.window_ends) == ("NoData", START + WINDOW)


def test_windows_are_differences_of_cumulative_counts(detector: DriftDetector) -> None:
    watch = _begin(detector)
    for times in (1, 2, 3):
        watch = _fold(watch, detector, {"pod/boot": _counted(CALM, times)})
    assert watch.rows == 1200
    assert watch.windows == 3
    assert watch.status.verdict == "WithinTolerance"


def test_window_without_rows_is_no_window(detector: DriftDetector) -> None:
    watch = _fold(_begin(detector), detector, {"p": _counted(CALM)})
    again = _fold(watch, detector, {"p": _counted(CALM)})
    assert again.status == watch.status
    assert again.window_ends == watch.window_ends + WINDOW


def test_restarted_pod_is_not_subtracted(detector: DriftDetector) -> None:
    watch = _fold(_begin(detector), detector, {"p/1": _counted(CALM, 3)})
    watch = _fold(watch, detector, {"p/2": _counted(CALM, 1)})
    assert watch.rows == 1600


def test_late_and_repeated_counts_of_a_pod_add_nothing(detector: DriftDetector) -> None:
    watch = _fold(_begin(detector), detector, {"p/1": _counted(CALM, 3)})
    for late in (_counted(CALM, 2), _counted(CALM, 3)):
        watch = _fold(watch, detector, {"p/1": late})
    assert watch.rows == 1200
    assert _fold(watch, detector, {"p/1": _counted(CALM, 4)}).rows == 1600


def test_pod_that_was_silent_for_a_window_is_not_counted_again(detector: DriftDetector) -> None:
    watch = _fold(_begin(detector), detector, {"p/1": _counted(CALM, 3)})
    watch = _fold(watch, detector, {"q/1": _counted(CALM, 1)})
    assert _fold(watch, detector, {"p/1": _counted(CALM, 4), "q/1": _counted(CALM, 1)}).rows == 2000


def test_verdict_is_the_same_for_one_pod_and_for_many(detector: DriftDetector) -> None:
    one = _fold(_begin(detector), detector, {"a": _counted(SHIFTED, 4)})
    many = _fold(
        _begin(detector),
        detector,
        {name: _counted(SHIFTED) for name in "abcd"},
    )
    assert one.status == many.status
    assert one.state == many.state


def test_alarm_names_the_feature_and_is_latched(detector: DriftDetector) -> None:
    watch = _begin(detector)
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
    watch = _fold(_begin(detector), detector, {"p": _counted(SHIFTED, 9)})
    assert watch.windows == 1
    assert watch.status.verdict == "Drifted"


def test_window_below_the_least_coverage_is_not_judged(detector: DriftDetector) -> None:
    watch = _begin(detector)
    low = _fold(watch, detector, {"p": _counted(SHIFTED, 9, coverage=0.89)})
    assert low.status.verdict == "NoData"
    enough = _fold(watch, detector, {"p": _counted(SHIFTED, 9, coverage=0.9)})
    assert enough.status.verdict == "Drifted"


def test_change_is_told_with_the_begin_of_its_window(detector: DriftDetector) -> None:
    watch = _begin(detector)
    bins = np.zeros(4, dtype=int)
    for index in range(40):
        bins = bins + np.array(CALM if index < 20 else SHIFTED)
        watch = _fold(watch, detector, {"p": _counted(tuple(bins.tolist()))})
        if watch.status.verdict == "Drifted":
            break
    (feature,) = watch.status.features
    assert feature.since is not None
    assert abs(feature.since - (START + 20 * WINDOW)) <= WINDOW
    assert "→" in feature.change


def test_late_round_keeps_the_windows_on_their_grid(detector: DriftDetector) -> None:
    watch = _begin(detector)
    late = START + 2.5 * WINDOW
    watch = fold(watch, detector, {"p": _counted(CALM)}, late)
    assert watch.window_began == late
    assert watch.window_ends == START + 3 * WINDOW


def test_timeline_remembers_gaps() -> None:
    timeline = Timeline(WINDOW).plus(0, START).plus(1, START + WINDOW)
    night = START + 100 * WINDOW
    timeline = timeline.plus(2, night)
    assert len(timeline.runs) == 2
    assert [timeline.begin_of(index) for index in (1, 2, 5)] == [
        START + WINDOW,
        night,
        night + 3 * WINDOW,
    ]
    assert Timeline(WINDOW).begin_of(0) is None


@st.composite
def _histories(draw: st.DrawFn) -> list[list[tuple[int, ...]]]:
    """Rows by window, and in each by pod: 1 to 5 pods, up to 4 windows."""
    pods = draw(st.integers(1, 5))
    row = st.tuples(*[st.integers(0, 60)] * 4)
    return draw(st.lists(st.lists(row, min_size=pods, max_size=pods), min_size=1, max_size=4))


@given(history=_histories(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_verdict_depends_on_the_rows_of_a_window_alone(
    detector: DriftDetector, history: list[list[tuple[int, ...]]], data: st.DataObject
) -> None:
    """Not on how many pods counted them, in which order, nor on a restart between windows."""
    one = many = _begin(detector)
    total = np.zeros(4, dtype=int)
    counted: dict[str, NDArray[np.int64]] = {}
    for rows in history:
        total = total + np.array(rows).sum(axis=0)
        one = _fold(one, detector, {"all": _counted(tuple(total.tolist()))})
        restarts = data.draw(st.booleans())
        for index, row in enumerate(rows):
            key = f"pod-{index}/{len(counted) if restarts else 0}"
            counted[key] = counted.get(key, np.zeros(4, dtype=np.int64)) + np.array(row)
        names = data.draw(st.permutations(sorted(counted)))
        many = _fold(
            many, detector, {name: _counted(tuple(counted[name].tolist())) for name in names}
        )
    assert many.state == one.state
    assert many.status == one.status
    assert many.rows == one.rows == int(total.sum())


@given(
    known=st.sampled_from(["NoData", "WithinTolerance", "Drifted"]),
    seen=st.sampled_from(["NoData", "WithinTolerance", "Drifted"]),
    names=st.lists(st.sampled_from("abc"), max_size=3, unique=True),
)
def test_latching_keeps_an_alarm_and_settles_at_once(
    known: str, seen: str, names: list[str]
) -> None:
    old, new = _told(known, ["a"]), _told(seen, names)
    kept = latched(old, new)
    assert latched(kept, new) == kept, "looking again changes nothing"
    if known == "Drifted":
        assert kept.verdict == "Drifted"
        assert {item.name for item in kept.features} >= {"a"}


def _told(verdict: str, names: list[str]) -> DriftStatus:
    features = [DriftedFeature(name=name, kind="Distribution", effect=0.1) for name in names]
    return DriftStatus(
        revision=REVISION,
        verdict=verdict,
        features=features if verdict == "Drifted" else [],
        data_quality=[] if verdict == "NoData" else features,
    )


def test_data_quality_keeps_the_numbers_that_it_alarmed_with() -> None:
    """Its effect is another one in each window: a status that followed it would be written so."""
    first, later = _told("WithinTolerance", ["a"]), _told("WithinTolerance", ["a", "b"])
    grown = [item.model_copy(update={"effect": 0.7}) for item in later.data_quality]
    kept = latched(first, later.model_copy(update={"data_quality": grown}))
    assert [(item.name, item.effect) for item in kept.data_quality] == [("a", 0.1), ("b", 0.7)]
