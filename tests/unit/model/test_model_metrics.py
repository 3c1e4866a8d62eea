"""Metrics against scikit-learn, and intervals against what they promise."""

import importlib
from typing import Any

import numpy as np
import pytest

from mooring_model.evaluate import Metric, evaluate
from mooring_model.prediction import Prediction
from mooring_model.schema import Datatype, InputKind, InputSpec, ModelSchema, schema_of

_metrics: Any = importlib.import_module("sklearn.metrics")
INPUT = InputSpec(name="x", datatype=Datatype.FP64, kind=InputKind.NUMERIC)


def schema(classes: list[str | int] | None) -> ModelSchema:
    return schema_of([INPUT], target="y", classes=classes)


def binary(score: Any) -> Prediction:
    return Prediction({"label": (score >= 0.5).astype(np.int64), "probability": score}, score)


def by_name(metrics: list[Metric]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


def test_binary_metrics_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    score = np.round(generator.random(500), 2).clip(0.01, 0.99)
    truth = (generator.random(500) < score).astype(np.int64)
    found = by_name(evaluate(schema([0, 1]), binary(score), truth, dataset="test"))
    assert found["logLoss"].value == pytest.approx(_metrics.log_loss(truth, score))
    assert found["brier"].value == pytest.approx(_metrics.brier_score_loss(truth, score))
    assert found["auc"].value == pytest.approx(_metrics.roc_auc_score(truth, score))
    assert found["accuracy"].value == pytest.approx(((score > 0.5) == truth).mean())
    assert all(metric.n == 500 and metric.dataset == "test" for metric in found.values())


def test_multiclass_log_loss_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(2)
    probability = generator.dirichlet([1, 1, 1], 300)
    truth = np.array([generator.choice(3, p=row) for row in probability])
    names = np.array(["a", "b", "c"], dtype=object)
    prediction = Prediction({"probability": probability}, probability.max(axis=1))
    found = by_name(evaluate(schema(["a", "b", "c"]), prediction, names[truth], dataset="train"))
    assert found["logLoss"].value == pytest.approx(_metrics.log_loss(truth, probability))
    assert "auc" not in found


def test_regression_metrics_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    truth, guess = generator.normal(size=200), generator.normal(size=200)
    prediction = Prediction({"prediction": guess}, guess)
    found = by_name(evaluate(schema(None), prediction, truth, dataset="test"))
    assert found["mae"].value == pytest.approx(_metrics.mean_absolute_error(truth, guess))
    assert found["rmse"].value == pytest.approx(_metrics.mean_squared_error(truth, guess) ** 0.5)


def test_unknown_label_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="purple"):
        evaluate(
            schema(["a", "b"]),
            binary(np.array([0.5])),
            np.array(["purple"], dtype=object),
            dataset="test",
        )


@pytest.mark.parametrize("days", [None, 40], ids=["independent rows", "rows alike within days"])
def test_interval_holds_the_true_error_about_95_times_of_100(days: int | None) -> None:
    generator = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        blocks = None if days is None else np.repeat(np.arange(days), 20)
        common = 0.0 if days is None else generator.normal(0, 1, days)[blocks]
        errors = common + generator.normal(0, 1, 800)
        truth = np.zeros(800)
        prediction = Prediction({"prediction": errors}, errors)
        mae = evaluate(schema(None), prediction, truth, dataset="test", blocks=blocks)[0]
        expected = np.sqrt(2 / np.pi) * (1.0 if days is None else np.sqrt(2))
        held += (mae.lower or 0) <= expected <= (mae.upper or 0)
    # Binomial 99.9 % limits of 300 draws around 0.95, and a little for few days.
    assert 0.88 * 300 <= held <= 0.99 * 300


def test_perfect_answers_have_no_interval_of_no_width() -> None:
    truth = np.array([0, 1] * 20)
    found = by_name(evaluate(schema([0, 1]), binary(truth.astype(float)), truth, dataset="test"))
    accuracy = found["accuracy"]
    assert accuracy.value == 1
    assert (accuracy.lower or 1) < 0.95
    assert found["auc"].lower is None


def test_one_row_has_a_value_and_no_interval() -> None:
    prediction = Prediction({"prediction": np.array([2.0])}, np.array([2.0]))
    found = evaluate(schema(None), prediction, np.array([1.0]), dataset="test")
    assert [(metric.value, metric.lower, metric.upper) for metric in found] == [(1, None, None)] * 2
