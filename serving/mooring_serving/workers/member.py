"""One worker as the supervisor sees it: its process, its channel, its slot, and how it ended."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mooring_serving.workers.channel import Channel, Frame, Kind
from mooring_serving.workers.layout import HEARTBEAT_NS, ROUTE_SEEN, Cell
from mooring_serving.workers.memory import SketchMemory, SlotMemory
from mooring_serving.workers.spec import WorkerSpec

_GAUGES = (
    Cell.IN_FLIGHT,
    Cell.CONNECTIONS,
    Cell.PREDICTING,
    Cell.QUEUED,
    Cell.MEMORY,
    Cell.REFUSING,
    Cell.READY,
)


class Stage(StrEnum):
    """Where a worker is in its life."""

    LOADING = "Loading"
    """Started; its model is not warm."""
    WARM = "Warm"
    """Waits to be told to open."""
    READY = "Ready"
    """Accepts and answers."""
    ENDING = "Ending"
    """Was told to end."""


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place: what stays when its process is replaced.

    Attributes:
        spec: What each of its processes is told.
        slot: Its counters.
        sketches: Its sketches.
    """

    spec: WorkerSpec
    slot: SlotMemory
    sketches: SketchMemory

    def settle_accounts(self, *, died: bool) -> None:
        """Its process is gone: count what went with it, and clear the gauges.

        Rows that were answered and not yet sketched are dropped rows. Rows for the prediction log
        stay on the pod's disk; the successor in this place ships them and counts those lost.

        Args:
            died: Whether it had not been told to end.
        """
        cells = self.slot.ints
        if died:
            cells[Cell.DEATHS] += 1
        cells[Cell.REQUESTS_LOST] += cells[Cell.IN_FLIGHT]
        cells[Cell.CONNECTIONS_LOST] += cells[Cell.CONNECTIONS]
        known = self.sketches.rows + cells[Cell.DROPPED_ROWS]
        cells[Cell.DROPPED_ROWS] += max(0, cells[Cell.ROWS] - known)
        for gauge in _GAUGES:
            cells[gauge] = 0


class Member:
    """A running worker process. Owned by the event loop.

    Attributes:
        place: Its place.
        stage: Where it is.
        failure: Why it says that it cannot serve.
        replaced: Whether it was told to end to make room for another one.
        opened_at: Monotonic seconds since when it accepts, None before.
        flushed: Number of the last flush that it has done.
    """

    def __init__(self, place: Place, process: "subprocess.Popen[bytes]", channel: Channel) -> None:
        self.place = place
        self.stage = Stage.LOADING
        self.failure: str | None = None
        self.replaced = False
        self.opened_at: float | None = None
        self.flushed = 0
        self._process = process
        self._channel = channel

    @classmethod
    async def start(cls, place: Place, now: float) -> "Member":
        """Start a process at monotonic time `now`.

        Raises:
            OSError: It cannot be started.
        """
        place.slot.ints[HEARTBEAT_NS] = int(now * 1e9)
        place.slot.ints[ROUTE_SEEN] = 0
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "mooring_serving.workers.process", str(theirs.fileno())]
        try:
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own module; a fork takes 1 ms
                command,
                pass_fds=[theirs.fileno(), *place.spec.descriptors.all()],
                process_group=0,  # signals of a terminal are for the supervisor
                stdin=subprocess.DEVNULL,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(0)
        member = cls(place, process, await Channel.over(ours))
        member.send(Kind.SPEC, payload=place.spec.encode())
        return member

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, kind: Kind, number: int = 0, payload: bytes = b"") -> None:
        """Send it a frame."""
        self._channel.send(kind, number, payload)

    async def follow(self, take: Callable[["Member", Frame], None]) -> int:
        """Pass its frames on until it ended; returns its exit code, negative for a signal."""
        while (frame := await self._channel.receive()) is not None:
            take(self, frame)
        self._channel.close()
        return await self._await_exit()

    def kill(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)

    async def _await_exit(self) -> int:
        if self._process.poll() is None:
            loop = asyncio.get_running_loop()
            ended = asyncio.Event()
            descriptor = os.pidfd_open(self._process.pid)
            loop.add_reader(descriptor, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        return self._process.wait()


def describe_exit(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"with exit code {code}"
    cause = ", as the kernel does when memory is short" if code == -signal.SIGKILL else ""
    return f"by {signal.Signals(-code).name}{cause}"
