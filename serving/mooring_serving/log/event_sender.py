"""Sends payload events: a bounded queue, two threads with a connection each, a circuit breaker.

Where events go is the user's choice, but never a link-local or cloud-metadata address: the name is
resolved, its addresses are checked, and the connection goes to the one that was checked.
"""

import http.client
import ipaddress
import logging
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import certifi

from mooring_serving.breaker import CircuitBreaker
from mooring_serving.log.errors import EventsUrlInvalid
from mooring_serving.log.events import EventOrigin, Exchange, Message, build_messages
from mooring_serving.log.sampling import is_sampled
from mooring_serving.log.settings import EventSettings

_LOG = logging.getLogger(__name__)

QUEUE_EXCHANGES = 256
"""Exchanges that wait; KServe's logger has 100 places and then waits itself."""
QUEUE_BYTES = 16 << 20
"""Bytes of their bodies: what an unbounded one takes is the model's memory (kserve#6167)."""
SENDERS = 2
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
_ANSWER_BYTES = 64 << 10
_PAUSE_SECONDS = 5.0
_METADATA = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "fd00:ec2::254"))
)
"""Beside the link-local ones."""
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Events by what became of them.

    Attributes:
        sent: The sink answered 2xx.
        failed: It did not, or could not be reached.
        dropped: Too many waited, the circuit was open, or the server ended.
        sampled_out: Not to be sent.
    """

    sent: int = 0
    failed: int = 0
    dropped: int = 0
    sampled_out: int = 0


class EventSender:
    """An `EventSink` that posts. Thread-safe.

    Args:
        settings: Where to, how many, in which mode.
        origin: What all events have in common.
        monotonic: Seconds, for the circuit breaker.

    Raises:
        EventsUrlInvalid: The URL is none that events can be posted to.
    """

    def __init__(
        self, settings: EventSettings, origin: EventOrigin, *, monotonic: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._origin = origin
        self._monotonic = monotonic
        self._target = parse_target(settings.url)
        self._condition = threading.Condition()
        self._queue: deque[Exchange] = deque()
        self._bytes = 0
        self._counts = EventCounts()
        self._breaker = CircuitBreaker(pause_seconds=_PAUSE_SECONDS)
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"events {number}", daemon=True)
            for number in range(SENDERS)
        ]

    @property
    def counts(self) -> EventCounts:
        """Events by what became of them."""
        with self._condition:
            return self._counts

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def offer(self, exchange: Exchange) -> None:
        """See `EventSink`."""
        with self._condition:
            if self._settings.sample < 1.0 and not is_sampled(exchange.id, self._settings.sample):
                self._count(sampled_out=2)
                return
            size = self._bytes + exchange.size
            if len(self._queue) >= QUEUE_EXCHANGES or size > QUEUE_BYTES or self._stopping:
                self._count(dropped=2)
                return
            self._bytes = size
            self._queue.append(exchange)
            self._condition.notify()

    def stop(self, seconds: float) -> None:
        """Send what waits, for at most `seconds`; drop and count the rest."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: not self._queue, seconds)
            self._count(dropped=2 * len(self._queue))
            self._queue.clear()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(seconds)

    # --- the threads

    def _run(self) -> None:
        connection = _Connection(self._target)
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    connection.close()
                    return
                exchange = self._queue.popleft()
                self._bytes -= exchange.size
                allowed = self._breaker.allows(self._monotonic())
                if not allowed:
                    self._count(dropped=2)
                if not self._queue:
                    self._condition.notify_all()
            if allowed:
                self._send(connection, exchange)

    def _send(self, connection: "_Connection", exchange: Exchange) -> None:
        messages = build_messages(exchange, self._origin, self._settings.mode)
        for at, message in enumerate(messages):
            problem = connection.post(message)
            with self._condition:
                self._breaker.report(self._monotonic(), failed=problem is not None)
                if problem is None:
                    self._count(sent=1)
                    continue
                self._count(failed=1, dropped=len(messages) - at - 1)
            _LOG.debug("an event was not taken: %s", problem)
            return

    def _count(
        self, *, sent: int = 0, failed: int = 0, dropped: int = 0, sampled_out: int = 0
    ) -> None:
        """The caller holds the lock."""
        now = self._counts
        self._counts = EventCounts(
            now.sent + sent,
            now.failed + failed,
            now.dropped + dropped,
            now.sampled_out + sampled_out,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Where events are posted."""

    host: str
    port: int
    path: str
    secure: bool

    @property
    def authority(self) -> str:
        """The `host` header."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.secure else 80) else f"{name}:{self.port}"


def parse_target(url: str) -> Target:
    """The target that a URL names.

    Raises:
        EventsUrlInvalid: It is no http(s) URL, or holds credentials, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EventsUrlInvalid(f"predictionLog.events.url is no URL: {error}") from error
    odd = parts.username is not None or parts.password is not None or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or odd:
        raise EventsUrlInvalid(
            "predictionLog.events.url must be http://HOST/PATH or https://HOST/PATH, without"
            " credentials, query or fragment"
        )
    secure = parts.scheme == "https"
    return Target(parts.hostname, port or (443 if secure else 80), parts.path or "/", secure)


def check_address(text: str) -> str | None:
    """Why events may not go to an address; None when they may."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _TRANSLATED:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = embedded or address
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return f"{address} is link-local, multicast or unspecified"
    return f"{address} serves a cloud's metadata" if address in _METADATA else None


class _Connection:
    """One kept-alive connection, of one thread."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._http: http.client.HTTPConnection | None = None

    def post(self, message: Message) -> str | None:
        """Post a message; why it was not taken, or None."""
        try:
            if self._http is None:
                self._http = self._open()
            self._http.request("POST", self._target.path, message.body, self._named(message))
            answer = self._http.getresponse()
            answer.read(_ANSWER_BYTES)
            status = answer.status
            if not answer.isclosed() or answer.will_close:
                self.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return f"{type(error).__name__}: {error}"
        return None if 200 <= status < 300 else f"answered {status}"  # a redirect is no 2xx

    def close(self) -> None:
        """End the connection; the next message opens another."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _named(self, message: Message) -> dict[str, str]:
        return {"host": self._target.authority, **message.headers}

    def _open(self) -> http.client.HTTPConnection:
        """A connection to an address that was checked."""
        target = self._target
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            refused = check_address(address)
            if refused is not None:
                raise ConnectionRefusedError(f"{target.host} is refused: {refused}")
        connection = http.client.HTTPConnection(target.host, target.port, timeout=ANSWER_SECONDS)
        sock = socket.create_connection((addresses[0], target.port), CONNECT_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.secure:
            sock = _context().wrap_socket(sock, server_hostname=target.host)
        sock.settimeout(ANSWER_SECONDS)
        connection.sock = sock
        return connection


def _context() -> ssl.SSLContext:
    """Certificates: those of SSL_CERT_FILE and SSL_CERT_DIR, else certifi's."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        return ssl.create_default_context(cafile=file, capath=folder)
    return ssl.create_default_context(cafile=certifi.where())
