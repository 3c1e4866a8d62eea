"""What of a prediction is logged, for how long, and where."""

import importlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mooring_serving.arms import Arm
from mooring_serving.log.errors import LogFieldsInvalid, LogUriInvalid
from mooring_serving.log.fields import FieldHash, choose_fields
from mooring_serving.log.parquet import write_segment
from mooring_serving.log.retention import DELETES_AT_ONCE, Retention, expired, is_elected
from mooring_serving.log.settings import LogSettings
from mooring_serving.log.store import DirectoryStore, SegmentStore, open_store
from mooring_serving.log.tables import PredictionEntry, PredictionTables
from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.protocol.signature import build_signature

_parquet: Any = importlib.import_module("pyarrow.parquet")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SALT = "a salt of enough bytes"
FEATURES = ("age", "customer_id", "vip")


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
