"""The calibration of a package: from answers and labels of each task."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mooring_model.calibrated import LEAST_ROWS, ScoreStreams, calibrate_score, score_range
from mooring_model.prediction import Prediction
from mooring_model.schema import Datatype, InputKind, InputSpec, ModelSchema, schema_of
from mooring_profile.build import ProfilePlan, build_profile
from mooring_profile.calibration import Calibration, CalibrationTask, class_stream
from mooring_profile.feature import CLASS_STREAM, FeatureKind, FeatureProfile, Segment

INPUT = InputSpec(name="x", datatype=Datatype.FP64, kind=InputKind.NUMERIC)
Numbers = np.ndarray[Any, np.dtype[np.float64]]


def schema(classes: list[str | int] | None) -> ModelSchema:
    return schema_of([INPUT], target="y", classes=classes)


def profile_of(score: Numbers) -> FeatureProfile:
    found = build_profile({}, {}, score=score, blocks=None).score
    assert found is not None
    return found


def calibrated(
    contract: ModelSchema, prediction: Prediction, truth: Any, threshold: float | None = None
) -> Calibration | None:
    streams = ScoreStreams(profile_of(prediction.score))
    return calibrate_score(contract, streams, prediction, truth, threshold=threshold, held_out=True)


def binary(rows: int, seed: int) -> tuple[Prediction, Any]:
    generator = np.random.default_rng(seed)
    score = np.round(generator.random(rows), 2)
    truth = np.where(generator.random(rows) < score, "yes", "no").astype(object)
    return Prediction({"probability": score}, score), truth


def test_binary_hits_are_the_positive_labels() -> None:
    prediction, truth = binary(2000, 1)
    found = calibrated(schema(["no", "yes"]), prediction, truth)
    assert found is not None
    assert found.task is CalibrationTask.BINARY
    only = found.maps[0]
    assert float(only.rows @ only.probability) == pytest.approx((truth == "yes").sum())
    assert float(only.rows @ only.selected) == pytest.approx((prediction.score >= 0.5).sum())


def test_binary_threshold_is_that_of_the_package() -> None:
    prediction, truth = binary(2000, 2)
    found = calibrated(schema(["no", "yes"]), prediction, truth, threshold=0.8)
    assert found is not None
    picked = float(found.maps[0].rows @ found.maps[0].selected)
    assert picked == pytest.approx((prediction.score.astype(np.float32) >= np.float32(0.8)).sum())


def test_multiclass_hits_are_the_top_classes_that_were_right() -> None:
    generator = np.random.default_rng(3)
    probability = generator.dirichlet([1, 1, 1], 1000)
    truth = np.array(["a", "b", "c"], dtype=object)[generator.integers(0, 3, 1000)]
    prediction = Prediction({"probability": probability}, probability.max(axis=1))
    found = calibrated(schema(["a", "b", "c"]), prediction, truth)
    assert found is not None
    top = np.array(["a", "b", "c"], dtype=object)[probability.argmax(axis=1)]
    assert float(found.maps[0].rows @ found.maps[0].probability) == pytest.approx(
        (top == truth).sum()
    )


def test_regression_loss_is_the_error_over_the_range_of_predictions() -> None:
    generator = np.random.default_rng(4)
    guess = generator.uniform(0, 50, 1000)
    truth = guess + generator.normal(size=1000)
    found = calibrated(schema(None), Prediction({"prediction": guess}, guess), truth)
    assert found is not None
    assert found.scale == pytest.approx(float(guess.max() - guess.min()), rel=1e-6)
    error = float(found.maps[0].rows @ found.maps[0].loss) * found.scale
    assert error == pytest.approx(np.abs(guess - truth).sum(), rel=1e-6)
    assert score_range(profile_of(np.full(9, 3.0))) == 1


def test_rows_without_a_known_label_are_left_out_and_too_few_calibrate_nothing() -> None:
    prediction, truth = binary(300, 5)
    truth[: 300 - LEAST_ROWS] = "nan"
    found = calibrated(schema(["no", "yes"]), prediction, truth)
    assert found is not None
    assert found.maps[0].rows.sum() == LEAST_ROWS
    truth[-1] = "nan"
    assert calibrated(schema(["no", "yes"]), prediction, truth) is None


def test_segments_and_chosen_classes_have_maps_of_their_own() -> None:
    generator = np.random.default_rng(6)
    names = np.array(["a", "b"], dtype=object)
    rows = 6000
    probability = generator.dirichlet([1, 1], rows)
    chosen = names[probability.argmax(axis=1)]
    country = np.array(["FR", "UK"] * (rows // 2), dtype=object)
    truth = np.where(country == "FR", chosen, names[generator.integers(0, 2, rows)])
    prediction = Prediction({"label": chosen, "probability": probability}, probability.max(axis=1))
    columns = {"country": country, CLASS_STREAM: chosen}
    profile = build_profile(
        columns,
        dict.fromkeys(columns, FeatureKind.CATEGORICAL),
        score=prediction.score,
        blocks=None,
        plan=ProfilePlan(segments=("country", CLASS_STREAM)),
    )
    streams = ScoreStreams.of(profile, {"country": country}, prediction)
    assert streams is not None
    contract = schema(["a", "b", "c"])
    found = calibrate_score(contract, streams, prediction, truth, threshold=None, held_out=True)
    assert found is not None
    maps = {item.stream: item for item in found.maps}
    assert set(maps) == {
        "@score",
        "country=FR/@score",
        "country=UK/@score",
        class_stream("a"),
        class_stream("b"),
    }
    french, british = maps["country=FR/@score"], maps["country=UK/@score"]
    assert float(french.rows @ french.probability) == pytest.approx(rows / 2)
    right = float((truth == chosen)[country == "UK"].sum())
    assert float(british.rows @ british.probability) == pytest.approx(right)
    assert found.classes == ("a", "b", "c")
    assert maps[class_stream("a")].mistakes == (0.0, 1.0, 0.0)


def test_segment_with_few_labelled_rows_has_no_map() -> None:
    prediction, truth = binary(2000, 8)
    segment = Segment("x", "1")
    part = replace(profile_of(prediction.score), name=f"{segment}/@score", segment=segment)
    few = np.arange(LEAST_ROWS - 1, dtype=np.int64)
    streams = ScoreStreams(profile_of(prediction.score), ((part, few),))
    found = calibrate_score(
        schema(["no", "yes"]), streams, prediction, truth, threshold=None, held_out=True
    )
    assert found is not None
    assert [item.stream for item in found.maps] == ["@score"]
