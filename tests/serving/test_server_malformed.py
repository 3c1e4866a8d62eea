"""A corpus of malformed requests: each a 4xx that names what is wrong, never a 5xx, never a 2xx."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package, mixed_package

ROW = [1.0] * 30
NOTHING: dict[str, object] = {}


@pytest.fixture(scope="module")
def cancer() -> Iterator[Server]:
    with running(cancer_package()) as server:
        yield server
        assert server.client.get(server.url("/v2/health/ready")).status_code == 200
        assert "mooring_faults_total{" not in server.metrics()


@pytest.fixture(scope="module")
def flights() -> Iterator[Server]:
    with running(mixed_package()) as server:
        yield server
        assert server.client.get(server.url("/v2/health/ready")).status_code == 200


def matrix(**changes: object) -> dict[str, Any]:
    return {"name": "input", "datatype": "FP64", "shape": [1, 30], "data": ROW} | changes


def body(**changes: object) -> bytes:
    return json.dumps({"inputs": [matrix()]} | changes).encode()


def one(**changes: object) -> bytes:
    return json.dumps({"inputs": [matrix(**changes)]}).encode()


def raw_data(values: str) -> bytes:
    return b'{"inputs":[{"name":"input","datatype":"FP64","shape":[1,30],"data":[%s]}]}' % (
        values.encode()
    )


BODIES: dict[str, tuple[bytes, str]] = {
    "empty body": (b"", "empty"),
    "not json": (b"inputs=1", "not JSON"),
    "half a document": (body()[:-5], "not JSON"),
    "invalid utf-8": (b'{"inputs": "\xff\xfe"}', "not JSON"),
    "utf-16": ('{"inputs":[]}'.encode("utf-16"), "not JSON"),
    "lone surrogate": (b'{"id": "\\ud800", "inputs": []}', "not JSON"),
    "two documents": (body() + body(), "not JSON"),
    "a list": (b"[1]", "must be a JSON object"),
    "a number": (b"1", "must be a JSON object"),
    "null": (b"null", "must be a JSON object"),
    "a string": (b'"inputs"', "must be a JSON object"),
    "no inputs": (b"{}", "inputs"),
    "inputs null": (body(inputs=None), "inputs"),
    "inputs empty": (body(inputs=[]), "inputs"),
    "inputs object": (body(inputs={"input": ROW}), "inputs"),
    "inputs of numbers": (body(inputs=[1]), "inputs[0]"),
    "tensor without name": (body(inputs=[{"data": [1]}]), "inputs[0]: name"),
    "tensor with empty name": (one(name=""), "inputs[0]: name"),
    "tensor with number as name": (one(name=3), "inputs[0]: name"),
    "unknown tensor": (one(name="unknown"), "'unknown'"),
    "very long name": (one(name="n" * 100_000), "is not an input"),
    "same tensor twice": (body(inputs=[matrix(), matrix()]), "'input' is given twice"),
    "matrix and a column": (body(inputs=[matrix(), matrix(name="mean_radius")]), "'input'"),
    "one column missing": (
        body(inputs=[matrix(name="mean_radius", shape=[1], data=[1.0])]),
        "is missing",
    ),
    "datatype missing": (one(datatype=None), "'input': datatype"),
    "datatype unknown": (one(datatype="FLOAT"), "'input': datatype"),
    "datatype lower case": (one(datatype="fp64"), "'input': datatype"),
    "datatype a list": (one(datatype=["FP64"]), "'input': datatype"),
    "datatype of text": (one(datatype="BYTES"), "'input': datatype"),
    "datatype of flags": (one(datatype="BOOL"), "'input': datatype"),
    "shape missing": (one(shape=None), "'input': shape"),
    "shape empty": (one(shape=[]), "'input': shape"),
    "shape a number": (one(shape=30), "'input': shape"),
    "shape of text": (one(shape=["1", "30"]), "'input': shape"),
    "shape of fractions": (one(shape=[1.0, 30.0]), "'input': shape"),
    "shape of flags": (one(shape=[True, 30]), "'input': shape"),
    "shape with zero": (one(shape=[0, 30], data=[]), "'input': shape"),
    "shape negative": (one(shape=[-1, 30]), "'input': shape"),
    "shape of other width": (one(shape=[1, 29]), "'input': shape"),
    "shape of one dimension": (one(shape=[30]), "'input': shape"),
    "shape of nine dimensions": (one(shape=[1] * 9), "'input': shape"),
    "shape of 4 tebi elements": (one(shape=[1 << 40, 30]), "'input': shape"),
    "shape beyond 64 bits": (
        b'{"inputs":[{"name":"input","datatype":"FP64","shape":[99999999999999999999,30],"data":[]}]}',
        "'input': shape",
    ),
    "more rows than allowed": (one(shape=[1001, 30], data=ROW), "1001 rows"),
    "data missing": (one(data=None), "'input': data"),
    "data a number": (one(data=1), "'input': data"),
    "data an object": (one(data={"0": 1}), "'input': data"),
    "data text": (one(data="1,2,3"), "'input': data"),
    "data too short": (one(data=ROW[:-1]), "'input': data has 29"),
    "data too long": (one(data=[*ROW, 1.0]), "'input': data has 31"),
    "data empty": (one(data=[]), "'input': data has 0"),
    "data nested too deeply": (one(data=[[[1.0]] * 30]), "'input': value 0"),
    "data of ragged rows": (one(shape=[2, 30], data=[ROW, ROW[:-1]]), "'input': nested data"),
    "data mixing lists and values": (one(shape=[2, 30], data=[ROW, *ROW]), "'input': data"),
    "a null in a required column": (one(data=[None, *ROW[1:]]), "'input': null"),
    "a text among numbers": (one(data=["1", *ROW[1:]]), "'input': value 0"),
    "a flag among numbers": (one(data=[*ROW[1:], True]), "'input': value 29"),
    "an object among numbers": (one(data=[NOTHING, *ROW[1:]]), "'input': value 0"),
    "NaN": (raw_data("NaN," + "1," * 28 + "1"), "not JSON"),
    "Infinity": (raw_data("Infinity," + "1," * 28 + "1"), "not JSON"),
    "minus Infinity": (raw_data("-Infinity," + "1," * 28 + "1"), "not JSON"),
    "a number beyond doubles": (raw_data("1e400," + "1," * 28 + "1"), ""),
    "an integer of 5000 digits": (raw_data("9" * 5000 + ",1" * 29), ""),
    "INT8 of 300": (one(datatype="INT8", data=[300] * 30), "'input': a value is out of range"),
    "UINT8 of -1": (one(datatype="UINT8", data=[-1] * 30), "'input': a value is out of range"),
    "INT64 of a fraction": (one(datatype="INT64", data=[1.5] * 30), "'input': value 0"),
    "FP16 of a million": (one(datatype="FP16", data=[1e6] * 30), "'input': a value is out"),
    "FP32 of 1e39": (one(datatype="FP32", data=[1e39] * 30), "'input': a value is out of range"),
    "FP64 beyond single precision": (one(data=[1e308] * 30), "'input': a value is out of range"),
    "id a number": (body(id=7), "id"),
    "id empty": (body(id=""), "id"),
    "id with a line end": (body(id="a\nb"), "id"),
    "id with a space": (body(id="a b"), "id"),
    "id of a megabyte": (body(id="a" * 1_000_000), "id"),
    "outputs an object": (body(outputs={}), "outputs"),
    "outputs of names": (body(outputs=["label"]), "outputs[0]"),
    "output unknown": (body(outputs=[{"name": "margin"}]), "'margin'"),
    "output twice": (body(outputs=[{"name": "label"}] * 2), "'label'"),
    "outputs of a thousand": (body(outputs=[{"name": "label"}] * 1000), "outputs"),
    "parameters a list": (body(parameters=[]), "parameters"),
    "parameters nested": (body(parameters={"a": {"b": 1}}), "parameters.a"),
    "parameters null inside": (body(parameters={"a": None}), "parameters.a"),
    "parameters of a thousand": (body(parameters={str(n): n for n in range(1000)}), "parameters"),
    "binary output wanted by a word": (body(parameters={"binary_data_output": "yes"}), "binary"),
    "binary tensor": (one(parameters={"binary_data_size": 240}), "Inference-Header-Content-Length"),
    "tensor parameters a list": (one(parameters=[]), "'input': parameters"),
    "5000 tensors": (body(inputs=[{"name": str(n)} for n in range(5000)]), "5000 tensors"),
    "17 levels deep": (body(more=json.loads("[" * 17 + "]" * 17)), "'more' nests more than 16"),
    "100000 levels deep": (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
    "2000 levels in an object": (b'{"a":' * 2000 + b"1" + b"}" * 2000, "not JSON"),
    "deep inside parameters": (
        b'{"parameters":{"a":' + b"[" * 40 + b"]" * 40 + b'},"inputs":[]}',
        "inputs",
    ),
    "deep inside data": (one(data=json.loads("[" * 40 + "]" * 40)), "'input': "),
}


@pytest.mark.parametrize(("sent", "named"), BODIES.values(), ids=BODIES.keys())
def test_malformed_matrix_request_is_400_and_names_the_fault(
    cancer: Server, sent: bytes, named: str
) -> None:
    answer = cancer.client.post(
        cancer.url("/v2/models/cancer/infer"),
        content=sent,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    document = answer.json()
    assert list(document) == ["error"]
    assert named in document["error"]
    assert len(document["error"]) < 600


COLUMNS: dict[str, dict[str, Any]] = {
    "carrier": {"name": "carrier", "datatype": "BYTES", "shape": [2], "data": ["AA", "UA"]},
    "distance": {"name": "distance", "datatype": "FP64", "shape": [2], "data": [1.0, None]},
    "hour": {"name": "hour", "datatype": "INT64", "shape": [2], "data": [1, 2]},
    "weekend": {"name": "weekend", "datatype": "BOOL", "shape": [2], "data": [True, False]},
}

FAULTS: dict[str, tuple[str, dict[str, object]]] = {
    "text given as a number": ("carrier", {"data": [1, 2]}),
    "text given as null": ("carrier", {"data": ["AA", None]}),
    "text of 5000 characters": ("carrier", {"data": ["A" * 5000, "B"]}),
    "text as FP64": ("carrier", {"datatype": "FP64"}),
    "text too few": ("carrier", {"data": ["AA"]}),
    "number given as text": ("distance", {"data": ["far", 1.0]}),
    "number as BYTES": ("distance", {"datatype": "BYTES"}),
    "integer given as null": ("hour", {"data": [1, None]}),
    "integer given as a flag": ("hour", {"data": [True, 2]}),
    "flag given as a number": ("weekend", {"data": [1, 0]}),
    "flag given as null": ("weekend", {"data": [True, None]}),
    "flag as INT64": ("weekend", {"datatype": "INT64"}),
    "three rows where others have two": ("hour", {"shape": [3], "data": [1, 2, 3]}),
    "two columns in one": ("hour", {"shape": [1, 2]}),
    "rank three": ("distance", {"shape": [2, 1, 1]}),
}


@pytest.mark.parametrize(("tensor", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_malformed_column_is_400_and_names_its_tensor(
    flights: Server, tensor: str, fault: dict[str, object]
) -> None:
    columns = COLUMNS | {tensor: COLUMNS[tensor] | fault}
    answer = flights.post("/v2/models/flights/infer", {"inputs": list(columns.values())})
    assert answer.status_code == 400, answer.text
    assert f"'{tensor}'" in answer.json()["error"]


def test_wellformed_columns_are_accepted(flights: Server) -> None:
    answer = flights.post("/v2/models/flights/infer", {"inputs": list(COLUMNS.values())})
    assert answer.status_code == 200, answer.text


def test_refusals_are_counted_by_status(cancer: Server) -> None:
    cancer.post("/v2/models/cancer/infer", {})
    assert 'status="400"' in cancer.metrics()
