"""Which segments of the reference profile each row of a request is in, for its receipt.

A label that comes days later knows nothing of the row, so the receipt says it: a whole number a
row, whose bit i is set where the row is in the profile's segment i. It means something together
with the revision only, which the receipt names too.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mooring_profile.document import CLASS_STREAM, ReferenceProfile
from mooring_profile.partition import Partition
from mooring_profile.segments import MOST_SEGMENTS
from mooring_serving.protocol.messages import Column

LIMIT = 1 << MOST_SEGMENTS
"""Every number is below it."""


class RowSegments:
    """Finds the segments of rows; may be used by several threads.

    Args:
        profile: The version's reference profile, with at least one segment.
    """

    def __init__(self, profile: ReferenceProfile) -> None:
        segments = [part.segment for part in profile.segments]
        chosen = () if profile.predicted is None else (profile.predicted,)
        kinds = {feature.name: feature.kind for feature in (*profile.features, *chosen)}
        self._columns = tuple(dict.fromkeys(segment.column for segment in segments))
        self._partition = Partition(segments, kinds)

    def of(self, columns: Mapping[str, Column], rows: int, chosen: Column | None) -> list[int]:
        """One number a row.

        Args:
            columns: One array [rows] or [rows, 1] a feature.
            rows: Rows.
            chosen: The class [rows] that the model chose, of those that do.
        """
        found = np.zeros(rows, dtype=np.int64)
        present = {name: columns[name].reshape(-1) for name in self._columns if name in columns}
        if chosen is not None:
            present[CLASS_STREAM] = chosen.reshape(-1)
        for place, own in self._partition.rows_of(present):
            found[own] |= 1 << place
        return found.tolist()


def places_in(segments: int) -> Sequence[int]:
    """The segments that a row's number names."""
    return [place for place in range(segments.bit_length()) if segments >> place & 1]
