"""Real models of code, from their directory to answers of the real server process."""

import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_model.build import package
from mooring_model.load import read_profile
from mooring_model.python.source import CodeModel
from mooring_model.trial import default_limits, run_trial
from mooring_model.verify import check
from tests.builders.code_models import EXAMPLES, Example, cheapest_costs
from tests.serving.packaged_models import CREATED
from tests.serving.running_server import Server, await_true, running

ALLOWED = {"MOORING_ALLOW_CODE": "true"}


@dataclass(frozen=True)
class Packaged:
    name: str
    example: Example
    directory: Path
    metrics: dict[str, float]


@pytest.fixture(scope="module", params=sorted(EXAMPLES))
def packaged(request: pytest.FixtureRequest) -> Generator[Packaged]:
    with tempfile.TemporaryDirectory(prefix="mooring-code-") as folder:
        example = EXAMPLES[request.param](Path(folder))
        out = Path(folder) / "package"
        package(
            None,
            example.table,
            target="target",
            out=out,
            name=request.param,
            code=CodeModel(example.directory, example.entrypoint, regression=True),
            created_at=CREATED,
        )
        check(out, None, allow_code=True)
        report: Any = run_trial(out, default_limits(), allow_code=True)
        assert report["verdict"] == "Verified"
        metrics = {entry["name"]: entry["value"] for entry in report["metrics"]}
        yield Packaged(request.param, example, out, metrics)


def tensors(table: Any, rows: int) -> list[dict[str, Any]]:
    features = table.drop(columns="target").iloc[:rows]
    return [
        {
            "name": name,
            "shape": [rows],
            "datatype": "FP64" if features[name].dtype.kind == "f" else "BYTES",
            "data": features[name].tolist(),
        }
        for name in features.columns
    ]


def ask(server: Server, packaged: Packaged, rows: int) -> dict[str, Any]:
    body = {"inputs": tensors(packaged.example.table, rows)}
    answer = server.post(f"/v2/models/{packaged.name}/infer", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_example_answers_its_table_through_the_server(packaged: Packaged) -> None:
    """Each is as good as its kind allows: a regression, a graph's mean, an exact optimum."""
    target = packaged.example.table["target"].to_numpy()
    bound = {"statistical": 0.05, "graph": 0.08, "optimization": 1e-9}[packaged.name]
    assert packaged.metrics["mae"] < bound * target.mean()
    with running(packaged.directory, environment=ALLOWED) as server:
        answer = ask(server, packaged, 64)
        given = np.array(answer["outputs"][0]["data"])
        assert np.abs(given - target[:64]).mean() < 2 * bound * target.mean()


def test_example_is_recorded_and_takes_feedback_like_any_model(packaged: Packaged) -> None:
    with running(packaged.directory, environment=ALLOWED) as server:
        receipt = ask(server, packaged, 2)["parameters"]["prediction_id"]
        labels = packaged.example.table["target"].tolist()[:2]
        body = {"labels": [{"prediction_id": receipt, "label": labels}]}
        answer = server.post(f"/v2/models/{packaged.name}/feedback", body)
        assert answer.json()["accepted"] == 1, answer.text
        await_true(lambda: server.sync()["sketchedRows"] == 2, what="the recording")
        snapshot = server.sync()
        assert snapshot["labelled"]["n"] == 2
        features = set(packaged.example.table.columns) - {"target"}
        streams = {stream.name for stream in read_profile(packaged.directory).streams}
        assert set(snapshot["counts"]) == streams > features


def test_graph_answers_connections_that_no_flight_took(tmp_path: Path) -> None:
    example = EXAMPLES["graph"](tmp_path)
    out = tmp_path / "package"
    code = CodeModel(example.directory, example.entrypoint)
    package(None, example.table, target="target", out=out, name="graph", code=code)
    with running(out, environment=ALLOWED) as server:
        pairs = {"origin": ["EWR", "JFK", "LGA"], "dest": ["LGA", "JFK", "XXX"]}
        inputs = [
            {"name": name, "datatype": "BYTES", "shape": [3], "data": data}
            for name, data in pairs.items()
        ]
        answer = server.post("/v2/models/graph/infer", {"inputs": inputs})
        change, same, unknown = answer.json()["outputs"][0]["data"]
        assert 60 < change < 300  # by way of another airport
        assert same == 0
        assert unknown == 600


def test_cheapest_fleet_by_dynamic_programming_is_the_smallest_sum() -> None:
    assert cheapest_costs([2, 5], [3.0, 5.0], 7) == [0, 3, 3, 5, 5, 5, 8, 8]
