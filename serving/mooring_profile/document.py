"""The reference profile: what the training data looked like, in a few hundred integers a feature.

Pure data with its JSON form (`profile.json` of a model package). Built by `build` or `streaming`,
read by the recorder in a pod and by the detector in the operator.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mooring_profile.arming import SelfTest, StreamTest
from mooring_profile.calibration import Calibration
from mooring_profile.errors import ProfileInvalid
from mooring_profile.feature import (
    CLASS_STREAM,
    SCORE_STREAM,
    FeatureKind,
    FeatureProfile,
    QualityBand,
    Segment,
    Signal,
    single_precision,
)
from mooring_profile.fields import Fields
from mooring_profile.multivariate import RECONSTRUCTION_STREAM, MultivariateProfile
from mooring_profile.segments import MOST_SEGMENTS, SegmentProfile

__all__ = [
    "CLASS_STREAM",
    "FORMAT_VERSION",
    "RECONSTRUCTION_STREAM",
    "SCORE_STREAM",
    "FeatureKind",
    "FeatureProfile",
    "MultivariateProfile",
    "QualityBand",
    "ReferenceProfile",
    "Segment",
    "SegmentProfile",
    "SelfTest",
    "Signal",
    "StreamTest",
    "single_precision",
]

FORMAT_VERSION = 1
T = TypeVar("T")


@dataclass(frozen=True)
class ReferenceProfile:
    """Profiles of every feature, of the model's score and of all parts, over the same rows.

    Attributes:
        features: over all rows, in the model's order.
        score: of the model's output, named `@score`; None without it.
        rows: of the reference.
        predicted: of the class that a model of several chose, named `@class`; None without it.
        segments: the same within declared parts of the rows, at most 20.
        multivariate: how the numeric features hang together; None when that is not watched.
        calibration: what a score is worth, from labelled rows; None without them.
        self_test: which streams may alarm; None: all may.
        notes: what was left out of the profile and why, for people.
    """

    features: tuple[FeatureProfile, ...]
    score: FeatureProfile | None
    rows: int
    segments: tuple[SegmentProfile, ...] = ()
    multivariate: MultivariateProfile | None = None
    calibration: Calibration | None = None
    self_test: SelfTest | None = None
    notes: tuple[str, ...] = ()
    predicted: FeatureProfile | None = None

    def __post_init__(self) -> None:
        names = [stream.name for stream in self.streams]
        if len(set(names)) != len(names):
            raise ProfileInvalid(f"A feature is listed twice among {sorted(names)}")
        if self.score is not None and self.score.name != SCORE_STREAM:
            raise ProfileInvalid(f"The score is named {self.score.name!r}, not {SCORE_STREAM!r}")
        chosen = self.predicted
        if chosen is not None and (chosen.name, chosen.kind) != (
            CLASS_STREAM,
            FeatureKind.CATEGORICAL,
        ):
            raise ProfileInvalid(
                f"The chosen class is {chosen.name!r} ({chosen.kind}); it is {CLASS_STREAM!r} and"
                " categorical"
            )
        if len(self.segments) > MOST_SEGMENTS:
            raise ProfileInvalid(
                f"The profile has {len(self.segments)} segments; at most {MOST_SEGMENTS} count"
            )
        features = {feature.name for feature in self.features}
        columns = {segment.segment.column for segment in self.segments}
        columns -= {CLASS_STREAM} if chosen is not None else set()
        columns |= set(() if self.multivariate is None else self.multivariate.features)
        if columns - features:
            raise ProfileInvalid(
                f"Segments or components are made of {sorted(columns - features)}, which are no "
                "features; a pod sees features only"
            )

    @property
    def streams(self) -> tuple[FeatureProfile, ...]:
        """All that is counted: features, score, class, reconstruction error, then all segments'."""
        score = () if self.score is None else (self.score,)
        chosen = () if self.predicted is None else (self.predicted,)
        error = () if self.multivariate is None else (self.multivariate.error,)
        parts = (stream for segment in self.segments for stream in segment.streams)
        return (*self.features, *score, *chosen, *error, *parts)

    def to_json(self) -> dict[str, object]:
        """Returns the content of `profile.json`."""
        document: dict[str, object] = {
            "formatVersion": FORMAT_VERSION,
            "rows": self.rows,
            "features": [feature.to_json() for feature in self.features],
            "score": None if self.score is None else self.score.to_json(),
        }
        if self.predicted is not None:
            document["predicted"] = self.predicted.to_json()
        if self.segments:
            document["segments"] = [segment.to_json() for segment in self.segments]
        if self.multivariate is not None:
            document["multivariate"] = self.multivariate.to_json()
        if self.calibration is not None:
            document["calibration"] = self.calibration.to_json()
        if self.self_test is not None:
            document["selfTest"] = self.self_test.to_json()
        if self.notes:
            document["notes"] = list(self.notes)
        return document

    @classmethod
    def from_json(cls, document: object) -> "ReferenceProfile":
        """Reads `profile.json`; an optional part that is absent is None or empty.

        Raises:
            ProfileInvalid: the document is of another format version, or a field is absent, of
                the wrong type or out of its range; the message names it.
        """
        fields = Fields.of(document, "profile", ProfileInvalid)
        version = fields.count("formatVersion")
        if version != FORMAT_VERSION:
            raise ProfileInvalid(
                f"profile.formatVersion is {version}; this release reads {FORMAT_VERSION}: "
                "package the model again with this release"
            )
        segments = fields.objects("segments") if "segments" in fields.values else ()
        return cls(
            features=tuple(FeatureProfile.from_fields(item) for item in fields.objects("features")),
            score=_optional(fields, "score", FeatureProfile.from_fields),
            rows=fields.count("rows"),
            segments=tuple(SegmentProfile.from_fields(item) for item in segments),
            multivariate=_optional(fields, "multivariate", MultivariateProfile.from_fields),
            calibration=_optional(fields, "calibration", Calibration.from_fields),
            self_test=_optional(fields, "selfTest", SelfTest.from_fields),
            notes=fields.texts("notes") if "notes" in fields.values else (),
            predicted=_optional(fields, "predicted", FeatureProfile.from_fields),
        )


def _optional(fields: Fields, key: str, read: Callable[[Fields], T]) -> T | None:
    """A part that may be absent or null."""
    return None if fields.values.get(key) is None else read(fields.nested(key))
