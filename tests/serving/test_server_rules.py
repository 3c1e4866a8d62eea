"""A decision table on real data, through the real server: answered, explained, monitored."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_model.build import package
from mooring_model.manifest import Format, read_manifest
from mooring_model.verify import check, replay
from tests.serving.kind_packages import cancer_rules_file, cancer_rules_package, cancer_tree
from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_table

_parquet: Any = importlib.import_module("pyarrow.parquet")


@pytest.fixture(scope="module")
def pod() -> Iterator[Server]:
    with running(cancer_rules_package()) as server:
        yield server


def features() -> list[str]:
    """The features that the rules name."""
    schema = json.loads((cancer_rules_package() / "schema.json").read_text())
    return [spec["name"] for spec in schema["inputs"]]


def request(rows: slice, **more: object) -> dict[str, Any]:
    table = cancer_table()[rows]
    tensors = [
        {
            "name": name,
            "datatype": "FP64",
            "shape": [len(table)],
            "data": table[name].tolist(),
        }
        for name in features()
    ]
    return {"inputs": tensors, **more}


def test_package_verifies_with_the_same_report_as_any_other() -> None:
    manifest = check(cancer_rules_package(), None)
    report = replay(cancer_rules_package()).to_json()
    assert manifest.format is Format.RULES
    assert report["verdict"] == "Verified"
    assert report["format"] == "rules"
    assert report["maxAbsoluteDifference"] == 0
    assert {entry.path for entry in manifest.files} >= {"profile.json", "samples.json", "card.md"}


def test_package_takes_only_the_features_that_rules_name() -> None:
    assert 1 < len(features()) < 10
    assert set(features()) < set(cancer_table().columns)


def test_metadata_names_the_rule_as_an_output(pod: Server) -> None:
    document = pod.client.get(pod.url("/v2/models/cancer")).json()
    assert [(o["name"], o["datatype"], o["shape"]) for o in document["outputs"]] == [
        ("label", "INT64", [-1]),
        ("probability", "FP64", [-1]),
        ("rule", "BYTES", [-1]),
    ]
    assert document["platform"] == "mooring_rules"


def test_every_row_is_answered_like_the_tree_that_the_rules_come_from_and_says_its_rule(
    pod: Server,
) -> None:
    table = cancer_table()
    answer = pod.post("/v2/models/cancer/infer", request(slice(0, len(table))))
    assert answer.status_code == 200, answer.text
    outputs = {item["name"]: item["data"] for item in answer.json()["outputs"]}
    wanted = cancer_tree().predict_proba(table.drop(columns="benign"))[:, 1]
    assert np.allclose(outputs["probability"], wanted, atol=1e-6)
    leaves = cancer_tree().apply(table.drop(columns="benign"))
    assert outputs["rule"] == [f"leaf-{leaf}" for leaf in leaves]
    assert (np.array(outputs["label"]) == table["benign"]).mean() > 0.94


def test_wanted_outputs_are_given_alone(pod: Server) -> None:
    body = request(slice(0, 2), outputs=[{"name": "rule"}])
    (output,) = pod.post("/v2/models/cancer/infer", body).json()["outputs"]
    assert (output["name"], output["datatype"], len(output["data"])) == ("rule", "BYTES", 2)


def test_labels_become_losses_and_rows_become_sketches() -> None:
    with running(cancer_rules_package()) as server:
        document = server.post("/v2/models/cancer/infer", request(slice(0, 20))).json()
        outputs = {item["name"]: item["data"] for item in document["outputs"]}
        truth = cancer_table()["benign"][:20].tolist()
        label = {"prediction_id": document["parameters"]["prediction_id"], "label": truth}
        given = server.post("/v2/models/cancer/feedback", {"labels": [label]}).json()
        assert given == {"accepted": 1, "duplicate": 0, "rejected": []}
        snapshot = server.sync()
        losses = (np.array(outputs["probability"]) - truth) ** 2
        assert snapshot["labelled"]["n"] == 20
        assert snapshot["labelled"]["lossSum"] == pytest.approx(losses.sum())
        assert snapshot["sketchedRows"] == 20
        assert set(snapshot["counts"]) == {*features(), "@score", "@reconstruction"}
        assert 'mooring_rows_total{environment="local",model="cancer"' in server.metrics()


def test_missing_feature_and_text_for_a_number_are_refused_by_name(pod: Server) -> None:
    body = request(slice(0, 1))
    dropped = body["inputs"].pop()
    answer = pod.post("/v2/models/cancer/infer", body)
    assert (answer.status_code, dropped["name"] in answer.text) == (400, True)
    answer = pod.post(
        "/v2/models/cancer/infer",
        {"inputs": [*body["inputs"], dropped | {"datatype": "BYTES", "data": ["x"]}]},
    )
    assert (answer.status_code, dropped["name"] in answer.text) == (400, True)


def test_rules_of_one_file_have_one_digest(tmp_path: Path) -> None:
    first = read_manifest(cancer_rules_package())
    package(
        cancer_rules_file(),
        cancer_table(),
        target="benign",
        out=tmp_path / "again",
        name="cancer",
        created_at=first.created_at,
    )
    assert read_manifest(tmp_path / "again") == first


def test_log_says_the_rule_of_every_row(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}"
    with running(cancer_rules_package(), environment={"MOORING_PREDICTION_LOG_URI": uri}) as server:
        document = server.post("/v2/models/cancer/infer", request(slice(0, 30))).json()
    outputs = {item["name"]: item["data"] for item in document["outputs"]}
    (segment,) = tmp_path.rglob("predictions/**/*.parquet")
    table = _parquet.read_table(segment)
    assert table["o.rule"].to_pylist() == outputs["rule"]
    assert [name for name in table.column_names if name.startswith("o.")] == ["o.rule"]
