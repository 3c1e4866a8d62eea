"""Rules, a linear model and a forest in one package, through the real server."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mooring_model.load import LoadedModel, load_package
from mooring_model.manifest import Format
from mooring_model.prediction import Columns
from mooring_model.verify import check, replay
from tests.serving.kind_packages import cancer_composite_package, cancer_gate_package
from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package, cancer_table


@pytest.fixture(scope="module")
def pod() -> Iterator[Server]:
    with running(cancer_composite_package()) as server:
        yield server


def features() -> list[str]:
    schema = json.loads((cancer_composite_package() / "schema.json").read_text())
    return [spec["name"] for spec in schema["inputs"]]


def matrix(rows: slice, **more: object) -> dict[str, Any]:
    values = cancer_table()[features()][rows].to_numpy()
    tensor = {
        "name": "input",
        "datatype": "FP64",
        "shape": list(values.shape),
        "data": values.tolist(),
    }
    return {"inputs": [tensor], **more}


def columns() -> Columns:
    return {name: cancer_table()[name].to_numpy() for name in features()}


def by_hand() -> tuple[list[str], list[float]]:
    """What the three packages say, asked one after the other, row by row."""
    packages: dict[str, LoadedModel] = {
        "gate": load_package(cancer_gate_package()),
        "linear": load_package(cancer_package()),
        "forest": load_package(cancer_package("forest")),
    }
    said = {name: loaded.predict(columns()).outputs for name, loaded in packages.items()}
    nodes: list[str] = []
    for row in range(len(cancer_table())):
        node = "gate"
        if said["gate"]["rule"][row] == "default":
            unsure = abs(said["linear"]["probability"][row] - 0.5) < 0.45
            node = "forest" if unsure else "linear"
        nodes.append(node)
    return nodes, [float(said[name]["probability"][row]) for row, name in enumerate(nodes)]


def test_package_holds_its_nodes_and_verifies() -> None:
    manifest = check(cancer_composite_package(), None)
    report = replay(cancer_composite_package()).to_json()
    assert manifest.format is Format.COMPOSITE
    assert (report["verdict"], report["format"]) == ("Verified", "composite")
    held = {entry.path for entry in manifest.files}
    assert {"composite.json", "nodes/gate/model.rules.json", "nodes/linear/model.onnx"} <= held
    assert {f"nodes/{name}/manifest.json" for name in ("gate", "linear", "forest")} <= held


def test_every_row_is_answered_like_its_nodes_by_hand_and_says_which(pod: Server) -> None:
    answer = pod.post("/v2/models/cancer/infer", matrix(slice(None)))
    assert answer.status_code == 200, answer.text
    outputs = {item["name"]: item["data"] for item in answer.json()["outputs"]}
    nodes, probabilities = by_hand()
    assert outputs["node"] == nodes
    assert len(set(nodes)) == 3
    assert np.allclose(outputs["probability"], probabilities, atol=1e-6)
    gated = np.array(outputs["rule"]) != "default"
    assert (gated == (np.array(nodes) == "gate")).all()


@pytest.mark.parametrize("row", [0, 40, 73, 300])
def test_a_row_alone_is_answered_as_among_others(pod: Server, row: int) -> None:
    document = pod.post("/v2/models/cancer/infer", matrix(slice(row, row + 1))).json()
    outputs = {item["name"]: item["data"] for item in document["outputs"]}
    nodes, probabilities = by_hand()
    assert outputs["node"] == [nodes[row]]
    assert outputs["probability"] == pytest.approx([probabilities[row]], abs=1e-6)


def test_metadata_lists_the_extra_outputs(pod: Server) -> None:
    document = pod.client.get(pod.url("/v2/models/cancer")).json()
    names = [item["name"] for item in document["outputs"]]
    assert names == ["label", "probability", "node", "rule"]
    assert document["platform"] == "mooring_composite"


def test_labels_become_losses_and_rows_become_sketches() -> None:
    with running(cancer_composite_package()) as server:
        document = server.post("/v2/models/cancer/infer", matrix(slice(0, 20))).json()
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
