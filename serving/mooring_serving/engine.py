"""The serving engine: a warm model with all its duties behind open ports."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mooring_profile.sketch import cell_count
from mooring_serving.app import AppParts, InferenceApp
from mooring_serving.batching import Batcher, BatchSettings, thread_count
from mooring_serving.breaker import CircuitBreaker
from mooring_serving.dataplane import Dataplane, Receipting
from mooring_serving.feedback import FeedbackDesk
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
from mooring_serving.settings import ServerSettings
from mooring_serving.shadow import ShadowQueue
from mooring_serving.workers.layout import SketchLayout
from mooring_serving.workers.memory import SketchMemory

_SHADOW_SECONDS = 2.0
_LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that are open; `forward` and `grpc` are None where none was asked for."""

    http: int
    management: int
    forward: int | None
    grpc: int | None = None


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
        addresses: Where forwards go.
        draw: Uniform draws in [0, 1).
        sketches: Where the sketches go; None: memory of this process alone.

    Raises:
        LogInvalid: The prediction log cannot be written as asked for.
    """

    def __init__(
        self,
        pod: Pod,
        warm: WarmModel,
        limits: EngineLimits,
        *,
        addresses: Addresses,
        draw: Callable[[], float],
        sketches: SketchMemory | None = None,
    ) -> None:
        settings, clock, model = pod.settings, pod.clock, warm.model
        key = settings.receipt_key.encode() if settings.receipt_key is not None else None
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._pod = pod
        self._logs = open_logs(
            settings,
            model.signature,
            clock,
            limits.work,
            worker=pod.index,
            workers=settings.workers or 1,
        )
        self.sketches = sketches or SketchMemory.own(SketchLayout(cell_count(warm.profile)))
        self._recorder = Recorder(
            warm.profile, self.sketches, pod.counters, row_limit=limits.work.recorder_rows
        )
        self._forwarder = Forwarder(
            ConnectionPool(),
            CircuitBreaker(),
            addresses=addresses,
            signature=model.signature,
            monotonic=clock.monotonic,
        )
        self._shadow = ShadowQueue(
            self._forwarder,
            pod.counters,
            size=limits.work.shadow_queue,
            scale=model.rule.scale,
        )
        dataplane = Dataplane(
            model,
            pod.counters,
            self._recorder,
            self._logs.predictions,
            receipts=Receipting(
                ReceiptWriter(model.name, model.version, model.revision, key=key),
                settings.event_time,
            ),
            clock=clock,
        )
        self._batcher = Batcher(
            dataplane,
            warm.cost,
            batch_settings(settings, limits.work, warm),
            threads=max(1, thread_count() // (settings.threads or 1)),
            counters=pod.counters,
            clock=clock,
        )
        app = InferenceApp(
            AppParts(
                dataplane=dataplane,
                batcher=self._batcher,
                forwarder=self._forwarder,
                shadow=self._shadow,
                routes=pod.routes,
                counters=pod.counters,
                draw=draw,
                forward_limit=limits.work.in_flight,
            )
        )
        self._rest = RestInference(
            app,
            model,
            pod.counters,
            limits.tensors,
            events=self._logs.events,
            wall=clock.wall,
        )
        service = GrpcService(app, model, limits.tensors, is_ready=lambda: pod.lifecycle.ready)
        self._grpc = GrpcListener(
            service.handle,
            limits.grpc,
            monotonic=clock.monotonic,
            draw=draw,
            on_refusal=pod.counters.count_refusal,
        )
        self._feedback = FeedbackDesk(
            model.rule,
            pod.counters,
            self._logs.labels,
            model=model.name,
            key=key,
            memory=limits.work.receipts,
        )
        self._model = model
        self._example = warm.example
        self._process = warm.process
        self._listeners: list[Listener] = []
        pod.adopt(Duties(self._recorder, self._logs, self._batcher, warm.process))

    def on_route(self, route: Route) -> None:
        """A new route is in force; from any thread."""
        self._loop.call_soon_threadsafe(self._forwarder.adopt, route)

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
        self._recorder.start()
        self._logs.start()
        self._shadow.start()
        opened = await self._listen(host, http_port, forward=False)
        forward = grpc = None
        if forward_port is not None:
            forward = await self._listen(host, forward_port, forward=True)
        if grpc_port is not None:
            grpc = await self._grpc.open(host, grpc_port)
        return opened, forward, grpc

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
            clock=self._pod.clock,
            limits=self._limits,
            example=self._example,
        )
        return Router(parts, forward=forward)

    async def _listen(self, host: str, port: int, *, forward: bool) -> int:
        listener = Listener(
            self._router(forward=forward).answer,
            self._limits.http,
            wall_seconds=self._pod.clock.wall,
            on_refusal=self._pod.counters.count_refusal,
            skip_abandoned=forward,
        )
        opened = await listener.open(host, port)
        self._listeners.append(listener)
        return opened
