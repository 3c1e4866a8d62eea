import json
import re
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mooring_profile import (
    CountsInvalid,
    DetectorState,
    DriftDetector,
    FeatureKind,
    ProfileInvalid,
    ReferenceProfile,
    Signal,
    Sketch,
    SketchRecorder,
    StreamEvidence,
    StreamKind,
    build_profile,
)
from mooring_profile.edetector import ALTERNATIVES
from mooring_profile.evidence import NO_CHANGE

stats: Any = scipy_stats  # scipy has no annotations

CARRIERS = np.array(["UA", "AA", "DL"], dtype=object)


def rows(seed: int, n: int, shift: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "delay": rng.normal(size=n) + shift,
        "carrier": CARRIERS[rng.choice(3, n, p=(0.5, 0.3, 0.2))],
        "wind": rng.integers(0, 4, n),
    }


KINDS = {
    "delay": FeatureKind.NUMERIC,
    "carrier": FeatureKind.CATEGORICAL,
    "wind": FeatureKind.NUMERIC,
}
PROFILE = build_profile(rows(0, 20_000), KINDS, score=rows(1, 20_000)["delay"], blocks=None)
DETECTOR = DriftDetector(PROFILE, false_alarm_windows=100)


def window(columns: dict[str, Any]) -> Sketch:
    recorder = SketchRecorder(PROFILE)
    recorder.record(columns, columns["delay"])
    return recorder.snapshot()


def judged(
    windows: list[Sketch], detector: DriftDetector = DETECTOR
) -> tuple[DetectorState, tuple[StreamEvidence, ...]]:
    state, evidence = detector.initial(), ()
    for item in windows:
        state, evidence = detector.step(state, item)
    return state, evidence


def told(evidence: tuple[StreamEvidence, ...], feature: str, signal: Signal) -> StreamEvidence:
    return next(item for item in evidence if (item.feature, item.signal) == (feature, signal))


def test_weights_of_the_family_sum_to_one() -> None:
    _, evidence = judged([window(rows(2, 200))])
    assert sum(100 / np.exp(item.threshold) for item in evidence) == pytest.approx(1)
    assert {item.kind for item in evidence} == set(StreamKind)
    assert DETECTOR.streams[:2] == (
        ("delay", Signal.DISTRIBUTION),
        ("delay", Signal.MISSING),
    )


def test_evidence_of_one_window_is_the_likelihood_ratio_of_scipy() -> None:
    columns = rows(3, 300)
    columns["delay"][:40] = np.nan
    _, evidence = judged([window(columns)])
    item = told(evidence, "delay", Signal.MISSING)
    limit = 0.02
    ratios = [
        stats.binom.logpmf(40, 300, limit + part * (1 - limit)) - stats.binom.logpmf(40, 300, limit)
        for part in ALTERNATIVES
    ]
    assert item.log_evidence == pytest.approx(np.log(np.mean(np.exp(ratios))), rel=1e-12)
    assert item.observed_share == 40 / 300
    assert item.effect == pytest.approx(40 / 300 - 0.02)
    assert item.alarm
    assert item.kind is StreamKind.DATA_QUALITY


def test_evidence_is_the_sum_over_restarts() -> None:
    # R_2 = e_2 + e_1 e_2 for the same window twice, so R_2 = e + e^2 for each alternative.
    columns = rows(3, 300)
    columns["delay"][:20] = np.nan
    _, evidence = judged([window(columns)] * 2)
    e = [
        np.exp(stats.binom.logpmf(20, 300, 0.02 + part * 0.98) - stats.binom.logpmf(20, 300, 0.02))
        for part in ALTERNATIVES
    ]
    expected = np.log(np.mean([value + value**2 for value in e]))
    found = told(evidence, "delay", Signal.MISSING).log_evidence
    assert found == pytest.approx(expected, rel=1e-12)


def test_each_kind_of_change_is_told_under_its_own_signal() -> None:
    missing, unseen, beyond, invalid, moved, mixed = (rows(4, 400) for _ in range(6))
    missing["carrier"][:60] = None
    unseen["carrier"][:60] = "B6"
    beyond["wind"] = np.where(np.arange(400) < 60, 99, beyond["wind"])
    invalid["delay"][:60] = np.inf
    moved["delay"] = moved["delay"] + 0.5
    mixed["carrier"][:120] = "DL"
    cases = [
        (missing, "carrier", Signal.MISSING, "share of missing values"),
        (unseen, "carrier", Signal.UNSEEN, "share of unseen categories"),
        (beyond, "wind", Signal.OUT_OF_RANGE, "share outside the reference's range"),
        (invalid, "delay", Signal.INVALID, "share of invalid values"),
        (moved, "delay", Signal.DISTRIBUTION, "delay <"),
        (mixed, "carrier", Signal.DISTRIBUTION, "carrier ="),
    ]
    for columns, feature, signal, at in cases:
        _, evidence = judged([window(columns)])
        item = told(evidence, feature, signal)
        assert item.alarm, (feature, signal)
        assert item.at.startswith(at)
        quality = signal in (Signal.MISSING, Signal.UNSEEN, Signal.INVALID)
        assert item.kind is (StreamKind.DATA_QUALITY if quality else StreamKind.DRIFT)
        assert item.effect is not None
        assert item.effect > 0.05
        if signal is Signal.OUT_OF_RANGE:
            assert item.observed_share == pytest.approx(0.15)
            assert item.reference_share < 0.001
        if signal in (Signal.MISSING, Signal.INVALID):
            assert not told(evidence, feature, Signal.DISTRIBUTION).alarm


def test_start_of_a_change_is_estimated_to_the_window() -> None:
    quiet = [window(rows(seed, 200)) for seed in range(10, 30)]
    moved = [window(rows(seed, 200, shift=0.4)) for seed in range(30, 36)]
    _, evidence = judged(quiet + moved)
    item = told(evidence, "delay", Signal.DISTRIBUTION)
    assert item.alarm
    assert item.since_window is not None
    assert abs(item.since_window - 20) <= 1
    assert item.psi is not None
    assert 0.05 < item.psi < 0.4


def test_nothing_is_judged_before_fifty_effective_rows_came_together() -> None:
    state, evidence = judged([window(rows(5, 20, shift=3.0))] * 2)
    assert all(item.log_evidence is None and not item.alarm for item in evidence)
    assert all(item.psi is None for item in evidence)
    _, evidence = DETECTOR.step(state, window(rows(5, 20, shift=3.0)))
    item = told(evidence, "delay", Signal.DISTRIBUTION)
    assert item.alarm
    assert item.since_window == 0


def test_collected_windows_weigh_as_one_large_window() -> None:
    parts = [window(rows(seed, 20)) for seed in (6, 7, 8)]
    whole, _ = judged([reduce(Sketch.merge, parts)])
    collected, _ = judged(parts)
    assert collected.evidence.tolist() == whole.evidence.tolist()


def test_design_effect_divides_the_rows() -> None:
    feature = replace(PROFILE.features[0], design_effect=5.0, quality=())
    detector = DriftDetector(
        ReferenceProfile((feature,), None, PROFILE.rows), false_alarm_windows=100
    )
    few = window(rows(9, 240))
    _, evidence = judged([few], detector)
    assert evidence[0].log_evidence is None
    five_times = reduce(Sketch.merge, [few] * 5)
    once = DriftDetector(
        ReferenceProfile((replace(feature, design_effect=1.0),), None, PROFILE.rows),
        false_alarm_windows=100,
    )
    _, divided = judged([five_times], detector)
    _, plain = judged([few], once)
    assert divided[0].log_evidence == pytest.approx(plain[0].log_evidence, rel=1e-9)


def test_very_large_windows_stay_finite() -> None:
    quiet = reduce(Sketch.merge, [window(rows(10, 20_000))] * 500)
    _, evidence = judged([quiet] * 3)
    assert all(item.log_evidence is not None and not item.alarm for item in evidence)
    json.dumps([item.log_evidence for item in evidence], allow_nan=False)


def test_state_survives_json_exactly_in_the_middle_of_a_stream() -> None:
    state, _ = judged([window(rows(seed, 130, shift=0.2)) for seed in range(5)])
    restored = DetectorState.from_json(json.loads(json.dumps(state.to_json())))
    assert restored == state
    more = window(rows(50, 130))
    assert DETECTOR.step(restored, more)[1] == DETECTOR.step(state, more)[1]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 300), st.sampled_from([0.0, 0.3, 3.0])),
        min_size=1,
        max_size=6,
    ),
    st.sets(st.integers(0, 5)),
)
def test_restarts_between_windows_change_nothing_whenever_they_happen(
    parts: list[tuple[int, int, float]], restarts: set[int]
) -> None:
    state = restarted = DETECTOR.initial()
    for number, (seed, size, shift) in enumerate(parts):
        if number in restarts:
            restarted = DetectorState.from_json(json.loads(json.dumps(restarted.to_json())))
        item = window(rows(seed, size, shift))
        state, evidence = DETECTOR.step(state, item)
        restarted, told_again = DETECTOR.step(restarted, item)
        assert told_again == evidence
        assert json.dumps(restarted.to_json()) == json.dumps(state.to_json())
        quick, alarm = DETECTOR.advance(restarted, item)
        assert alarm == any(told.alarm for told in DETECTOR.step(restarted, item)[1])
        assert quick == DETECTOR.step(restarted, item)[0]


def test_step_leaves_the_state_before_it_unchanged() -> None:
    state, _ = judged([window(rows(1, 100))])
    before = state.to_json()
    DETECTOR.step(state, window(rows(2, 100, shift=1.0)))
    assert state.to_json() == before
    assert state != DETECTOR.initial()
    assert state != "state"


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 50), st.randoms(use_true_random=False))
def test_verdict_is_byte_identical_for_any_number_and_order_of_replicas(
    replicas: int, random: Any
) -> None:
    columns = rows(11, 500, shift=0.15)
    owner = np.array([random.randrange(replicas) for _ in range(500)])
    parts = [
        window({name: column[owner == pod] for name, column in columns.items()})
        for pod in range(replicas)
    ]
    random.shuffle(parts)
    one, evidence = judged([window(columns)])
    many, told_by_many = judged([Sketch.merge_all(parts)])
    assert json.dumps(many.to_json()) == json.dumps(one.to_json())
    assert told_by_many == evidence


def test_feature_without_a_possible_alarm_is_left_out_of_the_family() -> None:
    wide = replace(PROFILE.features[0], tolerance=1.0)
    detector = DriftDetector(
        ReferenceProfile((wide, *PROFILE.features[1:]), PROFILE.score, PROFILE.rows),
        false_alarm_windows=100,
    )
    assert ("delay", Signal.DISTRIBUTION) not in detector.streams
    assert ("delay", Signal.MISSING) in detector.streams


def test_feature_that_the_window_lacks_adds_no_rows() -> None:
    counts = window(rows(12, 200)).counts
    _, evidence = judged([Sketch({"carrier": counts["carrier"]})])
    assert told(evidence, "delay", Signal.DISTRIBUTION).log_evidence is None
    assert told(evidence, "delay", Signal.DISTRIBUTION).psi is None
    assert told(evidence, "carrier", Signal.DISTRIBUTION).log_evidence is not None


def test_empty_reference_watches_data_quality_only() -> None:
    profile = build_profile(
        {"x": np.full(2000, np.nan)}, {"x": KINDS["delay"]}, score=None, blocks=None
    )
    detector = DriftDetector(profile, false_alarm_windows=10)
    assert [signal for _, signal in detector.streams] == [Signal.INVALID]


def test_detector_is_refused_when_it_could_never_hold() -> None:
    with pytest.raises(ProfileInvalid, match="false_alarm_windows is"):
        DriftDetector(PROFILE, false_alarm_windows=0.5)
    with pytest.raises(ProfileInvalid, match="no feature, score or share"):
        DriftDetector(ReferenceProfile((), None, 0), false_alarm_windows=10)


def test_step_is_refused_when_state_or_window_belong_to_another_profile() -> None:
    profile = build_profile(rows(1, 500), KINDS, score=None, blocks=None)
    other = DriftDetector(profile, false_alarm_windows=100)
    with pytest.raises(CountsInvalid, match="another reference profile"):
        DETECTOR.step(other.initial(), window(rows(1, 100)))
    recorder = SketchRecorder(
        build_profile({"wind": np.arange(500.0)}, {"wind": KINDS["wind"]}, score=None, blocks=None)
    )
    with pytest.raises(CountsInvalid, match="Counts of 'wind' have 30 bins"):
        DETECTOR.step(DETECTOR.initial(), recorder.snapshot())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("formatVersion", 2, "begin again"),
        ("judged", "", "holds [0-9]+ numbers instead of 0"),
        ("since", "AAAA", "base64 of whole"),
        ("since", "*", "base64 of whole"),
        ("windows", -1, r"state\.windows is -1"),
    ],
)
def test_state_is_refused_when_damaged(field: str, value: object, message: str) -> None:
    document = DETECTOR.initial().to_json() | {field: value}
    with pytest.raises(CountsInvalid, match=message):
        DetectorState.from_json(document)


def test_state_is_refused_when_its_arrays_have_the_sizes_of_another_family() -> None:
    mine = DETECTOR.initial()
    other = replace(mine, pending_since=np.zeros(1, dtype=np.int64))
    with pytest.raises(CountsInvalid, match="damaged"):
        DETECTOR.step(other, window(rows(1, 100)))


def test_rarer_categories_are_watched_together() -> None:
    values = np.repeat([f"c{i:03d}" for i in range(100)], 40).astype(object)
    profile = build_profile({"c": values}, {"c": KINDS["carrier"]}, score=None, blocks=None)
    recorder = SketchRecorder(profile)
    recorder.record({"c": values[-1200:]}, None)
    _, evidence = judged([recorder.snapshot()], DriftDetector(profile, false_alarm_windows=100))
    assert evidence[0].alarm
    assert evidence[0].at == "c is a rarer category"


def test_effect_is_told_in_units_of_the_feature() -> None:
    moved = [window(rows(seed, 400, shift=0.8)) for seed in range(60, 64)]
    _, evidence = judged(moved)
    item = told(evidence, "delay", Signal.DISTRIBUTION)
    found = re.fullmatch(
        r"(median|upper quartile) (\S+) → (\S+) \(delay < \S+: \S+ % → \S+ %\)", item.effect_text
    )
    assert found is not None
    assert float(found[3]) - float(found[2]) == pytest.approx(0.8, abs=0.1)
    assert item.since_rows == 1600
    assert item.ks is not None
    assert item.ks_null95 is not None
    assert item.ks > 2 * item.ks_null95
    assert item.wasserstein == pytest.approx(0.8, abs=0.15)
    assert 0 < (item.wasserstein_null95 or 0) < 0.16
    assert item.js is not None
    assert item.js > 2 * (item.js_null95 or 1)
    assert (item.psi or 0) > 0.2
    columns = rows(64, 400)
    columns["carrier"][:120] = "DL"
    _, evidence = judged([window(columns)])
    text = told(evidence, "carrier", Signal.DISTRIBUTION).effect_text
    assert text.startswith("carrier = DL 19.7 % → 4")
    assert text.endswith(" %")
    assert told(evidence, "delay", Signal.MISSING).effect_text == NO_CHANGE


def test_values_beyond_the_range_are_told_as_such() -> None:
    columns = rows(65, 400)
    columns["wind"] = np.where(np.arange(400) < 60, 99, columns["wind"])
    _, evidence = judged([window(columns)])
    item = told(evidence, "wind", Signal.OUT_OF_RANGE)
    assert item.effect_text == "outside the reference's range 0.01 % → 15 %"
