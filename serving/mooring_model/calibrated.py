"""The calibration of a package: what its scores were worth on labelled rows.

Pure. Called while a package is assembled.
"""

import numpy as np

from mooring_model.prediction import Array, Prediction
from mooring_model.schema import ModelSchema, Task
from mooring_profile.calibrate import LabelledRows, calibrate
from mooring_profile.calibration import Calibration, CalibrationTask
from mooring_profile.feature import FeatureProfile

LEAST_ROWS = 200
"""Fewer labelled rows say too little about any score."""
USUAL_THRESHOLD = 0.5


def calibrate_score(
    schema: ModelSchema,
    score: FeatureProfile,
    prediction: Prediction,
    truth: Array,
    *,
    threshold: float | None,
    held_out: bool,
) -> Calibration | None:
    """Returns the calibration of a model's score; None with fewer than 200 labelled rows.

    Args:
        schema: tells the task and the classes.
        score: profile of the score, whose bins the calibration has.
        prediction: of n labelled rows.
        truth: [n], classes as the schema names them, or numbers; a row with a class that the
            schema does not know, or with a number that is not finite, is left out.
        threshold: of the decision of a binary model; None is 0.5.
        held_out: whether the model was not trained on these rows.
    """
    scale = 1.0
    match schema.task:
        case Task.BINARY:
            rows = LabelledRows.binary(prediction.score, truth == schema.positive_class)
            known = _known(schema, truth)
            limit = USUAL_THRESHOLD if threshold is None else threshold
        case Task.MULTICLASS:
            known = _known(schema, truth)
            places = {name: place for place, name in enumerate(schema.classes or ())}
            label = np.array([places.get(name, 0) for name in truth.tolist()], dtype=np.int64)
            rows = LabelledRows.multiclass(prediction.outputs["probability"], label)
            limit = None
        case Task.REGRESSION:
            scale = score_range(score)
            known = np.isfinite(truth)
            rows = LabelledRows.regression(prediction.score, truth, scale)
            limit = None
    rows = rows.of(known & np.isfinite(prediction.score))
    if rows.score.size < LEAST_ROWS or not score.edges:
        return None
    return Calibration(
        task=CalibrationTask(schema.task.value),
        maps=(calibrate(score, rows, threshold=limit),),
        scale=scale,
        held_out=held_out,
    )


def score_range(score: FeatureProfile) -> float:
    """Returns what an absolute error is divided by: the range of the reference's predictions.

    A model that always predicted the same number has no range: then 1. A pod does the same.
    """
    if score.minimum is None or score.maximum is None or score.maximum <= score.minimum:
        return 1.0
    return score.maximum - score.minimum


def _known(schema: ModelSchema, truth: Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    classes = set(schema.classes or ())
    return np.array([name in classes for name in truth.tolist()], dtype=np.bool_)
