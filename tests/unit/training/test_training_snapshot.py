"""Which rows a run takes, how they are split, and what its digest depends on."""

import importlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_model.schema import Datatype, InputKind, InputSpec, ModelSchema, OutputSpec, Task
from mooring_training.errors import RefusalReason, Refused
from mooring_training.log import LogTables, read_logs
from mooring_training.places import DirectoryPlace
from mooring_training.settings import DataSettings
from mooring_training.snapshot import (
    Snapshot,
    assemble,
    content_digest,
    load,
    modelling_table,
    store,
)
from tests.builders.training_log import labels, moment, predictions, write_segments

pandas: Any = importlib.import_module("pandas")
parquet: Any = importlib.import_module("pyarrow.parquet")

SCHEMA = ModelSchema(
    task=Task.BINARY,
    target="late",
    classes=(0, 1),
    positive_class=1,
    inputs=(
        InputSpec(
            name="carrier",
            datatype=Datatype.BYTES,
            kind=InputKind.CATEGORICAL,
            categories=("AA", "UA"),
        ),
        InputSpec(name="delay", datatype=Datatype.FP64, kind=InputKind.NUMERIC, nullable=True),
    ),
    outputs=(
        OutputSpec(name="label", datatype=Datatype.INT64),
        OutputSpec(name="probability", datatype=Datatype.FP64),
    ),
)
FEATURES = ("carrier", "delay")


def settings(**changes: Any) -> DataSettings:
    fields = {
        "window": "60d",
        "labelMaturity": "12h",
        "minRows": 10,
        "testWindow": "7d",
        "embargo": "12h",
    }
    return DataSettings.model_validate(fields | changes)


def traffic(days: int, *, per_day: int = 24) -> Any:
    """Rows spread evenly over days, labels three hours later."""
    count = days * per_day
    rng = np.random.default_rng(7)
    times = [moment(number / per_day) for number in range(count)]
    frame = pandas.DataFrame(
        {
            "time": pandas.to_datetime(times, utc=True).as_unit("us"),
            "carrier": rng.choice(["AA", "UA"], count),
            "delay": np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count)),
            "late": rng.integers(0, 2, count),
        }
    )
    frame["label_time"] = frame["time"] + timedelta(hours=3)
    return frame


def read(root: Path) -> LogTables:
    return read_logs(DirectoryPlace(root), "ns/dep", FEATURES)


def logged(root: Path, rows: Any, *, arm: str = "stable", pod: str = "pod-a") -> None:
    folder = root / "ns" / "dep"
    write_segments(
        folder, "predictions", predictions(rows, FEATURES, time_column="time", arm=arm), pod=pod
    )
    write_segments(folder, "labels", labels(rows, target="late", time_column="label_time"), pod=pod)


def snapshot(logs: LogTables, **changes: Any) -> Snapshot:
    return assemble(logs, SCHEMA, settings(**changes), trained_until=None, now=moment(100))


def test_rows_are_split_by_time_with_an_embargo(tmp_path: Path) -> None:
    logged(tmp_path, traffic(30))
    made = snapshot(read(tmp_path))
    newest = moment(30 - 1 / 24)
    cutoff = newest - timedelta(hours=12)
    assert made.record.newest == newest
    assert made.record.cutoff == cutoff
    assert made.test["event_time"].min() >= cutoff - timedelta(days=7)
    assert made.test["event_time"].max() < cutoff
    assert made.train["event_time"].max() < cutoff - timedelta(days=7, hours=12)
    assert made.record.rows == {"train": len(made.train), "test": len(made.test)}
    assert len(made.test) == 7 * 24


def test_old_rows_are_left_out_when_the_window_is_short(tmp_path: Path) -> None:
    logged(tmp_path, traffic(30))
    made = snapshot(read(tmp_path), window="10d")
    assert made.train["event_time"].min() >= made.record.cutoff - timedelta(days=10)


def test_shadow_rows_never_train(tmp_path: Path) -> None:
    rows = traffic(30)
    logged(tmp_path, rows)
    alone = snapshot(read(tmp_path)).record.digest
    shadow = rows.assign(delay=99.0)
    shadow.index = shadow.index + 1_000_000
    logged(tmp_path, shadow, arm="shadow", pod="pod-b")
    again = snapshot(read(tmp_path))
    assert again.record.digest == alone
    assert again.train["f.delay"].max() < 99.0


def test_each_row_counts_once_when_two_pods_logged_it(tmp_path: Path) -> None:
    rows = traffic(30)
    logged(tmp_path, rows)
    alone = snapshot(read(tmp_path)).record
    logged(tmp_path, rows, pod="pod-b")
    twice = snapshot(read(tmp_path)).record
    assert twice.digest == alone.digest
    assert twice.rows == alone.rows


def test_first_label_wins_over_all_pods_when_a_later_one_differs(tmp_path: Path) -> None:
    rows = traffic(30)
    logged(tmp_path, rows)
    alone = snapshot(read(tmp_path)).record.digest
    changed = rows.assign(late=1 - rows["late"], label_time=rows["label_time"] + timedelta(hours=1))
    folder = tmp_path / "ns" / "dep"
    write_segments(
        folder, "labels", labels(changed, target="late", time_column="label_time"), pod="a-pod"
    )
    assert snapshot(read(tmp_path)).record.digest == alone


def test_digest_is_the_same_when_segments_are_cut_otherwise(tmp_path: Path) -> None:
    rows = traffic(30)
    one, other = tmp_path / "one", tmp_path / "other"
    logged(one, rows)
    shuffled = rows.sample(frac=1.0, random_state=3)
    logged(other, shuffled.iloc[:200], pod="pod-x")
    logged(other, shuffled.iloc[200:], pod="pod-y")
    assert snapshot(read(one)).record.digest == snapshot(read(other)).record.digest


def test_digest_differs_when_one_value_differs(tmp_path: Path) -> None:
    logged(tmp_path, traffic(30))
    made = snapshot(read(tmp_path))
    changed = made.train.copy()
    changed.loc[3, "f.delay"] = 0.125
    assert content_digest(changed, made.test) != made.record.digest


def test_coverage_counts_the_rows_without_a_label(tmp_path: Path) -> None:
    rows = traffic(30)
    rows["late"] = rows["late"].astype("float64").where(rows.index % 4 != 0)
    logged(tmp_path, rows)
    assert snapshot(read(tmp_path)).record.coverage == pytest.approx(0.75, abs=0.01)


def test_test_rows_come_after_what_the_champion_was_trained_on(tmp_path: Path) -> None:
    logged(tmp_path, traffic(30))
    known_until = moment(26)
    made = assemble(read(tmp_path), SCHEMA, settings(), trained_until=known_until, now=moment(100))
    assert made.test["event_time"].min() >= known_until + timedelta(hours=12)


def test_labels_of_no_class_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = traffic(30)
    rows.loc[rows.index % 10 == 0, "late"] = 7
    logged(tmp_path, rows)
    made = snapshot(read(tmp_path))
    assert made.record.unknown_labels > 0
    assert set(modelling_table(made.train, SCHEMA)["late"]) == {0, 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"minRows": 100_000}, RefusalReason.NOT_ENOUGH_ROWS),
        ({"minRows": 600}, RefusalReason.NOT_ENOUGH_LABELS),
        ({"testWindow": "59d", "embargo": "2d"}, RefusalReason.NOT_ENOUGH_ROWS),
    ],
)
def test_run_is_refused_with_counts_when_there_is_too_little(
    tmp_path: Path, changes: dict[str, Any], reason: RefusalReason
) -> None:
    rows = traffic(30)
    rows["late"] = rows["late"].astype("float64").where(rows.index % 2 == 0)
    logged(tmp_path, rows)
    with pytest.raises(Refused) as caught:
        snapshot(read(tmp_path), **changes)
    assert caught.value.reason is reason
    assert caught.value.remedy


def test_run_is_refused_when_a_class_has_no_training_row(tmp_path: Path) -> None:
    logged(tmp_path, traffic(30).assign(late=0))
    with pytest.raises(Refused, match="class 1"):
        snapshot(read(tmp_path))


def test_run_is_refused_when_a_feature_has_no_value(tmp_path: Path) -> None:
    logged(tmp_path, traffic(30).assign(delay=np.nan))
    with pytest.raises(Refused, match="delay"):
        snapshot(read(tmp_path))


def test_run_is_refused_when_there_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        read(tmp_path)
    assert caught.value.reason is RefusalReason.NO_LOG


def test_run_is_refused_when_the_log_lacks_a_feature(tmp_path: Path) -> None:
    logged(tmp_path, traffic(30))
    with pytest.raises(Refused, match=r"f\.wind") as caught:
        read_logs(DirectoryPlace(tmp_path), "ns/dep", ("carrier", "wind"))
    assert caught.value.reason is RefusalReason.SCHEMA_MISMATCH


def withhold(root: Path, feature: str, *, fact: str, pod: str = "pod-a") -> None:
    """Rewrite a pod's segments as a server does whose log leaves out or hashes a feature."""
    folder = root / "ns" / "dep" / "predictions"
    for path in folder.rglob(f"{pod}-*.parquet"):
        table = parquet.ParquetFile(path).read().drop_columns([f"f.{feature}"])
        facts = {b"mooring.sample": b"1.0", fact.encode(): json.dumps([feature]).encode()}
        parquet.write_table(table.replace_schema_metadata(facts), path)


@pytest.mark.parametrize("fact", ["mooring.omitted", "mooring.hashed"])
def test_run_is_refused_with_the_remedy_when_the_log_withholds_a_feature(
    tmp_path: Path, fact: str
) -> None:
    logged(tmp_path, traffic(30))
    withhold(tmp_path, "delay", fact=fact)
    with pytest.raises(Refused, match=r"leaves out or hashes delay") as caught:
        read(tmp_path)
    assert caught.value.reason is RefusalReason.SCHEMA_MISMATCH
    assert "let the ModelDeployment log these features" in caught.value.remedy


def test_rows_without_a_withheld_feature_are_left_out_and_never_read_as_missing(
    tmp_path: Path,
) -> None:
    rows = traffic(60)
    logged(tmp_path, rows.iloc[:720], pod="pod-a")
    logged(tmp_path, rows.iloc[720:], pod="pod-b")
    withhold(tmp_path, "delay", fact="mooring.omitted")
    tables = read(tmp_path)
    assert (tables.withheld, len(tables.predictions)) == (720, 720)
    made = snapshot(tables)
    assert made.record.unusable == 720
    assert made.record.window_rows <= 720


def test_segment_is_skipped_and_named_when_it_is_no_parquet(tmp_path: Path) -> None:
    logged(tmp_path, traffic(30))
    folder = tmp_path / "ns" / "dep" / "predictions" / "date=2026-11-24"
    (folder / "torn-0.parquet").write_bytes(b"PAR1 half a fil")
    made = snapshot(read(tmp_path))
    assert made.record.unreadable == ("ns/dep/predictions/date=2026-11-24/torn-0.parquet",)


def test_snapshot_reads_back_as_it_was_stored(tmp_path: Path) -> None:
    logged(tmp_path / "log", traffic(30))
    made = snapshot(read(tmp_path / "log"))
    place = DirectoryPlace(tmp_path / "out")
    assert load(place, "run-1") is None
    store(made, place, "run-1")
    back = load(place, "run-1")
    assert back is not None
    assert back.record == made.record
    assert content_digest(back.train, back.test) == made.record.digest


def test_stored_snapshot_is_refused_when_a_table_was_changed(tmp_path: Path) -> None:
    logged(tmp_path / "log", traffic(30))
    made = snapshot(read(tmp_path / "log"))
    place = DirectoryPlace(tmp_path / "out")
    store(made, place, "run-1")
    made.train.iloc[:-1].to_parquet(tmp_path / "out/run-1/snapshot/train.parquet", index=False)
    with pytest.raises(Refused) as caught:
        load(place, "run-1")
    assert caught.value.reason is RefusalReason.OUTPUT_CONFLICT
