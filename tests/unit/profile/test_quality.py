"""Quality from score counts: against labels, against row-level formulas, and its messages."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from mooring_profile import FeatureProfile, SketchRecorder, build_profile
from mooring_profile.calibrate import LabelledRows, calibrate
from mooring_profile.calibration import Calibration, CalibrationTask, class_stream
from mooring_profile.counts import FeatureCounts
from mooring_profile.errors import CountsInvalid
from mooring_profile.expectation import Metric
from mooring_profile.feature import Segment
from mooring_profile.quality import (
    QualityVerdict,
    ScoreReference,
    estimate_quality,
    judge_quality,
)
from mooring_profile.risk import RiskPolicy
from mooring_profile.sketch import Sketch

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
judge: Any = sklearn_metrics  # scikit-learn has no annotations
FRANCE = Segment("country", "FR")


def stream_of(score: FloatArray) -> FeatureProfile:
    found = build_profile({}, {}, score=score, blocks=None).score
    assert found is not None
    return found


def scores(rows: int, seed: int, lift: float = 1.0) -> FloatArray:
    """Scores with two decimals; `lift` above 1 makes the middle more frequent."""
    rng = np.random.default_rng(seed)
    return np.round(rng.beta(0.4 * lift, 0.5 * lift, rows), 2)


def counts_of(stream: FeatureProfile, score: FloatArray) -> FeatureCounts:
    recorder = SketchRecorder(build_profile({}, {}, score=BASE, blocks=None))
    recorder.record({}, score)
    return recorder.snapshot().counts[stream.feature]


BASE = scores(20_000, 1)
STREAM = stream_of(BASE)
LABELS = np.random.default_rng(2).random(BASE.size) < BASE
REFERENCE = ScoreReference(
    Calibration(
        CalibrationTask.BINARY,
        (calibrate(STREAM, LabelledRows.binary(BASE, LABELS), threshold=0.5),),
    )
)


def sketch_of(score: FloatArray, name: str = "@score") -> Sketch:
    return Sketch({name: counts_of(STREAM, score)})


def test_estimates_are_the_labels_when_the_traffic_is_the_reference() -> None:
    found = estimate_quality(REFERENCE, sketch_of(BASE))
    assert found is not None
    picked = BASE >= 0.5
    wanted = {
        Metric.ACCURACY: judge.accuracy_score(LABELS, picked),
        Metric.PRECISION: judge.precision_score(LABELS, picked),
        Metric.RECALL: judge.recall_score(LABELS, picked),
        Metric.F1: judge.f1_score(LABELS, picked),
        Metric.ROC_AUC: judge.roc_auc_score(LABELS, BASE),
        Metric.LOSS: judge.brier_score_loss(LABELS, BASE),
    }
    for metric, value in wanted.items():
        item = found.metrics[metric]
        assert item.value == pytest.approx(value, abs=0.002), metric
        assert item.reference == pytest.approx(item.value)
        assert item.lower < item.value < item.upper
    assert found.confusion is not None
    assert found.confusion.accuracy == pytest.approx(found.metrics[Metric.ACCURACY].value)
    assert found.confusion.f1 == pytest.approx(found.metrics[Metric.F1].value)
    assert found.rows == BASE.size


def test_estimates_follow_the_truth_when_scores_become_less_sure() -> None:
    score = scores(40_000, 3, lift=4.0)
    label = np.random.default_rng(4).random(score.size) < score
    found = estimate_quality(REFERENCE, sketch_of(score))
    assert found is not None
    truth = judge.accuracy_score(label, score >= 0.5)
    item = found.metrics[Metric.ACCURACY]
    assert item.reference is not None
    assert item.reference - truth > 0.05  # it really is worse
    assert item.value == pytest.approx(truth, abs=0.01)
    auc = judge.roc_auc_score(label, score)
    assert found.metrics[Metric.ROC_AUC].value == pytest.approx(auc, abs=0.01)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=STREAM.bin_count, max_size=STREAM.bin_count))
def test_every_estimate_is_a_share_whatever_the_counts(bins: list[int]) -> None:
    found = estimate_quality(REFERENCE, Sketch({"@score": FeatureCounts(np.array(bins), above=1)}))
    assert found is not None
    for item in found.metrics.values():
        assert 0 <= item.lower <= item.value + 1e-12
        assert item.value - 1e-12 <= item.upper <= 1
    assert found.confusion is not None
    assert found.confusion.rows == pytest.approx(sum(bins) + 1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60), st.integers(1, 6))
def test_estimate_does_not_depend_on_how_the_rows_were_spread_over_pods(
    places: list[int], pods: int
) -> None:
    score = BASE[places]
    whole = sketch_of(score)
    parts = Sketch.merge_all(sketch_of(score[pod::pods]) for pod in range(pods))
    assert estimate_quality(REFERENCE, whole) == estimate_quality(REFERENCE, parts)


def test_message_says_that_concept_drift_is_not_seen() -> None:
    found = estimate_quality(REFERENCE, sketch_of(BASE))
    assert found is not None
    assert "blind to concept drift" in found.message
    assert "accuracy" in found.message
    trained = ScoreReference(
        Calibration(CalibrationTask.BINARY, REFERENCE.calibration.maps, held_out=False)
    )
    flattering = estimate_quality(trained, sketch_of(BASE))
    assert flattering is not None
    assert "flatters" in flattering.message


def test_nothing_is_estimated_without_usable_scores() -> None:
    assert estimate_quality(REFERENCE, Sketch()) is None
    empty = FeatureCounts(np.zeros(STREAM.bin_count, dtype=np.int64), missing=9)
    assert estimate_quality(REFERENCE, Sketch({"@score": empty})) is None
    with pytest.raises(CountsInvalid, match="confidence"):
        estimate_quality(REFERENCE, sketch_of(BASE), confidence=1.0)


def test_precision_is_absent_when_nothing_is_predicted() -> None:
    found = estimate_quality(REFERENCE, sketch_of(np.full(50, 0.1)))
    assert found is not None
    assert Metric.PRECISION not in found.metrics
    assert found.metrics[Metric.RECALL].value == 0


def test_segment_is_compared_with_its_own_reference() -> None:
    part = BASE[BASE > 0.3]
    within = ScoreReference(REFERENCE.calibration, FRANCE, counts_of(STREAM, part))
    found = estimate_quality(within, sketch_of(part, "country=FR/@score"))
    assert found is not None
    item = found.metrics[Metric.ACCURACY]
    assert item.reference == pytest.approx(item.value)
    unknown = ScoreReference(REFERENCE.calibration, FRANCE)
    alone = estimate_quality(unknown, sketch_of(part, "country=FR/@score"))
    assert alone is not None
    assert alone.metrics[Metric.ACCURACY].reference is None
    _, report = judge_quality(unknown, None, "w", sketch_of(part), policy=RiskPolicy())
    assert report.verdict is QualityVerdict.INSUFFICIENT


def test_regression_estimates_its_error_in_units_of_the_label() -> None:
    rng = np.random.default_rng(5)
    predicted = rng.uniform(0, 100, 20_000)
    actual = predicted + rng.normal(0, 1 + predicted / 10)
    stream = stream_of(predicted)
    rows = LabelledRows.regression(predicted, actual, scale=100.0)
    found = Calibration(
        CalibrationTask.REGRESSION, (calibrate(stream, rows, threshold=None),), scale=100.0
    )
    later = rng.uniform(50, 100, 5000)
    recorder = SketchRecorder(build_profile({}, {}, score=predicted, blocks=None))
    recorder.record({}, later)
    estimate = estimate_quality(ScoreReference(found), recorder.snapshot())
    assert estimate is not None
    error = estimate.metrics[Metric.MEAN_ABSOLUTE_ERROR]
    truth = np.abs(rng.normal(0, 1 + later / 10)).mean()
    assert error.value == pytest.approx(truth, rel=0.05)
    assert error.reference == pytest.approx(np.abs(actual - predicted).mean(), rel=0.02)
    assert estimate.confusion is None


def test_several_classes_are_estimated_by_class_when_they_are_counted_apart() -> None:
    rng = np.random.default_rng(6)
    names = ("a", "b", "c")
    probabilities = rng.dirichlet((0.5, 0.4, 0.3), 30_000)
    label = (rng.random(30_000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    rows = LabelledRows.multiclass(probabilities, label)
    stream = stream_of(rows.score)
    top = probabilities.argmax(axis=1)
    recorder = SketchRecorder(build_profile({}, {}, score=rows.score, blocks=None))
    recorder.record({}, rows.score)
    counts = dict(recorder.snapshot().counts)
    maps = [calibrate(stream, rows, threshold=None)]
    for place, name in enumerate(names):
        mask = top == place
        wrong = np.bincount(label[mask & (label != place)], minlength=3)
        from_class = calibrate(
            _named(stream, class_stream(name)),
            rows.of(mask),
            threshold=None,
            mistakes=(wrong / wrong.sum()).tolist(),
        )
        maps.append(from_class)
        part = SketchRecorder(build_profile({}, {}, score=rows.score, blocks=None))
        part.record({}, rows.score[mask])
        counts[class_stream(name)] = part.snapshot().counts["@score"]
    reference = ScoreReference(Calibration(CalibrationTask.MULTICLASS, tuple(maps), classes=names))
    found = estimate_quality(reference, Sketch(counts))
    assert found is not None
    wanted = {
        Metric.ACCURACY: judge.accuracy_score(label, top),
        Metric.PRECISION: judge.precision_score(label, top, average="macro"),
        Metric.RECALL: judge.recall_score(label, top, average="macro"),
        Metric.F1: judge.f1_score(label, top, average="macro"),
    }
    for metric, value in wanted.items():
        assert found.metrics[metric].value == pytest.approx(value, abs=0.002), metric
    whole = estimate_quality(reference, Sketch({"@score": counts["@score"]}))
    assert whole is not None
    assert set(whole.metrics) == {Metric.ACCURACY, Metric.LOSS}
    assert whole.metrics[Metric.ACCURACY].value == pytest.approx(wanted[Metric.ACCURACY], abs=0.002)


def _named(stream: FeatureProfile, name: str) -> FeatureProfile:
    return replace(stream, name=name)


def test_window_is_degraded_when_scores_become_less_sure_and_healthy_afterwards() -> None:
    policy = RiskPolicy(tolerance=0.01, false_alarm_every=100)
    state = None
    verdicts: list[QualityVerdict] = []
    for window in range(60):
        lift = 3.0 if 20 <= window < 30 else 1.0
        sketch = sketch_of(scores(300, 100 + window, lift))
        state, report = judge_quality(REFERENCE, state, f"w{window}", sketch, policy=policy)
        verdicts.append(report.verdict)
        if window == 25:
            assert report.since == "w20"
            assert "blind to concept drift" in report.message
    assert QualityVerdict.DEGRADED not in verdicts[:20]
    assert verdicts[22] is QualityVerdict.DEGRADED
    assert verdicts[-1] is QualityVerdict.HEALTHY
    _, empty = judge_quality(REFERENCE, state, "late", Sketch(), policy=policy)
    assert empty.verdict is QualityVerdict.INSUFFICIENT
