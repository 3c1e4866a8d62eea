"""What will be counted of a table, chosen from the summary of its first reading."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mooring_profile.blocks import TimeBlocks
from mooring_profile.edges import equal_mass_edges
from mooring_profile.feature import CLASS_STREAM, SCORE_STREAM, FeatureKind, Segment
from mooring_profile.fields import IntArray
from mooring_profile.multivariate import RECONSTRUCTION_STREAM
from mooring_profile.novelty import Extremes
from mooring_profile.partition import Partition, choose_segments
from mooring_profile.plan import ProfilePlan
from mooring_profile.reconstruction import Components, fit_components
from mooring_profile.shapes import (
    FEATURE_BINS,
    SCORE_BINS,
    SEGMENT_BINS,
    SEGMENT_OTHER_CATEGORIES,
    SEGMENT_TOP_CATEGORIES,
    CategoricalShape,
    NumericShape,
    Shape,
    ranked_categories,
    with_threshold,
)
from mooring_profile.summary import BLOCKS, Summary


@dataclass(frozen=True, eq=False)
class Design:
    """What to count.

    Attributes:
        kinds: of the features.
        blocks: of time.
        shapes: by stream: the features, `@score` and `@reconstruction` where there are such.
        components: where the reconstruction error is counted.
        segments: each with the shapes of its streams, by feature.
        notes: what was left out and why.
    """

    kinds: Mapping[str, FeatureKind]
    blocks: TimeBlocks
    shapes: Mapping[str, Shape]
    components: Components | None = None
    segments: tuple[tuple[Segment, Mapping[str, Shape]], ...] = ()
    notes: tuple[str, ...] = field(default=())


def design_of(summary: Summary, kinds: Mapping[str, FeatureKind], plan: ProfilePlan) -> Design:
    """Chooses edges, categories, components and segments."""
    blocks = summary.blocks()
    shapes: dict[str, Shape] = {}
    notes: list[str] = []
    for name, kind in kinds.items():
        if kind is FeatureKind.NUMERIC:
            shapes[name] = _numeric(summary, name, FEATURE_BINS, blocks)
            continue
        found = summary.categories[name]
        shapes[name] = CategoricalShape.of(found.counts, found.appearances.novel(blocks))
    if summary.scored:
        score = _numeric(summary, SCORE_STREAM, SCORE_BINS, blocks)
        shapes[SCORE_STREAM] = NumericShape(
            with_threshold(score.edges, plan.threshold), score.inner
        )
    components = None
    if plan.multivariate:
        components = _components(summary, kinds)
        if isinstance(components, str):
            notes.append(f"The reconstruction error is not watched: {components}")
            components = None
        else:
            shapes[RECONSTRUCTION_STREAM] = _error_shape(summary, components, blocks)
    counts = {name: found.counts for name, found in summary.values.items()}
    segments, left_out = choose_segments(counts, plan)
    if blocks.joined > 1:
        notes.append(f"Blocks of time were joined by {blocks.joined}: there are too many")
    return Design(
        kinds=kinds,
        blocks=blocks,
        shapes=shapes,
        components=components,
        segments=_segments(summary, segments, kinds, shapes),
        notes=(*notes, *left_out),
    )


def _numeric(summary: Summary, name: str, bins: int, blocks: TimeBlocks) -> NumericShape:
    extremes = summary.extremes[name]
    edges = equal_mass_edges(summary.sample.column(name).astype(np.float64), bins)
    return NumericShape(_spanning(edges, extremes.range), extremes.inner(blocks))


def _spanning(edges: tuple[float, ...], span: tuple[float, float] | None) -> tuple[float, ...]:
    """Edges whose ends hold all values of a range."""
    if span is None:
        return edges
    low, high = span
    with np.errstate(over="ignore"):
        top = float(np.nextafter(np.float32(high), np.float32(np.inf)))
    top = top if np.isfinite(top) else high
    inner = [edge for edge in edges[1:-1] if low < edge < top]
    return tuple(sorted({low, *inner, top}))


def _components(summary: Summary, kinds: Mapping[str, FeatureKind]) -> Components | str:
    numeric = [name for name, kind in kinds.items() if kind is FeatureKind.NUMERIC]
    return fit_components({name: summary.sample.column(name) for name in numeric})


def _error_shape(summary: Summary, components: Components, blocks: TimeBlocks) -> NumericShape:
    columns = {name: summary.sample.column(name) for name in components.features}
    rows = columns[components.features[0]].size
    errors = components.errors(columns, rows).astype(np.float32)
    extremes = Extremes()
    if blocks.enough:
        ids, block = np.unique(summary.sample.column(BLOCKS), return_inverse=True)
        extremes.add(errors, ids.astype(np.int64), block)
    edges = equal_mass_edges(errors.astype(np.float64), FEATURE_BINS)
    return NumericShape((0.0, *(edge for edge in edges if edge > 0)), extremes.inner(blocks))


def _segments(
    summary: Summary,
    segments: tuple[Segment, ...],
    kinds: Mapping[str, FeatureKind],
    shapes: Mapping[str, Shape],
) -> tuple[tuple[Segment, Mapping[str, Shape]], ...]:
    sample = summary.sample
    columns = {segment.column: sample.column(segment.column) for segment in segments}
    rows = dict(Partition(segments, kinds).rows_of(columns))
    nothing = np.zeros(0, dtype=np.int64)
    return tuple(
        (
            segment,
            {
                name: _part(summary, name, shape, rows.get(place, nothing))
                for name, shape in shapes.items()
                if name in _counted_within(segment, shapes)
            },
        )
        for place, segment in enumerate(segments)
    )


def _counted_within(segment: Segment, shapes: Mapping[str, Shape]) -> set[str]:
    """The streams of a segment: of a chosen class the score alone, since its inputs are chosen."""
    if segment.column == CLASS_STREAM:
        return {SCORE_STREAM}
    return set(shapes) - {segment.column, RECONSTRUCTION_STREAM}


def _part(summary: Summary, name: str, whole: Shape, rows: IntArray) -> Shape:
    """The shape of a stream within a segment, from the segment's rows of the sample."""
    if name == SCORE_STREAM:
        return whole
    values = summary.sample.column(name)[rows]
    if isinstance(whole, NumericShape):
        edges = equal_mass_edges(values.astype(np.float64), SEGMENT_BINS)
        span = summary.extremes[name].range
        return NumericShape(_spanning(edges, span), whole.inner)
    counts = Counter(text for text in values.tolist() if text is not None)
    ranked = ranked_categories(counts)
    most = SEGMENT_TOP_CATEGORIES + SEGMENT_OTHER_CATEGORIES
    return CategoricalShape(
        top=ranked[:SEGMENT_TOP_CATEGORIES],
        other=ranked[SEGMENT_TOP_CATEGORIES:most],
        novel=whole.novel,
        once=whole.once,
    )
