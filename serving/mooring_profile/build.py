"""Builds a reference profile from a table in memory.

Called where a model is packaged (a notebook, the command line, a training Job), never in a pod or
in the operator. Pure: the same table gives the same profile.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mooring_profile.binning import (
    Binner,
    CategoricalBinner,
    Column,
    NumericBinner,
    as_floats,
    category_text,
)
from mooring_profile.counts import NAMED_CELLS, FeatureCounts
from mooring_profile.dispersion import (
    INDEPENDENT,
    MIN_BLOCKS,
    Dispersion,
    TimeBlocks,
    measure_dispersion,
)
from mooring_profile.document import (
    SCORE_STREAM,
    FeatureKind,
    FeatureProfile,
    QualityBand,
    ReferenceProfile,
    Signal,
)
from mooring_profile.edges import equal_mass_edges
from mooring_profile.errors import ProfileInvalid
from mooring_profile.fields import FloatArray, IntArray
from mooring_profile.novelty import category_novelty, range_novelty

FEATURE_BINS = 30
SCORE_BINS = 64
TOP_CATEGORIES = 62
MAX_OTHER_CATEGORIES = 4096
"""Rarer categories than these are not listed; their share counts as expected unseen."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Table:
    """What all features of a table share."""

    rows: int
    blocks: TimeBlocks | None
    floor: float


def build_profile(
    columns: Mapping[str, Column],
    kinds: Mapping[str, FeatureKind],
    *,
    score: Column | None,
    blocks: Column | None,
    tolerance_floor: float = 0.02,
) -> ReferenceProfile:
    """Profiles a table, usually the rows that a model was trained on.

    Args:
        columns: a column [rows] or [rows, 1] per feature, rows in their order of time.
        kinds: the kind of each feature, in the order that the profile lists them.
        score: the model's output for each row (held-out where possible), numeric; None when
            there is none.
        blocks: integer id of the block of time (the day, say) of each row; from it come the
            design effect and the seasonal tolerance. None when no time is known: then rows are
            taken as independent and the world as constant. Choose blocks about as long as the
            windows that will be judged, or longer.
        tolerance_floor: smallest difference of a share that anybody cares about, 0 to 1.

    Raises:
        ProfileInvalid: no rows, columns of different lengths, a feature without a column, block
            ids that are not integers, or a tolerance outside [0, 1].
    """
    rows = _row_count(columns, kinds, score, blocks)
    if not 0 <= tolerance_floor <= 1:
        raise ProfileInvalid(f"tolerance_floor is {tolerance_floor}; it must be within [0, 1]")
    table = _Table(
        rows=rows,
        blocks=None if blocks is None else TimeBlocks.of(blocks.reshape(-1).astype(np.int64)),
        floor=tolerance_floor,
    )
    features = tuple(
        _numeric(name, columns[name].reshape(-1), table, FEATURE_BINS)
        if kind is FeatureKind.NUMERIC
        else _categorical(name, columns[name].reshape(-1), table)
        for name, kind in kinds.items()
    )
    scores = None if score is None else _numeric(SCORE_STREAM, score.reshape(-1), table, SCORE_BINS)
    return ReferenceProfile(features=features, score=scores, rows=rows)


def _row_count(
    columns: Mapping[str, Column],
    kinds: Mapping[str, FeatureKind],
    score: Column | None,
    blocks: Column | None,
) -> int:
    absent = [name for name in kinds if name not in columns]
    if absent:
        raise ProfileInvalid(f"The table has no column for {absent}; it has {sorted(columns)}")
    if SCORE_STREAM in kinds:
        raise ProfileInvalid(f"A feature may not be named {SCORE_STREAM!r}; rename the column")
    sizes = {name: columns[name].size for name in kinds}
    if score is not None:
        sizes["score"] = score.size
    if blocks is not None:
        sizes["blocks"] = blocks.size
        if blocks.dtype.kind not in "iu":
            raise ProfileInvalid(f"Block ids are {blocks.dtype}; number the blocks with integers")
    if len(set(sizes.values())) > 1:
        raise ProfileInvalid(f"Columns differ in rows: {sizes}")
    if not any(sizes.values()):
        raise ProfileInvalid("The table has no rows; a profile needs at least 1, better 1,000")
    return next(iter(sizes.values()))


def _numeric(name: str, column: Column, table: _Table, bins: int) -> FeatureProfile:
    floats, _ = as_floats(column)
    finite = np.isfinite(floats)
    values = floats[finite].astype(np.float64)
    edges = equal_mass_edges(values, bins)
    binner = NumericBinner(edges)
    cells = binner.cells(column)
    present = _present(cells, binner)
    levels = max(2, len(edges) - 1)
    ordered = np.minimum(cells, levels - 1)  # a value beyond single precision is above the bins
    dispersion = _dispersion(ordered, present, table, levels=levels, cumulative=True)
    novelty = range_novelty(floats.astype(np.float64), finite, _enough(table.blocks))
    mean, sd = _moments(values)
    return FeatureProfile(
        name=name,
        kind=FeatureKind.NUMERIC,
        edges=edges,
        counts=_counts(cells, binner),
        tolerance=_tolerance(dispersion, int(present.sum()), table.floor),
        design_effect=dispersion.design_effect,
        quality=_quality(cells, binner, (Signal.OUT_OF_RANGE, *novelty), table),
        minimum=float(values.min()) if values.size else None,
        maximum=float(values.max()) if values.size else None,
        mean=mean,
        sd=sd,
    )


def _categorical(name: str, column: Column, table: _Table) -> FeatureProfile:
    texts = _texts(column)
    ranked = _ranked(texts)
    top = tuple(ranked[:TOP_CATEGORIES])
    other = tuple(ranked[TOP_CATEGORIES : TOP_CATEGORIES + MAX_OTHER_CATEGORIES])
    binner = CategoricalBinner(top, other)
    cells = binner.cells(column)
    present = _present(cells, binner)
    bins = len(top) + 1
    levels = np.minimum(cells, bins)  # categories beyond the listed ones share the last level
    dispersion = _dispersion(levels, present, table, levels=bins + 1, cumulative=False)
    novelty = category_novelty(texts, ranked, present, _enough(table.blocks))
    return FeatureProfile(
        name=name,
        kind=FeatureKind.CATEGORICAL,
        categories=top,
        other_categories=other,
        counts=_counts(cells, binner),
        tolerance=_tolerance(dispersion, int(present.sum()), table.floor),
        design_effect=dispersion.design_effect,
        quality=_quality(cells, binner, (Signal.UNSEEN, *novelty), table),
    )


def _texts(column: Column) -> list[str | None]:
    if column.dtype.kind in "iubf":
        unique, inverse = np.unique(column, return_inverse=True)
        names = [category_text(value) for value in unique.tolist()]
        return [names[index] for index in inverse.tolist()]
    return [category_text(value) for value in column.tolist()]


def _ranked(texts: Iterable[str | None]) -> list[str]:
    counter = Counter(text for text in texts if text is not None)
    return sorted(counter, key=lambda text: (-counter[text], text))


def _cell(binner: Binner, name: str) -> int:
    return binner.cell_count - len(NAMED_CELLS) + NAMED_CELLS.index(name)


def _present(cells: IntArray, binner: Binner) -> BoolArray:
    return (cells != _cell(binner, "missing")) & (cells != _cell(binner, "invalid"))


def _counts(cells: IntArray, binner: Binner) -> FeatureCounts:
    return FeatureCounts.from_cells(np.bincount(cells, minlength=binner.cell_count))


def _enough(blocks: TimeBlocks | None) -> TimeBlocks | None:
    return blocks if blocks is not None and blocks.blocks >= MIN_BLOCKS else None


def _dispersion(
    cells: IntArray, kept: BoolArray, table: _Table, *, levels: int, cumulative: bool
) -> Dispersion:
    if table.blocks is None:
        return INDEPENDENT
    return measure_dispersion(cells, kept, table.blocks, levels=levels, cumulative=cumulative)


def _tolerance(dispersion: Dispersion, rows: int, floor: float) -> float:
    """The largest of the user's floor, the reference's own error and the seasonal deviation.

    The error is that of Dvoretzky, Kiefer and Wolfowitz at 99 %: sqrt(ln(2 / .01) / 2m), with m
    the independent rows of the reference.
    """
    independent = rows / dispersion.design_effect
    error = math.sqrt(math.log(200) / (2 * independent)) if independent > 0 else 1.0
    return min(1.0, max(floor, error, dispersion.seasonal))


def _quality(
    cells: IntArray, binner: Binner, novelty: tuple[Signal, BoolArray, float], table: _Table
) -> tuple[QualityBand, ...]:
    everything = np.ones(table.rows, dtype=np.bool_)
    signal, novel, share = novelty
    return (
        _band(Signal.MISSING, cells == _cell(binner, "missing"), everything, None, table),
        _band(Signal.INVALID, cells == _cell(binner, "invalid"), everything, None, table),
        _band(signal, novel, _present(cells, binner), share, table),
    )


def _band(
    signal: Signal, hit: BoolArray, kept: BoolArray, share: float | None, table: _Table
) -> QualityBand:
    dispersion = _dispersion(hit.astype(np.int64), kept, table, levels=2, cumulative=True)
    rows = int(kept.sum())
    observed = int((hit & kept).sum()) / rows if rows else 0.0
    return QualityBand(
        signal=signal,
        share=observed if share is None else share,
        tolerance=_tolerance(dispersion, rows, table.floor),
        design_effect=dispersion.design_effect,
    )


def _moments(values: FloatArray) -> tuple[float | None, float | None]:
    """Mean and standard deviation, None where there are no values or they overflow."""
    if not values.size:
        return None, None
    with np.errstate(over="ignore", invalid="ignore"):
        moments = float(values.mean()), float(values.std())
    mean, sd = (moment if math.isfinite(moment) else None for moment in moments)
    return mean, sd
