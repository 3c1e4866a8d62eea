"""Accepting from a shared socket: what other processes read of a connection that is being taken."""

import asyncio
import socket
from array import array

from mooring_serving.workers.acceptor import Acceptor


class Alone:
    """Nobody else would take a connection."""

    def is_crowded(self) -> bool:
        return False


class Noting(asyncio.Protocol):
    """Notes what the gauge shows before and when it takes its connection over."""

    def __init__(self, gauge: "memoryview[int]", noted: asyncio.Queue[tuple[str, int]]) -> None:
        self._gauge = gauge
        self._noted = noted
        noted.put_nowait(("taken", gauge[0]))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._noted.put_nowait(("made", self._gauge[0]))
        transport.close()


async def test_connection_is_counted_before_its_protocol_counts_it() -> None:
    """A worker that is killed in between has lost it, and its supervisor reads only the gauge."""
    gauge = memoryview(array("q", [0]))
    noted: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        acceptor = Acceptor(listening, lambda: Noting(gauge, noted), gauge, Alone())
        with socket.create_connection(listening.getsockname()):
            assert [await noted.get(), await noted.get()] == [("taken", 1), ("made", 1)]
        acceptor.close()
        await acceptor.settled()
    assert gauge[0] == 0, "and it is not counted twice, nor is a look that found none"
