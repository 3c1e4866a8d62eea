"""Counts of one stream of the reference by runs of rows, and the profile that they make.

Rows come in batches; the result does not depend on how they were cut.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mooring_profile.binning import CategoricalBinner, Column, NumericBinner, as_floats
from mooring_profile.blocks import TimeBlocks
from mooring_profile.coding import FIRST, INVALID, MISSING, CodedColumn
from mooring_profile.counts import NAMED_CELLS, FeatureCounts
from mooring_profile.dispersion import INDEPENDENT, Dispersion, measure_dispersion
from mooring_profile.feature import FeatureProfile, QualityBand, Signal
from mooring_profile.fields import FloatArray, IntArray
from mooring_profile.shapes import CategoricalShape, NumericShape, Shape

_NAMED = len(NAMED_CELLS)
_MISSING, _UNSEEN, _BELOW, _ABOVE, _INVALID = range(-_NAMED, 0)


@dataclass(frozen=True)
class Moments:
    """Of finite values; mergeable (Chan, Golub, LeVeque 1983, equation 2.1)."""

    rows: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    @classmethod
    def of(cls, values: FloatArray) -> "Moments":
        """Returns those of finite values [rows]."""
        if not values.size:
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values.mean())
            squares = float(values.var()) * values.size
        return cls(values.size, mean, squares, float(values.min()), float(values.max()))

    def merge(self, other: "Moments") -> "Moments":
        """Adds those of other rows."""
        if not self.rows or not other.rows:
            return self if self.rows else other
        rows = self.rows + other.rows
        apart = other.mean - self.mean
        return Moments(
            rows,
            self.mean + apart * other.rows / rows,
            self.squares + other.squares + apart * apart * (self.rows * other.rows / rows),
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )


@dataclass(frozen=True, eq=False)
class Tally:
    """What was counted of one stream.

    Attributes:
        shape: what its cells are.
        blocks: the blocks of time; cells of rows in none are in the last line of the tables.
        table: int32 [runs + 1, cells], rows by run and cell (the bins, then `NAMED_CELLS`).
        novel: int64 [runs + 1, 2], rows that are below and above the range of all other blocks;
            for categories the first is 0 and the second counts those that no other block has.
        moments: of finite values; empty for categories.
    """

    shape: Shape
    blocks: TimeBlocks
    table: npt.NDArray[np.int32]
    novel: IntArray
    moments: Moments

    def profile(self, name: str, floor: float) -> FeatureProfile:
        """Returns the profile of the stream.

        Args:
            name: of the stream.
            floor: smallest difference of a share that anybody cares about, 0 to 1.
        """
        cells = self.table.astype(np.int64)
        present = cells.sum(axis=1) - cells[:, _MISSING] - cells[:, _INVALID]
        levels = self._levels(cells)
        ordered = isinstance(self.shape, NumericShape)
        spread = self._dispersion(levels, cumulative=ordered)
        outside = cells[:, [_BELOW, _ABOVE]].sum(axis=1) if ordered else cells[:, _UNSEEN]
        novel = self.novel.sum(axis=1) + outside
        signal = Signal.OUT_OF_RANGE if ordered else Signal.UNSEEN
        quality = (
            self._band(Signal.MISSING, cells[:, _MISSING], cells.sum(axis=1), None, floor),
            self._band(Signal.INVALID, cells[:, _INVALID], cells.sum(axis=1), None, floor),
            self._band(signal, novel, present, self._novelty(novel, present), floor),
        )
        moments = self.moments
        sd = math.sqrt(moments.squares / moments.rows) if moments.rows else None
        return FeatureProfile(
            name=name,
            kind=self.shape.kind,
            edges=self.shape.edges if isinstance(self.shape, NumericShape) else (),
            categories=self.shape.top if isinstance(self.shape, CategoricalShape) else (),
            other_categories=self.shape.other if isinstance(self.shape, CategoricalShape) else (),
            counts=FeatureCounts.from_cells(cells.sum(axis=0)),
            tolerance=_tolerance(spread, int(present.sum()), floor),
            design_effect=spread.design_effect,
            quality=quality,
            minimum=moments.minimum if moments.rows else None,
            maximum=moments.maximum if moments.rows else None,
            mean=_finite(moments.mean) if moments.rows else None,
            sd=_finite(sd),
        )

    def of_runs(self, kept: npt.NDArray[np.bool_]) -> "Tally":
        """Returns the counts of some runs; `kept` is bool [runs + 1]. The moments stay."""
        return replace(self, table=self.table * kept[:, None], novel=self.novel * kept[:, None])

    def as_seen_by_others(self) -> IntArray:
        """Returns the table as if each block met the reference of all other blocks.

        Values beyond the others' range, and categories that no other block has, are counted as
        such and no longer in their bins; int64 [runs + 1, cells].
        """
        cells = self.table.astype(np.int64)
        bins = cells[:, :-_NAMED]
        if isinstance(self.shape, CategoricalShape):
            alone = [text in (self.shape.novel or ()) for text in self.shape.top]
            own = np.flatnonzero(alone)
            others = self.novel[:, 1] - bins[:, own].sum(axis=1)
            bins[:, own] = 0
            bins[:, -1] -= others
            cells[:, _UNSEEN] += self.novel[:, 1]
            return cells
        # Novel values are the lowest and the highest of their run.
        for side, cell, ordered in ((0, _BELOW, bins), (1, _ABOVE, bins[:, ::-1])):
            before = np.cumsum(ordered, axis=1) - ordered
            ordered -= np.clip(self.novel[:, side, None] - before, 0, ordered)
            cells[:, cell] += self.novel[:, side]
        return cells

    def _levels(self, cells: IntArray) -> IntArray:
        """Rows by run and level of what is present: what lies outside the bins has the last."""
        bins = cells[:, :-_NAMED]
        outside = cells[:, [_UNSEEN, _BELOW, _ABOVE]].sum(axis=1, keepdims=True)
        if isinstance(self.shape, CategoricalShape) or bins.shape[1] < 2:
            return np.hstack([bins, outside])
        return np.hstack([bins[:, :-1], bins[:, -1:] + outside])

    def _dispersion(self, levels: IntArray, *, cumulative: bool) -> Dispersion:
        if not self.blocks.blocks or levels.shape[1] < 2:
            return INDEPENDENT
        return measure_dispersion(levels[:-1], self.blocks.block_of_run, cumulative=cumulative)

    def _novelty(self, novel: IntArray, present: IntArray) -> float:
        rows = int(present.sum())
        seen = int(novel.sum()) / rows if rows else 0.0
        if self.blocks.enough:
            return seen
        # One more of so many independent numbers is beyond them; for categories see Good 1953,
        # The population frequencies of species, eq. 9.
        beyond = 2 / (rows + 1) if isinstance(self.shape, NumericShape) else self.shape.once
        return min(1.0, max(beyond, seen))

    def _band(
        self, signal: Signal, hits: IntArray, rows: IntArray, share: float | None, floor: float
    ) -> QualityBand:
        spread = self._dispersion(np.stack([rows - hits, hits], axis=1), cumulative=True)
        total = int(rows.sum())
        observed = int(hits.sum()) / total if total else 0.0
        return QualityBand(
            signal=signal,
            share=observed if share is None else share,
            tolerance=_tolerance(spread, total, floor),
            design_effect=spread.design_effect,
        )


class NumericCounter:
    """Counts an ordered stream."""

    def __init__(self, shape: NumericShape, blocks: TimeBlocks) -> None:
        self._shape = shape
        self._blocks = blocks
        self._binner = NumericBinner(shape.edges)
        self._table = np.zeros((blocks.runs + 1, self._binner.cell_count), dtype=np.int32)
        self._novel = np.zeros((blocks.runs + 1, 2), dtype=np.int64)
        self._moments = Moments()

    def add(self, column: Column, runs: IntArray) -> None:
        """Counts a column [rows] whose rows belong to runs [rows]."""
        floats, _ = as_floats(column)
        cells = self._binner.cells(column)
        self._table += _crossed(runs, cells, self._table.shape)
        finite = np.isfinite(floats)
        values = floats if finite.all() else floats[finite]
        self._moments = self._moments.merge(Moments.of(values.astype(np.float64, copy=False)))
        inner = self._shape.inner
        if inner is None:
            return
        with np.errstate(over="ignore"):
            single = floats.astype(np.float32, copy=False)
        for side, outside in enumerate((single < inner.low, single > inner.high)):
            where = runs[np.flatnonzero(outside & (cells < self._binner.cell_count - _NAMED))]
            where = where[where < self._blocks.runs]
            np.add.at(self._novel[:, side], where, 1)

    def tally(self) -> Tally:
        """Returns what was counted until now."""
        return Tally(self._shape, self._blocks, self._table, self._novel, self._moments)


class CategoricalCounter:
    """Counts an unordered stream."""

    def __init__(self, shape: CategoricalShape, blocks: TimeBlocks) -> None:
        self._shape = shape
        self._blocks = blocks
        self._binner = CategoricalBinner(shape.top, shape.other)
        self._table = np.zeros((blocks.runs + 1, self._binner.cell_count), dtype=np.int32)
        self._novel = np.zeros((blocks.runs + 1, 2), dtype=np.int64)

    def add(self, column: CodedColumn, runs: IntArray) -> None:
        """Counts a coded column [rows] whose rows belong to runs [rows]."""
        size = self._binner.cell_count
        cell_of_code = np.empty(FIRST + len(column.texts), dtype=np.int64)
        cell_of_code[MISSING] = size + _MISSING
        cell_of_code[INVALID] = size + _INVALID
        cell_of_code[FIRST:] = self._binner.cells(np.array([*column.texts, None])[:-1])
        self._table += _crossed(runs, cell_of_code[column.codes], self._table.shape)
        if self._shape.novel:
            new = np.array([False, False, *(text in self._shape.novel for text in column.texts)])
            new &= cell_of_code < size - _NAMED
            where = runs[new[column.codes]]
            self._novel[:, 1] += np.bincount(
                where[where < self._blocks.runs], minlength=self._blocks.runs + 1
            )

    def tally(self) -> Tally:
        """Returns what was counted until now."""
        return Tally(self._shape, self._blocks, self._table, self._novel, Moments())


def _crossed(runs: IntArray, cells: IntArray, shape: tuple[int, ...]) -> IntArray:
    size = shape[0] * shape[1]
    return np.bincount(runs * shape[1] + cells, minlength=size).reshape(shape)


def _finite(value: float | None) -> float | None:
    """None where there are no values or they overflow."""
    return value if value is not None and math.isfinite(value) else None


def _tolerance(dispersion: Dispersion, rows: int, floor: float) -> float:
    """The largest of the user's floor, the reference's own error and the seasonal deviation.

    The error is that of Dvoretzky, Kiefer and Wolfowitz at 99 %: sqrt(ln(2 / .01) / 2m), with m
    the independent rows of the reference.
    """
    independent = rows / dispersion.design_effect
    error = math.sqrt(math.log(200) / (2 * independent)) if independent > 0 else 1.0
    return min(1.0, max(floor, error, dispersion.seasonal))
