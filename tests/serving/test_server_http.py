"""HTTP at the level of bytes: order, limits, slow clients, and nonsense."""

import contextlib
import json
import socket
import time
from collections.abc import Generator, Iterator

import httpx
import pytest

from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package

BODY = json.dumps(
    {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 30], "data": [1.0] * 30}]}
).encode()
HEAD = b"POST /v2/models/cancer/infer HTTP/1.1\r\nhost: x\r\n"
LIMITS = {"header_seconds": 1.0, "receive_seconds": 2.0, "idle_seconds": 3.0, "connections": 40}


@pytest.fixture(scope="module")
def pod() -> Iterator[Server]:
    with running(cancer_package(), arguments=["--http", json.dumps(LIMITS)]) as server:
        yield server
        assert httpx.get(server.url("/v2/health/ready")).status_code == 200


@contextlib.contextmanager
def connection(server: Server) -> Generator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.http), timeout=10) as opened:
        yield opened


def everything(opened: socket.socket) -> bytes:
    """All bytes until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := opened.recv(65_536):
            received += chunk
    return received


def exchange(server: Server, sent: bytes) -> bytes:
    with connection(server) as opened:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            opened.sendall(sent)
        return everything(opened)


def post(body: bytes = BODY, more: bytes = b"") -> bytes:
    return HEAD + b"content-length: %d\r\n" % len(body) + more + b"\r\n" + body


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, id="a TLS hello"),
        pytest.param(b"EHLO mail\r\n\r\n", 400, id="SMTP"),
        pytest.param(b"GET /v2 HTTP/9.9\r\n\r\n", 400, id="HTTP 9.9"),
        pytest.param(b"GET  HTTP/1.1\r\n\r\n", 400, id="no path"),
        pytest.param(HEAD + b"content-length: -1\r\n\r\n", 400, id="negative length"),
        pytest.param(HEAD + b"content-length: ten\r\n\r\n", 400, id="length as text"),
        pytest.param(
            HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", 400, id="two lengths"
        ),
        pytest.param(
            HEAD + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            id="length and chunks",
        ),
        pytest.param(
            HEAD + b"transfer-encoding: chunked\r\n\r\nZZ\r\nhello\r\n", 400, id="odd chunk size"
        ),
        pytest.param(HEAD + b"bad header\r\n\r\n", 400, id="header without colon"),
        pytest.param(HEAD + b"a\x00b: c\r\n\r\n", 400, id="zero byte in a header"),
        pytest.param(HEAD + b"content-length: 9000000\r\n\r\n", 413, id="announced too large"),
        pytest.param(
            HEAD + b"content-length: 99999999999999999999\r\n\r\n", 400, id="length overflow"
        ),
        pytest.param(HEAD + b"x: " + b"y" * 20_000 + b"\r\n\r\n", 431, id="large header"),
        pytest.param(HEAD + b"x: y\r\n" * 100 + b"\r\n", 431, id="many headers"),
        pytest.param(b"GET /" + b"v" * 20_000 + b" HTTP/1.1\r\n\r\n", 431, id="long path"),
    ],
)
def test_nonsense_is_refused_and_the_connection_ends(pod: Server, sent: bytes, status: int) -> None:
    received = exchange(pod, sent)
    assert received.startswith(b"HTTP/1.1 %d " % status), received[:200]
    assert b"connection: close" in received
    assert received.partition(b"\r\n\r\n")[2].startswith(b'{"error":')


def test_chunked_body_is_counted_while_it_is_read(pod: Server) -> None:
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    received = exchange(pod, HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk * 9)
    assert received.startswith(b"HTTP/1.1 413 ")


def test_chunked_request_is_answered(pod: Server) -> None:
    half = len(BODY) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (BODY[:half], BODY[half:]))
    received = exchange(
        pod,
        HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n",
    )
    assert received.startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_order(pod: Server) -> None:
    bodies = [BODY[:-1] + b',"id":"r%d"}' % number for number in range(20)]
    received = exchange(
        pod,
        b"".join(post(body) for body in bodies[:-1]) + post(bodies[-1], b"connection: close\r\n"),
    )
    assert received.count(b"HTTP/1.1 200 ") == 20
    places = [received.index(b'"id":"r%d"' % number) for number in range(20)]
    assert places == sorted(places)


def test_bytes_sent_one_by_one_make_a_request(pod: Server) -> None:
    with connection(pod) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(more=b"connection: close\r\n"):
            opened.sendall(bytes([byte]))
        assert everything(opened).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (post(), True),
        (post(more=b"connection: close\r\n"), False),
        (post().replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (post(more=b"connection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"), True),
    ],
    ids=["1.1", "1.1 close", "1.0", "1.0 keep-alive"],
)
def test_connection_is_kept_as_the_client_wishes(pod: Server, sent: bytes, kept: bool) -> None:
    with connection(pod) as opened:
        opened.sendall(sent)
        assert opened.recv(65_536).startswith(b"HTTP/1.1 200 ")
        opened.settimeout(0.3)
        try:
            assert (opened.recv(1) == b"") is not kept
        except TimeoutError:
            assert kept


def test_client_that_expects_continue_gets_it(pod: Server) -> None:
    with connection(pod) as opened:
        opened.sendall(HEAD + b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % len(BODY))
        assert opened.recv(1024).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        opened.sendall(BODY)
        assert opened.recv(65_536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("pieces", [1, 2, 50], ids=["at once", "in two", "in many"])
def test_offer_of_another_protocol_is_passed_over_and_the_connection_kept(
    pod: Server, pieces: int
) -> None:
    offer = post(more=b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\n")
    sent = offer + b"GET /v2 HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" + offer
    size = len(sent) // pieces
    with connection(pod) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), size):
            opened.sendall(sent[start : start + size])
        opened.sendall(post(more=b"connection: close\r\n"))
        assert everything(opened).count(b"HTTP/1.1 200 ") == 4


@pytest.mark.parametrize("sent", [HEAD, post()[:-10], b"P"], ids=["headers", "body", "first byte"])
def test_slow_client_is_told_so_and_dropped(pod: Server, sent: bytes) -> None:
    started = time.monotonic()
    received = exchange(pod, sent)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 6


def test_idle_connection_is_closed(pod: Server) -> None:
    with connection(pod) as opened:
        opened.sendall(post())
        assert opened.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert everything(opened) == b""


def test_slow_clients_do_not_delay_others_and_too_many_are_refused(pod: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(35):
            opened = stack.enter_context(connection(pod))
            opened.sendall(HEAD)
        slowest = 0.0
        with httpx.Client() as client:
            for _ in range(20):
                answer = client.post(pod.url("/v2/models/cancer/infer"), content=BODY)
                assert answer.status_code == 200
                slowest = max(slowest, answer.elapsed.total_seconds())
        assert slowest < 0.5
        for _ in range(10):
            stack.enter_context(connection(pod))
        with connection(pod) as refused:
            received = everything(refused)
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in received


def test_client_that_vanishes_in_the_middle_harms_nobody(pod: Server) -> None:
    for _ in range(30):
        with connection(pod) as opened:
            opened.sendall(post()[:-5])
    with connection(pod) as opened:
        opened.sendall(post())
    assert httpx.post(pod.url("/v2/models/cancer/infer"), content=BODY).status_code == 200
