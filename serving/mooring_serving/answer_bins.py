"""Answers of each arm of a rollout by bins of the score: what the distributions are compared by.

The bins are made of the stable version's own reference profile, since the stable pod counts for
all arms. Nothing is binned on the request path: what was answered waits in a bounded list for the
recorder's thread.
"""

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mooring_profile.document import ReferenceProfile, single_precision
from mooring_profile.fields import FloatArray, IntArray
from mooring_serving.answers import scored_output
from mooring_serving.arms import Arm
from mooring_serving.counters import Counters
from mooring_serving.protocol.messages import Column, InferenceRequest, OutputArrays
from mooring_serving.workers.layout import ANSWER_BINS

SingleArray = npt.NDArray[np.float32]


def answer_edges(profile: ReferenceProfile) -> tuple[float, ...]:
    """Inner edges between at most `ANSWER_BINS` bins of about equal mass of the reference.

    Edges of the score's own, so strictly ascending and exact in single precision; empty where the
    reference has no score or only one value.
    """
    score = profile.score
    if score is None or len(score.edges) < 2:
        return ()
    mass: IntArray = np.cumsum(score.counts.bins)
    inner = score.edges[1:-1]
    if not inner:
        return ()
    targets: FloatArray = int(mass[-1]) * np.arange(1, ANSWER_BINS) / ANSWER_BINS
    places: IntArray = np.searchsorted(mass[:-1], targets).astype(np.int64)
    chosen: list[int] = np.unique(np.minimum(places, len(inner) - 1)).tolist()
    return tuple(inner[place] for place in chosen)


class AnswerBins:
    """Bins answers of rollouts; `offer` never waits.

    Args:
        edges: From `answer_edges`.
        counters: Where the counts go.
        row_limit: Rows that may wait; more are not counted, which the arms' `rows` show.
    """

    def __init__(self, edges: Sequence[float], counters: Counters, *, row_limit: int) -> None:
        self._edges = single_precision(tuple(edges))
        self._counters = counters
        self._row_limit = row_limit
        self._pending: list[tuple[str, Arm, InferenceRequest, OutputArrays]] = []
        self._pending_rows = 0
        self._lock = threading.Lock()

    def offer(self, phase: str, arm: Arm, request: InferenceRequest, values: OutputArrays) -> None:
        """Take an answer that the client (or, of a shadow, nobody) got.

        Args:
            phase: The phase that it is counted in.
            arm: Who answered.
            request: What was asked.
            values: What was answered; outputs that were not asked for may be there or not.
        """
        with self._lock:
            if self._pending_rows + request.rows <= self._row_limit:
                self._pending.append((phase, arm, request, values))
                self._pending_rows += request.rows

    def flush(self) -> None:
        """Count what waits; by one thread at a time."""
        if not self._pending:
            return
        with self._lock:
            pending, self._pending = self._pending, []
            self._pending_rows = 0
        found: dict[tuple[str, Arm, int], list[Column]] = {}
        for phase, arm, request, values in pending:
            name = scored_output(values)
            # An answer that would be comparable in one arm only is counted in none.
            if name is None or (request.outputs is not None and name not in request.outputs):
                continue
            array = values[name]
            found.setdefault((phase, arm, array.size // request.rows), []).append(array)
        for (phase, arm, width), parts in found.items():
            places = np.searchsorted(self._edges, _scores(parts, width), side="right")
            counts = np.bincount(places, minlength=self._edges.size + 1)
            self._counters.count_answers_by_bin(phase, arm, counts.tolist())


def _scores(arrays: Sequence[Column], width: int) -> SingleArray:
    """The stream that drift is watched on: the probability (the largest one) or the number.

    Args:
        arrays: Each [rows] or [rows, width].
        width: Values of a row.
    """
    with np.errstate(over="ignore"):
        single = np.concatenate(arrays, axis=None).astype(np.float32)
    return single if width == 1 else single.reshape(-1, width).max(axis=1)
