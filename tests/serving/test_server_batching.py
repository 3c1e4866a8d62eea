"""Requests that arrive together are predicted together, and nobody notices but the clock."""

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.serving.running_server import Server, running
from tests.serving.served_packages import (
    cancer_package,
    cancer_rows,
    cancer_table,
    mixed_package,
    multiclass_package,
    regression_package,
)

WAITING = {"MOORING_BATCH_MAX_WAIT_MS": "150"}


def together(server: Server, model: str, bodies: Sequence[dict[str, Any]]) -> list[httpx.Response]:
    """All of them at once, each on a connection of its own."""
    url = server.url(f"/v2/models/{model}/infer")

    def send(body: dict[str, Any]) -> httpx.Response:
        return httpx.post(url, json=body, timeout=30)

    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(send, bodies))


def cancer(start: int, rows: int = 1) -> dict[str, Any]:
    values = cancer_rows(start + rows, start)
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": values.tolist()}
    return {"inputs": [tensor], "id": f"row-{start}"}


def outputs(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"]


def sample(server: Server, name: str) -> float:
    found = re.search(rf"^{name}(?:\{{[^}}]*\}})? ([0-9.e+]+)$", server.metrics(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def test_batched_requests_are_answered_like_lone_ones_each_with_its_own_id() -> None:
    bodies = [cancer(7 * at, rows=1 + at % 3) for at in range(12)]
    with running(cancer_package(), environment=WAITING) as server:
        lone = [
            server.client.post(server.url("/v2/models/cancer/infer"), json=body) for body in bodies
        ]
        before = sample(server, "mooring_batch_requests_count")
        batched = together(server, "cancer", bodies)
        batches = sample(server, "mooring_batch_requests_count") - before
        for one, other in zip(batched, lone, strict=True):
            (label, probability), (same_label, same) = outputs(one), outputs(other)
            assert label == same_label
            # Another number of rows may be added up in another order, in single precision.
            assert probability["data"] == pytest.approx(same["data"], abs=1e-6)
        assert [answer.json()["id"] for answer in batched] == [body["id"] for body in bodies]
        assert len({answer.json()["parameters"]["prediction_id"] for answer in batched}) == 12
        assert batches <= 4
        snapshot = server.sync()
        rows = sum(1 + at % 3 for at in range(12))
        assert (snapshot["requests"], snapshot["rows"]) == (24, 2 * rows)
        assert snapshot["sketchedRows"] == 2 * rows


def test_matrices_and_columns_are_batched_with_one_another() -> None:
    names = list(cancer_table().drop(columns="benign").columns)
    values = cancer_table().drop(columns="benign").to_numpy()
    columns = {
        "inputs": [
            {"name": name, "datatype": "FP64", "shape": [2], "data": values[:2, at].tolist()}
            for at, name in enumerate(names)
        ]
    }
    with running(cancer_package(), environment=WAITING) as server:
        answers = together(server, "cancer", [cancer(0, rows=2), columns] * 3)
        assert all(outputs(answer) == outputs(answers[0]) for answer in answers)


def test_fault_of_one_request_costs_no_other_of_its_batch() -> None:
    good = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 10], "data": [0.1] * 10}]}
    bad = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 10], "data": [3e38] * 10}]}
    with running(regression_package(), environment=WAITING) as server:
        answers = together(server, "diabetes", [good, bad, good, good])
        assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
        assert answers[1].headers["mooring-fault"] == "InvalidOutput"
        assert outputs(answers[0]) == outputs(answers[2]) == outputs(answers[3])
        snapshot = server.sync()
        assert (snapshot["requests"], snapshot["errors"], snapshot["rows"]) == (3, 1, 3)
        assert snapshot["sketchedRows"] == 3


def test_probabilities_of_several_classes_and_texts_are_dealt_out_by_row() -> None:
    wine = {
        "inputs": [{"name": "input", "datatype": "FP64", "shape": [2, 13], "data": [1.0, 9.0] * 13}]
    }
    flight = [
        {
            "inputs": [
                {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": [carrier]},
                {"name": "distance", "datatype": "FP64", "shape": [1], "data": [None]},
                {"name": "hour", "datatype": "INT64", "shape": [1], "data": [9]},
                {"name": "weekend", "datatype": "BOOL", "shape": [1], "data": [True]},
            ]
        }
        for carrier in ("AA", "UA", "AA")
    ]
    with running(multiclass_package(), environment=WAITING) as server:
        answers = together(server, "wine", [wine, wine, wine])
        assert outputs(answers[0]) == outputs(answers[1]) == outputs(answers[2])
        assert outputs(answers[0])[1]["shape"] == [2, 3]
    with running(mixed_package(), environment=WAITING) as server:
        answers = together(server, "flights", flight)
        assert outputs(answers[0]) == outputs(answers[2]) != outputs(answers[1])


def test_request_that_waited_beyond_the_deadline_is_504_and_not_counted() -> None:
    slow = ["--work", json.dumps({"inline_ms": 0.0})]
    environment = {"MOORING_DEADLINE_MS": "5", "MOORING_BATCH_MAX_ROWS": "500"}
    with running(cancer_package("forest"), arguments=slow, environment=environment) as server:
        answers = together(server, "cancer", [cancer(0, rows=500)] * 48)
        late = [answer for answer in answers if answer.status_code == 504]
        assert {answer.status_code for answer in answers} == {200, 504}
        assert all("waited" in answer.json()["error"] for answer in late)
        snapshot = server.sync()
        assert snapshot["requests"] == len(answers) - len(late)
        assert sample(server, "mooring_requests_late_total") == len(late)
