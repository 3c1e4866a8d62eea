"""The family of streams: segments, importance, arming by the self-test, rare bins."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mooring_profile import (
    DriftDetector,
    FeatureCounts,
    FeatureKind,
    FeatureProfile,
    ProfileInvalid,
    ReferenceProfile,
    Signal,
    Sketch,
    SketchRecorder,
    StreamEvidence,
    StreamKind,
    build_profile,
)
from mooring_profile.document import Segment, SegmentProfile, SelfTest, StreamTest
from mooring_profile.rarity import RARE_FACTOR
from mooring_profile.streams import streams_of

CARRIERS = np.array(["UA", "AA", "DL"], dtype=object)
KINDS = {
    "delay": FeatureKind.NUMERIC,
    "carrier": FeatureKind.CATEGORICAL,
    "wind": FeatureKind.NUMERIC,
}


def rows(seed: int, n: int, shift: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "delay": rng.normal(size=n) + shift,
        "carrier": CARRIERS[rng.choice(3, n, p=(0.5, 0.3, 0.2))],
        "wind": rng.integers(0, 4, n),
    }


PROFILE = build_profile(rows(0, 20_000), KINDS, score=None, blocks=None)
DETECTOR = DriftDetector(PROFILE, false_alarm_windows=100)


def window(columns: dict[str, Any]) -> Sketch:
    recorder = SketchRecorder(PROFILE)
    recorder.record(columns, None)
    return recorder.snapshot()


def judged(item: Sketch, detector: DriftDetector) -> tuple[StreamEvidence, ...]:
    return detector.step(detector.initial(), item)[1]


def told(evidence: tuple[StreamEvidence, ...], feature: str, signal: Signal) -> StreamEvidence:
    return next(item for item in evidence if (item.feature, item.signal) == (feature, signal))


ABROAD = Segment("region", "abroad")
REGION = replace(PROFILE.features[1], name="region")


def with_segment(profile: ReferenceProfile) -> ReferenceProfile:
    """The profile's features once more, for a segment that looks the same."""
    again = tuple(
        replace(feature, name=f"{ABROAD}/{feature.name}", segment=ABROAD)
        for feature in (*profile.features, REGION)
    )
    segment = SegmentProfile(ABROAD, profile.rows, again)
    return replace(profile, features=(*profile.features, REGION), segments=(segment,))


def test_segment_is_judged_on_its_own_and_named() -> None:
    detector = DriftDetector(with_segment(PROFILE), false_alarm_windows=100)
    quiet, moved = window(rows(66, 1000)), window(rows(67, 300, shift=0.6))
    counts = dict(quiet.counts) | {f"{ABROAD}/{name}": item for name, item in moved.counts.items()}
    evidence = judged(Sketch(counts), detector)
    alarms = [item for item in evidence if item.alarm]
    assert [(item.feature, item.segment) for item in alarms] == [("delay", "region=abroad")]
    assert alarms[0].at.startswith("delay <")
    assert sum(100 / np.exp(item.threshold) for item in evidence) == pytest.approx(1)
    assert ("region=abroad/delay", Signal.DISTRIBUTION) in detector.streams
    segment = [item for item in evidence if item.segment is not None]
    assert sum(100 / np.exp(item.threshold) for item in segment) == pytest.approx(0.3)


def test_stream_that_the_self_test_did_not_arm_is_left_out_and_told_with_its_reason() -> None:
    tests = tuple(
        StreamTest(name, Signal.DISTRIBUTION, alarms, 0.01, reason is None, reason)
        for name, alarms, reason in (("delay", 9, "it swings by the hour"), ("wind", 0, None))
    )
    armed = replace(PROFILE, self_test=SelfTest(100, 200, 20.0, 9, tests))
    detector = DriftDetector(armed, false_alarm_windows=100)
    assert ("delay", Signal.DISTRIBUTION) not in detector.streams
    assert ("delay", Signal.MISSING) in detector.streams
    assert [(item.stream, item.reason) for item in detector.refused] == [
        ("delay", "it swings by the hour")
    ]
    evidence = judged(window(rows(68, 100)), detector)
    assert sum(100 / np.exp(item.threshold) for item in evidence) == pytest.approx(1)
    assert DETECTOR.refused == ()
    only = replace(armed, features=(replace(PROFILE.features[0], quality=()),), score=None)
    with pytest.raises(ProfileInvalid, match="to watch: it swings by the hour"):
        DriftDetector(only, false_alarm_windows=100)


def test_what_matters_more_has_a_lower_threshold() -> None:
    detector = DriftDetector(
        PROFILE, false_alarm_windows=100, importance={"delay": 8.0, "carrier": 1.0, "wind": 1.0}
    )
    evidence = judged(window(rows(68, 100)), detector)
    first = told(evidence, "delay", Signal.DISTRIBUTION).threshold
    assert first < told(evidence, "carrier", Signal.DISTRIBUTION).threshold - 1


def test_rare_class_that_triples_is_found_and_told() -> None:
    # Half a day of fraud: 0.1 % of the rows become 0.3 %, far within a tolerance of 2 %.
    rng = np.random.default_rng(69)
    labels = np.array(["fine", "fraud"], dtype=object)
    reference = labels[(rng.random(200_000) < 0.001).astype(int)]
    profile = build_profile(
        {"label": reference}, {"label": FeatureKind.CATEGORICAL}, score=None, blocks=None
    )
    detector = DriftDetector(profile, false_alarm_windows=1000)
    state, found = detector.initial(), None
    for number in range(60):
        recorder = SketchRecorder(profile)
        share = 0.001 if number < 20 else 0.003
        recorder.record({"label": labels[(rng.random(2000) < share).astype(int)]}, None)
        state, evidence = detector.step(state, recorder.snapshot())
        alarms = [item for item in evidence if item.alarm]
        if alarms:
            found = number, alarms
            break
    assert found is not None
    number, alarms = found
    assert 20 <= number <= 35
    assert [item.signal for item in alarms] == [Signal.RARE]
    assert alarms[0].kind is StreamKind.DRIFT
    assert alarms[0].at == "label = fraud"
    assert alarms[0].observed_share == pytest.approx(0.003, abs=0.001)
    assert alarms[0].since_window is not None
    assert abs(alarms[0].since_window - 20) <= 4


def test_rare_bin_of_a_score_is_watched_by_its_bounds() -> None:
    edges = np.linspace(0, 1, 11)
    counts = FeatureCounts(np.array([1000] * 9 + [20]))
    feature = FeatureProfile(
        name="@score",
        kind=FeatureKind.NUMERIC,
        counts=counts,
        tolerance=0.02,
        design_effect=1.0,
        quality=(),
        edges=tuple(edges.tolist()),
    )
    detector = DriftDetector(ReferenceProfile((), feature, 9020), false_alarm_windows=100)
    assert [signal for _, signal in detector.streams] == [Signal.DISTRIBUTION, Signal.RARE]
    many = Sketch({"@score": FeatureCounts(np.array([990] * 9 + [90]))})
    evidence = judged(many, detector)
    item = told(evidence, "@score", Signal.RARE)
    assert item.alarm
    assert item.at == "0.9 <= @score < 1"


def test_season_widens_what_is_normal_for_rare_bins() -> None:
    edges = tuple(np.linspace(0, 1, 11).tolist())
    counts = FeatureCounts(np.array([1000] * 9 + [50]))
    limits: list[float] = []
    for tolerance in (0.02, 0.06):
        feature = FeatureProfile("x", FeatureKind.NUMERIC, counts, tolerance, 1.0, (), edges=edges)
        streams = streams_of(ReferenceProfile((feature,), None, 9050), None)
        limits.append(next(item for item in streams if item.signal is Signal.RARE).events[0].limit)
    assert limits[1] == pytest.approx(50 / 9050 * RARE_FACTOR * 3)
    assert limits[1] > 1.5 * limits[0]
