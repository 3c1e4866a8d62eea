"""Every REST endpoint as clients and proxies write it, and bodies in every encoding."""

import gzip
import json
import zlib
from collections.abc import Iterator

import httpx
import pytest

from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package

MODEL = "/v2/models/cancer"


def body(rows: int = 1) -> bytes:
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": [1.0] * 30 * rows}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.fixture(scope="module")
def pod() -> Iterator[Server]:
    with running(cancer_package(), environment={"MOORING_LIMIT_BODY_BYTES": "1000000"}) as server:
        yield server


def send(pod: Server, method: str, path: str, **more: object) -> httpx.Response:
    headers = more.pop("headers", {})
    return pod.client.request(method, pod.url(path), headers=headers, **more)  # type: ignore[arg-type]  # httpx types each keyword apart


@pytest.mark.parametrize(
    "path",
    [
        "/v2",
        "/v2/",
        "/v2?verbose=1",
        "/v2/health/live",
        "/v2/health/ready/",
        MODEL,
        f"{MODEL}/",
        f"{MODEL}/versions",
        f"{MODEL}/versions/v1",
        f"{MODEL}/versions/v1/ready",
        f"{MODEL}/ready?a=b&c",
        "/v2/models/%63ancer/ready",
    ],
)
def test_path_is_read_as_clients_write_it(pod: Server, path: str) -> None:
    got = send(pod, "GET", path)
    head = send(pod, "HEAD", path)
    assert (got.status_code, head.status_code) == (200, 200)
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.content == b""
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/cancer%2Fready",
        "/v2/models/cancer%00",
        "/v2/models//cancer",
        "/v2/models/caf%C3%A9",
        "/v2/models/%zz",
        "//v2",
        "/V2",
        f"{MODEL}/versions/1",
        f"{MODEL}/config",
        f"{MODEL}/stats",
        f"{MODEL}/versions/v1/stats",
        "/v2/models/stats",
        "/v2/repository/index",
        f"/v2/repository/models/{MODEL}/load",
        "/v2/systemsharedmemory/status",
        "/v2/trace/setting",
        "/v2/logging",
        "/metrics",
        "/mooring/v1/sync",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
def test_path_that_is_not_served_is_404_with_an_error(pod: Server, method: str, path: str) -> None:
    request = httpx.Request(method, pod.url("/"), headers={"connection": "close"})
    request.url = request.url.copy_with(raw_path=path.encode())
    answer = pod.client.send(request)
    assert answer.status_code == 404
    if method != "HEAD":
        assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2", "GET, HEAD, OPTIONS"),
        (MODEL, "GET, HEAD, OPTIONS"),
        (f"{MODEL}/ready", "GET, HEAD, OPTIONS"),
        (f"{MODEL}/infer", "POST, OPTIONS"),
        (f"{MODEL}/versions/v1/infer", "POST, OPTIONS"),
        (f"{MODEL}/feedback", "POST, OPTIONS"),
    ],
)
def test_method_that_is_not_served_is_405_and_options_lists_those_that_are(
    pod: Server, path: str, allowed: str
) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - set(
        allowed.split(", ")
    ):
        answer = send(pod, method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed), method
    options = send(pod, "OPTIONS", path)
    assert (options.status_code, options.content, options.headers["allow"]) == (204, b"", allowed)
    assert "content-length" not in options.headers


@pytest.mark.parametrize("path", [f"{MODEL}/infer", f"{MODEL}/infer/", "/v2/models/c%61ncer/infer"])
def test_inference_is_answered_however_its_path_is_written(pod: Server, path: str) -> None:
    assert send(pod, "POST", path, content=body()).status_code == 200


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(body(64))),
        ("deflate", zlib.compress(body(64))),
        ("deflate", zlib.compress(body(64))[2:-4]),
        ("identity", body(64)),
        ("gzip", gzip.compress(body(900), 0)),
    ],
    ids=["gzip", "deflate", "raw deflate", "identity", "gzip of 100 KB on a thread"],
)
def test_compressed_request_is_answered_like_a_plain_one(
    pod: Server, encoding: str, packed: bytes
) -> None:
    answer = send(
        pod, "POST", f"{MODEL}/infer", content=packed, headers={"content-encoding": encoding}
    )
    plain = send(pod, "POST", f"{MODEL}/infer", content=body(64))
    assert answer.status_code == 200, answer.text
    rows = answer.json()["outputs"][0]["data"]
    assert rows[:64] == plain.json()["outputs"][0]["data"]


@pytest.mark.parametrize(
    ("packed", "status", "words"),
    [
        (gzip.compress(body())[:-3], 400, "cut short"),
        (body(), 400, "broken"),
        (gzip.compress(body()) + b"tail", 400, "gzip"),
        (gzip.compress(b" " * 50_000_000), 413, "1000000 bytes"),
        (gzip.compress(b" " * 500_000_000), 413, "1000000 bytes"),
        (gzip.compress(b""), 400, "empty"),
    ],
    ids=["truncated", "plain", "trailing", "bomb", "bomb on a thread", "nothing"],
)
def test_compressed_request_that_lies_is_refused(
    pod: Server, packed: bytes, status: int, words: str
) -> None:
    answer = send(
        pod, "POST", f"{MODEL}/infer", content=packed, headers={"content-encoding": "gzip"}
    )
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert words in answer.json()["error"]


def test_encoding_that_is_not_read_is_415_and_says_which_are(pod: Server) -> None:
    answer = send(
        pod, "POST", f"{MODEL}/infer", content=body(), headers={"content-encoding": "zstd"}
    )
    assert (answer.status_code, answer.headers["accept-encoding"]) == (
        415,
        "gzip, deflate, identity",
    )
    assert 'reason="UnsupportedMedia"' in pod.metrics()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
@pytest.mark.parametrize("rows", [1, 300])
def test_long_answer_is_compressed_as_the_client_accepts(
    pod: Server, encoding: str, rows: int
) -> None:
    headers = {"accept-encoding": encoding}
    answer = send(pod, "POST", f"{MODEL}/infer", content=body(rows), headers=headers)
    assert len(answer.json()["outputs"][0]["data"]) == rows
    packed = rows > 1 and encoding != "identity"
    assert answer.headers.get("content-encoding") == (encoding if packed else None)
    assert answer.headers.get("vary") == ("accept-encoding" if rows > 1 else None)
    assert answer.headers["mooring-model-version"] == "v1"


def test_refusals_are_counted_by_reason(pod: Server) -> None:
    send(pod, "POST", f"{MODEL}/infer", content=b"{}")
    send(pod, "GET", "/nothing")
    text = pod.metrics()
    for reason in ("InvalidRequest", "NotFound"):
        line = next(
            line
            for line in text.splitlines()
            if line.startswith("mooring_requests_refused_total{") and f'"{reason}"' in line
        )
        assert float(line.rpartition(" ")[2]) >= 1
