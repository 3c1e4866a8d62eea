"""The segmented log: whole segments, bounded waiting, and nothing lost that is not counted."""

import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mooring_serving.arms import Arm
from mooring_serving.log.buffers import plain_column
from mooring_serving.log.counts import RowTotals
from mooring_serving.log.errors import LogFieldsInvalid, LogUriInvalid
from mooring_serving.log.fields import FieldHash, choose_fields
from mooring_serving.log.journal import Journal, Payload, read_journal
from mooring_serving.log.parquet import BatchEncoder, ColumnKind, write_segment
from mooring_serving.log.retention import DELETES_AT_ONCE, Retention, expired, is_elected
from mooring_serving.log.sampling import is_sampled
from mooring_serving.log.segments import QueueLimits, SegmentedLog
from mooring_serving.log.settings import LogSettings, RotateSettings
from mooring_serving.log.shipping import Shipper
from mooring_serving.log.spool import Spool, SpoolTaken
from mooring_serving.log.store import DirectoryStore, SegmentStore, open_store
from mooring_serving.log.tables import PredictionEntry, PredictionTables
from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.protocol.signature import build_signature

_parquet: Any = importlib.import_module("pyarrow.parquet")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST = int(NOON.timestamp()) * 1_000_000
SALT = "a salt of enough bytes"
FEATURES = ("age", "customer_id", "vip")


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
        root=tmp_path / "spool",
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


# --- fields


@dataclass(frozen=True)
class Input:
    name: str
    datatype: str
    nullable: bool = True
    categories: tuple[str, ...] | None = None


SIGNATURE = build_signature(
    [Input("age", "FP64"), Input("customer_id", "BYTES"), Input("vip", "BOOL")], [], max_rows=10
)


def prediction(**columns: Any) -> PredictionEntry:
    arrays: dict[str, Any] = {name: np.array(values) for name, values in columns.items()}
    rows = len(next(iter(arrays.values())))
    request = InferenceRequest(None, arrays, rows, None, {})
    return PredictionEntry("aa" * 8, 1_000_000, Arm.STABLE, None, request, np.full(rows, 0.5), {})


def written(tmp_path: Path, tables: PredictionTables, entry: PredictionEntry) -> Any:
    write_segment(tmp_path / "a.parquet", tables.schema, [tables.encode([entry])])
    return _parquet.read_table(tmp_path / "a.parquet")


def test_log_holds_included_features_and_hashes_and_always_the_score(tmp_path: Path) -> None:
    fields = choose_fields(FEATURES, LogSettings(include=("age",), hash=("customer_id",)), SALT)
    tables = PredictionTables(
        SIGNATURE, fields, FieldHash(SALT), revision="r", version="v", facts={}
    )
    ids = np.array(["c-1", None], dtype=object)
    entry = prediction(age=[1.5, float("nan")], customer_id=ids, vip=[True, False])
    table = written(tmp_path, tables, entry)
    assert [name for name in table.column_names if "." in name] == ["f.age", "h.customer_id"]
    assert table["f.age"].to_pylist() == [1.5, None]
    assert table["score"].to_pylist() == [0.5, 0.5]
    assert table["phase"].to_pylist() == [None, None]
    hashed = table["h.customer_id"].to_pylist()
    assert (len(hashed[0]), hashed[1]) == (32, None)
    assert b"c-1" not in (tmp_path / "a.parquet").read_bytes()
    facts = table.schema.metadata
    assert json.loads(facts[b"mooring.omitted"]) == ["vip"]
    assert json.loads(facts[b"mooring.hashed"]) == ["customer_id"]


def test_hash_is_stable_and_depends_on_the_salt() -> None:
    """`printf 42 | openssl dgst -sha256 -hmac SALT`, the first half."""
    values = np.array([42.0, 4.5, float("nan")])
    assert FieldHash(SALT).column(values)[0] == "b96f35ceef2bb772b0a30a690710b1db"
    assert FieldHash(SALT).column(values)[2] is None
    assert FieldHash(SALT).column(values)[0] != FieldHash(SALT + "x").column(values)[0]
    text = np.array(["42", "4.5"], dtype=object)
    assert FieldHash(SALT).column(text) == FieldHash(SALT).column(values)[:2]
    assert FieldHash(SALT).column(np.array([True])) == FieldHash(SALT).column(
        np.array(["true"], dtype=object)
    )


@pytest.mark.parametrize(
    ("settings", "salt", "said"),
    [
        pytest.param({"hash": ["customer_id"]}, None, "saltSecretName", id="no salt"),
        pytest.param({"hash": ["customer_id"]}, "short", "16 bytes", id="short salt"),
        pytest.param({"hash": ["custmer_id"]}, SALT, "the model has not", id="misspelt hash"),
        pytest.param({"exclude": ["agee"]}, None, "exclude names 'agee'", id="misspelt exclude"),
        pytest.param({"include": ["agee"]}, None, "include names 'agee'", id="misspelt include"),
        pytest.param({"include": ["age"], "exclude": ["vip"]}, None, "keep one", id="both lists"),
        pytest.param({"exclude": ["age"], "hash": ["age"]}, SALT, "excludes and hashes", id="both"),
    ],
)
def test_fields_are_refused_with_the_remedy(
    settings: dict[str, Any], salt: str | None, said: str
) -> None:
    with pytest.raises(LogFieldsInvalid, match=said):
        choose_fields(FEATURES, LogSettings.model_validate(settings), salt)


@pytest.mark.parametrize(
    "document",
    ['{"sample": 1.1}', '{"retentionSeconds": 60}', '{"unknown": 1}', '{"rotate": {"rows": 0}}'],
)
def test_log_settings_are_refused_when_out_of_bounds(document: str) -> None:
    with pytest.raises(ValidationError):
        LogSettings.model_validate_json(document)


# --- retention


def test_expired_days_are_whole_and_past_the_grace() -> None:
    days = [f"date=2026-02-{day:02d}" for day in range(18, 29)] + ["date=", "other", "date=x"]
    # noon of 1 March less 7 days and the grace of one is noon of 21 February
    found = expired(days, timedelta(days=7), NOON)
    assert found == ["date=2026-02-18", "date=2026-02-19", "date=2026-02-20"]


def test_exactly_one_pod_is_elected_and_all_are_at_some_hour() -> None:
    pods = ["a", "b", "c"]
    winners = [
        [pod for pod in pods if is_elected(pod, pods, f"2026-03-01T{hour:02d}")]
        for hour in range(24)
    ]
    assert {len(winner) for winner in winners} == {1}
    assert {winner[0] for winner in winners} == set(pods)


def fill(store: SegmentStore, tmp_path: Path, day: str, count: int, pod: str = "pod-1") -> None:
    source = tmp_path / "source"
    source.write_bytes(b"PAR1")
    for number in range(count):
        store.put(f"ns/dep/predictions/date={day}/{pod}-0-{number}.parquet", source)


def test_retention_deletes_old_days_of_a_directory_and_nothing_else(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    for day in ("2026-02-01", "2026-02-20", "2026-02-21", "2026-03-01"):
        fill(store, tmp_path, day, 3)
    foreign = tmp_path / "store" / "ns/dep/predictions/date=2026-02-20/README"
    foreign.write_text("not ours")
    retention = Retention(store, "ns/dep/predictions", "pod-1", timedelta(days=7))
    assert retention.sweep(NOON) == (6, False)
    assert sorted(store.folders("ns/dep/predictions")) == [
        "date=2026-02-20",
        "date=2026-02-21",
        "date=2026-03-01",
    ]
    assert store.files("ns/dep/predictions/date=2026-02-20") == ["README"]
    assert len(store.files("ns/dep/predictions/date=2026-02-21")) == 3


def test_retention_deletes_a_bounded_number_at_once(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    fill(store, tmp_path, "2026-02-01", DELETES_AT_ONCE + 5)
    retention = Retention(store, "ns/dep/predictions", "pod-1", timedelta(days=7))
    assert retention.sweep(NOON) == (DELETES_AT_ONCE, True)
    assert retention.sweep(NOON) == (5, False)


def test_retention_is_left_to_the_elected_pod(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    pods = ("pod-1", "pod-2", "4b1d-x")
    for pod in pods:
        fill(store, tmp_path, "2026-03-01", 1, pod)
    fill(store, tmp_path, "2026-02-01", 1)
    sweeps = [
        Retention(store, "ns/dep/predictions", pod, timedelta(days=7)).sweep(NOON)[0]
        for pod in pods
    ]
    assert sorted(sweeps) == [0, 0, 1]


# --- stores


def test_directory_store_leaves_no_partial_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"bytes")
    open_store(f"file://{tmp_path}/store").put("a/date=2026-03-01/p-1.parquet", source)
    files = [path.name for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert files == ["p-1.parquet"]


@pytest.mark.parametrize("uri", ["", "ftp://x/y", "pvc:///x", "pvc://claim/../up", "s3://"])
def test_log_uri_is_refused_when_it_cannot_be_written(uri: str) -> None:
    with pytest.raises(LogUriInvalid, match="cannot be written"):
        open_store(uri)
