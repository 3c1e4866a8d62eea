"""The management port: probes, metrics, identity, profile and sync, on threads of its own.

It answers while the event loop is busy with a long prediction, which is why it shares nothing
with it but locks that are held for microseconds.
"""

import logging
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson

from mooring_serving.http.compression import choose_encoding
from mooring_serving.sync import SyncRefused

_LOG = logging.getLogger(__name__)
_JSON = "application/json"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_BODY_LIMIT = 64 * 1024
_TIMEOUT_SECONDS = 10.0
_WORTH_PACKING = 2048
"""Bytes of an answer from which on it is compressed: counts of many bins shrink to a sixth."""
_LEVEL = 1
"""Higher ones save a tenth more and take twice as long."""


class NotReady(Exception):
    """Asked too early: 503, ask again in a second."""


@dataclass(frozen=True, slots=True)
class ManagementSources:
    """What the management port reads and does.

    Attributes:
        is_live: Whether the event loop still turns.
        is_ready: Whether clients may be sent here.
        fault: Why the loaded model cannot answer, None when it can.
        metrics: The Prometheus exposition.
        identity: The identity document.
        profile: The reference profile's document; raises `NotReady` while loading.
        sync: Obeys a message and gives the snapshot; raises `SyncRefused` or `NotReady`.
    """

    is_live: Callable[[], bool]
    is_ready: Callable[[], bool]
    fault: Callable[[], str | None]
    metrics: Callable[[], bytes]
    identity: Callable[[], bytes]
    profile: Callable[[], bytes]
    sync: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    content_type: str = _JSON


class ManagementServer:
    """Serves the management port until `stop`."""

    def __init__(self, sources: ManagementSources, host: str, port: int) -> None:
        self._in_hand = _InHand()
        self._server = _build_server(sources, self._in_hand, host, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="management"
        )
        self._thread.daemon = True

    @property
    def port(self) -> int:
        """The port, an ephemeral one when 0 was asked for."""
        return self._server.server_port

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def stop(self) -> None:
        """Send the answers in hand, stop answering and free the port."""
        self._in_hand.wait(_TIMEOUT_SECONDS)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _InHand:
    """Requests that are being answered; their threads would end with the process."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until there is none, or `seconds` are over."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, seconds)


def _answer(sources: ManagementSources, method: str, path: str, body: bytes) -> _Reply:
    """What a request gets."""
    try:
        return _dispatch(sources, method, path, body)
    except SyncRefused as refusal:
        return _error(refusal.status, str(refusal))
    except NotReady as error:
        return _error(503, str(error))


def _dispatch(sources: ManagementSources, method: str, path: str, body: bytes) -> _Reply:
    match method, path:
        case "GET", "/livez":
            return _probe(passed=sources.is_live(), failure="the event loop does not turn")
        case "GET", "/readyz":
            return _probe(
                passed=sources.is_ready(), failure=sources.fault() or "loading or draining"
            )
        case "GET", "/metrics":
            return _Reply(200, sources.metrics(), _TEXT)
        case "GET", "/mooring/v1/identity":
            return _Reply(200, sources.identity())
        case "GET", "/mooring/v1/profile":
            return _Reply(200, sources.profile())
        case "POST", "/mooring/v1/sync":
            return _Reply(200, sources.sync(body))
        case _:
            return _error(404, f"there is no {method} {path[:200]} on the management port")


def _probe(*, passed: bool, failure: str) -> _Reply:
    if passed:
        return _Reply(200, b"ok", _TEXT)
    return _Reply(503, failure.encode(), _TEXT)


def _error(status: int, message: str) -> _Reply:
    return _Reply(status, orjson.dumps({"error": message}))


def _packed(body: bytes, accepted: str) -> bytes | None:
    """The body in gzip; None when it goes as it is."""
    if len(body) < _WORTH_PACKING or choose_encoding(accepted.encode("latin-1")) != "gzip":
        return None
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(body) + packer.flush()


def _build_server(
    sources: ManagementSources, in_hand: _InHand, host: str, port: int
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        """One management connection."""

        protocol_version = "HTTP/1.1"
        timeout = _TIMEOUT_SECONDS
        # Headers and body leave together: apart, the second waits 40 ms for the first's ACK.
        wbufsize = 64 * 1024
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            with in_hand:
                self._send(_answer(sources, "GET", self._path(), b""))

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isascii() or not length.isdigit() or int(length) > _BODY_LIMIT:
                self.close_connection = True
                self._send(_error(413, f"a body of at most {_BODY_LIMIT} bytes is needed"))
                return
            body = self.rfile.read(int(length))
            with in_hand:
                self._send(_answer(sources, "POST", self._path(), body))

        def _path(self) -> str:
            return self.path.partition("?")[0]

        def _send(self, reply: _Reply) -> None:
            packed = _packed(reply.body, self.headers.get("accept-encoding", ""))
            body = reply.body if packed is None else packed
            self.send_response(reply.status)
            self.send_header("content-type", reply.content_type)
            if packed is not None:
                self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base names it
            _LOG.debug(format, *args)

    class Server(ThreadingHTTPServer):
        """Threads that end with the process."""

        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - base
            _LOG.debug("management connection from %s ended", client_address, exc_info=True)

    return Server((host, port), Handler)
