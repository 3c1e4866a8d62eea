"""Real scikit-learn models become packages that verify, load and answer as they did."""

import hashlib
import importlib
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from mooring_model.build import package
from mooring_model.infer_schema import to_columns
from mooring_model.load import load_package
from mooring_model.manifest import package_digest, read_manifest
from mooring_model.schema import Datatype, InputKind, Task
from mooring_model.verify import check, replay
from tests.serving.packaged_models import (
    MODELS,
    Fitted,
    build,
    cancer,
    diabetes,
    flights,
    packaged,
    wine,
)

_base: Any = importlib.import_module("sklearn.base")
_skops: Any = importlib.import_module("skops.io")
_skl2onnx: Any = importlib.import_module("skl2onnx")
_types: Any = importlib.import_module("skl2onnx.common.data_types")
_ensemble: Any = importlib.import_module("sklearn.ensemble")

Stored = Literal["onnx", "skops"]
EVERY = pytest.mark.parametrize(
    ("name", "stored"), [(name, stored) for name in MODELS for stored in ("onnx", "skops")]
)


@EVERY
def test_package_verifies_and_replays_for_every_task_and_format(name: str, stored: Stored) -> None:
    directory = packaged(name, stored)
    manifest = check(directory, package_digest(read_manifest(directory)))
    report = replay(directory).to_json()
    assert manifest.format.value == stored
    assert report["verdict"] == "Verified"
    assert report["replayedRows"] == 100
    assert report["maxAbsoluteDifference"] == 0
    assert len(json.dumps(report)) <= 4096


@EVERY
def test_packaged_model_answers_like_the_estimator(name: str, stored: Stored) -> None:
    fitted = MODELS[name]()
    loaded = load_package(packaged(name, stored))
    answers = loaded.predict(to_columns(loaded.schema, fitted.table))
    rows = fitted.features
    if loaded.schema.task is Task.REGRESSION:
        wanted = fitted.model.predict(rows)
        np.testing.assert_allclose(answers.outputs["prediction"], wanted, rtol=1e-5)
        np.testing.assert_array_equal(answers.score, answers.outputs["prediction"])
        return
    wanted = fitted.model.predict_proba(rows)
    assert answers.outputs["label"].tolist() == fitted.model.predict(rows).tolist()
    if loaded.schema.task is Task.BINARY:
        np.testing.assert_allclose(answers.outputs["probability"], wanted[:, 1], atol=1e-5)
        np.testing.assert_array_equal(answers.score, answers.outputs["probability"])
    else:
        np.testing.assert_allclose(answers.outputs["probability"], wanted, atol=1e-5)
        np.testing.assert_array_equal(answers.score, answers.outputs["probability"].max(axis=1))


def test_schema_tells_categories_flags_and_gaps() -> None:
    schema = load_package(packaged("mixed")).schema
    by_name = {spec.name: spec for spec in schema.inputs}
    assert list(by_name) == ["carrier", "origin", "distance", "delay", "weekend"]
    assert by_name["carrier"].datatype is Datatype.BYTES
    assert by_name["carrier"].categories == ("AA", "B6", "DL", "Ünited")
    assert by_name["distance"].kind is InputKind.NUMERIC
    assert by_name["distance"].nullable
    assert not by_name["delay"].nullable
    assert by_name["weekend"].datatype is Datatype.BOOL
    assert schema.classes == ("late", "on time")
    assert schema.positive_class == "on time"


@pytest.mark.parametrize("stored", ["onnx", "skops"])
def test_missing_number_and_unseen_category_are_answered(stored: Stored) -> None:
    loaded = load_package(packaged("mixed", stored))
    columns = {
        "carrier": np.array(["ZZ", "AA"], dtype=object),
        "origin": np.array(["JFK", "???"], dtype=object),
        "distance": np.array([np.nan, 900.0]),
        "delay": np.array([3.0, 4.0]),
        "weekend": np.array([True, False]),
    }
    assert np.isfinite(loaded.predict(columns).score).all()


@pytest.mark.parametrize("shape", [(3,), (3, 1)], ids=["[n]", "[n, 1]"])
@pytest.mark.parametrize("stored", ["onnx", "skops"])
def test_columns_may_be_flat_or_one_wide(stored: Stored, shape: tuple[int, ...]) -> None:
    loaded = load_package(packaged("mixed", stored))
    columns = to_columns(loaded.schema, flights().table.head(3))
    shaped = {name: values.reshape(shape) for name, values in columns.items()}
    np.testing.assert_array_equal(loaded.predict(shaped).score, loaded.predict(columns).score)


@pytest.mark.parametrize("stored", ["onnx", "skops"])
@pytest.mark.parametrize("name", ["binary", "mixed"])
def test_digest_is_the_same_when_the_same_input_is_packaged_twice(
    tmp_path: Path, name: str, stored: Stored
) -> None:
    manifest = build(name, tmp_path / "again", stored=stored)
    assert package_digest(manifest) == package_digest(read_manifest(packaged(name, stored)))


def test_digest_is_the_same_in_another_process_with_another_hash_seed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.serving.packaged_models import build; "
        "from mooring_model.manifest import package_digest; "
        "print(package_digest(build('mixed', Path(sys.argv[1]), stored='skops')))"
    )
    root = Path(__file__).resolve().parents[2]
    # The rest as here: some variables choose the kernels of the linear algebra.
    environment = os.environ | {
        "PYTHONPATH": f"{root / 'serving'}:{root}",
        "PYTHONHASHSEED": "99",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == package_digest(read_manifest(packaged("mixed", "skops")))


def test_sha256_of_the_manifest_file_is_the_digest() -> None:
    directory = packaged("binary")
    digest = hashlib.sha256((directory / "manifest.json").read_bytes()).hexdigest()
    assert package_digest(read_manifest(directory)) == f"sha256:{digest}"


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz"])
def test_tables_are_read_from_files_and_recorded_by_their_bytes(
    tmp_path: Path, ending: str
) -> None:
    fitted, path = cancer(), tmp_path / f"train.{ending}"
    if ending == "parquet":
        fitted.table.to_parquet(path, index=False)
    else:
        fitted.table.to_csv(path, index=False)
    package(fitted.model, path, target="target", out=tmp_path / "p", name="cancer")
    (record,) = json.loads((tmp_path / "p" / "datasets.json").read_text())
    assert record["digest"] == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["uri"] == path.name
    assert record["format"] == ending.split(".")[0]
    assert record["rows"] == 569


def test_records_name_roles_uris_and_times(tmp_path: Path) -> None:
    table = flights().table
    build("mixed", tmp_path / "p", data_uri="s3://data/train", test=table.tail(200), seed=5)
    train, later = json.loads((tmp_path / "p" / "datasets.json").read_text())
    assert (train["role"], later["role"]) == ("train", "test")
    assert train["uri"] == "s3://data/train"
    assert later["uri"] is None
    assert train["timeRange"] == {"from": "2026-01-01T00:00:00Z", "to": "2026-02-19T23:00:00Z"}
    assert {column["name"]: column["type"] for column in train["columns"]}["delay"] == "float64"


def test_metrics_have_intervals_that_hold_the_value(tmp_path: Path) -> None:
    build("mixed", tmp_path / "p", test=flights().table.tail(400))
    metrics = json.loads((tmp_path / "p" / "metrics.json").read_text())
    assert {(m["name"], m["dataset"]) for m in metrics} >= {("logLoss", "train"), ("auc", "test")}
    for metric in metrics:
        assert metric["lower"] < metric["value"] < metric["upper"]
    verified = replay(tmp_path / "p").metrics
    tested = {m["name"]: m["value"] for m in metrics if m["dataset"] == "test"}
    assert {metric.name: metric.value for metric in verified} == tested


def test_score_reference_is_held_out_when_the_test_table_suffices(tmp_path: Path) -> None:
    table = flights().table
    enough = table.assign(time=table["time"] + timedelta(days=60))
    build("mixed", tmp_path / "held-out", test=enough)
    build("mixed", tmp_path / "too-few", test=enough.head(300))
    rows = {
        name: json.loads((tmp_path / name / "profile.json").read_text())["score"]["counts"]
        for name in ("held-out", "too-few")
    }
    reference = json.loads((packaged("mixed") / "profile.json").read_text())["score"]["counts"]
    assert rows["too-few"] == reference
    assert sum(rows["held-out"]["bins"]) == 1200


def test_calibration_is_on_later_rows_where_there_are_enough(tmp_path: Path) -> None:
    table = flights().table
    later = table.assign(time=table["time"] + timedelta(days=60)).head(300)
    build("mixed", tmp_path / "later", test=later)
    found = load_package(tmp_path / "later").profile.calibration
    trained = load_package(packaged("mixed")).profile.calibration
    assert found is not None
    assert trained is not None
    assert (found.held_out, found.maps[0].rows.sum()) == (True, 300)
    assert (trained.held_out, trained.maps[0].rows.sum()) == (False, len(table))


def test_skops_file_is_packaged_in_both_formats(tmp_path: Path) -> None:
    fitted = wine()
    _skops.dump(fitted.model, tmp_path / "wine.skops")
    for stored in ("onnx", "skops"):
        out = tmp_path / stored
        package(
            tmp_path / "wine.skops", fitted.table, target="target", out=out, name="w", format=stored
        )
        assert replay(out).manifest.format.value == stored


@pytest.mark.parametrize("stored", ["onnx", "skops"])
@pytest.mark.parametrize("fitted", [cancer(), wine(), diabetes()], ids=["2", "3", "numbers"])
def test_estimator_that_knows_no_names_gets_those_of_the_table(
    tmp_path: Path, fitted: Fitted, stored: Stored
) -> None:
    nameless = _base.clone(fitted.model)
    nameless.fit(fitted.features.to_numpy(), fitted.table[fitted.target].to_numpy())
    assert not hasattr(nameless, "feature_names_in_")
    out = tmp_path / "p"
    package(nameless, fitted.table, target=fitted.target, out=out, name="m", format=stored)
    check(out, None)
    replay(out)
    loaded = load_package(out)
    assert [spec.name for spec in loaded.schema.inputs] == list(fitted.features)
    answers = loaded.predict(to_columns(loaded.schema, fitted.table)).outputs
    wanted = nameless.predict(fitted.features.to_numpy())
    if loaded.schema.task is Task.REGRESSION:
        np.testing.assert_allclose(answers["prediction"], wanted, rtol=1e-5)
    else:
        assert answers["label"].tolist() == wanted.tolist()


def test_ensemble_of_estimators_is_stored_with_skops(tmp_path: Path) -> None:
    fitted = wine()
    parts = [("forest", fitted.model), ("tree", _ensemble.ExtraTreesClassifier(5, random_state=0))]
    model = _ensemble.VotingClassifier(parts, voting="soft")
    model.fit(fitted.features, fitted.table["target"])
    package(model, fitted.table, target="target", out=tmp_path / "p", name="m", format="skops")
    loaded = load_package(tmp_path / "p")
    given = loaded.predict(to_columns(loaded.schema, fitted.table)).outputs["probability"]
    np.testing.assert_array_equal(given, model.predict_proba(fitted.features))


@pytest.mark.parametrize(
    ("fitted", "zipmap"),
    [(cancer(), True), (cancer(), False), (wine(), True), (wine(), False)],
    ids=["binary zipmap", "binary tensor", "multiclass zipmap", "multiclass tensor"],
)
def test_onnx_file_of_a_classifier_is_packaged_whatever_its_outputs(
    tmp_path: Path, fitted: Fitted, *, zipmap: bool
) -> None:
    width = fitted.features.shape[1]
    graph = _skl2onnx.convert_sklearn(
        fitted.model,
        initial_types=[("X", _types.FloatTensorType([None, width]))],
        options={id(fitted.model): {"zipmap": zipmap}},
        target_opset=18,
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    package(path, fitted.table, target="target", out=tmp_path / "p", name="m")
    loaded = load_package(tmp_path / "p")
    answers = loaded.predict(to_columns(loaded.schema, fitted.table))
    wanted = fitted.model.predict_proba(fitted.features)
    given = answers.outputs["probability"]
    np.testing.assert_allclose(given, wanted[:, 1] if given.ndim == 1 else wanted, atol=1e-5)
    assert list(loaded.schema.classes or ()) == fitted.model.classes_.tolist()


def test_onnx_file_of_a_regressor_is_packaged(tmp_path: Path) -> None:
    fitted = diabetes()
    graph = _skl2onnx.convert_sklearn(
        fitted.model, initial_types=[("X", _types.FloatTensorType([None, 10]))], target_opset=18
    )
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    package(tmp_path / "model.onnx", fitted.table, target="target", out=tmp_path / "p", name="m")
    assert load_package(tmp_path / "p").schema.task is Task.REGRESSION


def test_packaged_file_says_how_far_it_is_from_the_estimator() -> None:
    conversion = json.loads((packaged("multiclass") / "parameters.json").read_text())["conversion"]
    assert conversion["rows"] == 178
    assert conversion["differingRows"] == 0
    assert 0 < conversion["maxAbsoluteDifference"] < 1e-6


def test_threshold_moves_the_label_and_not_the_probability(tmp_path: Path) -> None:
    build("binary", tmp_path / "p", threshold=0.9)
    strict, plain = load_package(tmp_path / "p"), load_package(packaged("binary"))
    columns = to_columns(plain.schema, cancer().table)
    np.testing.assert_array_equal(strict.predict(columns).score, plain.predict(columns).score)
    assert strict.predict(columns).outputs["label"].sum() < (
        plain.predict(columns).outputs["label"].sum()
    )


def test_features_follow_the_estimator_when_the_table_orders_them_otherwise(tmp_path: Path) -> None:
    fitted = cancer()
    shuffled = fitted.table[sorted(fitted.table.columns, reverse=True)].assign(patient="p1")
    package(fitted.model, shuffled, target="target", out=tmp_path / "p", name="m")
    names = [spec.name for spec in load_package(tmp_path / "p").schema.inputs]
    assert names == fitted.model.feature_names_in_.tolist()
