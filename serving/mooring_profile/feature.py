"""One stream of the reference profile: the distribution of a feature, with what is normal there.

Pure data with its JSON form. A stream is a feature, the score, the reconstruction error, or one of
them within a segment; `document` holds all of a profile.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mooring_profile.counts import FeatureCounts
from mooring_profile.errors import ProfileInvalid
from mooring_profile.fields import Fields

SCORE_STREAM = "@score"
"""Name of the stream that holds the model's own output."""
CLASS_STREAM = "@class"
"""Name of the stream of the class that a model of several chose; rows are segmented by it like by a
feature."""


class FeatureKind(StrEnum):
    """How a feature's values are compared."""

    NUMERIC = "numeric"
    """Ordered: shares below each edge."""
    CATEGORICAL = "categorical"
    """Unordered: shares of each category."""


class Signal(StrEnum):
    """What a stream of the detector watches."""

    DISTRIBUTION = "Distribution"
    """The distribution of the values that are present."""
    MISSING = "Missing"
    """The share of rows without a value."""
    INVALID = "Invalid"
    """The share of rows with an infinite value or one of the wrong type."""
    OUT_OF_RANGE = "OutOfRange"
    """The share of present values outside the reference's range."""
    RARE = "Rare"
    """The shares of rare categories and bins, each judged relative to itself."""
    UNSEEN = "Unseen"
    """The share of present values that are categories the reference does not know."""


@dataclass(frozen=True)
class Segment:
    """A part of the rows that is counted on its own: those with one value in one column."""

    column: str
    value: str

    def __str__(self) -> str:
        return f"{self.column}={self.value}"


@dataclass(frozen=True)
class QualityBand:
    """What is normal for one data-quality signal of a feature.

    Attributes:
        signal: which share it is about; neither the distribution nor rare bins.
        share: expected share of rows, 0 to 1.
        tolerance: how far above `share` is still normal, 0 to 1.
        design_effect: rows that weigh as one independent row, >= 1.
    """

    signal: Signal
    share: float
    tolerance: float
    design_effect: float


@dataclass(frozen=True)
class FeatureProfile:
    """The reference distribution of one feature.

    Attributes:
        name: the feature, or `@score`; in a segment `{column}={value}/{feature}`.
        kind: numeric or categorical.
        edges: numeric only, strictly ascending, in single precision; bin i is
            `[edges[i], edges[i + 1])`. Empty when the reference has no value at all.
        categories: categorical only, the categories with a bin of their own, most frequent first.
        other_categories: known categories that share the last bin.
        counts: rows of the reference per bin.
        tolerance: largest difference of a share (below an edge, or of a category) that is normal.
        design_effect: rows that weigh as one independent row, >= 1.
        quality: the data-quality signals with what is normal for each.
        minimum: smallest finite value, for people; None without values. So are the next three.
        maximum: largest finite value.
        mean: arithmetic mean of the finite values.
        sd: population standard deviation of the finite values.
        segment: the rows that it speaks about; None for all.
    """

    name: str
    kind: FeatureKind
    counts: FeatureCounts
    tolerance: float
    design_effect: float
    quality: tuple[QualityBand, ...]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    other_categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    sd: float | None = None
    segment: Segment | None = None

    def __post_init__(self) -> None:
        where = f"feature {self.name!r}"
        if not 0 <= self.tolerance <= 1:
            raise ProfileInvalid(f"{where}: tolerance {self.tolerance} is not within [0, 1]")
        if not self.design_effect >= 1:
            raise ProfileInvalid(f"{where}: design effect {self.design_effect} is below 1")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ProfileInvalid(f"{where}: edges are not strictly ascending")
        if len(set(self.categories) | set(self.other_categories)) != len(self.categories) + len(
            self.other_categories
        ):
            raise ProfileInvalid(f"{where}: a category is listed twice")
        if self.counts.bins.size != self.bin_count:
            raise ProfileInvalid(
                f"{where}: {self.counts.bins.size} bins are counted where its edges or categories "
                f"make {self.bin_count}; build the profile again from the training table"
            )

    @property
    def feature(self) -> str:
        """The feature's own name, without its segment."""
        return self.name if self.segment is None else self.name.removeprefix(f"{self.segment}/")

    @property
    def bin_count(self) -> int:
        """Number of bins: between edges, or one per category and one for the other known ones."""
        if self.kind is FeatureKind.NUMERIC:
            return max(0, len(self.edges) - 1)
        return len(self.categories) + 1

    def to_json(self) -> dict[str, object]:
        """Returns the JSON form."""
        found: dict[str, object] = {
            "name": self.name,
            "kind": self.kind.value,
            "edges": list(self.edges),
            "categories": list(self.categories),
            "otherCategories": list(self.other_categories),
            "counts": self.counts.to_json(),
            "tolerance": self.tolerance,
            "designEffect": self.design_effect,
            "quality": [
                {
                    "signal": band.signal.value,
                    "share": band.share,
                    "tolerance": band.tolerance,
                    "designEffect": band.design_effect,
                }
                for band in self.quality
            ],
            "minimum": self.minimum,
            "maximum": self.maximum,
            "mean": self.mean,
            "sd": self.sd,
        }
        if self.segment is not None:
            found["segment"] = {"column": self.segment.column, "value": self.segment.value}
        return found

    @classmethod
    def from_fields(cls, fields: Fields) -> "FeatureProfile":
        """Reads the JSON form.

        Raises:
            ProfileInvalid: a field is absent or out of its range.
        """
        return cls(
            name=fields.text("name"),
            kind=fields.choice("kind", FeatureKind),
            edges=fields.numbers("edges"),
            categories=fields.texts("categories"),
            other_categories=fields.texts("otherCategories"),
            counts=FeatureCounts.from_json(fields.raw("counts"), f"{fields.where}.counts"),
            tolerance=fields.number("tolerance"),
            design_effect=fields.number("designEffect"),
            quality=tuple(_band_from_fields(band) for band in fields.objects("quality")),
            minimum=fields.optional_number("minimum"),
            maximum=fields.optional_number("maximum"),
            mean=fields.optional_number("mean"),
            sd=fields.optional_number("sd"),
            segment=_segment_from_fields(fields),
        )


def single_precision(values: tuple[float, ...]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Returns edges as float32 [len(values)], the precision in which values are compared."""
    return np.array(values, dtype=np.float32)


def _segment_from_fields(fields: Fields) -> Segment | None:
    if fields.values.get("segment") is None:
        return None
    segment = fields.nested("segment")
    return Segment(segment.text("column"), segment.text("value"))


def _band_from_fields(fields: Fields) -> QualityBand:
    signal = fields.choice("signal", Signal)
    if signal in (Signal.DISTRIBUTION, Signal.RARE):
        raise fields.refuse("signal", signal.value, "a data-quality signal")
    return QualityBand(
        signal=signal,
        share=fields.number("share"),
        tolerance=fields.number("tolerance"),
        design_effect=fields.number("designEffect"),
    )
