"""Quality of NannyML's synthetic car loans without labels, against rows and against the truth.

Figures: chunks of 5,000 rows as NannyML's own tutorial has them; the truth is what the labels say
that were held back. The row-level oracle is CBPE on every row (isotonic regression of
scikit-learn), not our code.
"""

import functools
import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn import isotonic as sklearn_isotonic
from sklearn import metrics as sklearn_metrics

from mooring_profile import SketchRecorder, build_profile
from mooring_profile.calibrate import LabelledRows, calibrate
from mooring_profile.calibration import Calibration, CalibrationTask
from mooring_profile.expectation import Metric
from mooring_profile.quality import (
    QualityEstimate,
    QualityVerdict,
    ScoreReference,
    estimate_quality,
    judge_quality,
)
from mooring_profile.risk import RiskPolicy, RiskState
from mooring_profile.sketch import Sketch
from tests.statistics.car_loan import CHANGE_ROW, CarLoanTable, car_loan

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
oracle: Any = sklearn_isotonic  # scikit-learn has no annotations
judge: Any = sklearn_metrics
pandas: Any = importlib.import_module("pandas")

CHUNK = 5000
CHANGE_CHUNK = 5
THRESHOLD = 0.65
"""What the table's own decisions `y_pred` are made by."""
NANNYML = (
    (0.94179, 0.94332, 0.94549, 0.94482, 0.94464, 0.91071, 0.91115, 0.91119, 0.91439, 0.91173),
    (0.94303, 0.94132, 0.94357, 0.94316, 0.9442, 0.91175, 0.91177, 0.91166, 0.91376, 0.91475),
    (0.97074, 0.97101, 0.97141, 0.97109, 0.97112, 0.96109, 0.96182, 0.96107, 0.96253, 0.96132),
)
"""What CBPE of nannyml 0.13.1 gave for these chunks, in the order of `METRICS`."""
METRICS = (Metric.ACCURACY, Metric.F1, Metric.ROC_AUC)


@dataclass(frozen=True)
class Loans:
    """Scores and labels of a table."""

    score: FloatArray
    label: FloatArray


@functools.cache
def loans(table: CarLoanTable) -> Loans:
    frame = pandas.read_csv(car_loan(table))
    score = frame["y_pred_proba"].to_numpy(dtype=np.float64)
    labels = frame if "repaid" in frame else pandas.read_csv(car_loan(CarLoanTable.LABELS))
    return Loans(score, labels["repaid"].to_numpy(dtype=np.float64))


@dataclass(frozen=True)
class Chunk:
    """One chunk: estimated by us, by rows, and true, in the order of `METRICS`."""

    estimate: QualityEstimate
    by_row: FloatArray
    truth: FloatArray

    @property
    def ours(self) -> FloatArray:
        return np.array([self.estimate.metrics[metric].value for metric in METRICS])


def by_row(probability: FloatArray, score: FloatArray) -> FloatArray:
    """CBPE of every row: expected confusion, and expected pairs in order, ties counting half."""
    picked = score >= THRESHOLD
    tp, fn = probability[picked].sum(), probability[~picked].sum()
    fp, tn = picked.sum() - tp, (~picked).sum() - fn
    _, place = np.unique(score, return_inverse=True)
    hits, misses = np.bincount(place, probability), np.bincount(place, 1 - probability)
    won = hits @ (np.cumsum(misses) - misses / 2)
    auc = won / hits.sum() / misses.sum()
    return np.array([(tp + tn) / score.size, 2 * tp / (2 * tp + fp + fn), auc])


@pytest.fixture(scope="module")
def reference() -> ScoreReference:
    table = loans(CarLoanTable.REFERENCE)
    profile = build_profile({}, {}, score=table.score, blocks=None)
    assert profile.score is not None
    rows = LabelledRows.binary(table.score, table.label > 0)
    found = calibrate(profile.score, rows, threshold=THRESHOLD)
    return ScoreReference(Calibration(CalibrationTask.BINARY, (found,)))


def counted(score: FloatArray) -> Sketch:
    """Counts of some rows by the reference's bins."""
    table = loans(CarLoanTable.REFERENCE)
    recorder = SketchRecorder(build_profile({}, {}, score=table.score, blocks=None))
    recorder.record({}, score)
    return recorder.snapshot()


@pytest.fixture(scope="module")
def chunks(reference: ScoreReference) -> list[Chunk]:
    table, stream = loans(CarLoanTable.REFERENCE), loans(CarLoanTable.ANALYSIS)
    regression = oracle.IsotonicRegression(out_of_bounds="clip").fit(table.score, table.label)
    found: list[Chunk] = []
    for start in range(0, stream.score.size, CHUNK):
        score, label = stream.score[start : start + CHUNK], stream.label[start : start + CHUNK]
        estimate = estimate_quality(reference, counted(score))
        assert estimate is not None
        picked = score >= THRESHOLD
        truth = np.array(
            [
                judge.accuracy_score(label, picked),
                judge.f1_score(label, picked),
                judge.roc_auc_score(label, score),
            ]
        )
        found.append(Chunk(estimate, by_row(regression.predict(score), score), truth))
    return found


def test_row_level_oracle_is_what_nannyml_says(chunks: list[Chunk]) -> None:
    by_rows = np.array([chunk.by_row for chunk in chunks])
    np.testing.assert_allclose(by_rows.T, NANNYML, atol=2e-5)


def test_estimates_from_counts_are_those_of_every_row(chunks: list[Chunk]) -> None:
    distance = np.abs([chunk.ours - chunk.by_row for chunk in chunks])
    assert float(distance.max()) < 0.001  # measured: 0.0006, 0.0005 and 0.0002


def test_estimates_are_near_the_truth(chunks: list[Chunk]) -> None:
    distance = np.abs([chunk.ours - chunk.truth for chunk in chunks]).mean(axis=0)
    by_rows = np.abs([chunk.by_row - chunk.truth for chunk in chunks]).mean(axis=0)
    # The accuracy of 5,000 labels alone has a mean absolute error of 0.0027 around its own mean.
    assert (distance < [0.0033, 0.003, 0.003]).all()  # measured: 0.0032, 0.0026, 0.0021
    assert (distance < by_rows + 0.0002).all()  # those of every row: 0.0031, 0.0026, 0.0021


def test_intervals_hold_the_truth_before_the_change(chunks: list[Chunk]) -> None:
    inside = [
        chunk.estimate.metrics[metric].lower <= truth <= chunk.estimate.metrics[metric].upper
        for chunk in chunks[:CHANGE_CHUNK]
        for metric, truth in zip(METRICS, chunk.truth, strict=True)
    ]
    assert sum(inside) >= 14  # of 15


def test_quality_is_called_degraded_soon_after_the_change_and_never_before(
    reference: ScoreReference,
) -> None:
    stream = loans(CarLoanTable.ANALYSIS)
    state: RiskState | None = None
    degraded: list[int] = []
    for start in range(0, stream.score.size, 250):
        window = counted(stream.score[start : start + 250])
        policy = RiskPolicy(tolerance=0.0, false_alarm_every=1000)
        state, report = judge_quality(reference, state, str(start), window, policy=policy)
        if report.verdict is QualityVerdict.DEGRADED:
            degraded.append(start + 250)
    assert degraded[0] <= CHANGE_ROW + 250
    assert degraded[0] > CHANGE_ROW
    assert degraded[-1] == stream.score.size  # and it stays so
