"""The death of a process: what its journal held is recovered once, the rest is counted."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mooring_serving.log.counts import RowTotals
from mooring_serving.log.journal import Journal, read_journal
from mooring_serving.log.spool import Spool, SpoolTaken
from tests.builders.log_streams import Entry, Rows, journaled, make_stream

_parquet: Any = importlib.import_module("pyarrow.parquet")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

# --- the death of a process


def test_successor_recovers_the_journal_of_a_killed_process_once(tmp_path: Path) -> None:
    journaled(tmp_path, 5, 6)
    for _ in range(2):  # the second one has nothing to recover
        again = make_stream(tmp_path)
        again.start()
        assert again.stop() == RowTotals(offered=11, recovered=11)
        again.spool.close()
    stream = make_stream(tmp_path)
    assert len(stream.files()) == 1
    assert _parquet.read_table(stream.root / stream.files()[0]).num_rows == 11


def test_successor_counts_rows_that_no_journal_had_as_lost(tmp_path: Path) -> None:
    journaled(tmp_path, 5)
    spool = Spool(tmp_path / "spool" / "predictions-0", wait=False)
    spool.counts.offer(4)
    spool.close()
    stream = make_stream(tmp_path)
    stream.start()
    assert stream.stop() == RowTotals(offered=9, recovered=5, lost=4)


def cut(data: bytes) -> bytes:
    return data[:-3]


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def followed_by_zeros(data: bytes) -> bytes:
    return data + bytes(64)


def followed_by_garbage(data: bytes) -> bytes:
    return data + data[-10:]


def cut_in_the_schema(data: bytes) -> bytes:
    return data[:20]


def emptied(data: bytes) -> bytes:
    return data[:0]


def of_another_kind(data: bytes) -> bytes:
    return b"x" + data[1:]


@pytest.mark.parametrize(
    ("torn", "recovered"),
    [
        (cut, 5),
        (flipped, 5),
        (followed_by_zeros, 11),
        (followed_by_garbage, 11),
        (cut_in_the_schema, 0),
        (emptied, 0),
        (of_another_kind, 0),
    ],
)
def test_torn_journal_gives_its_whole_batches(
    tmp_path: Path, torn: Callable[[bytes], bytes], recovered: int
) -> None:
    path = journaled(tmp_path, 5, 6)
    path.write_bytes(torn(path.read_bytes()))
    stream = make_stream(tmp_path)
    stream.start()
    assert stream.stop() == RowTotals(offered=11, recovered=recovered, lost=11 - recovered)
    files = [_parquet.read_table(stream.root / name).num_rows for name in stream.files()]
    assert sum(files) == recovered


def test_segment_that_was_shipped_is_not_counted_again_when_its_file_was_left(
    tmp_path: Path,
) -> None:
    path = journaled(tmp_path, 5)
    spool = Spool(tmp_path / "spool" / "predictions-0", wait=False)
    left = path.read_bytes()
    spool.ship(spool.inherited[0])
    path.write_bytes(left)  # killed between counting and removing
    spool.close()
    stream = make_stream(tmp_path)
    stream.start()
    assert stream.stop() == RowTotals(offered=5, recovered=5)


def test_segment_that_was_half_compressed_is_made_again(tmp_path: Path) -> None:
    path = journaled(tmp_path, 5)
    path.with_suffix(".partial").write_bytes(b"PAR1 half")
    stream = make_stream(tmp_path)
    stream.start()
    assert stream.stop().recovered == 5
    assert list((tmp_path / "spool").rglob("*.partial")) == []


def test_spool_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    """Its forked child does not keep the folder when the process itself is gone."""
    folder = tmp_path / "predictions-0"
    program = (
        "import os, sys; from pathlib import Path; from mooring_serving.log.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), wait=False)\n"
        "child = os.fork()\n"
        "print(child, flush=True) if child else None\n"
        "sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    with pytest.raises(SpoolTaken):
        Spool(folder, wait=False)
    owner.kill()
    owner.wait(10)
    os.kill(child, 0)  # it lives
    Spool(folder, wait=True).close()
    owner.stdin.close()
    owner.stdout.close()


def test_numbers_rise_when_the_clock_goes_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "predictions-0", wait=False)
    numbers = [spool.open_journal("2026-03-01", second, b"")[1] for second in (100, 100, 7)]
    assert numbers == [100_000_000, 100_000_001, 100_000_002]


def test_spool_of_a_worker_that_does_not_come_again_is_taken_over(tmp_path: Path) -> None:
    journaled(tmp_path, 5)
    (tmp_path / "spool" / "predictions-0").rename(tmp_path / "spool" / "predictions-3")
    stream = make_stream(tmp_path)
    stream.shipper.sweep()
    stream.start()
    stream.stop()
    assert [spool.totals for spool in stream.shipper.spools] == [
        RowTotals(),
        RowTotals(offered=5, recovered=5),
    ]
    assert "pod-1-3-" in stream.files()[0]


def test_spool_of_a_worker_that_comes_again_is_left_to_it(tmp_path: Path) -> None:
    """It was killed a moment ago: whoever took its spool would keep its successor waiting."""
    journaled(tmp_path, 5)
    (tmp_path / "spool" / "predictions-0").rename(tmp_path / "spool" / "predictions-2")
    stream = make_stream(tmp_path)
    stream.shipper.sweep()
    assert [spool.name for spool in stream.shipper.spools] == ["predictions-0"]
    successor = Spool(tmp_path / "spool" / "predictions-2", wait=False)
    assert [segment.rows for segment in successor.inherited] == [5]


def test_journal_is_as_before_when_the_disk_is_full(tmp_path: Path) -> None:
    """A file-size limit stands in for a full disk: the kernel writes what fits."""
    import resource
    import signal

    journal = Journal(tmp_path / "a.journal", Rows().schema)
    journal.append(Rows().encode([Entry(3)]), 3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.bytes + 40, before[1]))
        with pytest.raises(OSError, match=r"disk is full|File too large"):
            journal.append(Rows().encode([Entry(1000)]), 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    journal.append(Rows().encode([Entry(2)]), 2)
    journal.close()
    content = read_journal(tmp_path / "a.journal")
    assert content is not None
    assert (content.rows, content.torn_bytes) == (5, 0)
