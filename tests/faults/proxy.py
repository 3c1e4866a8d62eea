"""The fault proxy: one between each operator and the real API server.

It reads every request and every watch event, so a fault strikes at a write or an event that has a
name, never at a point in time. All that is not struck passes unchanged.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from tests.faults.api import Object, Server
from tests.faults.journal import Journal, Write, call_of
from tests.faults.plan import BY_EVENT, EventKey, Fault, What, WriteKey
from tests.faults.streams import EventFeed, Step, StreamFault
from tests.faults.wire import (
    LIMIT,
    STREAM_END,
    STREAM_HEAD,
    Head,
    Request,
    chunk,
    chunks,
    event_line,
    read_body,
    read_head,
    read_request,
    refusal,
    response,
)

_STALE_SECONDS = 1.5
"""How long a lagging replica of the API server lags: lists and watches of the successor."""


class _Cut(Exception):
    """This connection ends here, without an answer."""


@dataclass(eq=False)
class _Line:
    """One connection of the operator, with its own connection to the API server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    up_reader: asyncio.StreamReader
    up_writer: asyncio.StreamWriter
    dead: bool = False
    watching: bool = False
    writing: bool = False
    """A write was sent on: what becomes of it is counted even if nobody waits for the answer."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        self.closed.set()
        self.writer.transport.abort()
        if not self.writing:
            self.up_writer.transport.abort()

    async def until_hung_up(self) -> None:
        """Closes both ends as soon as the operator closes its own; it sends nothing meanwhile."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read(1)
        self.close()


@dataclass
class Strike:
    """What became of the fault."""

    fired_at: float | None = None
    ended_at: float | None = None


@dataclass
class Proxy:
    """Listens for one operator. `fault` strikes once; `kill` must end the operator."""

    server: Server
    fault: Fault | None
    kill: Callable[[], Awaitable[None]]
    journal: Journal
    strike: Strike = field(default_factory=Strike)
    port: int = 0
    events: Counter[str] = field(default_factory=Counter[str])
    """Watch events so far, by plural."""

    def __post_init__(self) -> None:
        self._tls = self.server.tls()
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._light = asyncio.Event()
        self._light.set()
        self._dark_and_deadly = False
        self._left = 0 if self.fault is None else self.fault.times
        self._gone: set[str] = set()
        self._recorded: dict[str, bytes] = {}
        self._stale_until = asyncio.Event()
        self._stale_until.set()
        by_event = self.fault is not None and self.fault.what in BY_EVENT
        self._stream = StreamFault(self.fault) if by_event and self.fault else None
        self._listener: asyncio.Server | None = None

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=LIMIT)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for line in list(self._lines):
            line.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Connections

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            up_reader, up_writer = await asyncio.open_connection(
                self.server.host, self.server.port, ssl=self._tls, limit=LIMIT
            )
        except OSError:
            writer.close()
            self._tasks.discard(task)
            return
        line = _Line(reader, writer, up_reader, up_writer, dead=self._dark_and_deadly)
        self._lines.add(line)
        try:
            while (request := await read_request(reader)) is not None:
                await self._passage(line)
                await self._serve(line, request)
        except (_Cut, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the two ends is gone, or the fault is that it seems so
        finally:
            self._lines.discard(line)
            self._tasks.discard(task)
            line.close()

    async def _passage(self, line: _Line) -> None:
        """Returns when bytes may pass on this connection."""
        await self._light.wait()
        if line.dead:
            # Silent until the operator gives it up.
            await (line.closed.wait() if line.watching else line.until_hung_up())
            raise _Cut

    async def _answer(self, line: _Line, data: bytes) -> None:
        await self._passage(line)
        line.writer.write(data)
        await line.writer.drain()

    # Requests

    async def _serve(self, line: _Line, request: Request) -> None:
        call = call_of(request)
        if call.verb == "list":
            await self._list(line, request)
        elif call.verb == "watch":
            await self._stale_until.wait()
            await self._watch(line, request, call.plural)
        elif call.is_write:
            await self._write(line, request)
        else:
            await self._pass_on(line, request)

    async def _pass_on(self, line: _Line, request: Request) -> None:
        head, body = await self._forward(line, request)
        await self._answer(line, _as_it_came(head, body))

    async def _forward(self, line: _Line, request: Request) -> tuple[Head, bytes]:
        line.up_writer.write(request.encoded(self.server.host))
        await line.up_writer.drain()
        head = await read_head(line.up_reader)
        if head is None:
            raise _Cut
        return head, await read_body(line.up_reader, head)

    async def _write(self, line: _Line, request: Request) -> None:
        write = self.journal.begin(request)
        await self._record_lists(line, write.key)
        fault = self._fault_at(write.key)
        if fault is None:
            await self._done(line, request, write)
            return
        match fault.what:
            case What.KILL_BEFORE:
                await self._kill()
            case What.KILL_AFTER:
                await self._committed(line, request, write)
                await self._kill()
            case What.STALE:
                await self._committed(line, request, write)
                self._stale_until.clear()
                await self._kill()
            case What.LOST_ANSWER:
                await self._committed(line, request, write)
                self._ended()
                await self._answer(line, refusal(504, "Timeout"))
            case What.RESET:
                await self._committed(line, request, write)
                self._ended()
                raise _Cut
            case What.CONFLICT | What.THROTTLED | What.FAILED:
                status = int(fault.what.value)
                reason = {409: "Conflict", 429: "TooManyRequests"}.get(status, "InternalError")
                self._left -= 1
                if self._left == 0:
                    self._ended()
                pause = 1 if status == 429 else 0
                await self._answer(line, refusal(status, reason, retry_after=pause))
            case _:
                self._go_dark(fault)
                await self._done(line, request, write)

    async def _done(self, line: _Line, request: Request, write: Write) -> None:
        await self._answer(line, await self._committed(line, request, write))

    async def _committed(self, line: _Line, request: Request, write: Write) -> bytes:
        line.writing = True
        head, body = await self._forward(line, request)
        line.writing = False
        self.journal.end(write, head.status, body)
        return _as_it_came(head, body)

    def _fault_at(self, key: WriteKey) -> Fault | None:
        fault = self.fault
        if fault is None or not isinstance(fault.at, WriteKey) or self._left <= 0:
            return None
        begun = self.strike.fired_at is not None
        same = (fault.at.verb, fault.at.object) == (key.verb, key.object)
        if not same or (not begun and fault.at.nth != key.nth):
            return None
        if not begun:
            self._fired()
        if fault.what not in (What.CONFLICT, What.THROTTLED, What.FAILED):
            self._left = 0
        return fault

    def _fired(self) -> None:
        self.strike.fired_at = asyncio.get_running_loop().time()

    def _ended(self) -> None:
        self.strike.ended_at = asyncio.get_running_loop().time()

    async def _kill(self) -> None:
        await self.kill()
        raise _Cut

    def restarted(self) -> None:
        """The operator was started again after a kill: the fault is over, or begins to be."""
        if self.strike.fired_at is None or self.strike.ended_at is not None:
            return
        if not self._stale_until.is_set():
            asyncio.get_running_loop().call_later(_STALE_SECONDS, self._caught_up)
        elif self._light.is_set():
            self._ended()

    # Partition

    def _go_dark(self, fault: Fault) -> None:
        self._light.clear()
        self._dark_and_deadly = fault.what is What.DEAD
        if self._dark_and_deadly:
            for line in self._lines:
                line.dead = True
        asyncio.get_running_loop().call_later(fault.seconds, self._light_again)

    def _light_again(self) -> None:
        self._dark_and_deadly = False
        self._ended()
        self._light.set()

    # Stale lists

    async def _record_lists(self, line: _Line, key: WriteKey) -> None:
        """Keeps the lists as they are before this write, if the fault asks for them."""
        fault = self.fault
        if fault is None or fault.since != key or self._recorded:
            return
        for target in sorted(self.journal.lists):
            listing = Request("GET", target, (("accept", "application/json"),), b"")
            _, self._recorded[target] = await self._forward(line, listing)

    async def _list(self, line: _Line, request: Request) -> None:
        """Answers from the records while the replica that is asked lags, else passes on."""
        recorded = self._recorded.get(request.target)
        if recorded is not None and not self._stale_until.is_set():
            await self._answer(line, response(200, recorded))
            return
        self.journal.lists.add(request.target)
        await self._pass_on(line, request)

    def _caught_up(self) -> None:
        self._stale_until.set()
        self._ended()

    # Watches

    async def _watch(self, line: _Line, request: Request, plural: str) -> None:
        if plural in self._gone:
            self._gone.discard(plural)
            self._ended()
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "injected"}
            error = chunk(event_line("ERROR", gone))
            await self._answer(line, STREAM_HEAD + error + STREAM_END)
            return
        line.up_writer.write(request.encoded(self.server.host))
        await line.up_writer.drain()
        head = await read_head(line.up_reader)
        if head is None:
            raise _Cut
        if head.status != 200:
            await self._answer(line, _as_it_came(head, await read_body(line.up_reader, head)))
            return
        line.watching = True
        hanging_up = asyncio.create_task(line.until_hung_up())
        try:
            await self._answer(line, STREAM_HEAD)
            async for event in self._struck(line, plural):
                await self._answer(line, chunk(event))
            await self._answer(line, STREAM_END)
        finally:
            hanging_up.cancel()
        raise _Cut  # the rest of the API server's stream is not read

    async def _struck(self, line: _Line, plural: str) -> AsyncIterator[bytes]:
        """The events of a stream, as the fault lets them pass."""
        stream, at = self._stream, None if self.fault is None else self.fault.at
        if stream is None or not isinstance(at, EventKey) or at.plural != plural:
            async for raw in _events(line.up_reader):
                if b'"type":"BOOKMARK"' not in raw:
                    self.events[plural] += 1
                yield raw
            return
        source = EventFeed(_events(line.up_reader))
        try:
            async with contextlib.aclosing(stream.feed(source, self._count(plural))) as feed:
                async for step in feed:
                    if step.data:
                        yield step.data
                    if self._noted(step, line, plural):
                        return
        finally:
            source.close()

    def _noted(self, step: Step, line: _Line, plural: str) -> bool:
        """Takes in what became of the fault; returns whether the stream ends here."""
        if step.fired:
            self._fired()
        if step.ended:
            self._ended()
        if step.gone:
            self._gone.add(plural)
        if step.cut_all:
            for other in list(self._lines):
                other.close()
        return step.gone or step.cut_all

    def _count(self, plural: str) -> Callable[[Object], int]:
        def number(event: Object) -> int:
            if event["type"] == "BOOKMARK":
                return 0
            self.events[plural] += 1
            return self.events[plural]

        return number


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Lines of a watch, each with its newline."""
    pending = b""
    async for piece in chunks(reader):
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            if line:
                yield line + b"\n"


def _as_it_came(head: Head, body: bytes) -> bytes:
    status = head.status
    phrase = head.start.split(" ", 2)[2] if head.start.count(" ") > 1 else ""
    after = head.get("retry-after")
    return response(status, body, phrase=phrase, retry_after=int(after) if after else 0)
