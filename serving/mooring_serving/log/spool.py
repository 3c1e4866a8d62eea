"""The folder of one worker's stream on the pod's own disk: journals, closed segments, counts.

A lock tells whether its writer lives: the kernel gives it up with the process. Whoever holds the
lock owns the folder; the next process takes it over, counts what is lost and ships what is there.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mooring_serving.log.counts import RowCounts, RowTotals
from mooring_serving.log.journal import Journal, Payload, read_journal
from mooring_serving.log.parquet import count_rows

_LOG = logging.getLogger(__name__)
_JOURNAL = ".journal"
_SEGMENT = ".parquet"
_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed segment on its way to the store.

    Attributes:
        number: Its number, rising with each segment of the stream.
        date: The day in UTC on which it was begun, `YYYY-MM-DD`.
        rows: Its rows.
        recovered: Whether a process before this one made it.
    """

    number: int
    date: str
    rows: int
    recovered: bool = False


class SpoolTaken(Exception):
    """Another living process owns the folder."""


class Spool:
    """See the module. Thread-safe.

    Args:
        folder: The folder; made if absent.
        wait: Whether to wait for another process that owns it now.

    Raises:
        SpoolTaken: Somebody else owns it, and `wait` is false.
        OSError: It cannot be made or written.
    """

    def __init__(self, folder: Path, *, wait: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock_file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # A record lock, which a forked child does not keep when its parent is killed.
            fcntl.lockf(self._lock_file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (BlockingIOError, PermissionError) as error:
            os.close(self._lock_file)
            raise SpoolTaken(str(folder)) from error
        self.lock = threading.Lock()
        """Guards the numbers of rows that come and are dropped, and the bytes on disk."""
        self.counts = RowCounts(folder / "counts")
        self._bytes = 0
        self._last_number = self.counts.shipped_number
        self.inherited: Sequence[Segment] = self._take_over()

    @property
    def name(self) -> str:
        """Stream and worker, such as `predictions-0`."""
        return self._folder.name

    @property
    def totals(self) -> RowTotals:
        """Rows by what became of them."""
        return self.counts.read()

    @property
    def bytes(self) -> int:
        """Bytes of journals and segments."""
        with self.lock:
            return self._bytes

    def grow(self, count: int) -> None:
        """The open journal became longer by so many bytes."""
        with self.lock:
            self._bytes += count

    def open_journal(self, date: str, second: int, schema: Payload) -> tuple[Journal, int]:
        """A new journal and its number.

        Numbers start at the second in which they are made times a million and always rise, so
        that no segment is written over, whatever the clock does.

        Raises:
            OSError: The disk is full.
        """
        number = max(second * 1_000_000, self._last_number + 1)
        journal = Journal(self._path(number, date, _JOURNAL), schema)
        self._last_number = number
        self.grow(journal.bytes)
        return journal, number

    def seal(
        self, segment: Segment, write: Callable[[Path, Payload, Sequence[Payload]], None]
    ) -> Path:
        """The segment as a Parquet file, made from its journal unless that was done before.

        Raises:
            OSError: The disk failed.
            ValueError: The journal cannot be read.
        """
        path = self._path(segment.number, segment.date, _SEGMENT)
        journal = self._path(segment.number, segment.date, _JOURNAL)
        if path.exists():
            return path
        content = read_journal(journal)
        if content is None:
            raise ValueError(f"{journal.name} is no journal")
        partial = path.with_suffix(_PARTIAL)
        write(partial, content.schema, content.batches)
        partial.replace(path)
        self.grow(path.stat().st_size - journal.stat().st_size)
        journal.unlink()
        return path

    def ship(self, segment: Segment) -> None:
        """The segment is in the store: count it, then remove it."""
        self.counts.ship(segment.rows, segment.number, recovered=segment.recovered)
        self._remove(segment)

    def discard(self, segment: Segment) -> None:
        """The segment can be neither read nor written: its rows are dropped."""
        with self.lock:
            self.counts.drop(segment.rows)
        self._remove(segment)

    def drop_waiting(self) -> None:
        """The folder ends with this process: what is still in it is dropped."""
        with self.lock:
            self.counts.drop(self.totals.waiting)

    def close(self) -> None:
        """Give the folder up."""
        os.close(self._lock_file)

    # --- steps

    def _path(self, number: int, date: str, suffix: str) -> Path:
        return self._folder / f"{number}_{date}{suffix}"

    def _remove(self, segment: Segment) -> None:
        for suffix in (_JOURNAL, _SEGMENT):
            path = self._path(segment.number, segment.date, suffix)
            if path.exists():
                self.grow(-path.stat().st_size)
                path.unlink()

    def _take_over(self) -> list[Segment]:
        """What the process before this one left; its missing rows are counted as lost."""
        for path in self._folder.glob(f"*{_PARTIAL}"):
            path.unlink()
        shipped = self.counts.shipped_number
        found: list[Segment] = []
        names = {
            path.stem for path in self._folder.iterdir() if path.suffix in (_JOURNAL, _SEGMENT)
        }
        for name in sorted(names, key=lambda stem: int(stem.partition("_")[0])):
            number, _, date = name.partition("_")
            segment = Segment(int(number), date, self._rows_of(name), recovered=True)
            self._last_number = max(self._last_number, segment.number)
            self._bytes += self._size_of(name)
            if segment.number <= shipped or not segment.rows:
                self._remove(segment)
            else:
                found.append(segment)
        lost = self.totals.waiting - sum(segment.rows for segment in found)
        if lost > 0:
            self.counts.lose(lost)
        if found or lost:
            _LOG.warning(
                "%s: took over %d segments of a process that ended, %d rows; %d rows were lost",
                *(self.name, len(found), sum(segment.rows for segment in found), lost),
            )
        return found

    def _rows_of(self, name: str) -> int:
        """Rows of the complete segment, else of the whole frames of its journal."""
        path = self._folder / f"{name}{_SEGMENT}"
        rows = count_rows(path) if path.exists() else None
        if rows is not None:
            return rows
        path.unlink(missing_ok=True)
        journal = self._folder / f"{name}{_JOURNAL}"
        content = read_journal(journal) if journal.exists() else None
        if content is not None and content.torn_bytes:
            _LOG.warning("%s ends in %d torn bytes", journal.name, content.torn_bytes)
        return 0 if content is None else content.rows

    def _size_of(self, name: str) -> int:
        paths = (self._folder / f"{name}{suffix}" for suffix in (_JOURNAL, _SEGMENT))
        return sum(path.stat().st_size for path in paths if path.exists())
