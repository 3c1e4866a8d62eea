"""What can happen to the events of one watch stream."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from tests.faults.api import Object
from tests.faults.plan import EventKey, Fault, What
from tests.faults.wire import event_line

_SUCCESSOR_SECONDS = 1.0
"""How long an event that is to come after its successor waits for one."""


@dataclass(frozen=True)
class Step:
    """What goes out next, and what became of the fault."""

    data: bytes = b""
    fired: bool = False
    ended: bool = False
    gone: bool = False
    """The stream ends, and the next one begins with 410."""
    cut_all: bool = False
    """Every connection of the operator is cut."""


class EventFeed:
    """The lines of one watch, read ahead, so that waiting for one with a limit loses none."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._pump = asyncio.create_task(self._read(source))

    def close(self) -> None:
        self._pump.cancel()

    async def _read(self, source: AsyncIterator[bytes]) -> None:
        try:
            async for line in source:
                self._lines.put_nowait(line)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the API server or the operator is gone: the stream is over
        finally:
            self._lines.put_nowait(None)

    async def next(self) -> bytes | None:
        """The next line; None: the stream is over."""
        line = await self._lines.get()
        if line is None:
            self._lines.put_nowait(None)
        return line

    async def within(self, seconds: float, most: int | None) -> list[bytes]:
        """What comes within so many seconds, at most so many lines."""
        taken: list[bytes] = []
        try:
            async with asyncio.timeout(seconds):
                while most is None or len(taken) < most:
                    line = await self.next()
                    if line is None:
                        break
                    taken.append(line)
        except TimeoutError:
            pass
        return taken


class StreamFault:
    """A fault that strikes at a watch event, once."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._over = False

    async def feed(
        self, source: EventFeed, number: Callable[[Object], int]
    ) -> AsyncGenerator[Step]:
        """The stream's events; the fault strikes at the one whose number its key has."""
        at = self._fault.at
        assert isinstance(at, EventKey)
        while (raw := await source.next()) is not None:
            if self._over or number(json.loads(raw)) != at.nth:
                yield Step(raw)
                continue
            self._over = True
            yield Step(fired=True)
            async with contextlib.aclosing(self._strike(raw, source)) as strike:
                async for step in strike:
                    yield step
                    if step.gone or step.cut_all:
                        return

    async def _strike(self, raw: bytes, source: EventFeed) -> AsyncGenerator[Step]:
        match self._fault.what:
            case What.DELAYED:
                await asyncio.sleep(self._fault.seconds)
                yield Step(raw, ended=True)
            case What.DROPPED:
                yield Step(ended=True)
            case What.GONE:
                yield Step(gone=True)
            case What.CLOSED:
                yield Step(ended=True, cut_all=True)
            case What.BROKEN:
                error = {"kind": "Status", "code": 500, "message": "etcdserver: leader changed"}
                yield Step(event_line("ERROR", error), ended=True)
            case What.REORDERED:
                async for step in self._reordered(raw, source):
                    yield step
            case _:
                async for step in self._merged(raw, source):
                    yield step

    async def _reordered(self, raw: bytes, source: EventFeed) -> AsyncIterator[Step]:
        for other in await source.within(_SUCCESSOR_SECONDS, 1):
            yield Step(other)
        yield Step(raw, ended=True)

    async def _merged(self, raw: bytes, source: EventFeed) -> AsyncIterator[Step]:
        taken = [raw, *await source.within(self._fault.seconds, None)]
        for event in merged([json.loads(one) for one in taken]):
            yield Step(event_line(event["type"], event["object"]))
        yield Step(ended=True)


def merged(events: list[Object]) -> list[Object]:
    """The last event of each object, in the order of those.

    An object that was deleted and made anew meanwhile seems to have changed its uid.
    """
    last: dict[str, Object] = {}
    deleted: set[str] = set()
    for event in events:
        name = event["object"]["metadata"].get("name", "")
        if event["type"] == "DELETED":
            deleted.add(name)
        last.pop(name, None)
        last[name] = event
    return [
        event | {"type": "MODIFIED"} if event["type"] == "ADDED" and name in deleted else event
        for name, event in last.items()
    ]
