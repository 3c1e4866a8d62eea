"""`mooring serve`: the life of the process, from the first log line to the exit code."""

import asyncio
import gc
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import uvloop

from mooring_model.errors import PackageError
from mooring_serving.batching import thread_count
from mooring_serving.clock import Clock
from mooring_serving.engine import Engine, Surroundings
from mooring_serving.lifecycle import Event
from mooring_serving.limits import LimitInvalid, read_limits
from mooring_serving.loading import WarmModel, WarmUpFailed
from mooring_serving.log.errors import LogInvalid
from mooring_serving.management import ManagementServer
from mooring_serving.options import (
    EXIT_DRAINED,
    EXIT_FAILED,
    EXIT_SETTINGS,
    AskedPorts,
    Ports,
    ServeOptions,
)
from mooring_serving.pod import Pod
from mooring_serving.report import Loaded, PodReport, Sources
from mooring_serving.routing import Draws, RouteTable
from mooring_serving.settings import SettingsInvalid, read_settings
from mooring_serving.sync import SyncGate
from mooring_serving.warming import load_warm
from mooring_serving.workers.allowance import default_workers, memory_per_worker, own_memory
from mooring_serving.workers.memory_guard import MemoryGuard, Pressure
from mooring_serving.workers.spec import resolve_addresses
from mooring_serving.workers.supervisor import Supervisor

_LOG = logging.getLogger("mooring.serve")


def run(directory: Path, host: str, asked: AskedPorts, workers: int | None = None) -> int:
    """Serve a package until SIGTERM; the CLI's entry.

    Args:
        directory: The model package.
        host: Address to listen on.
        asked: The ports to open.
        workers: Worker processes, None for the setting or else what the CPUs allow.

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
            asked.http,
            asked.health,
            asked.forward,
            settings,
            limits,
            grpc_port=asked.grpc,
            workers=workers or settings.workers or default_workers(in_pod=settings.in_pod),
        )
    )


def serve(options: ServeOptions) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    if options.workers > 1:
        return asyncio.run(Supervisor(options).run())
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
                label_sample=pod.counters.label_sample,
            ),
        )
        self._engine: Engine | None = None
        self._guard = MemoryGuard(
            options.settings.memory_per_worker or memory_per_worker(1),
            pod.counters,
            measure=own_memory,
            on_change=self._refuse_work,
        )
        self._hopeless = False
        self._terminated = asyncio.Event()
        self._impatient = asyncio.Event()

    async def run(self) -> int:
        """Load, open, wait for the signal, drain."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_terminate)
        loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
        beating = loop.create_task(self._beat())
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
        warm = await load_warm(options.directory, options.settings, self._terminated)
        if warm is None:
            lifecycle.move(Event.TERMINATED)
            return EXIT_DRAINED
        settings = options.settings
        engine = Engine(
            self._pod,
            warm,
            options.limits,
            Surroundings(
                addresses=resolve_addresses(options.peer, settings),
                draw=Draws(np.random.default_rng()),
                threads=thread_count(),
            ),
        )
        self._engine = engine
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
        self._refuse_work(self._guard.refusing)
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
        await self._report.linger()
        _LOG.info("stopped; %d requests were dropped unanswered", dropped)
        return EXIT_FAILED if self._hopeless else EXIT_DRAINED

    def _on_terminate(self) -> None:
        """SIGTERM drains; a second one does so without the accepting time."""
        if self._terminated.is_set():
            self._impatient.set()
        self._terminated.set()

    def _on_interrupt(self) -> None:
        """SIGINT, from a keyboard: drain without the accepting time."""
        self._impatient.set()
        self._terminated.set()

    def _refuse_work(self, refusing: bool) -> None:  # noqa: FBT001 - a switch, as its name says
        if self._engine is not None:
            self._engine.refuse_work(refusing)

    async def _beat(self) -> None:
        heartbeat = self._pod.heartbeat
        while True:
            heartbeat.beat()
            pressure = self._guard.check(self._clock.monotonic())
            if pressure is Pressure.HOPELESS and not self._hopeless:
                self._hopeless = True
                _LOG.critical(
                    "the process stays above its memory limit (MOORING_MEMORY_PER_WORKER) and "
                    "ends, to be started again; give it more memory"
                )
                self._on_terminate()
            await asyncio.sleep(heartbeat.interval_seconds)
