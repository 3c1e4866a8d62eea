"""One window of the Shiryaev-Roberts recursion, for all components of a family at once.

Pure functions of a layout and a state. Used by `edetector`, which says what is guaranteed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mooring_profile.alternatives import SHAPES
from mooring_profile.fields import FloatArray, IntArray
from mooring_profile.layout import Layout
from mooring_profile.state import DetectorState

MIN_EFFECTIVE_ROWS = 50
ONSET_ALTERNATIVE = 2
"""Index of the alternative of an event that estimates when its change began."""
LARGEST_LOG_E = 300.0
CEILING = 1e150
"""An e-value and a statistic stay below these, so that their product is finite; to lower either
keeps the guarantee."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Standing:
    """Where each stream stands.

    Attributes:
        levels: float64 [streams], the evidence.
        event: int64 [streams], the event that contributes most.
        since: int64 [streams], the window from which the best track, of an event or a shape,
            counts.
        points: bool [streams], whether that track points to a change.
    """

    levels: FloatArray
    event: IntArray
    since: IntArray
    points: BoolArray


def standing(layout: Layout, evidence: FloatArray, onset: FloatArray, since: IntArray) -> Standing:
    """Returns where each stream stands, from the arrays of a state."""
    events = layout.stream_of_event.size
    by_event, by_shape = _split(layout, evidence)
    weighed = (by_event * layout.event_weight).sum(axis=1)
    levels = np.add.reduceat(weighed, layout.first_event)
    highest = np.maximum.reduceat(weighed, layout.first_event)
    top = np.flatnonzero(weighed == highest[layout.stream_of_event])[::-1]
    event = np.empty_like(layout.first_event)
    event[layout.stream_of_event[top]] = top  # the last to be assigned is the first of equals
    track = event.copy()
    if layout.shaped.size:
        shapes = by_shape * layout.shape_weight
        levels[layout.shaped] += shapes.sum(axis=1)
        best = shapes.argmax(axis=1)
        higher = shapes.max(axis=1) > highest[layout.shaped]
        places = events + np.arange(layout.shaped.size) * SHAPES + best
        track[layout.shaped] = np.where(higher, places, track[layout.shaped])
    return Standing(levels, event, since[track], onset[track] > 0)


def next_state(layout: Layout, state: DetectorState, cells: IntArray) -> DetectorState:
    """Returns the state after a window.

    Args:
        layout: of the family.
        state: before the window.
        cells: int64 [cells], the flat counts of the window.
    """
    collected = np.add.reduceat(state.pending_cells, layout.first_cell) > 0
    began = np.where(collected, state.pending_since, state.windows)
    cells = state.pending_cells + cells
    ready = np.add.reduceat(cells, layout.first_cell) >= MIN_EFFECTIVE_ROWS * layout.feature_effect
    sums = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(cells)])
    rows = sums[layout.rows[:, 1]] - sums[layout.rows[:, 0]]
    hits = sums[layout.hits[:, 1]] - sums[layout.hits[:, 0]]
    judged = ready[layout.feature_of_stream] & (rows > 0)
    begins = began[layout.feature_of_stream]

    by_event = _event_log_e(layout, hits, rows)
    by_shape = _shape_log_e(layout, cells)
    evidence = _recursion(
        state.evidence,
        np.concatenate([by_event.ravel(), by_shape.ravel()]),
        judged[layout.stream_of_component],
    )
    which = judged[layout.stream_of_track]
    # The restart that a sum of log e-values favours is where the change began (Page 1954).
    restart = which & (state.onset <= 0)
    log_e = np.concatenate([by_event[:, ONSET_ALTERNATIVE], by_shape.ravel()])
    onset = np.where(restart, 0.0, state.onset) + np.where(which, log_e, 0.0)
    since = np.where(restart, begins[layout.stream_of_track], state.since)

    found = standing(layout, evidence, onset, since)
    points = judged & found.points
    fresh = judged & (~found.points | (state.since_from < found.since))
    gone = fresh[layout.stream_of_event]
    counted = points[layout.stream_of_event]
    return DetectorState(
        fingerprint=state.fingerprint,
        windows=state.windows + 1,
        evidence=evidence,
        onset=onset,
        since=since,
        judged=state.judged + judged,
        since_hits=np.where(gone, 0, state.since_hits) + np.where(counted, hits, 0),
        since_rows=np.where(fresh, 0, state.since_rows) + np.where(points, rows, 0),
        since_from=np.where(fresh, begins, state.since_from),
        pending_cells=np.where(ready[layout.feature_of_cell], 0, cells),
        pending_since=np.where(ready, state.windows + 1, began),
    )


def _split(layout: Layout, components: FloatArray) -> tuple[FloatArray, FloatArray]:
    events = layout.gain.size
    return components[:events].reshape(layout.gain.shape), components[events:].reshape(-1, SHAPES)


def _event_log_e(layout: Layout, hits: IntArray, rows: IntArray) -> FloatArray:
    missed = rows[layout.stream_of_event] - hits
    return layout.gain * hits[:, None] + layout.loss * missed[:, None]


def _shape_log_e(layout: Layout, cells: IntArray) -> FloatArray:
    if not layout.shaped.size:
        return np.empty((0, SHAPES))
    scored = layout.shape_scores * cells[layout.shape_cells, None]
    return np.add.reduceat(scored, layout.first_shape_cell, axis=0)


def _recursion(before: FloatArray, log_e: FloatArray, which: BoolArray) -> FloatArray:
    after = np.minimum((before + 1) * np.exp(np.minimum(log_e, LARGEST_LOG_E)), CEILING)
    return after if which.all() else np.where(which, after, before)
