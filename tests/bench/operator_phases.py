"""What each contender is put through, and what is measured meanwhile."""

import asyncio
import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from tests.bench.operator_api import Api, together
from tests.bench.operator_contenders import Contender, ContenderFailed, Limits
from tests.bench.operator_observer import Latencies, Observer
from tests.bench.operator_plane import Audit, Plane, by_verb, writes_of
from tests.bench.operator_population import (
    CHILD_LISTS,
    CREATORS,
    Place,
    create_deployments,
    create_models,
    drifting,
)

_LOOK_SECONDS = 1.0
_PATIENCE = 1800.0
"""Seconds until a phase is given up."""
_CHILDREN = 7
_DRIFTED = 0.05
_PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        count: ModelDeployments.
        rate: spec changes a second.
        changing: seconds of it.
        idle: seconds of rest.
        limits: of the contender's requests, once everything is created.
        without: names of phases that are left out.
    """

    count: int
    rate: float
    changing: float
    idle: float
    limits: Limits
    without: Sequence[str] = ()


@dataclass
class Phase:
    """One phase of one contender. Seconds and bytes.

    Attributes:
        seconds: from its beginning to what it waits for.
        span: until the contender was at rest again; CPU time and requests are of this.
        cpu: CPU time of the contender.
        server_cpu: CPU time of the API server and etcd, whoever asked.
        load: the machine's load in the last minute of it.
        resident: memory at the end; `peak` the most that was seen.
        looks: reconciliations, as the contender counts them.
        requests: to the API server, by verb and resource, as its audit log has them.
        lags: how late the event loop was, a sample a second; empty where there is none.
    """

    name: str
    seconds: float = 0.0
    span: float = 0.0
    cpu: float = 0.0
    server_cpu: float = 0.0
    load: float = 0.0
    resident: int = 0
    peak: int = 0
    looks: float = 0.0
    requests: Counter[str] = field(default_factory=Counter[str])
    lags: list[float] = field(default_factory=list[float])
    latencies: Latencies = field(default_factory=Latencies)

    def document(self) -> dict[str, object]:
        """As it stands in the JSON."""
        return {
            "phase": self.name,
            "seconds": round(self.seconds, 3),
            "spanSeconds": round(self.span, 3),
            "cpuSeconds": round(self.cpu, 2),
            "serverCpuSeconds": round(self.server_cpu, 2),
            "load1": round(self.load, 1),
            "residentMb": round(self.resident / 1e6, 1),
            "peakMb": round(self.peak / 1e6, 1),
            "looks": round(self.looks),
            "writes": writes_of(self.requests),
            "requests": by_verb(self.requests),
            "requestsByResource": dict(sorted(self.requests.items())),
            "observed": spread(self.latencies.observed),
            "ready": spread(self.latencies.ready),
            "loopLag": spread(self.lags),
        }


def spread(values: list[float]) -> dict[str, float] | None:
    """Count, quantiles and the most, seconds; None of nothing."""
    if not values:
        return None
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else values * 99
    named = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(values)}
    return {"n": len(values)} | {name: round(value, 4) for name, value in named.items()}


@dataclass
class Stage:
    """A control plane with objects, and one contender."""

    plane: Plane
    api: Api
    contender: Contender
    audit: Audit
    deployments: Observer
    models: Observer
    plan: Plan
    where: list[Place]
    tell: Callable[[str], None]
    replicas: dict[str, int] = field(default_factory=dict[str, int])

    async def change(self, place: Place) -> None:
        """Another number of pods."""
        replicas = 3 - self.replicas.get(place.key, 1)
        self.replicas[place.key] = replicas
        at = time.monotonic()
        answer = await self.api.patch(place.path, {"spec": {"replicas": replicas}})
        self.deployments.changed(place.key, answer["metadata"]["generation"], at)

    async def all_ready(self) -> None:
        """Returns when every change is observed and Ready."""
        await self.deployments.until(lambda: self.deployments.open == 0, _PATIENCE, "all Ready")

    async def phase(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        anew: bool = False,
        quiet: bool = False,
    ) -> Phase:
        """Measures while `work` goes on, and until the contender is at rest.

        Args:
            name: of the phase.
            work: what happens; returns when what was waited for is there.
            anew: the contender is started by `work`: its counters begin at 0.
            quiet: its metrics are not asked for meanwhile, since that costs it time.
        """
        contender, phase = self.contender, Phase(name)
        self.audit.requests(contender.name)
        self.deployments.forget_latencies()
        cpu = 0.0 if anew else contender.cpu_seconds()
        server_cpu = self.plane.cpu_seconds()
        before = None if anew else await contender.gauges()
        began = time.monotonic()
        async with _sampling(contender, phase, quiet=quiet):
            await work()
            phase.seconds = time.monotonic() - began
            if not quiet:
                await contender.until_idle(_PATIENCE)
        phase.span = time.monotonic() - began
        phase.cpu = contender.cpu_seconds() - cpu
        phase.server_cpu = self.plane.cpu_seconds() - server_cpu
        phase.load = os.getloadavg()[0]
        phase.resident, most = contender.memory()
        phase.peak = max(phase.peak, most) if anew else phase.peak
        after = await contender.gauges()
        if after is not None:
            phase.looks = after.looks - (0 if before is None else before.looks)
        await asyncio.sleep(0.5)  # the audit log is written behind the answer
        phase.requests = self.audit.requests(contender.name)
        phase.latencies = self.deployments.forget_latencies()
        self.tell(json.dumps(phase.document()))
        return phase


@contextlib.asynccontextmanager
async def _sampling(contender: Contender, phase: Phase, *, quiet: bool) -> AsyncGenerator[None]:
    async def sample() -> None:
        while True:
            with contextlib.suppress(OSError, ContenderFailed):  # it is being started anew
                phase.peak = max(phase.peak, contender.memory()[0])
            gauges = None if quiet else await contender.gauges()
            if gauges is not None and gauges.lag is not None:
                phase.lags.append(gauges.lag)
            await asyncio.sleep(_LOOK_SECONDS)

    sampler = asyncio.create_task(sample())
    try:
        yield
    finally:
        sampler.cancel()
        await asyncio.gather(sampler, return_exceptions=True)


async def run_phases(stage: Stage) -> list[Phase]:
    """All phases in their order, each from the state that the former left."""
    tenth = [place for place in stage.where if place.number % 10 == 0]
    await create_models(stage.api, stage.where)
    steps: list[tuple[str, Callable[[], Awaitable[None]], bool, bool]] = [
        ("models", lambda: _first_start(stage), True, False),
        ("create", lambda: _create(stage), False, False),
        ("cold start", lambda: _restart(stage), True, False),
        # There are no pods: sync looks for them for two minutes and says so of every deployment.
        # No fleet that serves does that while its specs change.
        ("idle", lambda: asyncio.sleep(stage.plan.idle), False, True),
        ("change 10 %", lambda: _change_all(stage, tenth), False, False),
        ("change 100 %", lambda: _change_all(stage, stage.where), False, False),
        (f"change {stage.plan.rate:g}/s", lambda: _change_steadily(stage), False, False),
        ("drift of 5 %", lambda: _drift(stage), False, False),
        ("kill -9", lambda: _kill(stage, tenth), True, False),
    ]
    return [
        await stage.phase(name, work, anew=anew, quiet=quiet)
        for name, work, anew, quiet in steps
        if name not in stage.plan.without
    ]


async def _first_start(stage: Stage) -> None:
    """Models without deployments: one status each."""
    stage.contender.start()
    await stage.models.until(
        lambda: stage.models.settled == stage.plan.count, _PATIENCE, "all Models Ready"
    )


async def _create(stage: Stage) -> None:
    """A burst of ModelDeployments until all serve."""

    def begun(place: Place) -> None:
        stage.deployments.changed(place.key, 1, time.monotonic())

    await create_deployments(stage.api, stage.where, begun)
    await stage.all_ready()


async def _restart(stage: Stage) -> None:
    """Everything is as it must be; a fresh process looks at all of it."""
    stage.contender.stop()
    stage.contender.limits = stage.plan.limits
    stage.contender.start()
    wanted = 2 * stage.plan.count
    async with asyncio.timeout(_PATIENCE):
        while True:
            gauges = await stage.contender.gauges()
            if gauges is not None and gauges.looks >= wanted and gauges.waiting == 0:
                return
            await asyncio.sleep(0.25)


async def _change_all(stage: Stage, where: list[Place]) -> None:
    await together(CREATORS, map(stage.change, where))
    await stage.all_ready()


async def _change_steadily(stage: Stage) -> None:
    """So many changes a second, whatever becomes of them (an open loop)."""
    began = time.monotonic()
    total = round(stage.plan.rate * stage.plan.changing)
    async with asyncio.TaskGroup() as group:
        for number in range(total):
            await asyncio.sleep(max(0.0, began + number / stage.plan.rate - time.monotonic()))
            place = stage.where[number * 7 % len(stage.where)]
            group.create_task(stage.change(place))
    await stage.all_ready()


async def _drift(stage: Stage) -> None:
    """Somebody deletes every child of a twentieth of the deployments."""
    chosen = list(drifting(stage.where, _DRIFTED))

    async def lose(place: Place) -> None:
        for path in CHILD_LISTS:
            group, plural = path.rsplit("/", 1)
            query = f"labelSelector=mooring.dev/deployment={place.name}"
            where = f"{group}/namespaces/{place.namespace}/{plural}"
            await stage.api.request("DELETE", f"{where}?{query}")

    await together(CREATORS, map(lose, chosen))
    async with asyncio.timeout(_PATIENCE):
        missing = True
        while missing:
            missing = await _children(stage.api, chosen) < _CHILDREN * len(chosen)
            await asyncio.sleep(0.25 if missing else 0.0)


async def _children(api: Api, chosen: list[Place]) -> int:
    """How many children the chosen deployments have."""
    names = ",".join(place.name for place in chosen)
    found = 0
    for path in CHILD_LISTS:
        query = f"{path}?labelSelector=mooring.dev/deployment in ({names})"
        found += len((await api.request("GET", query, accept=_PARTIAL))["items"] or ())
    return found


async def _kill(stage: Stage, where: list[Place]) -> None:
    """kill -9 in the middle of a burst of changes, then a fresh process."""
    burst = asyncio.create_task(together(CREATORS, map(stage.change, where)))
    await asyncio.sleep(min(1.0, len(where) / 400))
    stage.contender.kill()
    stage.contender.start()
    await burst
    await stage.all_ready()
