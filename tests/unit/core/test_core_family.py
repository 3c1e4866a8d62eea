"""The family that a watch judges: tolerances that a spec widens, segments that it picks."""

from dataclasses import replace

import numpy as np
import pytest

from mooring_operator.api.deployment import Drift
from mooring_operator.core.family import Wanted, announced, judged_profile
from mooring_operator.ids import Revision
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import (
    FeatureKind,
    FeatureProfile,
    ReferenceProfile,
    Segment,
    SegmentProfile,
    SelfTest,
    Signal,
    StreamTest,
)
from mooring_profile.edetector import DriftDetector
from mooring_profile.errors import ProfileInvalid
from mooring_profile.sketch import Sketch


def feature(name: str, tolerance: float, segment: Segment | None = None) -> FeatureProfile:
    return FeatureProfile(
        name=name if segment is None else f"{segment}/{name}",
        kind=FeatureKind.NUMERIC,
        counts=FeatureCounts(np.array([500] * 4)),
        tolerance=tolerance,
        design_effect=1.0,
        quality=(),
        edges=(0.0, 1.0, 2.0, 3.0, 4.0),
        segment=segment,
    )


PARTS = [Segment("carrier", "UA"), Segment("origin", "JFK")]
PROFILE = ReferenceProfile(
    features=(feature("delay", 0.02), feature("carrier", 0.1), feature("origin", 0.02)),
    score=feature("@score", 0.02),
    rows=2000,
    segments=tuple(SegmentProfile(part, 900, (feature("delay", 0.03, part),)) for part in PARTS),
)


def wanted(columns: list[str] | None = None, **drift: object) -> Wanted:
    return Wanted.of(Drift.model_validate(drift), columns)


def tolerances(profile: ReferenceProfile) -> dict[str, float]:
    return {stream.name: stream.tolerance for stream in profile.streams}


def test_profile_is_as_it_was_when_nothing_is_wanted() -> None:
    assert judged_profile(PROFILE, wanted()) == PROFILE


def test_tolerances_are_widened_and_never_narrowed() -> None:
    asked = wanted(tolerance=0.05, features=[{"name": "delay", "tolerance": 0.2}])
    assert tolerances(judged_profile(PROFILE, asked)) == {
        "delay": 0.2,
        "carrier": 0.1,
        "origin": 0.05,
        "@score": 0.05,
        "carrier=UA/delay": 0.2,
        "origin=JFK/delay": 0.2,
    }
    narrower = wanted(tolerance=0.01, features=[{"name": "carrier", "tolerance": 0.0}])
    assert tolerances(judged_profile(PROFILE, narrower)) == tolerances(PROFILE)


def test_segments_are_those_of_the_wanted_columns() -> None:
    found = judged_profile(PROFILE, wanted(["origin"]))
    assert [str(part.segment) for part in found.segments] == ["origin=JFK"]
    assert judged_profile(PROFILE, wanted([])).segments == ()


def test_column_without_segments_is_refused_with_those_that_have() -> None:
    with pytest.raises(ProfileInvalid, match=r"names plane; .* carrier, origin"):
        judged_profile(PROFILE, wanted(["plane", "origin"]))


def test_status_says_what_is_watched_and_what_is_not_armed() -> None:
    refused = StreamTest("delay", Signal.DISTRIBUTION, 9, 1.0, armed=False, reason="it swings")
    profile = replace(PROFILE, self_test=SelfTest(100, 200, 20.0, 0, (refused,)))
    detector = DriftDetector(profile, false_alarm_windows=1000)
    status = announced(Revision("1" * 12), profile, detector, "90d")
    assert status.watched == "2 features, the score and 2 streams of segments"
    assert status.false_alarm_interval == "90d"
    assert [(item.name, item.reason) for item in status.unarmed] == [
        ("delay (Distribution)", "it swings")
    ]


def test_importance_of_the_spec_moves_weight_and_leaves_the_interval() -> None:
    asked = wanted(
        features=[{"name": "delay", "importance": 8.0}, {"name": "carrier", "importance": 1.0}]
    )
    alike = DriftDetector(PROFILE, false_alarm_windows=1000)
    moved = DriftDetector(PROFILE, false_alarm_windows=1000, importance=asked.importance)

    window = Sketch({stream.name: stream.counts for stream in PROFILE.streams})

    def thresholds(detector: DriftDetector) -> dict[tuple[str, str | None], float]:
        _, found = detector.step(detector.initial(), window)
        return {(item.feature, item.segment): item.threshold for item in found}

    before, after = thresholds(alike), thresholds(moved)
    assert after["delay", None] < before["delay", None]
    assert after["carrier", None] > before["carrier", None]
    shares = [sum(np.exp(-np.array(list(found.values())))) for found in (before, after)]
    assert shares[0] == pytest.approx(shares[1])
    assert wanted().importance is None


@pytest.mark.parametrize("field", ["tolerance", "importance"])
def test_feature_that_the_package_does_not_have_is_refused_by_name(field: str) -> None:
    asked = wanted(features=[{"name": "dealy", field: 0.5}, {"name": "@score", field: 0.5}])
    with pytest.raises(ProfileInvalid, match=r"names dealy, which the package does not have"):
        judged_profile(PROFILE, asked)


def test_importance_of_nothing_is_refused() -> None:
    asked = wanted(features=[{"name": "delay", "importance": 0.0}])
    with pytest.raises(ProfileInvalid, match="importance above 0"):
        DriftDetector(PROFILE, false_alarm_windows=1000, importance=asked.importance)
