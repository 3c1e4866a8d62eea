"""When the server itself cannot do what is asked: overload, a failing model, a distant log."""

import importlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.running_server import Server, running
from tests.serving.served_packages import (
    cancer_package,
    cancer_rows,
    regression_package,
)
from tests.serving.stores import s3_server

_dataset: Any = importlib.import_module("pyarrow.dataset")


def rows_of_cancer(rows: int) -> dict[str, Any]:
    values = cancer_rows(rows)
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": values.tolist()}
    return {"inputs": [tensor]}


def overflowing() -> dict[str, Any]:
    """Numbers that are legal and make the scaler overflow single precision."""
    return {
        "inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 10], "data": [3e38] * 10}]
    }


def test_overload_is_503_with_retry_after_and_the_rest_is_answered() -> None:
    limits = ["--work", json.dumps({"queue_rows": 500, "inline_ms": 0.0})]
    with running(cancer_package("forest"), arguments=limits) as server:

        def send(_: int) -> list[httpx.Response]:
            with httpx.Client(timeout=30) as client:
                url = server.url("/v2/models/cancer/infer")
                return [client.post(url, json=rows_of_cancer(500)) for _ in range(10)]

        with ThreadPoolExecutor(8) as threads:
            answers = [answer for batch in threads.map(send, range(8)) for answer in batch]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {answer.status_code for answer in answers} == {200, 503}
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        snapshot = server.sync()
        assert snapshot["requests"] == len(answers) - len(refused)
        assert snapshot["errors"] == 0


def test_value_that_is_not_finite_is_a_fault_of_the_model_and_is_never_sent() -> None:
    with running(regression_package()) as server:
        answer = server.post("/v2/models/diabetes/infer", overflowing())
        assert answer.status_code == 500
        assert "not finite" in answer.json()["error"]
        assert answer.headers["mooring-fault"] == "InvalidOutput"
        snapshot = server.sync()
        assert (snapshot["requests"], snapshot["errors"], snapshot["rows"]) == (0, 1, 0)
        assert 'mooring_faults_total{environment="local",kind="InvalidOutput"' in server.metrics()


def test_invalid_output_of_the_candidate_falls_back_and_is_charged_to_it() -> None:
    """Both models overflow here, so the client sees a 500: the stable pod's own."""
    with (
        running(regression_package(), MOORING_REVISION="bbbbbbbbbbbb") as candidate,
        running(regression_package(), peer=candidate.forward) as stable,
    ):
        phase = "bbbbbbbbbbbb.1/1"
        stable.sync(phase=phase, candidateRevision="bbbbbbbbbbbb", weightPercent=100)
        answer = stable.post("/v2/models/diabetes/infer", overflowing())
        assert answer.headers["mooring-revision"] == "aaaaaaaaaaaa"
        counted = stable.sync()["phases"][phase]["candidate"]
        assert (counted["requests"], counted["errors"], counted["invalidOutputs"]) == (1, 1, 1)


def predict(server: Server) -> None:
    assert server.post("/v2/models/cancer/infer", rows_of_cancer(1)).status_code == 200


@pytest.mark.s3
def test_prediction_log_is_complete_in_an_object_store(tmp_path: Path) -> None:
    with s3_server(tmp_path / "s3") as store:
        (store.root / "logs").mkdir()
        variables = store.environment() | {"MOORING_PREDICTION_LOG_URI": "s3://logs/flights"}
        with running(cancer_package(), environment=variables) as server:
            for _ in range(25):
                predict(server)
            assert server.stop() == 0
        files = [str(path) for path in (store.root / "logs" / "flights").rglob("*.parquet")]
        assert len(files) == 1
        assert "/tests/cancer/predictions/date=" in files[0]
        assert _dataset.dataset(files, format="parquet").count_rows() == 25


@pytest.mark.s3
def test_predictions_go_on_and_rows_are_counted_as_dropped_when_the_store_is_away() -> None:
    variables = {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_REGION": "us-east-1",
        "MOORING_PREDICTION_LOG_URI": "s3://logs/flights",
    }
    with running(cancer_package(), environment=variables) as server:
        for _ in range(10):
            predict(server)
        assert 'log="predictions"' in server.metrics()
        assert server.stop() == 0
