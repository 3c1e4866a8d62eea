"""The edges that speak HTTP: probes served, answers of the API server and of pods mapped."""

import asyncio
import contextlib
import gzip
import json

import httpx
import pytest

from mooring_operator.errors import (
    AlreadyExists,
    Conflict,
    MooringError,
    NotFound,
    PodRefused,
    Refused,
    Transient,
)
from mooring_operator.io.connection_pool import Reply
from mooring_operator.io.http_server import Answer, serve_pages
from mooring_operator.io.kube_client import error_of
from mooring_operator.io.pods import LARGEST_ANSWER, HttpPodClient
from mooring_operator.io.token_bucket import TokenBucket


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Conflict),
        (400, "BadRequest", Refused),
        (403, "Forbidden", Refused),
        (422, "Invalid", Refused),
        (401, "Unauthorized", Transient),
        (429, "TooManyRequests", Transient),
        (500, "InternalError", Transient),
        (503, "ServiceUnavailable", Transient),
    ],
)
def test_every_answer_of_the_api_server_has_its_handling(
    code: int, reason: str, error: type[MooringError]
) -> None:
    answer = Reply(code, json.dumps({"reason": reason, "message": "the sentence"}).encode())
    found = error_of(answer, "PATCH", "Service a/d")
    assert type(found) is error
    assert str(found) == "PATCH Service a/d: the sentence"


def test_pause_that_the_api_server_asks_for_is_kept() -> None:
    found = error_of(Reply(429, b"", retry_after="3"), "GET", "x")
    assert isinstance(found, Transient)
    assert found.retry_after == 3.0


def test_answer_that_is_no_status_is_quoted() -> None:
    found = error_of(Reply(502, b"<html>bad gateway"), "GET", "x")
    assert "bad gateway" in str(found)


async def test_pages_are_served() -> None:
    server = await serve_pages(
        {"/livez": lambda: Answer(200, b"ok\n"), "/readyz": lambda: Answer(503, b"not yet\n")},
        host="127.0.0.1",
        port=0,
    )
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        live, ready = await client.get("/livez?verbose"), await client.get("/readyz")
        assert (live.status_code, live.text) == (200, "ok\n")
        assert ready.status_code == 503
        assert (await client.get("/other")).status_code == 404
        assert (await client.post("/livez")).status_code == 405
        assert (await client.head("/livez")).text == ""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01" + b"x" * 10_000 + b"\r\n\r\n")
        assert await reader.read() == b"", "who does not speak HTTP is hung up on"
        writer.close()
        assert (await client.get("/livez")).status_code == 200


async def _ask_pod(body: bytes, status: int = 200) -> dict[str, object]:
    server = await serve_pages(
        {"/mooring/v1/identity": lambda: Answer(status, body, "application/json")},
        host="127.0.0.1",
        port=0,
    )
    port = server.sockets[0].getsockname()[1]
    pods = HttpPodClient(connections=4, port=port)
    try:
        async with server:
            return await pods.identity("127.0.0.1")
    finally:
        await pods.aclose()


async def test_pod_answers() -> None:
    assert await _ask_pod(json.dumps({"podUid": "u"}).encode()) == {"podUid": "u"}


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        pytest.param(b"x" * (LARGEST_ANSWER + 1), 200, PodRefused, id="too large"),
        pytest.param(b"not json", 200, PodRefused, id="not JSON"),
        pytest.param(b"[]", 200, PodRefused, id="not an object"),
        pytest.param(b'{"error": "replayed"}', 409, PodRefused, id="refused"),
        pytest.param(b"", 503, Transient, id="overloaded"),
    ],
)
async def test_bad_answer_of_a_pod_is_an_error_of_ours(
    body: bytes, status: int, error: type[MooringError]
) -> None:
    with pytest.raises(error):
        await _ask_pod(body, status)


async def _ask_packing_pod(encoding: str, body: bytes) -> dict[str, object]:
    """A pod that compresses, and that saw that it may."""
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    pods = HttpPodClient(connections=4, port=server.sockets[0].getsockname()[1])
    try:
        async with server:
            return await pods.identity("127.0.0.1")
    finally:
        await pods.aclose()
        assert b"accept-encoding: gzip\r\n" in asked[0].lower()


async def test_compressed_answer_of_a_pod_is_read() -> None:
    document = {"podUid": "u" * 5000}
    assert await _ask_packing_pod("gzip", gzip.compress(json.dumps(document).encode())) == document


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("gzip", gzip.compress(b" " * 2 * LARGEST_ANSWER), id="bomb"),
        pytest.param("gzip", gzip.compress(b"{}" + b" " * 5000)[:-20], id="cut short"),
        pytest.param("gzip", b"{}", id="not compressed"),
        pytest.param("br", gzip.compress(b"{}"), id="another encoding"),
    ],
)
async def test_answer_of_a_pod_is_refused_when_it_cannot_be_unpacked(
    encoding: str, body: bytes
) -> None:
    with pytest.raises(PodRefused):
        await _ask_packing_pod(encoding, body)


async def test_pod_that_is_not_there_is_transient() -> None:
    pods = HttpPodClient(connections=1, port=9)
    with pytest.raises(Transient):
        await pods.identity("127.0.0.1")
    await pods.aclose()


def test_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3, now=0.0)
    assert [bucket.reserve(0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert bucket.reserve(100.0) == 0.0
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
