"""Tensors as bytes: the binary tensor extension of a real server."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package, cancer_rows, mixed_package

ROWS = 5
LENGTH = "inference-header-content-length"


@pytest.fixture(scope="module")
def cancer() -> Iterator[Server]:
    with running(cancer_package()) as server:
        yield server


@pytest.fixture(scope="module")
def flights() -> Iterator[Server]:
    with running(mixed_package()) as server:
        yield server


def values() -> np.ndarray[Any, np.dtype[np.float64]]:
    return cancer_rows(ROWS)


def as_json(server: Server) -> dict[str, Any]:
    tensor = {"name": "input", "datatype": "FP64", "shape": [ROWS, 30], "data": values().tolist()}
    answer = server.post("/v2/models/cancer/infer", {"inputs": [tensor]})
    return {item["name"]: item["data"] for item in answer.json()["outputs"]}


def send(
    server: Server, model: str, document: dict[str, Any], raw: bytes, **headers: str
) -> httpx.Response:
    head = json.dumps(document).encode()
    return server.client.post(
        server.url(f"/v2/models/{model}/infer"),
        content=head + raw,
        headers={LENGTH: str(len(head)), "content-type": "application/octet-stream", **headers},
    )


def matrix(raw: bytes, datatype: str = "FP64", **fields: Any) -> dict[str, Any]:
    tensor = {"name": "input", "datatype": datatype, "shape": [ROWS, 30]}
    return {"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}} | fields]}


def read(answer: httpx.Response) -> dict[str, Any]:
    """The outputs by name, whether they came as bytes or as JSON."""
    length = int(answer.headers.get(LENGTH, len(answer.content)))
    document, raw = json.loads(answer.content[:length]), answer.content[length:]
    kinds = {"FP64": "<f8", "INT64": "<i8"}
    found: dict[str, Any] = {}
    for tensor in document["outputs"]:
        if "data" in tensor:
            found[tensor["name"]] = tensor["data"]
            continue
        size = tensor["parameters"]["binary_data_size"]
        found[tensor["name"]] = np.frombuffer(raw[:size], kinds[tensor["datatype"]]).tolist()
        raw = raw[size:]
    assert raw == b""
    return found


@pytest.mark.parametrize(("datatype", "kind"), [("FP64", "<f8"), ("FP32", "<f4")])
def test_bytes_are_answered_like_the_same_numbers_as_json(
    cancer: Server, datatype: str, kind: str
) -> None:
    data = values().astype(kind).tobytes()
    answer = send(cancer, "cancer", matrix(data, datatype), data)
    assert answer.status_code == 200
    assert read(answer) == as_json(cancer)


def test_bfloat16_is_read_as_the_upper_half_of_single_precision(cancer: Server) -> None:
    single = values().astype("<f4")
    upper = (single.view("<u4") >> 16).astype("<u2")
    rounded = (upper.astype("<u4") << 16).view("<f4")
    answers = [
        read(send(cancer, "cancer", matrix(data, name), data))
        for name, data in (("BF16", upper.tobytes()), ("FP32", rounded.tobytes()))
    ]
    assert answers[0] == answers[1]


def test_outputs_come_as_bytes_where_they_are_wanted_so(cancer: Server) -> None:
    data = values().tobytes()
    wanted = [
        {"name": "probability", "parameters": {"binary_data": True}},
        {"name": "label", "parameters": {"binary_data": False}},
    ]
    answer = send(cancer, "cancer", {**matrix(data), "outputs": wanted}, data)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert read(answer) == as_json(cancer)


def test_all_outputs_come_as_bytes_by_the_default_of_the_request(cancer: Server) -> None:
    tensor = {"name": "input", "datatype": "FP64", "shape": [ROWS, 30], "data": values().tolist()}
    document = {"inputs": [tensor], "parameters": {"binary_data_output": True}, "id": "a1"}
    answer = cancer.post("/v2/models/cancer/infer", document)
    length = int(answer.headers[LENGTH])
    head = json.loads(answer.content[:length])
    assert head["id"] == "a1"
    assert head["parameters"]["prediction_id"]
    assert read(answer) == as_json(cancer)


def test_body_of_nothing_but_bytes_is_one_matrix(cancer: Server) -> None:
    answer = cancer.client.post(
        cancer.url("/v2/models/cancer/infer"),
        content=values().tobytes(),
        headers={LENGTH: "0"},
    )
    assert answer.status_code == 200
    assert read(answer) == as_json(cancer)


def test_text_flags_and_integers_are_read_from_bytes(flights: Server) -> None:
    metadata = flights.client.get(flights.url("/v2/models/flights")).json()
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"UA", b"B6"))
    kinds = {
        "BYTES": texts,
        "BOOL": b"\x01\x00",
        "INT64": np.array([3, 4], "<i8").tobytes(),
        "FP64": np.array([1.5, 2.5], "<f8").tobytes(),
    }
    words = {"BYTES": ["UA", "B6"], "BOOL": [True, False], "INT64": [3, 4], "FP64": [1.5, 2.5]}
    names = [(item["name"], item["datatype"]) for item in metadata["inputs"]]
    binary = {
        "inputs": [
            {
                "name": name,
                "datatype": kind,
                "shape": [2],
                "parameters": {"binary_data_size": len(kinds[kind])},
            }
            for name, kind in names
        ]
    }
    plain = {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [2], "data": words[kind]}
            for name, kind in names
        ]
    }
    answer = send(flights, "flights", binary, b"".join(kinds[kind] for _, kind in names))
    assert answer.status_code == 200, answer.text
    assert read(answer) == read(flights.post("/v2/models/flights/infer", plain))


DATA = np.zeros((ROWS, 30)).tobytes()
FAULTS: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "too few bytes": (matrix(DATA), DATA[:-1], "binary_data_size"),
    "bytes left over": (matrix(DATA), DATA + b"x", "belong to no tensor"),
    "size of another shape": (matrix(DATA[8:]), DATA[8:], "needs 1200"),
    "size that is no number": (
        matrix(DATA, parameters={"binary_data_size": "1200"}),
        DATA,
        "binary_data_size",
    ),
    "data besides": (matrix(DATA, data=[0.0]), DATA, "both data"),
    "not a number": (
        matrix(DATA),
        np.full((ROWS, 30), np.nan).tobytes(),
        "NaN",
    ),
    "infinite": (matrix(DATA), np.full((ROWS, 30), np.inf).tobytes(), "out of range"),
    "text": (matrix(b"\x01\x00\x00\x00", "BYTES"), b"\x01\x00\x00\x00", "the bytes end"),
}


@pytest.mark.parametrize(("document", "raw", "named"), FAULTS.values(), ids=FAULTS.keys())
def test_malformed_bytes_are_400_and_named(
    cancer: Server, document: dict[str, Any], raw: bytes, named: str
) -> None:
    answer = send(cancer, "cancer", document, raw)
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "99999999", "1e2", "9" * 30])
def test_length_of_the_json_that_cannot_be_is_400(cancer: Server, length: str) -> None:
    answer = cancer.client.post(
        cancer.url("/v2/models/cancer/infer"), content=b"{}", headers={LENGTH: length}
    )
    assert answer.status_code == 400
    assert LENGTH in answer.json()["error"]
