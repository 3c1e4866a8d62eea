"""One stream of rows into journaled segments: a bounded queue and a thread."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from mooring_serving.log.counts import RowTotals
from mooring_serving.log.journal import Journal, Payload
from mooring_serving.log.sampling import is_sampled
from mooring_serving.log.settings import RotateSettings
from mooring_serving.log.spool import Segment, Spool

_LOG = logging.getLogger(__name__)

FLUSH_SECONDS = 0.1
"""From a row's coming to its being journaled; with the writing itself, on a busy core, less than
250 ms, which is what a killed process loses."""


_QUIET = timedelta(seconds=10)
"""Between two lines of the process' log about dropped rows; the counters have them all."""


class Row(Protocol):
    """An entry of the log: one or more rows of one prediction."""

    @property
    def prediction_id(self) -> str:
        """The receipt's `i`."""
        ...

    @property
    def rows(self) -> int:
        """Rows that the entry makes."""
        ...


_Entry = TypeVar("_Entry", bound=Row)
_Encoded = TypeVar("_Encoded", bound=Row, contravariant=True)


class Encoder(Protocol[_Encoded]):
    """Makes journal batches of entries."""

    @property
    def schema(self) -> Payload:
        """The batches' schema."""
        ...

    def encode(self, entries: Sequence[_Encoded]) -> Payload:
        """One batch.

        Raises:
            ValueError: A value is not of its column's type.
            TypeError: Likewise.
        """
        ...


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What may wait.

    Attributes:
        rows: Rows in memory.
        text_bytes: Bytes of their texts.
        disk_bytes: Bytes on the pod's disk, the open journal included.
    """

    rows: int
    text_bytes: int
    disk_bytes: int


class SegmentedLog(Generic[_Entry]):
    """A bounded queue, and the thread that journals it and cuts the journal into segments.

    Args:
        spool: Where journals go.
        encoder: Makes batches.
        on_segment: Takes a closed segment; called on the thread.
        now: The wall clock.
        rotate: When a segment is closed.
        limits: What may wait.
        sample: Share of predictions that are logged.
        measure: Bytes of an entry's texts; None where it has none of any length.
    """

    def __init__(  # noqa: PLR0913 - one stream's parts; each is another object's business
        self,
        spool: Spool,
        encoder: Encoder[_Entry],
        on_segment: Callable[[Spool, Segment], None],
        *,
        now: Callable[[], datetime],
        rotate: RotateSettings,
        limits: QueueLimits,
        sample: float = 1.0,
        measure: Callable[[_Entry], int] | None = None,
    ) -> None:
        self._spool = spool
        self._encoder = encoder
        self._on_segment = on_segment
        self._now = now
        self._rotate = rotate
        self._limits = limits
        self._sample = sample
        self._measure = measure
        self._lock = spool.lock
        self._counts = spool.counts
        self._waiting: list[_Entry] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._came = threading.Event()
        self._soon = threading.Event()
        self._stopping = threading.Event()
        self._stopped = False
        self._journal: Journal | None = None
        self._number = 0
        self._opened_at = now()
        self._quiet_until = self._opened_at
        self._thread = threading.Thread(target=self._run, name=f"log {spool.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, entry: _Entry) -> None:
        """Log an entry, or drop it when too many rows wait; never waits for a disk or a store."""
        rows = entry.rows
        with self._lock:
            if self._sample < 1.0 and not is_sampled(entry.prediction_id, self._sample):
                self._counts.sample_out(rows)
                return
            self._counts.offer(rows)
            waiting = self._waiting_rows + rows
            if waiting > self._limits.rows or not self._has_room(entry):
                self._counts.drop(rows)
                return
            self._waiting_rows = waiting
            self._waiting.append(entry)
            if waiting == rows:
                self._came.set()
            if waiting > self._limits.rows >> 1:
                self._soon.set()

    def _has_room(self, entry: _Entry) -> bool:
        if self._measure is not None:
            size = self._waiting_bytes + self._measure(entry)
            if size > self._limits.text_bytes:
                return False
            self._waiting_bytes = size
        return not self._stopped

    @property
    def totals(self) -> RowTotals:
        """Rows by what became of them."""
        return self._spool.totals

    def flush(self) -> None:
        """Journal what waits, in batches that no segment is much larger for; the thread's step."""
        with self._lock:
            entries, self._waiting = self._waiting, []
            self._waiting_rows = self._waiting_bytes = 0
            self._came.clear()
            if not self._stopping.is_set():
                self._soon.clear()
        while entries:
            count, rows = _head(entries, self._rotate.rows)
            self._append(entries[:count], rows)
            entries = entries[count:]
            if self._journal is not None and self._is_due(self._journal):
                self._close_segment()

    def stop(self, seconds: float) -> None:
        """Journal what waits, close the segment and end the thread, in at most `seconds`."""
        self._stopping.set()
        self._soon.set()
        self._came.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        else:
            self._end()

    # --- the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._came.wait(self._seconds_left()):
                self._soon.wait(FLUSH_SECONDS)
                self.flush()
            if self._journal is not None and self._is_due(self._journal):
                self._close_segment()
        self._end()

    def _end(self) -> None:
        with self._lock:
            self._stopped = True
        self.flush()
        self._close_segment()

    def _seconds_left(self) -> float | None:
        """Until the open segment is old enough; None when there is none."""
        if self._journal is None:
            return None
        age = (self._now() - self._opened_at).total_seconds()
        return max(0.0, self._rotate.seconds - age)

    def _is_due(self, journal: Journal) -> bool:
        now = self._now()
        return (
            journal.rows >= self._rotate.rows
            or journal.bytes >= self._rotate.bytes
            or (now - self._opened_at).total_seconds() >= self._rotate.seconds
            or now.date() != self._opened_at.date()
        )

    def _append(self, entries: Sequence[_Entry], rows: int) -> None:
        try:
            payload = self._encoder.encode(entries)
        except (ValueError, TypeError) as error:
            self._append_singly(entries, error)
            return
        if self._spool.bytes + len(payload) > self._limits.disk_bytes:
            self._drop(rows, f"{self._limits.disk_bytes} bytes wait for the store already")
            return
        try:
            journal = self._open()
            before = journal.bytes
            journal.append(payload, rows)
            self._spool.grow(journal.bytes - before)
        except OSError as error:
            self._drop(rows, str(error))

    def _append_singly(self, entries: Sequence[_Entry], error: Exception) -> None:
        """One entry cannot be written: keep the others."""
        if len(entries) > 1:
            for entry in entries:
                self._append([entry], entry.rows)
            return
        self._drop(sum(entry.rows for entry in entries), f"an entry has no such form: {error}")

    def _open(self) -> Journal:
        if self._journal is None:
            now = self._now()
            self._journal, self._number = self._spool.open_journal(
                f"{now:%Y-%m-%d}", int(now.timestamp()), self._encoder.schema
            )
            self._opened_at = now
        return self._journal

    def _close_segment(self) -> None:
        journal = self._journal
        if journal is None:
            return
        self._journal = None
        journal.close()
        date = f"{self._opened_at:%Y-%m-%d}"
        self._on_segment(self._spool, Segment(self._number, date, journal.rows))

    def _drop(self, rows: int, why: str) -> None:
        with self._lock:
            self._counts.drop(rows)
        now = self._now()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            _LOG.warning("%s: rows are dropped: %s", self._spool.name, why)


def _head(entries: Sequence[Row], limit: int) -> tuple[int, int]:
    """Entries of about `limit` rows at the head, at least one, and their rows."""
    rows = 0
    for index, entry in enumerate(entries):
        rows += entry.rows
        if rows >= limit:
            return index + 1, rows
    return len(entries), rows
