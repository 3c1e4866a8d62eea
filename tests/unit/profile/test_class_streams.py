"""Streams of a model of several classes: the chosen class, and the score by chosen class."""

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from mooring_profile import DriftDetector, FeatureKind, Signal, SketchRecorder
from mooring_profile.build import ProfilePlan, build_profile
from mooring_profile.calibrate import LabelledRows, calibrate
from mooring_profile.calibration import Calibration, CalibrationTask, class_stream
from mooring_profile.document import CLASS_STREAM, SCORE_STREAM, ReferenceProfile
from mooring_profile.errors import ProfileInvalid
from mooring_profile.expectation import Metric
from mooring_profile.quality import ScoreReference, estimate_quality

judge: Any = sklearn_metrics  # scikit-learn has no annotations
NAMES = np.array(["ash", "elm", "oak"], dtype=object)
KINDS = {"x": FeatureKind.NUMERIC, CLASS_STREAM: FeatureKind.CATEGORICAL}


def answers(rows: int, seed: int, shares: tuple[float, ...] = (0.5, 0.3, 0.2)) -> Any:
    """Inputs, probabilities [rows, 3], the chosen class, and the position of the true one."""
    generator = np.random.default_rng(seed)
    probability = generator.dirichlet(3 * np.array(shares) + 0.5, rows)
    truth = (probability.cumsum(axis=1) > generator.random((rows, 1))).argmax(axis=1)
    return generator.normal(size=rows), probability, NAMES[probability.argmax(axis=1)], truth


def reference(seed: int = 1, **plan: Any) -> ReferenceProfile:
    x, probability, chosen, _ = answers(20_000, seed)
    wanted = ProfilePlan(segments=(CLASS_STREAM,), **plan)
    columns = {"x": x, CLASS_STREAM: chosen}
    score = probability.max(axis=1)
    return build_profile(columns, KINDS, score=score, blocks=None, plan=wanted)


PROFILE = reference()


def recorded(seed: int, rows: int = 2000, **world: Any) -> Any:
    x, probability, chosen, _ = answers(rows, seed, **world)
    recorder = SketchRecorder(PROFILE)
    recorder.record({"x": x, CLASS_STREAM: chosen}, probability.max(axis=1))
    return recorder.snapshot(), probability, chosen


def test_profile_has_the_class_and_the_score_of_each_class_and_survives_json() -> None:
    names = [stream.name for stream in PROFILE.streams]
    assert names == ["x", SCORE_STREAM, CLASS_STREAM, *map(class_stream, ("ash", "elm", "oak"))]
    assert PROFILE.score is not None
    assert all(part.streams[0].edges == PROFILE.score.edges for part in PROFILE.segments)
    again = ReferenceProfile.from_json(json.loads(json.dumps(PROFILE.to_json())))
    assert again == PROFILE


def test_counts_by_class_are_those_of_their_rows_and_sum_to_the_score() -> None:
    sketch, probability, chosen = recorded(2)
    total = sum(sketch.counts[class_stream(name)].bins for name in NAMES)
    assert (total == sketch.counts[SCORE_STREAM].bins).all()
    edges = np.array(PROFILE.score.edges if PROFILE.score else (), dtype=np.float32)
    for name in NAMES:
        own = probability.max(axis=1)[chosen == name].astype(np.float32)
        counts = sketch.counts[class_stream(name)]
        inside = own[(own >= edges[0]) & (own < edges[-1])]
        assert counts.bins.sum() == inside.size
        assert counts.rows == own.size


def test_nothing_is_counted_of_the_class_where_nobody_says_it() -> None:
    x, probability, _, _ = answers(500, 3)
    recorder = SketchRecorder(PROFILE)
    recorder.record({"x": x}, probability.max(axis=1))
    sketch = recorder.snapshot()
    assert sketch.counts[CLASS_STREAM].rows == 0
    assert sketch.counts[class_stream("oak")].rows == 0
    assert sketch.counts[SCORE_STREAM].rows == 500


def test_detector_names_the_chosen_class_when_its_share_changes() -> None:
    detector = DriftDetector(PROFILE, false_alarm_windows=1000)
    assert (CLASS_STREAM, Signal.DISTRIBUTION) in detector.streams
    state = detector.initial()
    for seed in range(20):
        state, evidence = detector.step(state, recorded(seed, rows=500)[0])
        assert not any(item.alarm for item in evidence)
    alarmed: set[tuple[str, str | None]] = set()
    for seed in range(20, 30):
        world = recorded(seed, rows=500, shares=(0.2, 0.3, 0.5))[0]
        state, evidence = detector.step(state, world)
        alarmed |= {(item.feature, item.segment) for item in evidence if item.alarm}
    assert (CLASS_STREAM, None) in alarmed
    assert ("x", None) not in alarmed


def calibration() -> Calibration:
    _, probability, chosen, truth = answers(20_000, 7)
    rows = LabelledRows.multiclass(probability, truth)
    assert PROFILE.score is not None
    maps = [calibrate(PROFILE.score, rows, threshold=None)]
    for part in PROFILE.segments:
        own = chosen == part.segment.value
        wrong = NAMES[truth[own]]
        wrong = wrong[wrong != part.segment.value]
        shares = [float((wrong == name).mean()) for name in NAMES]
        maps.append(calibrate(part.streams[0], rows.of(own), threshold=None, mistakes=shares))
    return Calibration(CalibrationTask.MULTICLASS, tuple(maps), classes=("ash", "elm", "oak"))


def test_f1_is_estimated_from_counts_by_class_near_that_of_the_labels() -> None:
    x, probability, chosen, truth = answers(40_000, 11)
    recorder = SketchRecorder(PROFILE)
    recorder.record({"x": x, CLASS_STREAM: chosen}, probability.max(axis=1))
    found = estimate_quality(ScoreReference(calibration()), recorder.snapshot())
    assert found is not None
    actual = judge.f1_score(NAMES[truth].astype(str), chosen.astype(str), average="macro")
    assert found.metrics[Metric.F1].value == pytest.approx(float(actual), abs=0.015)
    accuracy = float((NAMES[truth] == chosen).mean())
    assert found.metrics[Metric.ACCURACY].value == pytest.approx(accuracy, abs=0.015)


def test_class_stream_is_refused_when_it_is_no_categorical_stream_of_that_name() -> None:
    feature = PROFILE.features[0]
    with pytest.raises(ProfileInvalid, match="chosen class"):
        ReferenceProfile((), None, 10, predicted=feature)
