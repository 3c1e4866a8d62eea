"""The segmented log: whole segments, bounded waiting, nothing lost at the end."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mooring_serving.log.parquet import ColumnKind, LogColumn, LogTable
from mooring_serving.log.segments import SEGMENT_ROWS, SegmentedLog
from mooring_serving.log.store import LogUriInvalid, open_store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    rows: int


class MemoryStore:
    """Segments in memory; fails while `broken` is set."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.broken = threading.Event()
        self.tried = threading.Event()

    def write(self, path: str, data: bytes) -> None:
        self.tried.set()
        if self.broken.is_set():
            raise OSError("the store is away")
        self.paths.append(path)


def build(entries: Sequence[Entry]) -> LogTable:
    return {"row": LogColumn(ColumnKind.ROW, list(range(sum(entry.rows for entry in entries))))}


def make_log(store: MemoryStore, row_limit: int = 20_000) -> SegmentedLog[Entry]:
    return SegmentedLog(
        store,
        prefix="ns/dep/predictions",
        first_name="pod-1",
        build=build,
        now=lambda: NOON,
        row_limit=row_limit,
    )


def test_log_writes_one_segment_at_the_end_when_few_rows_came() -> None:
    store = MemoryStore()
    log = make_log(store)
    log.start()
    for _ in range(10):
        log.offer(Entry(3))
    log.stop(5)
    number = int(NOON.timestamp()) * 1_000_000
    assert store.paths == [f"ns/dep/predictions/date=2026-03-01/pod-1-{number}.parquet"]
    assert (log.counts.written, log.counts.waiting, log.counts.dropped) == (30, 0, 0)


def test_log_cuts_segments_at_their_size() -> None:
    store = MemoryStore()
    log = make_log(store)
    for _ in range(3):
        log.offer(Entry(SEGMENT_ROWS))
    log.start()
    log.stop(5)
    assert len(store.paths) == 3
    assert len(set(store.paths)) == 3


def test_log_drops_and_counts_when_too_many_rows_wait() -> None:
    log = make_log(MemoryStore(), row_limit=10)
    for _ in range(5):
        log.offer(Entry(4))
    assert (log.counts.waiting, log.counts.dropped) == (8, 12)


def test_log_drops_and_counts_when_the_store_stays_away_at_the_end() -> None:
    store = MemoryStore()
    store.broken.set()
    log = make_log(store)
    log.start()
    log.offer(Entry(7))
    log.stop(5)
    assert store.tried.is_set()
    assert (log.counts.written, log.counts.waiting, log.counts.dropped) == (0, 0, 7)


def test_directory_store_leaves_no_partial_file(tmp_path: Path) -> None:
    open_store(f"file://{tmp_path}").write("a/date=2026-03-01/p-1.parquet", b"bytes")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["p-1.parquet"]


@pytest.mark.parametrize("uri", ["", "ftp://x/y", "pvc:///x", "pvc://claim/../up", "s3://"])
def test_log_uri_is_refused_when_it_cannot_be_written(uri: str) -> None:
    with pytest.raises(LogUriInvalid, match="cannot be written"):
        open_store(uri)
