"""The composition root: settings → clients → cache, queues and loop → run. All wiring is here."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mooring_operator.core.decision import OperatorConfig
from mooring_operator.errors import LeadershipLost, MooringError
from mooring_operator.handlers.watch import Watch
from mooring_operator.ids import ObjectKey
from mooring_operator.io.clock import SystemClock
from mooring_operator.io.http_server import serve_pages
from mooring_operator.io.kube_client import HttpKubeClient
from mooring_operator.io.kube_login import Connection, LoginFailed, load_connection
from mooring_operator.io.lease import LeaseStore
from mooring_operator.io.pods import HttpPodClient
from mooring_operator.io.signing import Signer, load_signer
from mooring_operator.io.token_bucket import TokenBucket
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.apply import Applier
from mooring_operator.reconcile.assignment import serves
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.certainty import Certainty
from mooring_operator.reconcile.deciders import MakeDeciders, deciders
from mooring_operator.reconcile.health import Health
from mooring_operator.reconcile.ingest import Ingest
from mooring_operator.reconcile.leadership import Elector, Leadership, LeaseTimes, SoleLeader
from mooring_operator.reconcile.loop import Hands, Loop
from mooring_operator.reconcile.messages import Messages
from mooring_operator.reconcile.queue import QueueSettings, WorkQueue
from mooring_operator.reconcile.recorder import EventRecorder
from mooring_operator.reconcile.report import StatusWriter
from mooring_operator.reconcile.resync import Resync
from mooring_operator.reconcile.schedule import Schedule
from mooring_operator.reconcile.streams import Streams
from mooring_operator.reconcile.sync import Sync, SyncTools
from mooring_operator.settings import OperatorSettings, SettingInvalid

log = logging.getLogger("mooring_operator")
Queue = WorkQueue[ObjectKey]
_WATCHES_SECONDS = 5.0
"""How long the first list waits for the watches. What is not watched by then is listed twice."""
_EVENTS_SHARE = 0.25
"""Of the requests to the API server: the most that Events for people may take."""
_LAST_EVENTS_SECONDS = 2.0
"""How long the last Events may take at the end. The successor waits for the Lease meanwhile."""


@dataclass(frozen=True)
class Process:
    """Everything that runs, wired."""

    settings: OperatorSettings
    clock: SystemClock
    metrics: OperatorMetrics
    kube: HttpKubeClient
    pods: HttpPodClient
    leadership: Leadership
    ingest: Ingest
    resync: Resync
    watch: Watch
    health: Health
    queue: Queue
    rounds: Queue
    loop: Loop
    events: EventRecorder
    sync: Sync
    jitter: Callable[[], float]

    async def run(self) -> None:
        """Serves probes, fills the cache, campaigns, leads, until told to stop."""
        try:
            await self._run()
        finally:
            self.watch.stop()  # or its thread would keep the process alive

    async def _run(self) -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        servers = await self._serve()
        life = asyncio.create_task(self._live())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({life, stop}, return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            life.result()
        await self._end(life)
        for server in servers:
            server.close()
        stop.cancel()
        await self.kube.aclose()
        await self.pods.aclose()

    async def _serve(self) -> list[asyncio.Server]:
        probes = {"/livez": self.health.livez, "/readyz": self.health.readyz}
        places = (
            (self.settings.probe_port, probes),
            (self.settings.metrics_port, {"/metrics": self.health.metrics}),
        )
        return [
            await serve_pages(pages, host=self.settings.listen, port=port)
            for port, pages in places
            if port
        ]

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.health.watch_lag())
            await self.resync.find_optional()
            group.create_task(self.watch.run())
            await self.resync.watches_begun(_WATCHES_SECONDS)
            await self.resync.first()
            group.create_task(self.resync.run(self.settings.resync_interval, self.jitter))
            group.create_task(self._lead())

    async def _lead(self) -> None:
        self.metrics.leader.labels(self.settings.lease_name).set(0)
        await self.leadership.acquire()
        self.metrics.leader.labels(self.settings.lease_name).set(1)
        self.ingest.wake_all()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep())
            group.create_task(self.queue.run(self.loop.reconcile, self.loop.on_failure))
            group.create_task(self.rounds.run(self.sync.round))
            group.create_task(self.events.run())

    async def _keep(self) -> None:
        """Renews the Lease; ends the process at once when it is lost.

        Nothing is unwound: whatever still runs must not write any more.
        """
        try:
            await self.leadership.keep()
        except LeadershipLost as lost:
            log.critical("%s", lost)
            logging.shutdown()
            os._exit(1)

    async def _end(self, life: asyncio.Task[None]) -> None:
        """Not ready, no new key, what is under work ends, the Lease is given back."""
        log.info("stopping")
        self.health.stopping = True
        self.queue.stop()
        self.rounds.stop()
        try:
            async with asyncio.timeout(self.settings.drain.total_seconds()):
                await self.queue.drained()
                await self.rounds.drained()
        except TimeoutError:
            log.warning("some reconciliations did not end in %s", self.settings.drain)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EVENTS_SECONDS):
                await self.events.flush()
        await self.leadership.release()
        self.watch.stop()
        await self.watch.ended()
        life.cancel()
        await asyncio.wait({life}, timeout=5)


@dataclass(frozen=True)
class _Edges:
    """What reaches outside, and what everything is given."""

    settings: OperatorSettings
    clock: SystemClock
    metrics: OperatorMetrics
    jitter: Callable[[], float]
    connection: Connection
    kube: HttpKubeClient
    events: EventRecorder
    pods: HttpPodClient
    signer: Signer
    leadership: Leadership

    @classmethod
    async def of(cls, settings: OperatorSettings) -> "_Edges":
        """Connects to the outside."""
        clock, metrics = SystemClock(), OperatorMetrics()
        jitter = np.random.default_rng().random
        connection = load_connection(os.environ)
        limit = TokenBucket(rate=settings.api_rate, burst=settings.api_burst, now=clock.monotonic())
        kube = HttpKubeClient(connection, clock, metrics, limit)
        instance = settings.identity or socket.gethostname()
        share = limit.part(_EVENTS_SHARE, clock.monotonic())
        return cls(
            settings=settings,
            clock=clock,
            metrics=metrics,
            jitter=jitter,
            connection=connection,
            kube=kube,
            events=EventRecorder(kube, clock, metrics, share, instance=instance),
            pods=HttpPodClient(connections=settings.pod_connections),
            signer=await _signer(kube, settings, clock),
            leadership=_leadership(kube, settings, clock, jitter),
        )

    def queue(self, name: str, workers: int, rate: TokenBucket | None = None) -> Queue:
        """A work queue of its own."""
        settings = QueueSettings(name, workers, rate)
        return Queue(settings, Schedule(self.jitter), self.clock, self.metrics)


async def build(settings: OperatorSettings, make_deciders: MakeDeciders = deciders) -> Process:
    """Makes everything and connects it.

    Args:
        settings: what the administrator set.
        make_deciders: what is decided for each kind.

    Raises:
        LoginFailed: there is no way to the API server.
    """
    edges = await _Edges.of(settings)
    clock, metrics = edges.clock, edges.metrics
    cache, streams = Cache(), Streams()
    ingest = Ingest(cache, streams, clock, metrics)
    rate = TokenBucket(
        rate=settings.reconcile_rate, burst=settings.reconcile_burst, now=clock.monotonic()
    )
    queue = edges.queue("reconcile", settings.workers, rate)
    rounds = edges.queue("sync", settings.sync_workers)
    sync = _sync(edges, cache, queue, rounds)
    ingest.subscribe(queue.notify, queue.review)
    ingest.subscribe(sync.noticed)
    resync = Resync(
        edges.kube,
        ingest,
        streams,
        clock,
        namespaces=settings.watch_namespaces,
        patience=settings.stream_patience,
    )
    watch = Watch(
        edges.connection,
        ingest.watched,
        clock,
        metrics,
        edges.jitter,
        namespaces=settings.watch_namespaces,
    )
    _connect(edges, cache, ingest, resync, watch)
    decide = make_deciders(cache, _config(settings, edges.signer), sync.telemetry)
    hands = _hands(edges, cache, ingest, sync, (queue, rounds))
    return Process(
        settings=settings,
        clock=clock,
        metrics=metrics,
        kube=edges.kube,
        pods=edges.pods,
        leadership=edges.leadership,
        ingest=ingest,
        resync=resync,
        watch=watch,
        health=Health(streams, resync, clock, metrics, patience=settings.stream_patience),
        queue=queue,
        rounds=rounds,
        loop=Loop(cache, decide, hands, clock, metrics),
        events=edges.events,
        sync=sync,
        jitter=edges.jitter,
    )


def _connect(edges: _Edges, cache: Cache, ingest: Ingest, resync: Resync, watch: Watch) -> None:
    """Who hears of what: writes of the fence, lists of the watch's gaps, both of outages."""

    def begun(kind: str, version: int) -> None:
        ingest.begun(kind, version)
        resync.doubt(kind)

    def returned() -> None:
        log.warning("the API server answers again: listing everything, watching anew")
        resync.doubt()
        watch.restart()

    cache.on_missed = resync.doubt
    edges.kube.fence = edges.leadership.require
    edges.kube.on_return = returned
    resync.on_kinds = watch.restart
    watch.kinds = lambda: resync.watched
    watch.on_list = begun


def _sync(edges: _Edges, cache: Cache, queue: Queue, rounds: Queue) -> Sync:
    messages = Messages(
        edges.signer.sign,
        lambda: edges.leadership.epoch,
        start=int(edges.clock.now().timestamp() * 1000),
        ttl=edges.settings.sync_ttl,
    )
    tools = SyncTools(edges.pods, messages, edges.clock, edges.metrics, edges.settings.sync_ttl)
    return Sync(cache, tools, wake=queue.notify, review=queue.review, schedule=rounds.notify)


def _hands(
    edges: _Edges, cache: Cache, ingest: Ingest, sync: Sync, queues: tuple[Queue, ...]
) -> Hands:
    def forget(key: ObjectKey) -> None:
        for queue in queues:
            queue.forget(key)
        sync.forget(key)

    def served(key: ObjectKey) -> bool:
        namespace = cache.get(ObjectKey("Namespace", "", key.namespace))
        return serves(edges.settings.namespace, namespace)

    guard = edges.leadership.require
    certainty = Certainty(edges.kube, ingest)
    return Hands(
        status=StatusWriter(edges.kube, ingest, guard, certainty),
        applier=Applier(edges.kube, cache, ingest, guard, certainty),
        events=edges.events,
        certainty=certainty,
        push_routes=sync.push,
        serves=served,
        forget=forget,
    )


def _config(settings: OperatorSettings, signer: Signer) -> OperatorConfig:
    return OperatorConfig(
        serving_image=settings.serving_image,
        operator_namespace=settings.namespace,
        sync_public_keys=signer.public_keys,
        sync_ttl=settings.sync_ttl,
        image_pull_policy=settings.image_pull_policy,
    )


def _leadership(
    kube: HttpKubeClient,
    settings: OperatorSettings,
    clock: SystemClock,
    jitter: Callable[[], float],
) -> Leadership:
    store = LeaseStore(
        kube,
        namespace=settings.namespace,
        name=settings.lease_name,
        seconds=settings.lease_seconds,
    )
    if not settings.leader_election:
        return SoleLeader(store, clock)
    identity = settings.identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    times = LeaseTimes(settings.lease_seconds, settings.renew_seconds, settings.retry_seconds)
    return Elector(store, clock, identity=identity, times=times, jitter=jitter)


async def _signer(kube: HttpKubeClient, settings: OperatorSettings, clock: SystemClock) -> Signer:
    """The signing key; waits for an API server that is not there yet."""
    while True:
        try:
            return await load_signer(kube, settings.namespace)
        except MooringError as error:
            log.warning("no sync key yet: %s", error)
            await clock.sleep(2.0)


async def _run(settings: OperatorSettings, make_deciders: MakeDeciders) -> None:
    process = await build(settings, make_deciders)
    await process.run()


def main(make_deciders: MakeDeciders = deciders) -> None:
    """Runs the operator until SIGTERM, or until another process leads."""
    try:
        settings = OperatorSettings.from_environment(os.environ)
    except SettingInvalid as error:
        sys.exit(str(error))
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("kopf", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns that signals are ignored on its thread, as they must be.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    try:
        asyncio.run(_run(settings, make_deciders))
    except LoginFailed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
