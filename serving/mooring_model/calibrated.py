"""The calibration of a package: what its scores were worth on labelled rows.

Pure. Called while a package is assembled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mooring_model.prediction import Array, Columns, Prediction
from mooring_model.schema import ModelSchema, Task
from mooring_profile.binning import category_text
from mooring_profile.calibrate import LabelledRows, calibrate
from mooring_profile.calibration import Calibration, CalibrationTask
from mooring_profile.document import ReferenceProfile
from mooring_profile.feature import CLASS_STREAM, SCORE_STREAM, FeatureProfile
from mooring_profile.fields import IntArray
from mooring_profile.partition import Partition

LEAST_ROWS = 200
"""Fewer labelled rows say too little about any score."""
USUAL_THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class ScoreStreams:
    """The streams of a score.

    Attributes:
        whole: profile over all rows.
        parts: profiles within segments (of features, or of the chosen class), each with the
            positions of its labelled rows.
    """

    whole: FeatureProfile
    parts: Sequence[tuple[FeatureProfile, IntArray]] = ()

    @classmethod
    def of(
        cls, profile: ReferenceProfile, columns: Columns, prediction: Prediction
    ) -> "ScoreStreams | None":
        """Those of a profile; None where it has no score.

        Args:
            profile: the reference.
            columns: of the labelled rows, by feature.
            prediction: of the same rows.
        """
        if profile.score is None:
            return None
        chosen = () if profile.predicted is None else (profile.predicted,)
        kinds = {feature.name: feature.kind for feature in (*profile.features, *chosen)}
        known = dict(columns)
        if chosen:
            known[CLASS_STREAM] = prediction.outputs["label"]
        partition = Partition([part.segment for part in profile.segments], kinds)
        rows = dict(partition.rows_of({name: array.reshape(-1) for name, array in known.items()}))
        streams = (
            (stream, rows[place])
            for place, part in enumerate(profile.segments)
            for stream in part.streams
            if stream.feature == SCORE_STREAM and place in rows
        )
        return cls(profile.score, tuple(streams))


def calibrate_score(
    schema: ModelSchema,
    streams: ScoreStreams,
    prediction: Prediction,
    truth: Array,
    *,
    threshold: float | None,
    held_out: bool,
) -> Calibration | None:
    """Returns the calibration of a model's score; None with fewer than 200 labelled rows.

    Args:
        schema: tells the task and the classes.
        streams: of the score, whose bins the calibration has.
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
            scale = score_range(streams.whole)
            known = np.isfinite(truth)
            rows = LabelledRows.regression(prediction.score, truth, scale)
            limit = None
    usable = known & np.isfinite(prediction.score)
    if int(usable.sum()) < LEAST_ROWS or not streams.whole.edges:
        return None
    maps = [calibrate(streams.whole, rows.of(usable), threshold=limit)]
    classes = _texts(schema) if schema.task is Task.MULTICLASS else ()
    for stream, positions in streams.parts:
        own = positions[usable[positions]]
        if own.size < LEAST_ROWS or not stream.edges:
            continue
        label = _chosen_class(stream)
        mistakes = () if label is None else _mistakes(truth[own], label, classes)
        maps.append(calibrate(stream, rows.of(own), threshold=limit, mistakes=mistakes))
    return Calibration(
        task=CalibrationTask(schema.task.value),
        maps=tuple(maps),
        classes=classes,
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


def _chosen_class(stream: FeatureProfile) -> str | None:
    """The class whose rows a stream counts; None: those of a segment of a feature."""
    segment = stream.segment
    return segment.value if segment is not None and segment.column == CLASS_STREAM else None


def _mistakes(truth: Array, label: str, classes: Sequence[str]) -> list[float]:
    """The shares of the true classes among the rows that were wrongly put into one."""
    wrong = [text for text in map(category_text, truth.tolist()) if text != label]
    return [wrong.count(name) / len(wrong) if wrong else 0.0 for name in classes]


def _texts(schema: ModelSchema) -> tuple[str, ...]:
    """The classes as streams name them."""
    return tuple(category_text(name) or "" for name in schema.classes or ())


def _known(schema: ModelSchema, truth: Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    classes = set(schema.classes or ())
    return np.array([name in classes for name in truth.tolist()], dtype=np.bool_)
