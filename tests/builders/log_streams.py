"""Streams of the segmented log over a directory, and journals that a process left."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mooring_serving.log.buffers import plain_column
from mooring_serving.log.counts import RowTotals
from mooring_serving.log.journal import Payload
from mooring_serving.log.parquet import BatchEncoder, ColumnKind
from mooring_serving.log.segments import QueueLimits, SegmentedLog
from mooring_serving.log.settings import RotateSettings
from mooring_serving.log.shipping import Neighbours, Shipper
from mooring_serving.log.spool import Spool
from mooring_serving.log.store import DirectoryStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    rows: int
    prediction_id: str = "00000000000000aa"
    value: object = 1


class Rows:
    """Encodes entries as one integer column."""

    def __init__(self) -> None:
        self._encoder = BatchEncoder({"row": ColumnKind.ROW}, {"mooring.stream": "predictions"})
        self.schema: Payload = self._encoder.schema

    def encode(self, entries: Sequence[Entry]) -> Payload:
        values = [entry.value for entry in entries for _ in range(entry.rows)]
        return self._encoder.encode({"row": plain_column(np.array(values, np.int32))})


class FailingStore(DirectoryStore):
    """A directory that fails while `broken` is set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.broken = threading.Event()
        self.tried = threading.Event()

    def put(self, path: str, source: Path) -> None:
        self.tried.set()
        if self.broken.is_set():
            raise OSError("the store is away")
        super().put(path, source)


@dataclass
class Stream:
    """One stream with its spool and shipper, in folders of a test."""

    log: SegmentedLog[Entry]
    shipper: Shipper
    spool: Spool
    store: FailingStore
    root: Path

    def start(self) -> None:
        self.log.start()
        self.shipper.start()

    def stop(self, seconds: float = 5) -> RowTotals:
        self.log.stop(seconds)
        self.shipper.stop(seconds)
        return self.log.totals

    def files(self) -> list[str]:
        return sorted(
            path.relative_to(self.root).as_posix() for path in self.root.rglob("*.parquet")
        )


def make_stream(
    tmp_path: Path,
    *,
    rows: int = 100_000,
    disk: int = 1 << 24,
    sample: float = 1.0,
    rotate: RotateSettings | None = None,
) -> Stream:
    spool = Spool(tmp_path / "spool" / "predictions-0", wait=False)
    store = FailingStore(tmp_path / "store")
    shipper = Shipper(
        store,
        place="ns/dep",
        pod="pod-1",
        spools=[spool],
        neighbours=Neighbours(tmp_path / "spool", workers=3),
        retentions=[],
        now=lambda: NOON,
    )
    log = SegmentedLog(
        spool,
        Rows(),
        shipper.take,
        now=lambda: NOON,
        rotate=rotate or RotateSettings(),
        limits=QueueLimits(rows=rows, text_bytes=1 << 20, disk_bytes=disk),
        sample=sample,
    )
    return Stream(log, shipper, spool, store, tmp_path / "store")


def journaled(tmp_path: Path, *batches: int) -> Path:
    """What a killed process leaves that journaled these batches; returns the journal."""
    spool = Spool(tmp_path / "spool" / "predictions-0", wait=False)
    journal, _ = spool.open_journal("2026-03-01", int(NOON.timestamp()), Rows().schema)
    for count in batches:
        spool.counts.offer(count)
        journal.append(Rows().encode([Entry(count)]), count)
    journal.close()
    spool.close()  # as the kernel does
    return journal.path
