"""Which segments are counted, and which rows of a batch are in each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from mooring_profile.binning import CategoricalBinner, Column, single
from mooring_profile.errors import ProfileInvalid
from mooring_profile.feature import FeatureKind, Segment
from mooring_profile.fields import IntArray
from mooring_profile.plan import ProfilePlan
from mooring_profile.segments import MOST_SEGMENTS
from mooring_profile.shapes import ranked_categories


def choose_segments(
    counts: Mapping[str, Mapping[str, int]], plan: ProfilePlan
) -> tuple[tuple[Segment, ...], tuple[str, ...]]:
    """Chooses the most frequent values of the declared columns, in turn, at most 20.

    Args:
        counts: rows of each value, by column.
        plan: says how many rows a segment needs.

    Returns:
        The segments, and what was left out and why.
    """
    notes: list[str] = []
    queues: list[list[Segment]] = []
    for column, rows in counts.items():
        ranked = ranked_categories(rows)
        enough = [text for text in ranked if rows[text] >= plan.least_segment_rows]
        queues.append([Segment(column, text) for text in enough])
        few = ranked[len(enough) :]
        if few:
            notes.append(
                f"{_listed(column, few)} not counted apart: fewer than {plan.least_segment_rows} "
                "rows of the reference each"
            )
    turns = [item for turn in zip_longest(*queues) for item in turn if item is not None]
    late = turns[MOST_SEGMENTS:]
    for column in counts:
        texts = [item.value for item in late if item.column == column]
        if texts:
            notes.append(
                f"{_listed(column, texts)} not counted apart: at most {MOST_SEGMENTS} segments are"
            )
    return tuple(turns[:MOST_SEGMENTS]), tuple(notes)


def must_be_features(segments: Sequence[str], kinds: Mapping[str, FeatureKind]) -> None:
    """Refuses columns that a pod does not see.

    Raises:
        ProfileInvalid: a column is no feature, or listed twice.
    """
    absent = sorted(set(segments) - set(kinds))
    if absent:
        raise ProfileInvalid(
            f"Segments by {absent}: not among the features {sorted(kinds)}; a pod sees features "
            "only, so name one of them"
        )
    if len(set(segments)) != len(segments):
        raise ProfileInvalid(f"Segments by {list(segments)}: name each column once")


def _listed(column: str, texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:5])
    more = f" and {len(texts) - 5} more values" if len(texts) > 5 else ""
    verb = "are" if len(texts) > 1 else "is"
    return f"{column} = {shown}{more} {verb}"


@dataclass(frozen=True)
class _Column:
    name: str
    numeric: bool
    binner: CategoricalBinner
    places: tuple[int, ...]


class Partition:
    """Finds the rows of segments."""

    def __init__(self, segments: Sequence[Segment], kinds: Mapping[str, FeatureKind]) -> None:
        self._columns: list[_Column] = []
        for name in dict.fromkeys(segment.column for segment in segments):
            own = [(at, item.value) for at, item in enumerate(segments) if item.column == name]
            self._columns.append(
                _Column(
                    name,
                    kinds[name] is FeatureKind.NUMERIC,
                    CategoricalBinner([value for _, value in own], ()),
                    tuple(at for at, _ in own),
                )
            )

    def rows_of(self, columns: Mapping[str, Column]) -> Iterator[tuple[int, IntArray]]:
        """Yields each segment's position and its rows, ascending; a segment without rows is not.

        Args:
            columns: columns [rows]; one that is absent puts no row into its segments.
        """
        for item in self._columns:
            if item.name not in columns:
                continue
            column = columns[item.name]
            cells = item.binner.cells(single(column) if item.numeric else column)
            kept = cells < len(item.places)
            order = np.flatnonzero(kept)
            order = order[np.argsort(cells[order], kind="stable")]
            sizes = np.bincount(cells[order], minlength=len(item.places))
            start = 0
            for place, size in zip(item.places, sizes.tolist(), strict=True):
                if size:
                    yield place, order[start : start + size]
                start += size
