"""Sketches: the counts of all features over a stretch of traffic, and the recorder that makes them.

A sketch is a value: pods record cumulative ones, the operator subtracts and merges them into
windows. Addition is exact, so verdicts do not depend on the number or order of replicas.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from mooring_profile.binning import Binner, Column, binner_of
from mooring_profile.counts import NAMED_CELLS, FeatureCounts
from mooring_profile.document import (
    CLASS_STREAM,
    RECONSTRUCTION_STREAM,
    SCORE_STREAM,
    FeatureKind,
    FeatureProfile,
    ReferenceProfile,
)
from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import Fields, IntArray
from mooring_profile.partition import Partition
from mooring_profile.reconstruction import Components
from mooring_profile.sorting import NumericColumn, NumericColumns

__all__ = ["FeatureCounts", "Sketch", "SketchRecorder", "cell_count", "sketch_of"]


@dataclass(frozen=True)
class Sketch:
    """Counts by feature name (`@score` for the model's output)."""

    counts: Mapping[str, FeatureCounts] = field(default_factory=dict[str, FeatureCounts])

    def merge(self, other: "Sketch") -> "Sketch":
        """Adds two sketches; a feature that only one of them has is taken as it is."""
        merged = dict(self.counts)
        for name, counts in other.counts.items():
            merged[name] = merged[name].merge(counts) if name in merged else counts
        return Sketch(merged)

    @classmethod
    def merge_all(cls, sketches: Iterable["Sketch"]) -> "Sketch":
        """Adds any number of sketches; none at all give the empty one."""
        return reduce(lambda total, sketch: total.merge(sketch), sketches, cls())

    def subtract(self, earlier: "Sketch") -> "Sketch":
        """Takes an earlier cumulative sketch of the same source away.

        Raises:
            CountsInvalid: `earlier` counts more than this one somewhere, so it is not earlier.
        """
        lost = sorted(set(earlier.counts) - set(self.counts))
        if lost:
            raise CountsInvalid(
                f"The later sketch lacks {lost}; it was made with another profile: take it as it is"
            )
        return Sketch(
            {
                name: counts.subtract(earlier.counts[name]) if name in earlier.counts else counts
                for name, counts in self.counts.items()
            }
        )

    def to_json(self) -> dict[str, object]:
        """Returns the `counts` of docs/contracts.md §2, features in sorted order."""
        return {name: self.counts[name].to_json() for name in sorted(self.counts)}

    @classmethod
    def from_json(cls, document: object) -> "Sketch":
        """Reads the `counts` of docs/contracts.md §2.

        Raises:
            CountsInvalid: the document is not of that shape; the message names the field.
        """
        fields = Fields.of(document, "counts", CountsInvalid)
        return cls(
            {
                name: FeatureCounts.from_json(item, f"counts.{name}")
                for name, item in fields.values.items()
            }
        )


class SketchRecorder:
    """Counts batches of rows against a profile.

    Not safe for concurrent use: give each thread its own and merge the snapshots. Cost is per
    batch rather than per row, so collect some hundreds of rows before recording.

    Args:
        profile: what to count against.
        cells: int64 [cell_count(profile)] to go on counting in; None starts with zeros.

    Attributes:
        cells: the counts of all streams one after the other; those of several recorders of one
            profile add.
    """

    def __init__(self, profile: ReferenceProfile, cells: IntArray | None = None) -> None:
        chosen = () if profile.predicted is None else (profile.predicted,)
        columns = {feature.name: feature.kind for feature in (*profile.features, *chosen)}
        self._columns = tuple(columns)
        self._components = (
            None if profile.multivariate is None else Components.of(profile.multivariate)
        )
        self._whole, *self._parts = _groups(profile)
        self._partition = Partition([item.segment for item in profile.segments], columns)
        self.cells = np.zeros(cell_count(profile), np.int64) if cells is None else cells
        self._totals = _streams_in(profile, self.cells)

    def record(self, columns: Mapping[str, Column], score: Column | None) -> None:
        """Counts one batch.

        Args:
            columns: a column [rows] or [rows, 1] for each feature, and `@class`; a feature that is
                absent counts as missing in every row, a name that the profile does not know is
                left out.
            score: the model's output [rows], or None when there is none to count.

        Raises:
            CountsInvalid: columns differ in length; nothing of the batch is counted.
        """
        flat = {name: columns[name].reshape(-1) for name in self._columns if name in columns}
        if score is not None:
            flat[SCORE_STREAM] = score.reshape(-1)
        lengths = {column.size for column in flat.values()}
        if len(lengths) > 1:
            sizes = {name: column.size for name, column in flat.items()}
            raise CountsInvalid(f"Columns of one batch differ in rows: {sizes}")
        rows = lengths.pop() if lengths else 0
        parts = list(self._partition.rows_of(flat))
        if self._components is not None:
            flat[RECONSTRUCTION_STREAM] = self._components.errors(flat, rows)
        self._whole.add(flat, rows, self.cells)
        for place, own in parts:
            part = {name: column[own] for name, column in flat.items()}
            self._parts[place].add(part, own.size, self.cells)

    def snapshot(self) -> Sketch:
        """Returns what was counted since construction; later batches do not change it."""
        return _sketch(self._totals)


def cell_count(profile: ReferenceProfile) -> int:
    """Returns the cells of all of a profile's streams together."""
    return sum(binner_of(stream).cell_count for stream in profile.streams)


def sketch_of(profile: ReferenceProfile, cells: IntArray) -> Sketch:
    """Reads a recorder's `cells`, or the sum of several.

    Args:
        profile: what they were counted against.
        cells: int64 [cell_count(profile)].
    """
    return _sketch(_streams_in(profile, cells))


def _streams_in(profile: ReferenceProfile, cells: IntArray) -> dict[str, IntArray]:
    """Views of each stream's counts in the flat array."""
    views: dict[str, IntArray] = {}
    start = 0
    for stream in profile.streams:
        stop = start + binner_of(stream).cell_count
        views[stream.name] = cells[start:stop]
        start = stop
    return views


class _Group:
    """The streams that count the same rows: all of them, or those of a segment."""

    def __init__(self, streams: Sequence[FeatureProfile], start: int) -> None:
        numeric: list[NumericColumn] = []
        self._places: dict[str, tuple[Binner, slice]] = {}
        for stream in streams:
            binner = binner_of(stream)
            self._places[stream.feature] = binner, slice(start, start + binner.cell_count)
            if stream.kind is FeatureKind.NUMERIC and stream.edges:
                numeric.append(NumericColumn(stream.feature, stream.edges, start))
            start += binner.cell_count
        self._numeric = NumericColumns(numeric)
        self.end = start

    def add(self, columns: Mapping[str, Column], rows: int, cells: IntArray) -> None:
        """Counts columns [rows] by feature; a feature that is absent is missing in every row."""
        counted = self._numeric.add(columns, cells)
        for name, (binner, place) in self._places.items():
            if name in counted:
                continue
            if name in columns:
                binner.add(columns[name], cells[place])
            elif name not in (SCORE_STREAM, CLASS_STREAM):
                cells[place.stop - len(NAMED_CELLS)] += rows


def _groups(profile: ReferenceProfile) -> list[_Group]:
    """Those of all rows, then those of each segment, in the order of `profile.streams`."""
    inner = sum(len(item.streams) for item in profile.segments)
    whole = profile.streams[: len(profile.streams) - inner]
    groups = [_Group(whole, 0)]
    for segment in profile.segments:
        groups.append(_Group(segment.streams, groups[-1].end))
    return groups


def _sketch(totals: Mapping[str, IntArray]) -> Sketch:
    return Sketch({name: FeatureCounts.from_cells(cells) for name, cells in totals.items()})
