"""`mooring serve`: the life of the process, from the first log line to the exit code."""

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import uvloop

from mooring_model.errors import PackageError
from mooring_serving.clock import Clock
from mooring_serving.engine import Engine, Ports
from mooring_serving.forward import Addresses, service_addresses
from mooring_serving.lifecycle import Event
from mooring_serving.limits import EngineLimits, LimitInvalid, read_limits
from mooring_serving.loading import WarmModel, WarmUpFailed, load_model
from mooring_serving.log.errors import LogInvalid
from mooring_serving.management import ManagementServer
from mooring_serving.pod import Heartbeat, Pod
from mooring_serving.report import Loaded, PodReport, Sources
from mooring_serving.routing import Draws, RouteTable
from mooring_serving.settings import ServerSettings, SettingsInvalid, read_settings
from mooring_serving.sync import SyncGate

_LOG = logging.getLogger("mooring.serve")

EXIT_DRAINED = 0
EXIT_FAILED = 1
"""The model, the log or a port cannot be used; the process' log says which and what to do."""
EXIT_SETTINGS = 2
"""An environment variable cannot be used."""


def _no_report(ports: Ports) -> None:
    """Nobody wants to know the ports."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Everything that one server needs to know.

    Attributes:
        directory: The model package.
        host: Address to listen on.
        http_port: Port for clients; 0 takes a free one (so for the others).
        health_port: Management port.
        forward_port: Port for other pods of the deployment, None for none.
        grpc_port: Port for gRPC clients, None for none.
        settings: The environment's settings.
        limits: All limits.
        addresses: Where forwards go; None: the Services of this deployment.
        on_open: Called once with the open ports.
    """

    directory: Path
    host: str
    http_port: int
    health_port: int
    forward_port: int | None
    settings: ServerSettings
    limits: EngineLimits = field(default_factory=EngineLimits)
    addresses: Addresses | None = None
    grpc_port: int | None = None
    on_open: Callable[[Ports], None] = _no_report


def run(
    directory: Path,
    host: str,
    http_port: int,
    health_port: int,
    forward_port: int | None,
    grpc_port: int,
) -> int:
    """Serve a package until SIGTERM; the CLI's entry.

    Args:
        directory: The model package.
        host: Address to listen on.
        http_port: Port for clients.
        health_port: Management port.
        forward_port: Port for other pods of the deployment, None on a laptop.
        grpc_port: Port for gRPC clients.

    Returns:
        The exit code: 0 after a drain, 1 when something cannot be used, 2 for bad settings.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings()
        limits = read_limits()
    except (SettingsInvalid, LimitInvalid) as error:
        _LOG.critical("%s", error)
        return EXIT_SETTINGS
    return serve(
        ServeOptions(
            directory,
            host,
            http_port,
            health_port,
            forward_port,
            settings,
            limits,
            grpc_port=grpc_port,
        )
    )


def serve(options: ServeOptions) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    return uvloop.run(_Server(options).run())


class _Server:
    """One run of the process."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._clock = clock = Clock()
        self._routes = RouteTable()
        self._pod = pod = Pod(options.settings, clock, options.limits.work, routes=self._routes)
        self._report = PodReport(
            options.settings,
            clock,
            boot_nonce=os.urandom(16).hex(),
            lifecycle=pod.lifecycle,
            slots=[pod.counters.memory],
            sources=Sources(
                is_live=lambda: pod.heartbeat.alive,
                lag_seconds=lambda: pod.heartbeat.lag_seconds,
                role=lambda: self._routes.current(clock.monotonic()).role,
                publish=pod.publish,
                flush=pod.flush,
            ),
        )
        self._terminated = asyncio.Event()
        self._impatient = asyncio.Event()

    async def run(self) -> int:
        """Load, open, wait for the signal, drain."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_terminate)
        loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
        beating = loop.create_task(_beat(self._pod.heartbeat))
        options = self._options
        try:
            management = ManagementServer(
                self._report.management_sources(), options.host, options.health_port
            )
        except OSError as error:
            _LOG.critical("cannot open the management port %s: %s", options.health_port, error)
            return EXIT_FAILED
        management.start()
        try:
            return await self._serve(management.port)
        except PackageError as error:
            _LOG.critical("the package cannot be served: %s", error)
        except (WarmUpFailed, LogInvalid, OSError) as error:
            _LOG.critical("cannot serve: %s", error)
        finally:
            beating.cancel()
            management.stop()
        return EXIT_FAILED

    async def _serve(self, management_port: int) -> int:
        options, lifecycle = self._options, self._pod.lifecycle
        warm = await self._load()
        if warm is None:
            lifecycle.move(Event.TERMINATED)
            return EXIT_DRAINED
        settings = options.settings
        engine = Engine(
            self._pod,
            warm,
            options.limits,
            addresses=options.addresses
            or service_addresses(settings.deployment, settings.namespace),
            draw=Draws(np.random.default_rng()),
        )
        self._adopt(warm, engine)
        lifecycle.move(Event.WARMED)
        http_port, forward_port, grpc_port = await engine.open(
            options.host, options.http_port, options.forward_port, options.grpc_port
        )
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process: no need to look at it again
        lifecycle.move(Event.OPENED)
        _LOG.info(
            "serving model %r version %s on %s:%d; one row takes %.3f ms",
            warm.model.name,
            warm.model.version,
            options.host,
            http_port,
            warm.cost.base_ms + warm.cost.row_ms,
        )
        options.on_open(Ports(http_port, management_port, forward_port, grpc_port))
        await self._terminated.wait()
        return await self._drain(engine)

    def _adopt(self, warm: WarmModel, engine: Engine) -> None:
        gate = SyncGate(
            self._report.identity(warm.model.name),
            self._options.settings.sync_keys,
            self._routes,
            monotonic=self._clock.monotonic,
            on_route=engine.on_route,
        )
        self._report.adopt(Loaded(warm.model.name, warm.profile, [engine.sketches], gate))

    async def _load(self) -> WarmModel | None:
        """Load on a thread, so that probes and signals are answered; None when told to stop."""
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[WarmModel] = loop.create_future()
        threading.Thread(
            target=self._load_into, args=(loop, loaded), name="loading", daemon=True
        ).start()
        stopped = loop.create_task(self._terminated.wait())
        await asyncio.wait({loaded, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done() and not loaded.done():
            return None
        stopped.cancel()
        return loaded.result()

    def _load_into(
        self, loop: asyncio.AbstractEventLoop, loaded: "asyncio.Future[WarmModel]"
    ) -> None:
        def settle(warm: WarmModel | None, error: BaseException | None) -> None:
            if loaded.done():
                return
            if error is not None:
                loaded.set_exception(error)
            elif warm is not None:
                loaded.set_result(warm)

        warm: WarmModel | None = None
        failure: BaseException | None = None
        try:
            warm = load_model(self._options.directory, self._options.settings)
        except Exception as error:  # noqa: BLE001 - carried over to the loop's thread, raised there
            failure = error
        with suppress(RuntimeError):  # the loop is closed: the process was told to stop
            loop.call_soon_threadsafe(settle, warm, failure)

    async def _drain(self, engine: Engine) -> int:
        """Not ready at once, accepting for a while, then finish what is in hand."""
        lifecycle = self._pod.lifecycle
        lifecycle.move(Event.TERMINATED)
        engine.start_draining()
        seconds = self._options.settings.drain_seconds
        _LOG.info("draining: accepting for %g s more", seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._impatient.wait()
        dropped = await engine.close()
        lifecycle.move(Event.CLOSED)
        _LOG.info("stopped; %d requests were dropped unanswered", dropped)
        return EXIT_DRAINED

    def _on_terminate(self) -> None:
        """SIGTERM drains; a second one does so without the accepting time."""
        if self._terminated.is_set():
            self._impatient.set()
        self._terminated.set()

    def _on_interrupt(self) -> None:
        """SIGINT, from a keyboard: drain without the accepting time."""
        self._impatient.set()
        self._terminated.set()


async def _beat(heartbeat: Heartbeat) -> None:
    while True:
        heartbeat.beat()
        await asyncio.sleep(heartbeat.interval_seconds)
