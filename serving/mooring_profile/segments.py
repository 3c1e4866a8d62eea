"""A segment of the reference: the rows with one value in one declared column, with its own streams.

Pure data with its JSON form, a part of the reference profile.
"""

from dataclasses import dataclass, replace

from mooring_profile.errors import ProfileInvalid
from mooring_profile.feature import FeatureProfile, Segment
from mooring_profile.fields import Fields

MOST_SEGMENTS = 20


@dataclass(frozen=True)
class SegmentProfile:
    """The reference distributions within one segment.

    Attributes:
        segment: which rows.
        rows: how many of the reference.
        streams: of its features, and last of its score (with the edges of the score of all rows)
            where there is one; named `{column}={value}/{feature}`.
    """

    segment: Segment
    rows: int
    streams: tuple[FeatureProfile, ...]

    def __post_init__(self) -> None:
        for stream in self.streams:
            if stream.segment != self.segment or not stream.name.startswith(f"{self.segment}/"):
                raise ProfileInvalid(
                    f"Stream {stream.name!r} is listed in segment {str(self.segment)!r}; it is "
                    f"named {str(self.segment)!r}, a slash and the feature, and has that segment"
                )

    def to_json(self) -> dict[str, object]:
        """Returns the JSON form."""
        return {
            "column": self.segment.column,
            "value": self.segment.value,
            "rows": self.rows,
            "streams": [stream.to_json() for stream in self.streams],
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> "SegmentProfile":
        """Reads the JSON form.

        Raises:
            ProfileInvalid: a field is absent, of the wrong type or out of its range.
        """
        return cls(
            segment=Segment(fields.text("column"), fields.text("value")),
            rows=fields.count("rows"),
            streams=tuple(FeatureProfile.from_fields(item) for item in fields.objects("streams")),
        )


def within(segment: Segment, stream: FeatureProfile) -> FeatureProfile:
    """Returns a stream as that of a segment: under its name."""
    return replace(stream, name=f"{segment}/{stream.name}", segment=segment)
