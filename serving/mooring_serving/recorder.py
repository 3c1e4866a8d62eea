"""Recording: features and scores into the fixed-bin counts, off the request path.

The request path appends to a bounded list; a thread empties it some times a second and counts
whole batches at numpy's speed. A reader of the counts empties it first, so that a snapshot holds
every request answered before it.
"""

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from mooring_profile.document import CLASS_STREAM, ReferenceProfile
from mooring_profile.sketch import SketchRecorder
from mooring_serving.answer_bins import AnswerBins, answer_edges
from mooring_serving.counters import Counters
from mooring_serving.protocol.messages import InferenceRequest, join_columns
from mooring_serving.served import Answer
from mooring_serving.workers.memory import SketchMemory

_INTERVAL_SECONDS = 0.025
_BLOCK_ROWS = 1024
"""Rows counted in one go: enough for numpy to be quick. Between blocks requests get their turn; a
whole backlog in one go (12,000 rows at half load of 64 rows) held them up for 8 ms."""

Answered = tuple[InferenceRequest, Answer]


class Recorder:
    """Counts what was answered; `offer` never waits.

    Counts go to the slot whole batches at a time, so that a process killed in the middle of one
    leaves the counts before it.

    Args:
        profile: The version's reference profile.
        sketches: Where the counts go; a predecessor's are gone on with.
        counters: Count the rows that are dropped.
        row_limit: Rows that may wait; more are dropped and counted.

    Attributes:
        answers: Takes the answers of rollouts, to be binned by arm.
    """

    def __init__(
        self,
        profile: ReferenceProfile,
        sketches: SketchMemory,
        counters: Counters,
        *,
        row_limit: int,
    ) -> None:
        self._counters = counters
        self._memory = sketches
        self._sketched_rows, cells = sketches.read()
        self._sketches = SketchRecorder(profile, cells)
        self._features = tuple(feature.name for feature in profile.features)
        self._row_limit = row_limit
        self.answers = AnswerBins(answer_edges(profile), counters, row_limit=row_limit)
        self._by_class = profile.predicted is not None
        self._pending: list[Answered] = []
        self._pending_rows = 0
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Start the counting thread."""
        self._thread.start()

    def offer(self, request: InferenceRequest, answer: Answer) -> None:
        """Record an answered request, or drop it when too many rows wait."""
        with self._lock:
            if self._pending_rows + request.rows <= self._row_limit:
                self._pending.append((request, answer))
                self._pending_rows += request.rows
                return
        self._counters.count_dropped_rows(request.rows)

    def flush(self) -> None:
        """Count everything that was offered until now."""
        with self._counting:
            self._count_pending()
            self.answers.flush()

    def stop(self) -> None:
        """Count what waits and end the thread."""
        self._stopping.set()
        self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_SECONDS):
            self.flush()

    def _count_pending(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
            self._pending_rows = 0
        for block, rows in _blocks(pending):
            self._count(block, rows)
            time.sleep(0)  # gives the interpreter to whoever waits for it

    def _count(self, block: Sequence[Answered], rows: int) -> None:
        columns = join_columns([request for request, _ in block], self._features)
        score = np.concatenate([answer.score for _, answer in block])
        if self._by_class:
            chosen = [answer.chosen for _, answer in block if answer.chosen is not None]
            if len(chosen) == len(block):
                columns = {**columns, CLASS_STREAM: np.concatenate(chosen)}
        self._sketches.record(columns, score)
        self._sketched_rows += rows
        self._memory.publish(self._sketches.cells, self._sketched_rows)


def _blocks(pending: Sequence[Answered]) -> Iterator[tuple[Sequence[Answered], int]]:
    """Runs of neighbours with at least `_BLOCK_ROWS` rows, but for the last, and their rows."""
    start = rows = 0
    for end, (request, _) in enumerate(pending, 1):
        rows += request.rows
        if rows >= _BLOCK_ROWS or end == len(pending):
            yield pending[start:end], rows
            start, rows = end, 0
