"""All tallies of a reference, and the profile that they make."""

from collections.abc import Mapping
from dataclasses import dataclass

from mooring_profile.design import Design
from mooring_profile.document import SCORE_STREAM, ReferenceProfile, Segment, SegmentProfile
from mooring_profile.feature import CLASS_STREAM
from mooring_profile.multivariate import RECONSTRUCTION_STREAM
from mooring_profile.segments import within
from mooring_profile.tally import Tally


@dataclass(frozen=True, eq=False)
class SegmentTallies:
    """Those of a segment, by feature."""

    segment: Segment
    rows: int
    streams: Mapping[str, Tally]


@dataclass(frozen=True, eq=False)
class Tallies:
    """What was counted of a reference.

    Attributes:
        design: what it was counted by.
        rows: of the reference.
        streams: over all rows, by name.
        segments: the same within segments.
    """

    design: Design
    rows: int
    streams: Mapping[str, Tally]
    segments: tuple[SegmentTallies, ...]

    def profile(self, floor: float) -> ReferenceProfile:
        """Returns the profile, without a self-test.

        Args:
            floor: smallest difference of a share that anybody cares about, 0 to 1.
        """
        profiles = {name: tally.profile(name, floor) for name, tally in self.streams.items()}
        components = self.design.components
        error = profiles.get(RECONSTRUCTION_STREAM)
        return ReferenceProfile(
            features=tuple(profiles[name] for name in self.design.kinds if name != CLASS_STREAM),
            score=profiles.get(SCORE_STREAM),
            predicted=profiles.get(CLASS_STREAM),
            rows=self.rows,
            segments=tuple(
                SegmentProfile(
                    item.segment,
                    item.rows,
                    tuple(
                        within(item.segment, tally.profile(name, floor))
                        for name, tally in item.streams.items()
                    ),
                )
                for item in self.segments
            ),
            multivariate=None if components is None or error is None else components.profile(error),
            notes=self.design.notes,
        )
