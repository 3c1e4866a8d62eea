"""One stream of rows to numbered Parquet segments, on a thread of its own."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from mooring_serving.log.parquet import LogTable, encode_parquet

_LOG = logging.getLogger(__name__)

SEGMENT_ROWS = 5_000
"""A segment is closed with this many rows,"""
SEGMENT_SECONDS = 10.0
"""or at this age, whichever comes first, or when the pod drains."""
_RETRY_SECONDS = 5.0
"""Pause after a failed write; new rows go on queueing meanwhile, up to the limit."""


class Row(Protocol):
    """An entry of the log: one or more rows."""

    @property
    def rows(self) -> int:
        """Rows that the entry makes."""
        ...


_Entry = TypeVar("_Entry", bound=Row)


class SegmentStore(Protocol):
    """Where segments go."""

    def write(self, path: str, data: bytes) -> None:
        """Write one whole segment, visible only when complete.

        Raises:
            OSError: It could not be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """Rows written, waiting, and dropped since the pod's boot."""

    written: int
    waiting: int
    dropped: int


class SegmentedLog(Generic[_Entry]):
    """A bounded queue and the thread that turns it into segments.

    Args:
        store: Where segments go.
        prefix: Path of the stream below the store's root, e.g. `ns/dep/predictions`.
        first_name: File name before the number, e.g. the pod's uid.
        build: Makes the table of a segment.
        now: The wall clock.
        row_limit: Rows that may wait, the open segment included.
    """

    def __init__(
        self,
        store: SegmentStore,
        *,
        prefix: str,
        first_name: str,
        build: Callable[[Sequence[_Entry]], LogTable],
        now: Callable[[], datetime],
        row_limit: int,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._first_name = first_name
        self._build = build
        self._now = now
        self._row_limit = row_limit
        self._condition = threading.Condition()
        self._waiting: list[_Entry] = []
        self._waiting_rows = 0
        self._written = 0
        self._dropped = 0
        self._stopping = False
        # Numbers start at the boot's second, so that a restarted container of the same pod never
        # writes over the segments of the one before it.
        self._number = int(now().timestamp()) * 1_000_000
        self._thread = threading.Thread(target=self._run, name=f"log {prefix}", daemon=True)

    def start(self) -> None:
        """Start the writing thread."""
        self._thread.start()

    def offer(self, entry: _Entry) -> None:
        """Log an entry, or drop it when too many rows wait; never waits for the store."""
        with self._condition:
            if self._stopping or self._waiting_rows + entry.rows > self._row_limit:
                self._dropped += entry.rows
                return
            before = self._waiting_rows
            self._waiting.append(entry)
            self._waiting_rows = before + entry.rows
            if before == 0 or (before < SEGMENT_ROWS <= self._waiting_rows):
                self._condition.notify()

    @property
    def counts(self) -> SegmentCounts:
        """Rows written, waiting and dropped."""
        with self._condition:
            return SegmentCounts(self._written, self._waiting_rows, self._dropped)

    def stop(self, seconds: float) -> None:
        """Write what waits and end the thread; what is not written in `seconds` is dropped."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting_rows > 0 or self._stopping)
                self._condition.wait_for(
                    lambda: self._waiting_rows >= SEGMENT_ROWS or self._stopping, SEGMENT_SECONDS
                )
                if not self._waiting_rows:
                    return
                segment = self._cut()
            self._write(segment)

    def _cut(self) -> list[_Entry]:
        """Take whole entries of about one segment from the head of the queue."""
        rows = 0
        for index, entry in enumerate(self._waiting):
            rows += entry.rows
            if rows >= SEGMENT_ROWS:
                segment = self._waiting[: index + 1]
                self._waiting = self._waiting[index + 1 :]
                return segment
        segment, self._waiting = self._waiting, []
        return segment

    def _write(self, segment: Sequence[_Entry]) -> None:
        """Write a segment, again and again until it is written or the pod ends."""
        rows = sum(entry.rows for entry in segment)
        data = encode_parquet(self._build(segment))
        path = (
            f"{self._prefix}/date={self._now():%Y-%m-%d}/{self._first_name}-{self._number}.parquet"
        )
        self._number += 1
        while True:
            try:
                self._store.write(path, data)
            except OSError as error:
                _LOG.warning("cannot write %s (%s rows): %s", path, rows, error)
                with self._condition:
                    if self._stopping:
                        self._dropped += rows
                        self._waiting_rows -= rows
                        return
                    self._condition.wait_for(lambda: self._stopping, _RETRY_SECONDS)
            else:
                with self._condition:
                    self._written += rows
                    self._waiting_rows -= rows
                return
