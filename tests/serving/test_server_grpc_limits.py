"""The limits of the gRPC port: slow, greedy, old and silent clients."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.serving.grpc_client import connected, matrix_request
from tests.serving.http2_wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INFER,
    LIVE,
    RESET,
    Wire,
    frame,
    message,
    tight,
    wired,
)
from tests.serving.running_server import Server, await_true, running
from tests.serving.served_packages import cancer_package, cancer_rows

ENHANCE_YOUR_CALM = 11


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tight() as running_server:
        yield running_server


def test_slow_preface_and_slow_headers_end_the_connection(server: Server) -> None:
    with wired(server.grpc, greet=False) as silent, wired(server.grpc) as slow:
        slow.send(frame(HEADERS, 0, 1, b"\x83"))
        assert silent.ended() is None
        assert slow.ended() == ENHANCE_YOUR_CALM


def test_slow_message_is_refused_and_does_not_delay_others(server: Server) -> None:
    with wired(server.grpc) as slow, connected(server.grpc) as client:
        slow.send(
            frame(HEADERS, END_HEADERS, 1, slow.head(INFER)), frame(DATA, 0, 1, message(b"")[:2])
        )
        started = time.monotonic()
        assert client.infer(matrix_request(cancer_rows(1))).outputs
        assert time.monotonic() - started < 1.0
        answer = slow.answer(1)
        assert (answer.status, "2 s" in answer.said) == (4, True)


def test_unfinished_messages_are_refused_before_they_take_much_memory(server: Server) -> None:
    """The limit is 1 MiB here; each of these calls announces 8 MB and stops at 0.6."""
    prefix = b"\0" + (8_000_000).to_bytes(4, "big")
    chunk = [frame(DATA, 0, 1, bytes(60_000))] * 10
    with wired(server.grpc) as first, wired(server.grpc) as second:
        for wire in (first, second):
            wire.send(
                frame(HEADERS, END_HEADERS, 1, wire.head(INFER)), frame(DATA, 0, 1, prefix), *chunk
            )
            if wire is first:  # its bytes are there when a later call of it is answered
                wire.call(3, LIVE, b"")
                assert wire.answer(3).status == 0
        answer = second.answer(1)
        assert answer.status == 14
        assert answer.headers["grpc-retry-pushback-ms"] == "1000"
        assert answer.headers["grpc-status-details-bin"]
        first.send(frame(RESET, 0, 1, (8).to_bytes(4, "big")))
    with connected(server.grpc) as client:
        assert client.infer(matrix_request(cancer_rows(500))).outputs


def test_sixty_four_slow_clients_do_not_delay_the_others(server: Server) -> None:
    opened: list[Any] = []
    try:
        for _ in range(64):
            connection = socket.create_connection(("127.0.0.1", server.grpc))
            wire = Wire(connection)
            wire.greet()
            wire.send(frame(HEADERS, END_HEADERS, 1, wire.head(INFER)))
            opened.append(connection)
        taken: list[float] = []
        with connected(server.grpc) as client:
            for _ in range(50):
                started = time.perf_counter()
                client.infer(matrix_request(cancer_rows(1)))
                taken.append(time.perf_counter() - started)
        assert float(np.median(taken)) < 0.05
    finally:
        for connection in opened:
            connection.close()


def test_connection_beyond_the_limit_is_sent_away_and_counted() -> None:
    with (
        running(cancer_package(), MOORING_LIMIT_GRPC_CONNECTIONS="1") as server,
        wired(server.grpc) as first,
    ):
        first.call(1, LIVE, b"")
        assert first.answer(1).status == 0
        with wired(server.grpc) as second:
            assert second.ended() == 0
        lines = [line for line in server.metrics().splitlines() if "TooManyConnections" in line]
        assert sum(float(line.rpartition(" ")[2]) for line in lines) == 1
        first.call(3, LIVE, b"")
        assert first.answer(3).status == 0


def test_old_and_idle_connections_are_asked_to_leave_and_silent_ones_to_answer() -> None:
    with running(
        cancer_package(),
        MOORING_LIMIT_GRPC_AGE_SECONDS="2",
        MOORING_LIMIT_GRPC_KEEPALIVE_SECONDS="0.5",
        MOORING_LIMIT_GRPC_KEEPALIVE_TIMEOUT_SECONDS="0.5",
    ) as server:
        with wired(server.grpc) as wire:
            wire.call(1, LIVE, b"")
            assert wire.answer(1).status == 0
            assert wire.ended() == 0
            assert b"alive?\0\0" in wire.pings
            assert wire.goaways == [((1 << 31) - 1, 0), (1, 0)]
        with socket.create_connection(("127.0.0.1", server.grpc)) as dead:
            dead.settimeout(8)
            Wire(dead).greet()
            received = b""
            while data := dead.recv(4096):  # never answers the ping
                received += data
            assert b"alive?" in received


def test_late_answer_is_a_deadline_exceeded_and_counted() -> None:
    with running(cancer_package("forest")) as server, wired(server.grpc) as wire:
        body = matrix_request(np.tile(cancer_rows(500), (2, 1))).SerializeToString()
        pieces = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
        prefix = b"\0" + len(body).to_bytes(4, "big")
        wire.send(
            frame(HEADERS, END_HEADERS, 1, wire.head(INFER, grpc_timeout="2m")),
            frame(DATA, 0, 1, prefix),
            *[frame(DATA, 0, 1, piece) for piece in pieces],
            frame(DATA, END_STREAM, 1),
        )
        answer = wire.answer(1)
        assert answer.status == 4
        await_true(lambda: 'reason="Deadline"' in server.metrics(), what="the counter")
