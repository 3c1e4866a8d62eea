"""A family of streams laid out flat, so that numpy advances all of them at once.

Cells of all features stand one after the other; events and shapes of all streams likewise. Used by
`edetector` only.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mooring_profile.alternatives import SHAPES, shape_weights
from mooring_profile.counts import NAMED_CELLS
from mooring_profile.document import FeatureKind, FeatureProfile, ReferenceProfile
from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import FloatArray, IntArray
from mooring_profile.sketch import Sketch
from mooring_profile.streams import Stream, alternatives_of

SHAPE_PART = 0.8
"""Share of a stream's weight that goes to its shapes, where it has any; its events, which find
whatever else may happen, share the rest."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Index arrays of a family; S streams, E events, H streams with shapes.

    Attributes:
        first_cell: int64 [features], where the cells of each feature begin.
        feature_of_cell: int64 [cells].
        feature_effect: float64 [features], their design effects.
        feature_of_stream: int64 [S], the position of its feature in the profile's streams.
        rows: int64 [S, 2], the cell range of each stream's rows.
        first_event: int64 [S], where the events of each stream begin.
        stream_of_event: int64 [E], ascending.
        hits: int64 [E, 2], the cell range of each event.
        gain: float64 [E, alternatives], log likelihood ratio of an occurrence, over the design
            effect.
        loss: float64 [E, alternatives], that of its absence.
        event_weight: float64 [E, 1], weight of an event's alternative within its stream.
        shaped: int64 [H], the streams that have shapes.
        shape_cells: int64, the cells of their rows, stream after stream.
        first_shape_cell: int64 [H], where the cells of each begin.
        shape_scores: float64 [shape_cells, SHAPES], over the design effect.
        shape_weight: float64 [H, SHAPES], weight of a shape within its stream.
        stream_of_component: int64, of the alternatives of all events, then of all shapes.
        stream_of_track: int64, of all events, then of all shapes.
    """

    first_cell: IntArray
    feature_of_cell: IntArray
    feature_effect: FloatArray
    feature_of_stream: IntArray
    rows: IntArray
    first_event: IntArray
    stream_of_event: IntArray
    hits: IntArray
    gain: FloatArray
    loss: FloatArray
    event_weight: FloatArray
    shaped: IntArray
    shape_cells: IntArray
    first_shape_cell: IntArray
    shape_scores: FloatArray
    shape_weight: FloatArray
    stream_of_component: IntArray
    stream_of_track: IntArray

    @classmethod
    def of(cls, profile: ReferenceProfile, streams: tuple[Stream, ...]) -> "Layout":
        """Lays out the streams of a profile."""
        position = {feature.name: index for index, feature in enumerate(profile.streams)}
        cells = np.array([feature_cells(feature) for feature in profile.streams])
        sizes = np.array([len(stream.events) for stream in streams])
        effects = np.array([stream.design_effect for stream in streams])
        of_event = np.repeat(np.arange(sizes.size), sizes)
        gain, loss = _log_ratios(streams)
        shaped = [index for index, stream in enumerate(streams) if stream.shapes is not None]
        ranges = [np.arange(*streams[index].rows) for index in shaped]
        lengths = np.array([item.size for item in ranges], dtype=np.int64)
        scores = [item.shapes / item.design_effect for item in streams if item.shapes is not None]
        rest = np.ones(sizes.size)
        rest[shaped] -= SHAPE_PART
        of_shape = np.repeat(np.array(shaped, dtype=np.int64), SHAPES)
        return cls(
            first_cell=np.cumsum(cells) - cells,
            feature_of_cell=np.repeat(np.arange(cells.size), cells),
            feature_effect=np.array([feature.design_effect for feature in profile.streams]),
            feature_of_stream=np.array([position[item.feature.name] for item in streams]),
            rows=np.array([stream.rows for stream in streams]),
            first_event=np.cumsum(sizes) - sizes,
            stream_of_event=of_event,
            hits=np.array([event.cells for stream in streams for event in stream.events]),
            gain=gain / effects[of_event, None],
            loss=loss / effects[of_event, None],
            event_weight=(rest / sizes / gain.shape[1])[of_event, None],
            shaped=np.array(shaped, dtype=np.int64),
            shape_cells=_joined(ranges),
            first_shape_cell=np.cumsum(lengths) - lengths,
            shape_scores=np.concatenate([np.empty((0, SHAPES)), *scores]),
            shape_weight=_shape_weights(scores),
            stream_of_component=np.concatenate([np.repeat(of_event, gain.shape[1]), of_shape]),
            stream_of_track=np.concatenate([of_event, of_shape]),
        )


def _log_ratios(streams: tuple[Stream, ...]) -> tuple[FloatArray, FloatArray]:
    """Log likelihood ratios of an occurrence and of its absence, [events, alternatives] each."""
    pairs = [(stream, event) for stream in streams for event in stream.events]
    limits = np.array([event.limit for _, event in pairs])[:, None]
    alternatives = np.array([alternatives_of(stream, event) for stream, event in pairs])
    return np.log(alternatives / limits), np.log((1 - alternatives) / (1 - limits))


def _shape_weights(scores: list[FloatArray]) -> FloatArray:
    """A shape that is within the tolerance has no scores and no weight."""
    alive = np.array([item.any(axis=0) for item in scores], dtype=np.float64).reshape(-1, SHAPES)
    weights = alive * shape_weights()
    return SHAPE_PART * weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)


def _joined(parts: list[IntArray]) -> IntArray:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def feature_cells(feature: FeatureProfile) -> int:
    """Returns the number of a feature's flat cells: bins, the ends or unseen, missing, invalid."""
    return feature.bin_count + (4 if feature.kind is FeatureKind.NUMERIC else 3)


class Flattener:
    """Turns sketches into flat cells: `streams.flat_cells` of all features, one after the other."""

    def __init__(self, profile: ReferenceProfile) -> None:
        self._names = tuple((item.name, item.bin_count) for item in profile.streams)
        self._nothing = {item.name: np.zeros(item.bin_count, np.int64) for item in profile.streams}
        bins = np.array([item.bin_count for item in profile.streams], dtype=np.int64)
        numeric = np.array([item.kind is FeatureKind.NUMERIC for item in profile.streams])
        self._order, self._odd = _flat_order(bins, numeric)

    def flatten(self, window: Sketch) -> IntArray:
        """Returns the flat cells of a window, int64 [cells].

        A feature that the window lacks counts no rows.

        Raises:
            CountsInvalid: counts that were made with another profile.
        """
        bins: list[IntArray] = []
        named: list[int] = []
        for name, size in self._names:
            counts = window.counts.get(name)
            if counts is None:
                bins.append(self._nothing[name])
                named += (0,) * len(NAMED_CELLS)
                continue
            if counts.bins.size != size:
                raise CountsInvalid(
                    f"Counts of {name!r} have {counts.bins.size} bins, its profile has "
                    f"{size}: they come from another version's profile"
                )
            bins.append(counts.bins)
            named += (counts.missing, counts.unseen, counts.below, counts.above, counts.invalid)
        cells = np.concatenate([*bins, np.array(named, dtype=np.int64)])
        flat = cells[self._order]
        # Cells that a kind of feature cannot fill count as invalid: no row is lost.
        np.add.at(flat, self._odd[:, 0], cells[self._odd[:, 1]])
        return flat


def _flat_order(bins: IntArray, numeric: npt.NDArray[np.bool_]) -> tuple[IntArray, IntArray]:
    """Where each flat cell comes from, and what else is added to which: [odd, (to, from)]."""
    starts, named = np.cumsum(bins) - bins, int(bins.sum())
    order: list[IntArray] = []
    odd: list[tuple[int, int]] = []
    end = 0
    for index, (start, size) in enumerate(zip(starts.tolist(), bins.tolist(), strict=True)):
        missing, unseen, below, above, invalid = (
            named + len(NAMED_CELLS) * index + place for place in range(len(NAMED_CELLS))
        )
        inside = np.arange(start, start + size, dtype=np.int64)
        if numeric[index]:
            order += [np.array([below]), inside, np.array([above, missing, invalid])]
            end += size + 4
            odd.append((end - 1, unseen))
        else:
            order += [inside, np.array([unseen, missing, invalid])]
            end += size + 3
            odd += [(end - 1, below), (end - 1, above)]
    return _joined(order), np.array(odd, dtype=np.int64).reshape(-1, 2)
