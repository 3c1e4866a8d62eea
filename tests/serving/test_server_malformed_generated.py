"""Thousands of generated requests: what the judge refuses is a 4xx that names its fault, what it
accepts is answered with the model's own values, and nothing breaks the server.

`MOORING_GENERATED=N` sends N requests for each of model and form (default below); the numbers that
were sent are printed with `-s`.
"""

import http.client
import json
import os
import random
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mooring_model.load import LoadedModel, load_package
from tests.serving.request_judge import Column, Invalid, Model, Valid, judge_binary, judge_json
from tests.serving.request_mutations import Sent, make_binary, make_json
from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package, cancer_table, mixed_package

REQUESTS = int(os.environ.get("MOORING_GENERATED", "700"))
SEED = int(os.environ.get("MOORING_SEED", "20261124"))
NAMES = re.compile(
    r"inputs?\b|outputs?\b|\bid\b|parameters|the body|header|nests|binary_data|the request"
)
"""What a refusal must name: a field, the body or a header."""
CANCER = Model(
    tuple(Column(name, "number") for name in cancer_table().drop(columns="benign").columns),
    ("label", "probability"),
)
FLIGHTS = Model(
    (
        Column("carrier", "text", datatype="BYTES"),
        Column("distance", "number", nullable=True),
        Column("hour", "number", datatype="INT64"),
        Column("weekend", "flag", datatype="BOOL"),
    ),
    ("label", "probability"),
)
CASES: dict[str, tuple[str, Model, Callable[[], Path]]] = {
    "cancer": ("cancer", CANCER, cancer_package),
    "flights": ("flights", FLIGHTS, mixed_package),
}


class Client:
    """One kept-alive connection, opened again when the server closed it."""

    def __init__(self, server: Server, path: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=20)
        self._path = path

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def send(self, sent: Sent) -> tuple[int, dict[str, str], bytes]:
        """Send; the status, the headers and the body of the answer."""
        headers = {"content-type": "application/json"}
        if sent.length is not None:
            headers = {"inference-header-content-length": sent.length.decode()}
        self._connection.request("POST", self._path, sent.body, headers)
        answer = self._connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read()


@pytest.fixture(scope="module", params=CASES)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Model, LoadedModel, Client, Server]]:
    name, model, build = CASES[request.param]
    with running(build()) as server:
        client = Client(server, f"/v2/models/{name}/infer")
        yield model, load_package(build()), client, server
        client.close()
        assert server.client.get(server.url("/v2/health/ready")).status_code == 200
        assert re.search(r"mooring_faults_total\{[^}]*\} [1-9]", server.metrics()) is None


@pytest.mark.parametrize(
    ("make", "judge"),
    [(make_json, judge_json), (make_binary, judge_binary)],
    ids=["json", "bytes"],
)
def test_generated_requests_are_judged_as_the_documentation_says(
    served: tuple[Model, LoadedModel, Client, Server],
    make: Callable[[random.Random, Model], Sent],
    judge: Any,
) -> None:
    model, loaded, client, _ = served
    counts: Counter[str] = Counter()
    for number in range(REQUESTS):
        sent = make(random.Random(f"{SEED}-{number}"), model)  # noqa: S311 - for tests, seeded
        try:
            arguments = (sent.body,) if sent.length is None else (sent.body, sent.length)
            verdict: Valid | str = judge(*arguments, model)
        except Invalid as invalid:
            verdict = str(invalid)
        status, headers, body = client.send(sent)
        where = f"request {number}: {verdict}; {status}; {body[:300]!r}; sent {sent.body[:2000]!r}"
        if isinstance(verdict, Valid):
            assert status == 200, where
            check_answer(verdict, loaded, headers, body, where)
            counts["valid"] += 1
        else:
            assert status == 400, where
            document = json.loads(body)
            assert list(document) == ["error"], where
            assert NAMES.search(document["error"]), where
            assert len(document["error"]) < 700, where
            counts["malformed"] += 1
    print(dict(counts))
    assert min(counts.values()) > REQUESTS / 10, "both kinds must be there"


def check_answer(
    valid: Valid, loaded: LoadedModel, headers: dict[str, str], body: bytes, where: str
) -> None:
    """The answer has what was asked for, and the model's own values."""
    document, outputs = read_answer(headers, body)
    assert document.get("id") == valid.id, where
    assert tuple(outputs) == valid.outputs, where
    columns = {name: build_column(values) for name, values in valid.values.items()}
    expected = loaded.predict(columns).outputs
    for name, (tensor, values) in outputs.items():
        assert tensor["shape"] == [valid.rows], where
        assert ("binary_data_size" in tensor.get("parameters", {})) == (name in valid.binary), where
        wanted = cast("list[Any]", expected[name].tolist())
        if tensor["datatype"] == "FP64":
            np.testing.assert_allclose(values, wanted, rtol=1e-6, atol=1e-9, err_msg=where)
        else:
            assert values == wanted, where


def build_column(values: list[Any]) -> Any:
    """A column as the server gives it to a model."""
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=object)
    if all(isinstance(value, bool) for value in values):
        return np.array(values, dtype=bool)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def read_answer(
    headers: dict[str, str], body: bytes
) -> tuple[dict[str, Any], dict[str, tuple[dict[str, Any], list[Any]]]]:
    """The document, and each output with its values, in JSON or in bytes."""
    length = int(headers.get("inference-header-content-length", len(body)))
    document = json.loads(body[:length])
    raw = body[length:]
    found: dict[str, tuple[dict[str, Any], list[Any]]] = {}
    for tensor in document["outputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[tensor["name"]] = (tensor, tensor["data"])
            continue
        found[tensor["name"]] = (tensor, unpack(raw[:size], tensor["datatype"]))
        raw = raw[size:]
    assert raw == b""
    return document, found


def unpack(raw: bytes, datatype: str) -> list[Any]:
    """An output's values from its bytes."""
    if datatype != "BYTES":
        code = {"FP64": "d", "INT64": "q"}[datatype]
        return list(struct.unpack(f"<{len(raw) // 8}{code}", raw))
    values: list[Any] = []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        values.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    return values
