"""The second reading of a table: exact counts of every stream by run of rows."""

from collections.abc import Iterable, Mapping

from mooring_profile.binning import Column
from mooring_profile.blocks import RunCursor, TimeBlocks
from mooring_profile.coding import CodedColumn, code_column
from mooring_profile.design import Design
from mooring_profile.errors import ProfileInvalid
from mooring_profile.feature import SCORE_STREAM, FeatureKind
from mooring_profile.fields import IntArray
from mooring_profile.multivariate import RECONSTRUCTION_STREAM
from mooring_profile.partition import Partition
from mooring_profile.plan import Batch
from mooring_profile.shapes import NumericShape, Shape
from mooring_profile.tallies import SegmentTallies, Tallies
from mooring_profile.tally import CategoricalCounter, NumericCounter

Counters = Mapping[str, NumericCounter | CategoricalCounter]


def count_batches(batches: Iterable[Batch], design: Design, rows: int) -> Tallies:
    """Counts a table.

    Args:
        batches: the same rows as in the first reading, in the same order.
        design: what to count.
        rows: that the first reading found.

    Raises:
        ProfileInvalid: the second reading gives other rows than the first.
    """
    counters = _counters(design.shapes, design.blocks)
    parts = [_counters(shapes, design.blocks) for _, shapes in design.segments]
    sizes = [0] * len(parts)
    partition = Partition([segment for segment, _ in design.segments], design.kinds)
    cursor = RunCursor(design.blocks)
    counted = 0
    for batch in batches:
        runs = cursor.runs_of(batch.blocks, batch.rows)
        columns, coded = _prepared(batch, design)
        _add(counters, columns, coded, runs)
        for place, own in partition.rows_of(batch.columns):
            sizes[place] += own.size
            names = [name for name in columns if name in parts[place]]
            _add(
                parts[place],
                {name: columns[name][own] for name in names},
                {name: item.of(own) for name, item in coded.items()},
                runs[own],
            )
        counted += batch.rows
    if counted != rows:
        raise ProfileInvalid(
            f"The table had {rows} rows when it was read first and {counted} the second time; "
            "read the same rows twice"
        )
    return Tallies(
        design=design,
        rows=rows,
        streams={name: counter.tally() for name, counter in counters.items()},
        segments=tuple(
            SegmentTallies(
                segment, size, {name: counter.tally() for name, counter in found.items()}
            )
            for (segment, _), size, found in zip(design.segments, sizes, parts, strict=True)
        ),
    )


def _prepared(batch: Batch, design: Design) -> tuple[dict[str, Column], dict[str, CodedColumn]]:
    """The columns of a batch's numeric streams, and its categories coded."""
    columns: dict[str, Column] = {}
    coded: dict[str, CodedColumn] = {}
    for name, column in batch.columns.items():
        if design.kinds[name] is FeatureKind.NUMERIC:
            columns[name] = column
        else:
            coded[name] = code_column(column)
    if batch.score is not None:
        columns[SCORE_STREAM] = batch.score
    if design.components is not None:
        columns[RECONSTRUCTION_STREAM] = design.components.errors(batch.columns, batch.rows)
    return columns, coded


def _counters(shapes: Mapping[str, Shape], blocks: TimeBlocks) -> Counters:
    return {
        name: NumericCounter(shape, blocks)
        if isinstance(shape, NumericShape)
        else CategoricalCounter(shape, blocks)
        for name, shape in shapes.items()
    }


def _add(
    counters: Counters,
    columns: Mapping[str, Column],
    coded: Mapping[str, CodedColumn],
    runs: IntArray,
) -> None:
    for name, counter in counters.items():
        if isinstance(counter, NumericCounter):
            counter.add(columns[name], runs)
        else:
            counter.add(coded[name], runs)
