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


def test_request_before_a_malformed_one_keeps_its_own_answer(pod: Server) -> None:
    received = exchange(pod, post() + b"nonsense\r\n\r\n" + post())
    first, second = received.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 ")
    assert second.startswith(b"400 ")


def test_client_that_is_refused_while_it_sends_reads_the_reason(pod: Server) -> None:
    with connection(pod) as opened:
        opened.sendall(HEAD + b"content-length: 30000000\r\n\r\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(30):
                opened.sendall(b" " * 1_000_000)
        assert opened.recv(65_536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("rows", [1, 200], ids=["at once", "large"])
def test_client_that_ends_its_side_gets_its_answers(pod: Server, rows: int) -> None:
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": [1.0] * 30 * rows}
    body = json.dumps({"inputs": [tensor]}).encode()
    with connection(pod) as opened:
        opened.sendall(post(body) * 3)
        opened.shutdown(socket.SHUT_WR)
        assert everything(opened).count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize("sent", [HEAD, post()[:-10]], ids=["headers", "body"])
def test_client_that_ends_its_side_too_early_is_told_where(pod: Server, sent: bytes) -> None:
    with connection(pod) as opened:
        opened.sendall(sent)
        opened.shutdown(socket.SHUT_WR)
        received = everything(opened)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"the request ends within its " in received


def test_trailer_behind_a_chunked_body_changes_nothing(pod: Server) -> None:
    chunk = b"%x\r\n%s\r\n" % (len(BODY), BODY)
    trailer = b"0\r\ncontent-encoding: gzip\r\ninference-header-content-length: 5\r\n\r\n"
    head = HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    assert exchange(pod, head + chunk + trailer).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"content-encoding: gzip\r\ncontent-encoding: gzip\r\n", 415),
        (b"inference-header-content-length: 5\r\ninference-header-content-length: 5\r\n", 400),
        (b"accept-encoding: br\r\naccept-encoding: gzip\r\n", 200),
    ],
)
def test_repeated_header_is_read_as_one_list(pod: Server, headers: bytes, status: int) -> None:
    received = exchange(pod, post(more=headers + b"connection: close\r\n"))
    assert received.startswith(b"HTTP/1.1 %d " % status)


def test_connection_ends_after_so_many_requests_and_at_so_high_an_age() -> None:
    limits = {"MOORING_LIMIT_CONNECTION_REQUESTS": "3", "MOORING_LIMIT_CONNECTION_SECONDS": "0.5"}
    with running(cancer_package(), environment=limits) as server:
        with connection(server) as opened:
            opened.sendall(post() * 4)
            received = everything(opened)
        assert received.count(b"HTTP/1.1 200 ") == 3
        assert received.count(b"connection: close") == 1
        with connection(server) as opened:
            opened.sendall(post())
            assert b"connection: close" not in opened.recv(65_536)
            time.sleep(0.6)
            opened.sendall(post())
            assert b"connection: close" in everything(opened)


def test_large_bodies_share_a_bounded_memory_and_small_ones_are_still_answered() -> None:
    limits = {"MOORING_LIMIT_PENDING_BODY_BYTES": "3000000"}
    head = HEAD + b"content-length: 2000000\r\n\r\n"
    with running(cancer_package(), environment=limits) as server, contextlib.ExitStack() as stack:
        first = stack.enter_context(connection(server))
        first.sendall(head + b" " * 1_900_000)
        second = stack.enter_context(connection(server))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            second.sendall(head + b" " * 1_900_000)
        received = everything(second)
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in received
        assert b"3000000 bytes of memory" in received
        assert exchange(server, post(more=b"connection: close\r\n")).startswith(b"HTTP/1.1 200 ")
        first.sendall(b" " * 100_000)
        assert first.recv(65_536).startswith(b"HTTP/1.1 400 ")
        third = stack.enter_context(connection(server))
        third.sendall(head + b" " * 2_000_000)
        assert third.recv(65_536).startswith(b"HTTP/1.1 400 ")
        assert server.refusals()["Memory"] == 1


def test_every_refusal_of_the_edge_is_counted_by_its_reason(pod: Server) -> None:
    before = pod.refusals()
    exchange(pod, b"nonsense\r\n\r\n")
    exchange(pod, HEAD + b"x: " + b"y" * 20_000 + b"\r\n\r\n")
    exchange(pod, HEAD + b"content-length: 9000000\r\n\r\n")
    exchange(pod, HEAD)
    found = pod.refusals()
    for reason in ("MalformedHttp", "HeadersTooLarge", "BodyTooLarge", "TooSlow"):
        assert found[reason] == before[reason] + 1, reason


def test_client_that_does_not_read_its_answers_is_dropped_and_counted(pod: Server) -> None:
    before = pod.refusals()["NotRead"]
    get = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"
    with connection(pod) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.settimeout(1)
        with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            for _ in range(4000):
                opened.sendall(get * 20)
        deadline = time.monotonic() + 8
        while pod.refusals()["NotRead"] == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_client_that_vanishes_in_the_middle_harms_nobody(pod: Server) -> None:
    for _ in range(30):
        with connection(pod) as opened:
            opened.sendall(post()[:-5])
    with connection(pod) as opened:
        opened.sendall(post())
    assert httpx.post(pod.url("/v2/models/cancer/infer"), content=BODY).status_code == 200
