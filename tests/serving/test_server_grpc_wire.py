"""The gRPC port against clients that are slow, greedy, broken or hostile, frame by frame."""

import socket
import time
import zlib
from collections.abc import Iterator

import pytest

from tests.serving.grpc_client import connected, pb
from tests.serving.http2_wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INFER,
    LIVE,
    PADDED,
    PING,
    PRIORITY,
    PUSH,
    RESET,
    SETTINGS,
    WINDOW,
    frame,
    infer_body,
    message,
    setting,
    tight,
    wired,
)
from tests.serving.running_server import Server

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 1, 3, 5, 6
REFUSED_STREAM, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 9, 11


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tight() as running_server:
        yield running_server


def test_call_is_answered_frame_by_frame(server: Server) -> None:
    with wired(server.grpc) as wire:
        for stream in (1, 3, 5):
            wire.call(stream, INFER, infer_body())
            answer = wire.answer(stream)
            assert answer.headers[":status"] == "200"
            assert answer.headers["content-type"] == "application/grpc"
            assert answer.headers["mooring-model-version"] == "v1"
            assert answer.status == 0
            response = pb.ModelInferResponse.FromString(answer.body[5:])
            assert len(response.outputs) == 2


def test_call_is_answered_when_it_comes_a_byte_at_a_time(server: Server) -> None:
    with wired(server.grpc) as wire:
        head = frame(HEADERS, END_HEADERS, 1, wire.head(LIVE))
        for byte in head + frame(DATA, END_STREAM, 1, message(b"")):
            wire.send(bytes([byte]))
        assert wire.answer(1).status == 0


def test_padding_priority_and_continuation_are_read(server: Server) -> None:
    with wired(server.grpc) as wire:
        block = wire.head(LIVE)
        padded = b"\3" + bytes(4) + b"\x10" + block[:5] + b"pad"
        wire.send(
            frame(HEADERS, PADDED | 0x20, 1, padded),
            frame(CONTINUATION, 0, 1, block[5:8]),
            frame(CONTINUATION, END_HEADERS, 1, block[8:]),
            frame(DATA, PADDED, 1, b"\2" + message(b"")[:3] + b"\0\0"),
            frame(DATA, 0, 1, b""),
            frame(DATA, END_STREAM, 1, message(b"")[3:]),
        )
        assert wire.answer(1).status == 0


def test_call_that_ends_with_trailers_is_answered(server: Server) -> None:
    with wired(server.grpc) as wire:
        wire.send(
            frame(HEADERS, END_HEADERS, 1, wire.head(LIVE)),
            frame(DATA, 0, 1, message(b"")),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, wire.encoder.encode([("x", "y")])),
        )
        assert wire.answer(1).status == 0


def test_answer_waits_for_the_clients_window(server: Server) -> None:
    """64 rows are answered with more than the 100 bytes that this client allows at a time."""
    with wired(server.grpc, settings=setting(4, 100)) as wire:
        wire.call(1, INFER, infer_body(64))
        received = b""
        while len(received) < 100:
            found = wire.read()
            assert found is not None
            if found.kind == DATA:
                received += found.payload
        assert len(received) == 100
        wire.send(frame(WINDOW, 0, 1, (50).to_bytes(4, "big")))
        found = wire.read()
        while found is not None and found.kind != DATA:
            found = wire.read()
        assert found is not None
        assert len(found.payload) == 50
        received += found.payload
        wire.send(frame(SETTINGS, 0, 0, setting(4, 100_000)))
        answer = wire.answer(1)
        response = pb.ModelInferResponse.FromString((received + answer.body)[5:])
        assert list(response.outputs[0].shape) == [64]


def test_client_that_reads_nothing_of_its_answer_is_cut_off(server: Server) -> None:
    with wired(server.grpc, settings=setting(4, 10)) as wire:
        wire.call(1, INFER, infer_body(64))
        before, started = count_reason(server, "NotRead"), time.monotonic()
        wire.ended()
        assert 1.0 < time.monotonic() - started < 8.0
    assert count_reason(server, "NotRead") == before + 1


@pytest.mark.parametrize(
    ("head", "body", "status", "said"),
    [
        pytest.param({}, b"", 3, "no message", id="no message"),
        pytest.param({}, b"\0\0\0\0", 3, "no message", id="half a prefix"),
        pytest.param({}, message(b"")[:5] + b"x", 3, "exactly one", id="more than announced"),
        pytest.param({}, message(b"xx")[:-1], 3, "exactly one", id="less than announced"),
        pytest.param({}, message(b"") * 2, 3, "exactly one", id="two messages"),
        pytest.param({}, message(b"", flag=2), 3, "first byte", id="an unknown flag"),
        pytest.param({}, message(b"", flag=1), 12, "grpc-encoding", id="compressed as nothing"),
        pytest.param(
            {"grpc_encoding": "br"}, message(b"", flag=1), 12, "'br'", id="an unknown compression"
        ),
        pytest.param(
            {"grpc_encoding": "gzip"}, message(b"plain", flag=1), 3, "not gzip", id="not gzip"
        ),
        pytest.param(
            {"grpc_encoding": "deflate"},
            message(zlib.compress(b"x")[:-2], flag=1),
            3,
            "one whole",
            id="gzip cut short",
        ),
        pytest.param(
            {"grpc_encoding": "deflate"},
            message(zlib.compress(bytes(20_000_000)), flag=1),
            8,
            "decompressed",
            id="a bomb",
        ),
        pytest.param({}, b"\0\xff\xff\xff\xff", 8, "at most", id="four gigabytes announced"),
        pytest.param({"grpc_timeout": "1n"}, message(b""), 4, "deadline", id="no time left"),
    ],
)
def test_unusable_message_ends_its_call_and_not_the_connection(
    server: Server, head: dict[str, str], body: bytes, status: int, said: str
) -> None:
    with wired(server.grpc) as wire:
        wire.send(
            frame(HEADERS, END_HEADERS, 1, wire.head(LIVE, **head)),
            frame(DATA, END_STREAM, 1, body),
        )
        answer = wire.answer(1)
        assert answer.status == status
        assert said in answer.said
        wire.call(3, LIVE, b"")
        assert wire.answer(3).status == 0


def test_answer_to_an_unknown_compression_says_what_is_read(server: Server) -> None:
    with wired(server.grpc) as wire:
        wire.send(
            frame(HEADERS, END_HEADERS, 1, wire.head(LIVE, grpc_encoding="br")),
            frame(DATA, END_STREAM, 1, message(b"", flag=1)),
        )
        assert wire.answer(1).headers["grpc-accept-encoding"] == "identity,deflate,gzip"


def test_what_is_no_grpc_call_is_told_so(server: Server) -> None:
    with wired(server.grpc) as wire:
        json_head = wire.head("/v2", content_type="application/json")
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, json_head))
        answer = wire.answer(1)
        assert answer.headers[":status"] == "415"
        assert b"speaks gRPC" in answer.body


def test_http_1_client_is_told_so(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.grpc), timeout=5) as opened:
        opened.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = b""
        while data := opened.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"speaks gRPC" in answer


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param([frame(DATA, 0, 0, b"x")], PROTOCOL_ERROR, id="data of the connection"),
        pytest.param([frame(DATA, 0, 9, b"x")], PROTOCOL_ERROR, id="data of an idle stream"),
        pytest.param([frame(HEADERS, 5, 2, b"")], PROTOCOL_ERROR, id="an even stream"),
        pytest.param([frame(HEADERS, 5, 1, b"\x80")], COMPRESSION_ERROR, id="index 0"),
        pytest.param([frame(HEADERS, 5, 1, b"\xff\xff")], COMPRESSION_ERROR, id="half an integer"),
        pytest.param([frame(CONTINUATION, 4, 1)], PROTOCOL_ERROR, id="continuation of nothing"),
        pytest.param([frame(PUSH, 4, 1, bytes(4))], PROTOCOL_ERROR, id="a push"),
        pytest.param([frame(PING, 0, 1, bytes(8))], PROTOCOL_ERROR, id="a ping on a stream"),
        pytest.param([frame(PING, 0, 0, bytes(7))], FRAME_SIZE_ERROR, id="a short ping"),
        pytest.param([frame(SETTINGS, 0, 1)], PROTOCOL_ERROR, id="settings on a stream"),
        pytest.param([frame(SETTINGS, 0, 0, b"x")], FRAME_SIZE_ERROR, id="odd settings"),
        pytest.param([frame(SETTINGS, 1, 0, bytes(6))], FRAME_SIZE_ERROR, id="a full ack"),
        pytest.param(
            [frame(SETTINGS, 0, 0, setting(4, 1 << 31))], FLOW_CONTROL_ERROR, id="a huge window"
        ),
        pytest.param(
            [frame(SETTINGS, 0, 0, setting(5, 100))], PROTOCOL_ERROR, id="a tiny frame size"
        ),
        pytest.param([frame(SETTINGS, 0, 0, setting(2, 2))], PROTOCOL_ERROR, id="push of 2"),
        pytest.param([frame(WINDOW, 0, 0, bytes(4))], PROTOCOL_ERROR, id="a window of 0"),
        pytest.param([frame(WINDOW, 0, 0, bytes(3))], FRAME_SIZE_ERROR, id="a short window"),
        pytest.param([frame(WINDOW, 0, 9, b"\0\0\0\1")], PROTOCOL_ERROR, id="an idle window"),
        pytest.param(
            [frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff")], FLOW_CONTROL_ERROR, id="an overflow"
        ),
        pytest.param([frame(RESET, 0, 9, bytes(4))], PROTOCOL_ERROR, id="reset of an idle stream"),
        pytest.param([frame(PRIORITY, 0, 0, bytes(5))], PROTOCOL_ERROR, id="priority of 0"),
        pytest.param([frame(GOAWAY, 0, 1, bytes(8))], PROTOCOL_ERROR, id="goaway on a stream"),
        pytest.param([frame(DATA, 0, 0, bytes(70_000))], FRAME_SIZE_ERROR, id="a large frame"),
        pytest.param(
            [frame(HEADERS, 0, 1, b"\x88"), frame(PING, 0, 0, bytes(8))],
            PROTOCOL_ERROR,
            id="a frame within headers",
        ),
        pytest.param(
            [frame(HEADERS, 0, 1), *[frame(CONTINUATION, 0, 1, b"\x88" * 900)] * 30],
            ENHANCE_YOUR_CALM,
            id="endless headers",
        ),
        pytest.param([frame(PING, 0, 0, bytes(8))] * 300, ENHANCE_YOUR_CALM, id="pings"),
        pytest.param([frame(SETTINGS, 0, 0)] * 300, ENHANCE_YOUR_CALM, id="settings"),
        pytest.param([frame(99, 0, 0)] * 300, ENHANCE_YOUR_CALM, id="unknown frames"),
    ],
)
def test_breach_of_the_protocol_ends_the_connection_with_its_code(
    server: Server, frames: list[bytes], code: int
) -> None:
    reason = "RateLimited" if code == ENHANCE_YOUR_CALM else "MalformedHttp"
    before = count_reason(server, reason)
    with wired(server.grpc) as wire:
        wire.send(*frames)
        assert wire.ended() == code
    assert count_reason(server, reason) == before + 1


def count_reason(server: Server, reason: str) -> float:
    lines = [line for line in server.metrics().splitlines() if f'reason="{reason}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines if "_total{" in line)


def test_too_many_headers_end_the_connection(server: Server) -> None:
    with wired(server.grpc) as wire:
        block = wire.encoder.encode([(f"x-{n}", "y" * 100) for n in range(200)], huffman=False)
        pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
        wire.send(
            frame(HEADERS, 0, 1, pieces[0]),
            *[frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:]],
        )
        assert wire.ended() == ENHANCE_YOUR_CALM


def test_frame_before_the_settings_ends_the_connection(server: Server) -> None:
    with wired(server.grpc, greet=False) as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(PING, 0, 0, bytes(8)))
        assert wire.ended() == PROTOCOL_ERROR


def test_calls_beyond_the_limit_are_refused_for_another_try(server: Server) -> None:
    with wired(server.grpc) as wire:
        for stream in (1, 3, 5, 7):
            wire.send(frame(HEADERS, END_HEADERS, stream, wire.head(LIVE)))
        wire.send(frame(HEADERS, END_HEADERS, 9, wire.head(LIVE)))
        assert wire.answer(9).reset == REFUSED_STREAM
        wire.send(frame(DATA, END_STREAM, 1, message(b"")))
        assert wire.answer(1).status == 0
        wire.call(11, LIVE, b"")
        assert wire.answer(11).status == 0


def test_rapid_resets_end_the_connection(server: Server) -> None:
    with wired(server.grpc) as wire:
        calls: list[bytes] = []
        for stream in range(1, 201, 2):
            calls.append(frame(HEADERS, END_HEADERS, stream, wire.head(LIVE)))
            calls.append(frame(RESET, 0, stream, (8).to_bytes(4, "big")))
        # At once: a connection that ends in between would refuse the rest of them.
        wire.send(*calls)
        assert wire.ended() == ENHANCE_YOUR_CALM
    with connected(server.grpc) as client:
        assert client.call("ServerLive", pb.ServerLiveRequest()).live


def test_data_after_the_end_resets_the_stream(server: Server) -> None:
    with wired(server.grpc) as wire:
        wire.call(1, LIVE, b"")
        assert wire.answer(1).status == 0
        wire.send(frame(DATA, END_STREAM, 1, b"more"))
        assert wire.answer(1).reset == STREAM_CLOSED


def test_answered_call_may_go_on_sending_for_a_while(server: Server) -> None:
    """The refusal comes when the prefix announces too much; the rest is passed over."""
    with wired(server.grpc) as wire:
        wire.send(
            frame(HEADERS, END_HEADERS, 1, wire.head(INFER)),
            frame(DATA, 0, 1, b"\0\x7f\xff\xff\xff"),
        )
        assert wire.answer(1).status == 8
        assert wire.answer(1).reset == 0
        wire.send(frame(DATA, 0, 1, bytes(9000)), frame(DATA, END_STREAM, 1, bytes(9000)))
        wire.call(3, LIVE, b"")
        assert wire.answer(3).status == 0
