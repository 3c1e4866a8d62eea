"""What a score is worth: how often it was right, per bin of the score, on labelled rows.

Pure data with its JSON form, a part of the reference profile. `calibrate` makes it once from
labelled rows; `quality` multiplies it with the counts of traffic to estimate how good the model is
before any label arrives. Every array is over the *cells* of a score stream: that of values below
the first edge, the bins, that of values above the last.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mooring_profile.counts import FeatureCounts
from mooring_profile.errors import CountsInvalid, ProfileInvalid
from mooring_profile.feature import CLASS_STREAM, SCORE_STREAM, Segment
from mooring_profile.fields import Fields, FloatArray


class CalibrationTask(StrEnum):
    """What the score says and what a label makes of it."""

    BINARY = "binary"
    """The score is the probability of the positive class; a hit is a positive label."""
    MULTICLASS = "multiclass"
    """The score is the largest probability; a hit is a label of that class."""
    REGRESSION = "regression"
    """The score is the predicted number; there are no hits, only losses."""


@dataclass(frozen=True, eq=False)
class CalibrationMap:
    """What the cells of one score stream are worth; arrays are float64 [bins + 2].

    Attributes:
        stream: name of the counted stream.
        rows: labelled rows of the reference.
        probability: of a hit, never falling with the score: the mean of the isotonic fit to the
            cell's rows; all 0 for a regression.
        selected: share of rows at or above the decision threshold; all 1 without one.
        loss: mean loss.
        loss_variance: population variance of the loss.
        order: probability that of a hit and a miss in this cell the hit has the higher score.
        design_effect: rows that weigh as one independent row, >= 1.
        mistakes: multiclass only, [classes]: where the predicted class is wrong, the shares of the
            true ones; empty otherwise.
    """

    stream: str
    rows: FloatArray
    probability: FloatArray
    selected: FloatArray
    loss: FloatArray
    loss_variance: FloatArray
    order: FloatArray
    design_effect: float = 1.0
    mistakes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        arrays = (self.probability, self.selected, self.loss, self.loss_variance, self.order)
        if self.rows.size < 2 or any(item.size != self.rows.size for item in arrays):
            sizes = [self.rows.size, *(item.size for item in arrays)]
            raise ProfileInvalid(
                f"calibration of {self.stream!r}: its lists have {sizes} items; each needs one a "
                "bin and two more: package the model again"
            )
        if not (self.rows >= 0).all() or not self.rows.sum() > 0:
            raise ProfileInvalid(f"calibration of {self.stream!r}: rows are below 0, or none")
        for name, item in zip(_SHARES, arrays, strict=True):
            if not ((item >= 0) & (item <= 1)).all():
                raise ProfileInvalid(f"calibration of {self.stream!r}: {name} is not in [0, 1]")
        if not self.design_effect >= 1:
            raise ProfileInvalid(
                f"calibration of {self.stream!r}: design effect {self.design_effect} is below 1"
            )

    def cells_of(self, counts: FeatureCounts) -> FloatArray:
        """Returns counts of the stream as float64 [bins + 2]; missing and invalid are left out.

        Raises:
            CountsInvalid: counts of another number of bins.
        """
        if counts.bins.size + 2 != self.rows.size:
            raise CountsInvalid(
                f"Counts of {self.stream!r} have {counts.bins.size} bins, its calibration has "
                f"{self.rows.size - 2}: they come from another version's profile"
            )
        return np.concatenate([[counts.below], counts.bins, [counts.above]]).astype(np.float64)

    def to_json(self) -> dict[str, object]:
        """Returns the JSON form."""
        return {
            "stream": self.stream,
            "rows": self.rows.tolist(),
            "probability": self.probability.tolist(),
            "selected": self.selected.tolist(),
            "loss": self.loss.tolist(),
            "lossVariance": self.loss_variance.tolist(),
            "order": self.order.tolist(),
            "designEffect": self.design_effect,
            "mistakes": list(self.mistakes),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> "CalibrationMap":
        """Reads the JSON form.

        Raises:
            ProfileInvalid: a field is absent, of the wrong length or out of its range.
        """
        return cls(
            stream=fields.text("stream"),
            rows=np.array(fields.numbers("rows")),
            probability=np.array(fields.numbers("probability")),
            selected=np.array(fields.numbers("selected")),
            loss=np.array(fields.numbers("loss")),
            loss_variance=np.array(fields.numbers("lossVariance")),
            order=np.array(fields.numbers("order")),
            design_effect=fields.number("designEffect"),
            mistakes=fields.numbers("mistakes"),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CalibrationMap):
            return NotImplemented
        return self.to_json() == other.to_json()


_SHARES = ("probability", "selected", "loss", "lossVariance", "order")


@dataclass(frozen=True)
class Calibration:
    """The calibration of a model's score, in all and in parts.

    Attributes:
        task: what the score says.
        maps: that of `@score` first, then those of segments (`country=FR/@score`) and of predicted
            classes (`class_stream`) that had enough labelled rows.
        classes: multiclass only, what `mistakes` speaks about.
        scale: regression only, in units of the label: a loss of 1; otherwise 1.
        held_out: whether the labelled rows were not trained on. Otherwise estimates flatter.
    """

    task: CalibrationTask
    maps: tuple[CalibrationMap, ...]
    classes: tuple[str, ...] = ()
    scale: float = 1.0
    held_out: bool = True

    def __post_init__(self) -> None:
        names = [item.stream for item in self.maps]
        if not names or len(set(names)) != len(names):
            raise ProfileInvalid(
                f"calibration.maps are of {names}; they must name each stream once"
            )
        if not self.scale > 0:
            raise ProfileInvalid(f"calibration.scale is {self.scale}; it must be above 0")
        odd = [
            item.stream for item in self.maps if len(item.mistakes) not in {0, len(self.classes)}
        ]
        if odd:
            raise ProfileInvalid(f"calibration.maps of {odd}: mistakes need one item a class")

    def map_of(self, stream: str) -> CalibrationMap | None:
        """Returns the map of a stream, None where there is none."""
        return next((item for item in self.maps if item.stream == stream), None)

    def to_json(self) -> dict[str, object]:
        """Returns the JSON form."""
        return {
            "task": self.task.value,
            "classes": list(self.classes),
            "scale": self.scale,
            "heldOut": self.held_out,
            "maps": [item.to_json() for item in self.maps],
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> "Calibration":
        """Reads the JSON form.

        Raises:
            ProfileInvalid: a field is absent, of the wrong type or out of its range.
        """
        held_out = fields.raw("heldOut")
        if not isinstance(held_out, bool):
            raise fields.refuse("heldOut", held_out, "true or false")
        return cls(
            task=fields.choice("task", CalibrationTask),
            maps=tuple(CalibrationMap.from_fields(item) for item in fields.objects("maps")),
            classes=fields.texts("classes"),
            scale=fields.number("scale"),
            held_out=held_out,
        )


def class_stream(label: str) -> str:
    """Names the stream of scores of the rows that a model of several classes put into one.

    It has the edges of `@score`, whose counts are the sum over all classes.
    """
    return f"{Segment(CLASS_STREAM, label)}/{SCORE_STREAM}"
