"""The serving engine: a warm model with all its duties behind open ports."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from mooring_profile.sketch import cell_count
from mooring_serving.app import AppParts, InferenceApp
from mooring_serving.batching import Batcher, BatchSettings
from mooring_serving.breaker import CircuitBreaker
from mooring_serving.dataplane import Dataplane, Receipting
from mooring_serving.feedback import Feedback, FeedbackDesk, FeedbackIntake
from mooring_serving.forward import Addresses, Forwarder
from mooring_serving.grpc.listener import GrpcListener
from mooring_serving.grpc.service import GrpcService
from mooring_serving.http.client import ConnectionPool
from mooring_serving.http.listener import Listener
from mooring_serving.limits import EngineLimits, WorkLimits
from mooring_serving.loading import WarmModel
from mooring_serving.log.logs import open_logs
from mooring_serving.pod import Duties, Pod
from mooring_serving.receipts import ReceiptWriter
from mooring_serving.recorder import Recorder
from mooring_serving.rest import RestInference
from mooring_serving.routes import Router, RouterParts
from mooring_serving.routing import Route
from mooring_serving.row_segments import RowSegments
from mooring_serving.settings import ServerSettings
from mooring_serving.shadow import ShadowQueue
from mooring_serving.workers.acceptor import Crowding
from mooring_serving.workers.layout import SketchLayout
from mooring_serving.workers.memory import SketchMemory

_SHADOW_SECONDS = 2.0
_LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SharedSockets:
    """Listening sockets that several processes accept from; None where there is no such port."""

    http: socket.socket
    forward: socket.socket | None
    grpc: socket.socket | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an engine is given beside its model.

    Attributes:
        addresses: Where forwards go.
        draw: Uniform draws in [0, 1).
        threads: Inference threads.
        sketches: Where the sketches go; None: memory of this process alone.
        feedback: Takes labels; None: a desk of this process.
        worker: Number of this process among those of the pod that log.
        processes: How many those are: they share the disk's limit.
    """

    addresses: Addresses
    draw: Callable[[], float]
    threads: int
    sketches: SketchMemory | None = None
    feedback: Feedback | None = None
    worker: int = 0
    processes: int = 1


def batch_settings(settings: ServerSettings, work: WorkLimits, warm: WarmModel) -> BatchSettings:
    """How requests are put together, for this model as it was measured here."""
    rows = settings.batch_max_rows or warm.cost.batch_rows()
    return BatchSettings(
        max_rows=min(rows, warm.model.signature.max_rows),
        max_wait_seconds=settings.batch_max_wait_ms / 1000,
        max_queue=settings.batch_max_queue,
        max_queue_rows=work.queue_rows,
        deadline_seconds=settings.deadline_ms / 1000,
        inline_ms=work.inline_ms,
    )


class Engine:
    """Made on the event loop, after the model is warm.

    Args:
        pod: The pod's memory.
        warm: The model.
        limits: All limits.
        around: What it is given beside the model.

    Raises:
        LogInvalid: The prediction log cannot be written as asked for.
    """

    def __init__(
        self, pod: Pod, warm: WarmModel, limits: EngineLimits, around: Surroundings
    ) -> None:
        settings, clock, model = pod.settings, pod.clock, warm.model
        self._key = settings.receipt_key.encode() if settings.receipt_key is not None else None
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._pod = pod
        self._model = model
        self._example = warm.example
        self._process = warm.process
        self._counters = pod.counters
        self._listeners: list[Listener] = []
        self._logs = open_logs(
            settings,
            model.signature,
            clock,
            limits.work,
            worker=around.worker,
            workers=around.processes,
        )
        self.sketches = around.sketches or SketchMemory.own(SketchLayout(cell_count(warm.profile)))
        self._recorder = Recorder(
            warm.profile, self.sketches, pod.counters, row_limit=limits.work.recorder_rows
        )
        self._forwarder = Forwarder(
            ConnectionPool,
            CircuitBreaker(),
            addresses=around.addresses,
            signature=model.signature,
            monotonic=clock.monotonic,
        )
        self._shadow = ShadowQueue(
            self._forwarder,
            pod.counters,
            self._recorder.answers,
            size=limits.work.shadow_queue,
            scale=model.rule.scale,
        )
        wanted = pod.counters.cohorts is not None and warm.profile.segments
        dataplane = self._build_dataplane(RowSegments(warm.profile) if wanted else None)
        self._batcher = Batcher(
            dataplane,
            warm.cost,
            batch_settings(settings, limits.work, warm),
            threads=max(1, around.threads // (settings.threads or 1)),
            counters=pod.counters,
            clock=clock,
        )
        self._feedback = around.feedback or self._open_desk()
        self._open_transports(self._build_app(dataplane, around), around)
        pod.adopt(Duties(self._recorder, self._logs, self._batcher, warm.process))

    def _build_dataplane(self, segments: RowSegments | None) -> Dataplane:
        model, pod = self._model, self._pod
        writer = ReceiptWriter(model.name, model.version, model.revision, key=self._key)
        return Dataplane(
            model,
            pod.counters,
            self._recorder,
            self._logs.predictions,
            receipts=Receipting(writer, pod.settings.event_time, segments),
            clock=pod.clock,
        )

    def _build_app(self, dataplane: Dataplane, around: Surroundings) -> InferenceApp:
        parts = AppParts(
            dataplane=dataplane,
            batcher=self._batcher,
            forwarder=self._forwarder,
            shadow=self._shadow,
            routes=self._pod.routes,
            counters=self._counters,
            draw=around.draw,
            forward_limit=self._limits.work.in_flight,
        )
        return InferenceApp(parts)

    def _open_desk(self) -> Feedback:
        work = self._limits.work
        desk = FeedbackDesk(
            self._model.rule,
            self._counters,
            self._logs.labels,
            model=self._model.name,
            key=self._key,
            memory=work.receipts,
        )
        return FeedbackIntake(desk, limit=work.labels_per_request, clock=self._pod.clock)

    def _open_transports(self, app: InferenceApp, around: Surroundings) -> None:
        pod, limits = self._pod, self._limits
        self._rest = RestInference(
            app,
            self._model,
            pod.counters,
            limits.tensors,
            events=self._logs.events,
            wall=pod.clock.wall,
        )
        service = GrpcService(
            app, self._model, limits.tensors, is_ready=lambda: pod.lifecycle.ready
        )
        self._grpc = GrpcListener(
            service.handle,
            limits.grpc,
            monotonic=pod.clock.monotonic,
            draw=around.draw,
            on_refusal=pod.counters.count_refusal,
            traffic=pod.traffic,
        )

    def adopt_route(self, route: Route) -> None:
        """A new route is in force; on the loop."""
        self._forwarder.adopt(route)

    def on_route(self, route: Route) -> None:
        """A new route is in force; from any thread."""
        self._loop.call_soon_threadsafe(self.adopt_route, route)

    async def open(
        self,
        host: str,
        http_port: int,
        forward_port: int | None,
        grpc_port: int | None = None,
    ) -> tuple[int, int | None, int | None]:
        """Start the duties and open the ports; returns the ports (ephemeral ones when 0).

        Raises:
            OSError: A port cannot be opened.
        """
        self._start()
        opened = await self._listener(forward=False).open(host, http_port)
        forward = grpc = None
        if forward_port is not None:
            forward = await self._listener(forward=True).open(host, forward_port)
        if grpc_port is not None:
            grpc = await self._grpc.open(host, grpc_port)
        return opened, forward, grpc

    def share(self, sockets: SharedSockets, crowding: Crowding) -> None:
        """Start the duties and accept from sockets that other processes accept from too."""
        self._start()
        self._listener(forward=False).share(sockets.http, crowding)
        if sockets.forward is not None:
            self._listener(forward=True).share(sockets.forward, crowding)
        if sockets.grpc is not None:
            self._grpc.share(sockets.grpc, crowding)

    @property
    def connections(self) -> int:
        """Open connections."""
        return sum(listener.connections for listener in (*self._listeners, self._grpc))

    def refuse_work(self, refusing: bool) -> None:  # noqa: FBT001 - a switch, as its name says
        """Answer requests with 503 for the process' memory, or answer them again."""
        for listener in (*self._listeners, self._grpc):
            listener.refuse_work(self._counters.count_over_memory if refusing else None)

    def stop_accepting(self) -> None:
        """Leave new connections to the other processes; end each open one with its next answer."""
        self.start_draining()
        for listener in (*self._listeners, self._grpc):
            listener.stop_accepting()

    def _start(self) -> None:
        self._recorder.start()
        self._logs.start()
        self._shadow.start()

    def start_draining(self) -> None:
        """End each connection with its next answer; go on accepting."""
        for listener in (*self._listeners, self._grpc):
            listener.start_draining()

    async def close(self) -> int:
        """Stop accepting, finish work in hand, write out what is recorded.

        Returns:
            Requests that were dropped unanswered.
        """
        seconds = self._limits.work.drain_in_flight_seconds
        listeners = (*self._listeners, self._grpc)
        dropped = await asyncio.gather(*(listener.close(seconds) for listener in listeners))
        await self._shadow.stop(_SHADOW_SECONDS)
        self._forwarder.close()
        self._batcher.stop()
        if self._process is not None:
            await asyncio.to_thread(self._process.close)
        self._recorder.stop()
        await asyncio.to_thread(self._logs.stop, _LOG_SECONDS)
        return sum(dropped)

    def _router(self, *, forward: bool) -> Router:
        parts = RouterParts(
            rest=self._rest,
            feedback=self._feedback,
            model=self._model,
            is_ready=lambda: self._pod.lifecycle.ready,
            limits=self._limits,
            example=self._example,
        )
        return Router(parts, forward=forward)

    def _listener(self, *, forward: bool) -> Listener:
        listener = Listener(
            self._router(forward=forward).answer,
            self._limits.http,
            wall_seconds=self._pod.clock.wall,
            on_refusal=self._counters.count_refusal,
            traffic=self._pod.traffic,
            skip_abandoned=forward,
        )
        self._listeners.append(listener)
        return listener
