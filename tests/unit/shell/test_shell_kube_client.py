"""The client at the wire: the fence, dead connections, and how an outage is noticed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from mooring_operator.errors import LeadershipLost, Transient
from mooring_operator.io.connection_pool import MOST_CONNECTIONS
from mooring_operator.io.kube import ObjectRef
from mooring_operator.io.kube_client import HttpKubeClient
from mooring_operator.io.kube_login import Connection
from mooring_operator.io.resources import RESOURCES
from mooring_operator.io.token_bucket import TokenBucket
from mooring_operator.metrics import OperatorMetrics
from tests.unit.shell.manual_clock import ManualClock, settle

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "d", "namespace": "a"},
}
REF = ObjectRef(RESOURCES["Service"], "a", "d")
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@dataclass
class Server:
    """Answers everything with `{}`, or takes requests and says nothing."""

    silent: bool = False
    connections: int = 0
    heads: int = 0
    requests: list[str] = field(default_factory=list[str])
    port: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _owed: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads += 1
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                self.requests.append(head.split(b" ", 1)[0].decode())
                self._news.set()
                if self.silent:
                    self._owed.append(writer)
                else:
                    writer.write(ANSWER)
        self._open.discard(writer)
        writer.close()

    async def heard(self, count: int) -> None:
        """Returns when so many requests came."""
        while len(self.requests) < count:
            self._news.clear()
            await self._news.wait()

    def speak(self) -> None:
        """Answers what was not answered, and everything from now on."""
        self.silent = False
        for writer in self._owed:
            writer.write(ANSWER)

    def hang_up(self) -> None:
        for writer in self._open:
            writer.close()


@asynccontextmanager
async def _served() -> AsyncGenerator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.converse, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    yield server
    listener.close()
    server.hang_up()


def _client(
    server: Server, clock: ManualClock, *, burst: int = 100, patience: float = 10.0
) -> HttpKubeClient:
    connection = Connection(server=f"http://127.0.0.1:{server.port}", ca_path=None)
    limit = TokenBucket(rate=1.0, burst=burst, now=clock.monotonic())
    return HttpKubeClient(connection, clock, OperatorMetrics(), limit, patience=patience)


async def test_write_is_not_sent_when_leadership_was_lost_while_the_rate_limit_held_it() -> None:
    clock = ManualClock()

    def lost() -> None:
        raise LeadershipLost("somebody else leads")

    async with _served() as server:
        kube = _client(server, clock, burst=1)
        await kube.get(REF)
        writing = asyncio.create_task(kube.apply(SERVICE, manager="mooring"))
        await settle()
        kube.fence = lost
        await clock.advance(1.0)
        with pytest.raises(LeadershipLost):
            await writing
        assert server.requests == ["GET"]
        await clock.advance(5.0)
        await kube.get(REF)  # who does not lead may read
        lease = ObjectRef(RESOURCES["Lease"], "a", "l")
        await clock.advance(5.0)
        await kube.patch(lease, {}, manager="mooring")  # and must be able to campaign
        await kube.aclose()


async def test_write_is_not_sent_when_leadership_was_lost_while_it_waited_for_a_connection() -> (
    None
):
    clock = ManualClock()

    def lost() -> None:
        raise LeadershipLost("somebody else leads")

    async with _served() as server:
        kube = _client(server, clock)
        server.silent = True
        reading = [asyncio.create_task(kube.get(REF)) for _ in range(MOST_CONNECTIONS)]
        await server.heard(MOST_CONNECTIONS)
        writing = asyncio.create_task(kube.apply(SERVICE, manager="mooring"))
        await settle()
        kube.fence = lost
        server.speak()
        with pytest.raises(LeadershipLost):
            await writing
        await asyncio.gather(*reading)
        await kube.get(REF)  # the connection that the write had got is no loss
        assert set(server.requests) == {"GET"}
        await kube.aclose()


async def test_nothing_of_a_write_is_sent_before_the_fence_is_asked_for_the_last_time() -> None:
    clock = ManualClock()
    asked: list[int] = []

    async with _served() as server:
        kube = _client(server, clock)
        await kube.get(REF)

        def lost() -> None:
            asked.append(server.heads)
            raise LeadershipLost("somebody else leads")

        kube.fence = lost
        for _ in range(3):
            with pytest.raises(LeadershipLost):
                await kube.apply(SERVICE, manager="mooring")
        await kube.get(REF)
        assert asked == [1, 1, 1]
        assert server.heads == 2, "not even the head of a write"
        kube.fence = lambda: asked.append(server.heads)
        await kube.apply(SERVICE, manager="mooring")
        assert asked[3:] == [2]
        assert server.requests == ["GET", "GET", "PATCH"]
        await kube.aclose()


async def test_connections_are_left_behind_after_a_request_that_nobody_answered() -> None:
    clock = ManualClock()
    returned: list[float] = []
    async with _served() as server:
        kube = _client(server, clock)
        kube.on_return = lambda: returned.append(clock.monotonic())
        await kube.get(REF)
        server.silent = True
        waiting = asyncio.create_task(kube.get(REF))
        await server.heard(2)
        await clock.advance(5.0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        server.silent = False
        await kube.get(REF)
        assert server.connections == 2, "not on the connection that may be dead"
        assert returned == [5.0]
        await kube.get(REF)
        assert (server.connections, returned) == (2, [5.0])
        await kube.aclose()


async def test_slow_request_is_no_outage_when_others_are_answered_meanwhile() -> None:
    clock = ManualClock()
    returned: list[float] = []
    async with _served() as server:
        kube = _client(server, clock)
        kube.on_return = lambda: returned.append(clock.monotonic())
        server.silent = True
        waiting = asyncio.create_task(kube.get(REF))
        await server.heard(1)
        server.silent = False
        await clock.advance(4.0)
        await kube.get(REF)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await kube.get(REF)
        assert returned == []
        await kube.aclose()


async def test_request_that_hangs_tells_of_dead_connections_though_others_are_answered() -> None:
    clock = ManualClock()
    returned: list[float] = []
    async with _served() as server:
        kube = _client(server, clock, patience=0.2)
        kube.on_return = lambda: returned.append(clock.monotonic())
        server.silent = True
        waiting = asyncio.create_task(kube.get(REF))
        await server.heard(1)
        server.silent = False
        await clock.advance(9.0)
        await kube.get(REF)
        with pytest.raises(Transient):
            await waiting
        await kube.get(REF)
        assert returned == [9.0]
        await kube.aclose()


async def test_outage_is_noticed_when_connections_are_refused() -> None:
    clock = ManualClock()
    returned: list[float] = []
    async with _served() as server:
        kube = _client(server, clock)
        kube.on_return = lambda: returned.append(clock.monotonic())
        await kube.get(REF)
        port = server.port
    with pytest.raises(Transient):
        await kube.get(REF)
    await clock.advance(60.0)
    again = Server(port=port)
    async with await asyncio.start_server(again.converse, "127.0.0.1", port):
        await kube.get(REF)
        assert returned == [60.0]
        await kube.aclose()
        again.hang_up()
