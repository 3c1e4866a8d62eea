"""The supervisor: starts worker processes, starts them again, drains them, and answers for them.

It owns the management port, the operator's route, the desk for labels, and the listening sockets,
which it holds open so that connections in their queues outlive any worker. It loads no model.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from mooring_model.errors import PackageError
from mooring_serving.arms import Role
from mooring_serving.clock import Clock
from mooring_serving.lifecycle import Event, State
from mooring_serving.log.errors import LogInvalid
from mooring_serving.management import ManagementServer
from mooring_serving.options import EXIT_DRAINED, EXIT_FAILED, Ports, ServeOptions
from mooring_serving.pod import Pod, logged_before, publish_log_rows
from mooring_serving.report import Loaded, PodReport, Sources
from mooring_serving.routing import Route, RouteTable
from mooring_serving.sync import SyncGate, SyncRefused
from mooring_serving.workers.allowance import own_memory
from mooring_serving.workers.channel import ChannelFull, Frame, Kind
from mooring_serving.workers.estate import Estate, open_estate
from mooring_serving.workers.layout import HEARTBEAT_NS, ROUTE_SEEN, Cell
from mooring_serving.workers.member import Member, Place, Stage, describe_exit
from mooring_serving.workers.policy import Crashes
from mooring_serving.workers.remote_desk import judge

_LOG = logging.getLogger("mooring.serve")

ACKNOWLEDGE_SECONDS = 0.2
"""Longest wait until all workers have a new route, and until their sketches are up to date."""
_STUCK_SECONDS = 60.0
"""A worker whose loop did not turn for so long is killed: it will not turn again."""
_REPLACE_SECONDS = 3.0
"""How long a worker that is replaced ends its clients' connections with their next answers."""
_END_SECONDS = 20.0
"""After the work in hand: how long a worker may take to write its logs and end."""


class Supervisor:
    """One run of the pod with worker processes. Owned by the event loop, but where it says so."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._clock = clock = Clock()
        self._estate: Estate | None = None
        self._members: dict[int, Member] = {}
        self._changed = asyncio.Event()
        self._terminated = asyncio.Event()
        self._impatient = asyncio.Event()
        self._answers = threading.Condition()
        self._flushes = 0
        self._fatal: str | None = None
        self._draw = np.random.default_rng().random
        self._pod = Pod(options.settings, clock, options.limits.work, routes=RouteTable())
        self._pod.lifecycle.watch(self._find_fault)
        self._slots = [self._pod.counters.memory]
        self._logged = logged_before(self._pod.counters.memory)
        self._report = PodReport(
            options.settings,
            clock,
            boot_nonce=os.urandom(16).hex(),
            lifecycle=self._pod.lifecycle,
            slots=self._slots,
            sources=Sources(
                is_live=lambda: self._pod.heartbeat.alive,
                lag_seconds=self._worst_lag,
                role=self._role,
                publish=self._publish,
                flush=self._flush,
                label_sample=self._pod.counters.label_sample,
            ),
        )

    async def run(self) -> int:
        """Serve until told to stop, or until workers cannot be kept alive; the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_terminate)
        loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
        self._loop = loop
        options = self._options
        try:
            management = ManagementServer(
                self._report.management_sources(), options.host, options.health_port
            )
        except OSError as error:
            _LOG.critical("cannot open the management port %s: %s", options.health_port, error)
            return EXIT_FAILED
        management.start()
        beating = loop.create_task(self._beat())
        try:
            return await self._supervise(management.port)
        except (PackageError, LogInvalid, OSError) as error:
            _LOG.critical("cannot serve: %s", error)
            return EXIT_FAILED
        finally:
            beating.cancel()
            management.stop()

    async def _supervise(self, management_port: int) -> int:
        estate = self._estate = await asyncio.to_thread(open_estate, self._options, self._pod)
        self._slots.extend(place.slot for place in estate.places)
        gate = SyncGate(
            self._report.identity(estate.model),
            self._options.settings.sync_keys,
            estate.board,
            monotonic=self._clock.monotonic,
            on_route=self._spread,
        )
        sketches = [place.sketches for place in estate.places]
        self._report.adopt(Loaded(estate.model, estate.profile, sketches, gate))
        estate.logs.start()
        keeping = [self._loop.create_task(self._keep(place)) for place in estate.places]
        try:
            await self._until_opened()
            if self._pod.lifecycle.ready:
                self._announce(estate, management_port)
            await self._terminated.wait()
            return await self._drain(keeping)
        finally:
            for member in self._members.values():
                member.kill()
            estate.close()

    def _announce(self, estate: Estate, management_port: int) -> None:
        _LOG.info(
            "serving model %r version %s on %s:%d with %d worker processes",
            estate.model,
            self._options.settings.version,
            self._options.host,
            estate.http_port,
            len(estate.places),
        )
        ports = (estate.http_port, management_port, estate.forward_port, estate.grpc_port)
        self._options.on_open(Ports(*ports))

    def _find_fault(self) -> str | None:
        """Why nobody can be sent here although workers accept: their models cannot answer."""
        cells = [member.place.slot.ints for member in self._in(Stage.READY)]
        return None if any(cell[Cell.READY] for cell in cells) else "no worker's model answers"

    # --- the workers' lives

    async def _keep(self, place: Place) -> None:
        """Keep one place occupied until the pod ends."""
        crashes = Crashes()
        while not self._terminated.is_set():
            member = await Member.start(place, self._clock.monotonic())
            self._members[place.spec.index] = member
            code = await member.follow(self._take)
            self._bury(member)
            if member.stage is not Stage.ENDING and not self._terminated.is_set():
                self._mourn(member, code, crashes)
                await self._pause(crashes.delay_seconds(self._draw))

    def _bury(self, member: Member) -> None:
        """Its process is gone: settle its accounts and say what that means for the pod."""
        index = member.place.spec.index
        died = member.stage is not Stage.ENDING
        del self._members[index]
        member.place.settle_accounts(died=died)
        if self._estate is not None:
            self._estate.board.publish_connections(index, None)
        if died:
            alone = self._pod.lifecycle.state is State.READY and not self._in(Stage.READY)
            self._pod.lifecycle.move(Event.LAST_WORKER_LOST if alone else Event.WORKER_LOST)
        self._tell_waiting()
        self._advance()

    def _mourn(self, member: Member, code: int, crashes: Crashes) -> None:
        opened = member.opened_at
        crashes.report(None if opened is None else self._clock.monotonic() - opened)
        index = member.place.spec.index
        how = member.failure or f"ended {describe_exit(code)}"
        _LOG.error("worker %d (process %d): %s", index, member.pid, how)
        if member.failure is not None and opened is None and not self._pod.lifecycle.ready:
            self._give_up(member.failure)
        elif crashes.hopeless:
            self._give_up(
                f"worker {index} ended again and again, last {how}; give the pod more memory or "
                "fewer workers (MOORING_WORKERS), or serve another version"
            )

    def _give_up(self, why: str) -> None:
        if self._fatal is None:
            self._fatal = why
            _LOG.critical("cannot serve: %s", why)
        self._terminated.set()
        self._changed.set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._terminated.wait()

    def _in(self, *stages: Stage) -> list[Member]:
        return [member for member in tuple(self._members.values()) if member.stage in stages]

    # --- what workers say

    def _take(self, member: Member, frame: Frame) -> None:
        match frame.kind:
            case Kind.WARM | Kind.OPENED:
                self._rise(member, frame.kind)
            case Kind.TAKEN:
                self._tell_waiting()
            case Kind.FLUSHED:
                member.flushed = frame.number
                self._tell_waiting()
            case Kind.LABELS:
                self._judge(member, frame)
            case Kind.OVER_MEMORY:
                self._replace(member)
            case Kind.FAILED:
                member.failure = frame.payload.decode()
            case Kind.CLOSED:
                if frame.number:
                    _LOG.warning("a worker dropped %d requests unanswered", frame.number)
            case _:
                _LOG.warning("worker %d sent a frame of kind %s", member.pid, frame.kind.name)

    def _rise(self, member: Member, kind: Kind) -> None:
        if member.stage is Stage.ENDING:
            return
        if kind is Kind.OPENED:
            member.opened_at = self._clock.monotonic()
        member.stage = Stage.READY if kind is Kind.OPENED else Stage.WARM
        self._advance()

    def _judge(self, member: Member, frame: Frame) -> None:
        if self._estate is not None:
            verdict = judge(self._estate.desk, frame.payload)
            with suppress(ChannelFull):  # it does not read: it has stopped waiting for this, too
                member.send(Kind.VERDICT, frame.number, verdict)

    def _advance(self) -> None:
        """Open when all are warm at the first start, and one by one after that."""
        lifecycle = self._pod.lifecycle
        if self._terminated.is_set() or self._estate is None:
            return
        warm, ready = self._in(Stage.WARM), self._in(Stage.READY)
        needed = 1 if self._estate.opened else len(self._estate.places)
        if lifecycle.state is State.LOADING and len(warm) + len(ready) >= needed:
            lifecycle.move(Event.WARMED)
        if lifecycle.state in (State.WARM, State.READY):
            for member in warm:
                member.send(Kind.OPEN)
        if lifecycle.state is State.WARM and len(ready) >= needed:
            lifecycle.move(Event.OPENED)
            self._estate.opened = True
        self._changed.set()

    async def _until_opened(self) -> None:
        while not (self._pod.lifecycle.ready or self._terminated.is_set()):
            self._changed.clear()
            await self._changed.wait()

    def _replace(self, member: Member) -> None:
        """It has too much memory for good: end it softly, unless it is the only one to answer."""
        if member.stage is not Stage.READY or len(self._in(Stage.READY)) < 2:
            return
        _LOG.warning("worker %d stays above its memory limit and is replaced", member.pid)
        member.place.slot.ints[Cell.REPLACED] += 1
        self._end(member, _REPLACE_SECONDS)

    def _end(self, member: Member, seconds: float) -> None:
        """Let it end its connections for `seconds`, without new ones, and then close."""
        member.stage = Stage.ENDING
        member.send(Kind.DRAIN, 1)
        self._loop.call_later(seconds, member.send, Kind.CLOSE)
        limit = seconds + self._options.limits.work.drain_in_flight_seconds + _END_SECONDS
        self._loop.call_later(limit, member.kill)

    # --- on the management thread

    def _spread(self, _route: Route) -> None:
        """Wait until every worker that answers has the route.

        Raises:
            SyncRefused: 503, one has not; the message must be sent again with a later counter.
        """
        estate = self._estate
        if estate is None:
            return
        sequence = estate.board.sequence
        self._loop.call_soon_threadsafe(self._send_to_ready, Kind.ROUTE, 0)
        if not self._await_ready(lambda m: m.place.slot.ints[ROUTE_SEEN] >= sequence):
            raise SyncRefused(
                503,
                f"not every worker process has taken the route within {ACKNOWLEDGE_SECONDS} s; "
                "it is in force where it was taken: send the next message",
            )

    def _flush(self) -> None:
        """Wait until the sketches hold everything that was answered, or at most the usual while."""
        self._flushes = number = self._flushes + 1
        self._loop.call_soon_threadsafe(self._send_to_ready, Kind.FLUSH, number)
        self._await_ready(lambda member: member.flushed >= number)

    def _await_ready(self, done: Callable[[Member], bool]) -> bool:
        with self._answers:
            return self._answers.wait_for(
                lambda: all(done(member) for member in self._in(Stage.READY)), ACKNOWLEDGE_SECONDS
            )

    def _send_to_ready(self, kind: Kind, number: int) -> None:
        for member in self._in(Stage.READY):
            member.send(kind, number)

    def _tell_waiting(self) -> None:
        with self._answers:
            self._answers.notify_all()

    def _worst_lag(self) -> float:
        now = self._clock.monotonic()
        beats = [m.place.slot.ints[HEARTBEAT_NS] / 1e9 for m in self._in(Stage.READY)]
        interval = self._pod.heartbeat.interval_seconds
        lags = [now - beat - interval for beat in beats]
        return max([0.0, self._pod.heartbeat.lag_seconds, *lags])

    def _publish(self) -> None:
        if self._estate is not None:
            memory = self._pod.counters.memory
            publish_log_rows(memory, self._estate.logs, self._logged)

    def _role(self) -> Role:
        estate = self._estate
        return Role.STABLE if estate is None else estate.board.current(0.0).role

    # --- housekeeping and the end

    async def _beat(self) -> None:
        cells = self._pod.counters.memory.ints
        while True:
            self._pod.heartbeat.beat()
            cells[Cell.MEMORY] = own_memory()
            now = self._clock.monotonic()
            for member in tuple(self._members.values()):
                if now - member.place.slot.ints[HEARTBEAT_NS] / 1e9 > _STUCK_SECONDS:
                    _LOG.error("worker %d does not move any more and is killed", member.pid)
                    member.kill()
            await asyncio.sleep(self._pod.heartbeat.interval_seconds)

    async def _drain(self, keeping: "list[asyncio.Task[None]]") -> int:
        lifecycle, limits = self._pod.lifecycle, self._options.limits.work
        lifecycle.move(Event.TERMINATED)
        for member in self._in(Stage.READY):
            member.send(Kind.DRAIN)
        if lifecycle.state is State.DRAINING:
            seconds = self._options.settings.drain_seconds
            _LOG.info("draining: accepting for %g s more", seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._impatient.wait()
        if self._estate is not None:
            self._estate.close_sockets()
        for member in tuple(self._members.values()):
            member.stage = Stage.ENDING
            member.send(Kind.CLOSE)
        _, late = await asyncio.wait(keeping, timeout=limits.drain_in_flight_seconds + _END_SECONDS)
        for member in tuple(self._members.values()):
            _LOG.error("worker %d did not end in time and is killed", member.pid)
            member.kill()
        if late:
            await asyncio.wait(late)
        if self._estate is not None:
            await asyncio.to_thread(self._estate.logs.stop, _END_SECONDS / 2)
        if lifecycle.state is State.DRAINING:
            lifecycle.move(Event.CLOSED)
            await self._report.linger()
        _LOG.info("stopped")
        return EXIT_DRAINED if self._fatal is None else EXIT_FAILED

    def _on_terminate(self) -> None:
        """SIGTERM drains; a second one does so without the accepting time."""
        if self._terminated.is_set():
            self._impatient.set()
        self._terminated.set()
        self._changed.set()

    def _on_interrupt(self) -> None:
        """SIGINT, from a keyboard: drain without the accepting time."""
        self._impatient.set()
        self._terminated.set()
        self._changed.set()
