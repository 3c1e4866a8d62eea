"""HTTP/2 frame by frame over a plain socket: what no well-behaved client would send."""

import contextlib
import socket
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import hpack

from tests.serving.grpc_client import matrix_request
from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package, cancer_rows

INFER = "/inference.GRPCInferenceService/ModelInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def setting(name: int, value: int) -> bytes:
    """One setting."""
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


def message(body: bytes, *, flag: int = 0) -> bytes:
    """A gRPC message with its prefix."""
    return bytes([flag]) + len(body).to_bytes(4, "big") + body


@dataclass
class Frame:
    """A frame that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclass
class Answer:
    """What came on one stream."""

    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict[str, str])
    reset: int | None = None

    @property
    def status(self) -> int | None:
        """The gRPC status."""
        found = self.trailers.get("grpc-status", self.headers.get("grpc-status"))
        return None if found is None else int(found)

    @property
    def said(self) -> str:
        """The gRPC message."""
        return self.trailers.get("grpc-message", self.headers.get("grpc-message", ""))


class Wire:
    """A client connection."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.buffer = b""
        self.goaways: list[tuple[int, int]] = []
        self.pings: list[bytes] = []

    def send(self, *frames: bytes) -> None:
        """Send frames as they are."""
        self.socket.sendall(b"".join(frames))

    def greet(self, settings: bytes = b"") -> None:
        """The preface."""
        self.send(PREFACE, frame(SETTINGS, 0, 0, settings))

    def head(self, path: str, **more: str) -> bytes:
        """A block of headers of a gRPC call; underscores become dashes."""
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "test"),
            ("content-type", more.pop("content_type", "application/grpc")),
            ("te", "trailers"),
        ]
        headers += [(name.replace("_", "-"), value) for name, value in more.items()]
        return self.encoder.encode(headers)

    def call(self, stream: int, path: str, body: bytes, **more: str) -> None:
        """A whole call."""
        self.send(
            frame(HEADERS, END_HEADERS, stream, self.head(path, **more)),
            frame(DATA, END_STREAM, stream, message(body)),
        )

    def read(self) -> Frame | None:
        """The next frame, None at the end; settings and pings are answered."""
        while True:
            found = self.read_frame()
            if found is None:
                return None
            if found.kind == SETTINGS and not found.flags & ACK:
                with contextlib.suppress(OSError):  # the server may have gone already
                    self.send(frame(SETTINGS, ACK, 0))
                continue
            if found.kind == PING and not found.flags & ACK:
                self.pings.append(found.payload)
                with contextlib.suppress(OSError):
                    self.send(frame(PING, ACK, 0, found.payload))
                continue
            if found.kind == GOAWAY:
                last = int.from_bytes(found.payload[:4], "big")
                self.goaways.append((last, int.from_bytes(found.payload[4:8], "big")))
            return found

    def read_frame(self) -> Frame | None:
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.buffer += data
        size = int.from_bytes(self.buffer[:3], "big")
        head, payload = self.buffer[:9], self.buffer[9 : 9 + size]
        self.buffer = self.buffer[9 + size :]
        return Frame(head[3], head[4], int.from_bytes(head[5:], "big"), payload)

    def answer(self, stream: int) -> Answer:
        """What comes on a stream until it ends."""
        answer = Answer()
        while (found := self.read()) is not None:
            if found.stream != stream:
                continue
            if found.kind == RESET:
                answer.reset = int.from_bytes(found.payload, "big")
                return answer
            if found.kind == HEADERS:
                fields = {str(n): str(v) for n, v in self.decoder.decode(found.payload)}
                if answer.headers:
                    answer.trailers = fields
                else:
                    answer.headers = fields
            elif found.kind == DATA:
                answer.body += found.payload
            if found.kind in (HEADERS, DATA) and found.flags & END_STREAM:
                return answer
        raise AssertionError(f"the connection ended, GOAWAY {self.goaways}")

    def ended(self) -> int | None:
        """Read until the connection ends; the last GOAWAY's code."""
        while self.read() is not None:
            pass
        return self.goaways[-1][1] if self.goaways else None


@contextlib.contextmanager
def wired(port: int, *, greet: bool = True, settings: bytes = b"") -> Generator[Wire]:
    """A connection to a port on loopback."""
    with socket.create_connection(("127.0.0.1", port)) as opened:
        opened.settimeout(10)
        wire = Wire(opened)
        if greet:
            wire.greet(settings)
        yield wire


def tight() -> AbstractContextManager[Server]:
    """A server with limits that a test reaches."""
    return running(
        cancer_package(),
        MOORING_LIMIT_GRPC_HEADER_SECONDS="1",
        MOORING_LIMIT_GRPC_RECEIVE_SECONDS="2",
        MOORING_LIMIT_GRPC_STREAMS="4",
        MOORING_LIMIT_GRPC_IDLE_FRAMES="200",
        MOORING_LIMIT_GRPC_WAITING_BYTES="1048576",
    )


def infer_body(rows: int = 1) -> bytes:
    """A prediction of some rows, as a message."""
    return matrix_request(cancer_rows(rows)).SerializeToString()
