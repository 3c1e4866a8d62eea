"""The segmented log: whole segments, bounded waiting, and nothing lost that is not counted."""

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mooring_serving.log.counts import RowTotals
from mooring_serving.log.sampling import is_sampled
from mooring_serving.log.settings import RotateSettings
from tests.builders.log_streams import Entry, make_stream

_parquet: Any = importlib.import_module("pyarrow.parquet")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST = int(NOON.timestamp()) * 1_000_000

# --- segments


def test_log_writes_one_segment_at_the_end_when_few_rows_came(tmp_path: Path) -> None:
    stream = make_stream(tmp_path)
    stream.start()
    for _ in range(10):
        stream.log.offer(Entry(3))
    assert stream.stop() == RowTotals(offered=30, written=30)
    assert stream.files() == [f"ns/dep/predictions/date=2026-03-01/pod-1-0-{FIRST}.parquet"]
    assert _parquet.read_table(stream.root / stream.files()[0]).num_rows == 30
    left = {path.name for path in (tmp_path / "spool").rglob("*") if path.is_file()}
    assert left == {"lock", "counts"}


@pytest.mark.parametrize(
    "rotate",
    [
        pytest.param(RotateSettings(rows=20_000), id="rows"),
        pytest.param(RotateSettings(bytes=1 << 16), id="bytes"),
    ],
)
def test_log_cuts_segments_at_their_size(tmp_path: Path, rotate: RotateSettings) -> None:
    stream = make_stream(tmp_path, rotate=rotate)
    for _ in range(3):
        stream.log.offer(Entry(20_000))
        stream.log.flush()
    stream.shipper.start()
    assert stream.stop().written == 60_000
    assert len(stream.files()) == 3


def test_log_says_what_its_files_are_in_their_metadata(tmp_path: Path) -> None:
    stream = make_stream(tmp_path)
    stream.start()
    stream.log.offer(Entry(1))
    stream.stop()
    facts = _parquet.read_metadata(stream.root / stream.files()[0]).metadata
    assert facts[b"mooring.schemaVersion"] == b"1"
    assert facts[b"mooring.stream"] == b"predictions"


def test_log_drops_and_counts_when_too_many_rows_wait(tmp_path: Path) -> None:
    log = make_stream(tmp_path, rows=10).log
    for _ in range(5):
        log.offer(Entry(4))
    assert (log.totals.waiting, log.totals.dropped) == (8, 12)


def test_log_drops_and_counts_when_the_disk_is_full_of_waiting_segments(tmp_path: Path) -> None:
    stream = make_stream(tmp_path, disk=1 << 12)
    stream.store.broken.set()
    stream.start()
    for _ in range(40):
        stream.log.offer(Entry(100))
        stream.log.flush()
    totals = stream.stop()
    assert totals.dropped > 3000
    assert totals.waiting + totals.dropped == totals.offered == 4000
    assert stream.spool.bytes <= 1 << 12


def test_log_drops_only_the_entry_that_has_no_such_form(tmp_path: Path) -> None:
    stream = make_stream(tmp_path)
    stream.start()
    for value in (1, "text", 3):
        stream.log.offer(Entry(1, value=value))
    assert stream.stop() == RowTotals(offered=3, written=2, dropped=1)


def test_segments_wait_on_the_disk_when_the_store_is_away_and_go_out_later(tmp_path: Path) -> None:
    stream = make_stream(tmp_path)
    stream.store.broken.set()
    stream.start()
    stream.log.offer(Entry(7))
    totals = stream.stop()
    assert stream.store.tried.is_set()
    assert (totals.written, totals.waiting, totals.dropped, stream.files()) == (0, 7, 0, [])
    stream.spool.close()
    later = make_stream(tmp_path)
    later.start()
    assert later.stop() == RowTotals(offered=7, recovered=7)


# --- sampling


def test_sample_is_decided_by_the_id_alone_and_nested() -> None:
    ids = [f"{number:016x}" for number in range(20_000)]
    tenth = {name for name in ids if is_sampled(name, 0.1)}
    half = {name for name in ids if is_sampled(name, 0.5)}
    assert tenth < half
    assert len(half) == pytest.approx(10_000, abs=300)
    # The check value of CRC-32 is cbf43926, 0.7967 of its range. Fixed for ever: readers repeat it.
    assert (is_sampled("123456789", 0.796), is_sampled("123456789", 0.797)) == (False, True)
    assert all(is_sampled(name, 1.0) for name in ids)
    assert not any(is_sampled(name, 0.0) for name in ids)


def test_log_counts_what_is_sampled_out_apart(tmp_path: Path) -> None:
    stream = make_stream(tmp_path, sample=0.3)
    stream.start()
    ids = [f"{number:016x}" for number in range(1000)]
    for name in ids:
        stream.log.offer(Entry(2, prediction_id=name))
    kept = 2 * sum(is_sampled(name, 0.3) for name in ids)
    assert stream.stop() == RowTotals(offered=kept, written=kept, sampled_out=2000 - kept)
