"""Open Inference Protocol v2 against real server processes."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
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


@pytest.fixture(scope="module")
def cancer() -> Iterator[Server]:
    with running(cancer_package()) as server:
        yield server


@pytest.fixture(scope="module")
def flights() -> Iterator[Server]:
    with running(mixed_package()) as server:
        yield server


def matrix(rows: int) -> dict[str, Any]:
    values = cancer_rows(rows)
    return {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": values.tolist()}


def flight(rows: int = 1, **changes: object) -> list[dict[str, Any]]:
    data: dict[str, tuple[str, list[object]]] = {
        "carrier": ("BYTES", ["AA"] * rows),
        "distance": ("FP64", [700.5] * rows),
        "hour": ("INT64", [9] * rows),
        "weekend": ("BOOL", [True] * rows),
    }
    return [
        {"name": name, "datatype": datatype, "shape": [rows], "data": changes.get(name, values)}
        for name, (datatype, values) in data.items()
    ]


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata_has_what_the_protocol_wants(cancer: Server, path: str) -> None:
    document = cancer.client.get(cancer.url(path)).json()
    assert document["name"] == "mooring"
    assert {"version", "extensions"} <= set(document)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_bodies_have_both_keys_so_that_every_client_reads_them(
    cancer: Server, path: str
) -> None:
    answer = cancer.client.get(cancer.url(path))
    assert (answer.status_code, answer.json()) == (200, {"live": True, "ready": True})


@pytest.mark.parametrize("path", ["/v2/models/cancer", "/v2/models/cancer/versions/v1"])
def test_model_metadata_is_complete_and_has_no_nulls(cancer: Server, path: str) -> None:
    document = cancer.client.get(cancer.url(path)).json()
    assert document["name"] == "cancer"
    assert document["versions"] == ["v1"]
    assert document["platform"] == "onnx_onnxv1"
    assert len(document["inputs"]) == 30
    assert [item["name"] for item in document["outputs"]] == ["label", "probability"]
    assert ": null" not in json.dumps(document)


@pytest.mark.parametrize("suffix", ["/ready", "/versions/v1/ready"])
def test_model_ready_is_200(cancer: Server, suffix: str) -> None:
    answer = cancer.client.get(cancer.url(f"/v2/models/cancer{suffix}"))
    assert (answer.status_code, answer.json()["ready"]) == (200, True)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v3",
        "/v2/models",
        "/v2/models/other",
        "/v2/models/other/ready",
        "/v2/models/cancer/versions/v9",
        "/v2/models/cancer/versions/v9/ready",
        "/v2/models/cancer/stats",
        "/v2/repository/index",
    ],
)
def test_unknown_path_is_404_with_an_error_body(cancer: Server, path: str) -> None:
    answer = cancer.client.get(cancer.url(path))
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize("path", ["/infer", "/versions/v9/infer", "/feedback"])
def test_wrong_method_is_405_or_404_with_an_error_body(cancer: Server, path: str) -> None:
    answer = cancer.client.get(cancer.url(f"/v2/models/cancer{path}"))
    assert answer.status_code == (404 if "v9" in path else 405)
    assert list(answer.json()) == ["error"]
    posted = cancer.client.post(cancer.url("/v2/health/live"), content=b"{}")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("version", ["", "/versions/v1"])
def test_inference_answers_like_the_model_when_given_a_matrix(cancer: Server, version: str) -> None:
    answer = cancer.post(f"/v2/models/cancer{version}/infer", {"inputs": [matrix(50)]})
    document = answer.json()
    label, probability = document["outputs"]
    assert (document["model_name"], document["model_version"]) == ("cancer", "v1")
    assert (label["shape"], probability["datatype"]) == ([50], "FP64")
    truth = cancer_table()["benign"].to_numpy()[:50]
    assert (np.array(label["data"]) == truth).mean() > 0.9
    assert answer.headers["mooring-model-version"] == "v1"
    assert answer.headers["mooring-revision"] == "aaaaaaaaaaaa"
    assert float(answer.headers["mooring-server-ms"]) > 0


def test_inference_is_the_same_for_matrix_and_columns_flat_and_nested(cancer: Server) -> None:
    table = cancer_table().drop(columns="benign")
    columns = [
        {"name": name, "datatype": "FP64", "shape": [3, 1], "data": [[v] for v in table[name][:3]]}
        for name in table
    ]
    nested = matrix(3)
    flat = nested | {"data": [value for row in nested["data"] for value in row]}
    answers = [
        cancer.post("/v2/models/cancer/infer", {"inputs": inputs}).json()["outputs"]
        for inputs in ([nested], [flat], columns, columns[::-1])
    ]
    assert all(answer == answers[0] for answer in answers)


def test_inference_echoes_the_id_and_obeys_the_selection_of_outputs(cancer: Server) -> None:
    document = cancer.post(
        "/v2/models/cancer/infer",
        {"id": "req-1.x_Y", "inputs": [matrix(1)], "outputs": [{"name": "probability"}]},
    ).json()
    assert document["id"] == "req-1.x_Y"
    assert [output["name"] for output in document["outputs"]] == ["probability"]
    assert document["parameters"]["prediction_id"].endswith(".-")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"content-type": "application/json; charset=utf-8"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
    ids=["missing", "json", "with charset", "curl's default"],
)
def test_body_is_read_as_json_when_the_content_type_allows(
    cancer: Server, headers: dict[str, str]
) -> None:
    body = json.dumps({"inputs": [matrix(1)]}).encode()
    request = cancer.client.build_request(
        "POST", cancer.url("/v2/models/cancer/infer"), content=body, headers=headers
    )
    assert cancer.client.send(request).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/octet-stream"},
        {"content-encoding": "br"},
    ],
    ids=lambda headers: next(iter(headers.values())),
)
def test_body_of_another_kind_is_415(cancer: Server, headers: dict[str, str]) -> None:
    answer = cancer.client.post(
        cancer.url("/v2/models/cancer/infer"), content=b"{}", headers=headers
    )
    assert (answer.status_code, list(answer.json())) == (415, ["error"])


def test_head_has_the_headers_of_get_and_no_body(cancer: Server) -> None:
    got = cancer.client.get(cancer.url("/v2"))
    head = cancer.client.head(cancer.url("/v2"))
    assert head.status_code == 200
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.content == b""


def test_mixed_model_takes_text_flags_integers_and_nulls(flights: Server) -> None:
    inputs = flight(3, carrier=["AA", "UA", "nobody"], distance=[None, 2000.0, 10.0])
    document = flights.post("/v2/models/flights/infer", {"inputs": inputs}).json()
    label, probability = document["outputs"]
    assert (label["datatype"], len(label["data"])) == ("BYTES", 3)
    assert set(label["data"]) <= {"late", "on time"}
    assert all(0 <= value <= 1 for value in probability["data"])


def test_mixed_model_refuses_a_matrix_by_naming_it(flights: Server) -> None:
    answer = flights.post("/v2/models/flights/infer", {"inputs": [matrix(1)]})
    assert (answer.status_code, "'input'" in answer.json()["error"]) == (400, True)


def test_unknown_category_is_predicted_and_counted_unseen(flights: Server) -> None:
    before = flights.sync()["counts"]["carrier"]["unseen"]
    answer = flights.post("/v2/models/flights/infer", {"inputs": flight(carrier=["never seen"])})
    assert answer.status_code == 200
    assert flights.sync()["counts"]["carrier"]["unseen"] == before + 1


def test_regression_gives_one_number_a_row() -> None:
    with running(regression_package()) as server:
        columns = server.client.get(server.url("/v2/models/diabetes")).json()["inputs"]
        inputs = [
            {"name": column["name"], "datatype": "FP64", "shape": [2], "data": [0.01, -0.02]}
            for column in columns
        ]
        document = server.post("/v2/models/diabetes/infer", {"inputs": inputs}).json()
        assert [output["name"] for output in document["outputs"]] == ["prediction"]
        assert len(document["outputs"][0]["data"]) == 2


def test_multiclass_gives_a_probability_for_each_class() -> None:
    with running(multiclass_package()) as server:
        columns = server.client.get(server.url("/v2/models/wine")).json()["inputs"]
        inputs = [
            {"name": column["name"], "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]}
            for column in columns
        ]
        document = server.post("/v2/models/wine/infer", {"inputs": inputs}).json()
        probability = document["outputs"][1]
        assert probability["shape"] == [2, 3]
        assert sum(probability["data"]) == pytest.approx(2.0)


def test_management_answers_probes_identity_profile_and_metrics(cancer: Server) -> None:
    get = cancer.client.get
    assert get(cancer.managed("/livez")).status_code == 200
    assert get(cancer.managed("/readyz")).status_code == 200
    assert len(get(cancer.managed("/mooring/v1/profile")).json()["features"]) == 30
    assert get(cancer.managed("/nothing")).status_code == 404
    identity = cancer.identity()
    assert identity["revision"] == "aaaaaaaaaaaa"
    assert len(identity["bootNonce"]) == 32
    text = cancer.metrics()
    assert 'mooring_state{environment="local",model="cancer"' in text
    assert "mooring_request_latency_seconds_bucket" in text


def test_server_answers_tritonclient_style_requests_without_content_type(cancer: Server) -> None:
    body = json.dumps({"inputs": [matrix(1)], "parameters": {"binary_data_output": False}})
    with httpx.Client() as client:
        request = client.build_request(
            "POST", cancer.url("/v2/models/cancer/infer"), content=body.encode()
        )
        assert "content-type" not in request.headers
        assert client.send(request).status_code == 200
