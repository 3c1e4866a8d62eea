"""A worker process: `python -m mooring_serving.workers.process DESCRIPTOR`, the supervisor's child.

It loads the model, accepts from the shared sockets, and ends when the supervisor says so or is
gone. Its counters are in the memory that the supervisor gave it.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from contextlib import suppress

import numpy as np
import uvloop

from mooring_model.errors import PackageError
from mooring_serving.clock import Clock
from mooring_serving.engine import Engine, SharedSockets, Surroundings
from mooring_serving.lifecycle import Event
from mooring_serving.loading import WarmUpFailed
from mooring_serving.log.errors import LogInvalid
from mooring_serving.pod import Pod
from mooring_serving.routing import Draws
from mooring_serving.warming import load_warm
from mooring_serving.workers.allowance import own_memory
from mooring_serving.workers.board import Board, SharedRoutes
from mooring_serving.workers.channel import Channel, Frame, Kind
from mooring_serving.workers.layout import SketchLayout, SlotLayout
from mooring_serving.workers.memory import SketchMemory, SlotMemory
from mooring_serving.workers.memory_guard import MemoryGuard, Pressure
from mooring_serving.workers.remote_desk import RemoteDesk
from mooring_serving.workers.spec import Descriptors, WorkerSpec, resolve_addresses

_LOG = logging.getLogger("mooring.worker")

EXIT_ENDED = 0
EXIT_FAILED = 1


class Worker:
    """One worker's life, from its specification to its last frame. Owned by the event loop."""

    def __init__(self, spec: WorkerSpec, channel: Channel) -> None:
        descriptors, limits = spec.descriptors, spec.limits
        self._spec = spec
        self._channel = channel
        self._clock = clock = Clock()
        slot = SlotMemory.shared(SlotLayout.of(limits.work.phases), descriptors.slot)
        sketches = SketchLayout(spec.sketch_cells)
        self._sketches = SketchMemory.shared(sketches, descriptors.sketches)
        self._board = Board.shared(descriptors.board)
        for number in (descriptors.slot, descriptors.sketches, descriptors.board):
            os.close(number)  # the mappings stay
        self._routes = SharedRoutes(self._board, slot)
        self._pod = Pod(spec.settings, clock, limits.work, routes=self._routes, memory=slot)
        self._desk = RemoteDesk(channel)
        self._engine: Engine | None = None
        self._guard = MemoryGuard(
            spec.memory, self._pod.counters, measure=own_memory, on_change=self._refuse_work
        )
        self._told_hopeless = False
        self._may_open = asyncio.Event()
        self._draining = asyncio.Event()
        self._closing = asyncio.Event()

    async def run(self) -> int:
        """Serve until told to end; returns the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end)
        tasks = [loop.create_task(self._beat()), loop.create_task(self._listen())]
        try:
            await self._serve()
        except (PackageError, WarmUpFailed, LogInvalid, OSError) as error:
            self._channel.send(Kind.FAILED, payload=str(error).encode())
            return EXIT_FAILED
        finally:
            await self._channel.drain()
            for task in tasks:
                task.cancel()
        return EXIT_ENDED

    async def _serve(self) -> None:
        spec, lifecycle = self._spec, self._pod.lifecycle
        warm = await load_warm(spec.directory, spec.settings, self._closing)
        if warm is None:
            lifecycle.move(Event.TERMINATED)
            return
        engine = Engine(
            self._pod,
            warm,
            spec.limits,
            Surroundings(
                addresses=resolve_addresses(spec.peer, spec.settings),
                draw=Draws(np.random.default_rng()),
                threads=1,
                sketches=self._sketches,
                feedback=self._desk,
                worker=spec.index + 1,  # the supervisor logs as 0
                processes=spec.workers + 1,
            ),
        )
        self._engine = engine
        self._routes.listen(engine.adopt_route)
        lifecycle.move(Event.WARMED)
        self._channel.send(Kind.WARM)
        if not await self._await_opening():
            lifecycle.move(Event.TERMINATED)
            return
        engine.share(_shared_sockets(spec.descriptors), self)
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process: no need to look at it again
        lifecycle.move(Event.OPENED)
        self._refuse_work(self._guard.refusing)
        self._pod.publish()
        self._board.publish_connections(spec.index, 0)
        self._channel.send(Kind.OPENED)
        await self._drain(engine)

    async def _await_opening(self) -> bool:
        """Whether to open; False when told to end before."""
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._may_open, self._closing)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return not self._closing.is_set()

    async def _drain(self, engine: Engine) -> None:
        await self._draining.wait()
        self._pod.lifecycle.move(Event.TERMINATED)
        engine.start_draining()
        self._pod.publish()
        await self._closing.wait()
        self._board.publish_connections(self._spec.index, None)
        dropped = await engine.close()
        self._pod.lifecycle.move(Event.CLOSED)
        self._pod.publish()
        self._channel.send(Kind.CLOSED, dropped)

    # --- what the supervisor says

    async def _listen(self) -> None:
        while (frame := await self._channel.receive()) is not None:
            self._obey(frame)
        self._end()  # the supervisor is gone, and with it whoever would start us again

    def _obey(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.OPEN:
                self._may_open.set()
            case Kind.ROUTE:
                self._routes.refresh()
                self._channel.send(Kind.TAKEN)
            case Kind.FLUSH:
                task = asyncio.get_running_loop().create_task(self._flush(frame.number))
                task.add_done_callback(_raise_failure)
            case Kind.DRAIN:
                self._draining.set()
                if frame.number and self._engine is not None:
                    self._board.publish_connections(self._spec.index, None)
                    self._engine.stop_accepting()
            case Kind.CLOSE:
                self._end()
            case Kind.VERDICT:
                self._desk.settle(frame.number, frame.payload)
            case _:
                _LOG.warning("the supervisor sent a frame of kind %s", frame.kind.name)

    def _end(self) -> None:
        self._draining.set()
        self._closing.set()

    async def _flush(self, number: int) -> None:
        await asyncio.to_thread(self._pod.flush)
        self._pod.publish()
        self._channel.send(Kind.FLUSHED, number)

    # --- housekeeping

    def is_crowded(self) -> bool:
        """Whether another worker has fewer connections; see `acceptor.Crowding`."""
        engine = self._engine
        if engine is None:
            return False
        count = engine.connections
        self._board.publish_connections(self._spec.index, count)
        return self._board.is_crowded(count)

    def _refuse_work(self, refusing: bool) -> None:  # noqa: FBT001 - a switch, as its name says
        if self._engine is not None:
            self._engine.refuse_work(refusing)

    async def _beat(self) -> None:
        pod, index = self._pod, self._spec.index
        while True:
            pod.heartbeat.beat()
            pod.publish()
            if self._engine is not None and pod.lifecycle.ready and not self._draining.is_set():
                self._board.publish_connections(index, self._engine.connections)
            if self._guard.check(self._clock.monotonic()) is not Pressure.HOPELESS:
                self._told_hopeless = False
            elif not self._told_hopeless:
                self._told_hopeless = True
                self._channel.send(Kind.OVER_MEMORY)
            await asyncio.sleep(pod.heartbeat.interval_seconds)


def _shared_sockets(descriptors: Descriptors) -> SharedSockets:
    forward, grpc = descriptors.forward, descriptors.grpc
    return SharedSockets(
        _listening(descriptors.http),
        None if forward is None else _listening(forward),
        None if grpc is None else _listening(grpc),
    )


def _listening(descriptor: int) -> socket.socket:
    listening = socket.socket(fileno=descriptor)
    listening.settimeout(0)
    return listening


def _raise_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.result()


async def _run(descriptor: int) -> int:
    end = socket.socket(fileno=descriptor)
    end.settimeout(0)
    channel = await Channel.over(end)
    first = await channel.receive()
    if first is None or first.kind is not Kind.SPEC:
        return EXIT_FAILED
    return await Worker(WorkerSpec.decode(first.payload), channel).run()


def main() -> int:
    """Run one worker; the descriptor of its channel is the argument."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with suppress(KeyboardInterrupt):
        return uvloop.run(_run(int(sys.argv[1])))
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
