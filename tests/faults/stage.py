"""One run: a namespace of its own, its operator behind a fault proxy, its controllers, its people.

People act when a condition holds, as they would after looking at the status; nothing waits for a
time. What people see is the real API server's, without the proxy.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mooring_operator.api.group import API_VERSION, Kind, Label
from mooring_operator.io.resources import RESOURCES
from tests.builders.resources import DEPLOYMENT, IMAGE, MODEL
from tests.faults.api import AsyncApi, Object, Server
from tests.faults.journal import Journal
from tests.faults.keeper import Keeper
from tests.faults.mirror import Mirror, Namespace
from tests.faults.nursery import Nursery
from tests.faults.plan import Fault, What
from tests.faults.properties import Properties
from tests.faults.proxy import Proxy
from tests.faults.simulator import Answers, Simulator

PATIENCE_SECONDS = 90.0
"""After this long without the condition that a script waits for, the run has failed."""
QUIET_SECONDS = 1.5
"""An operator is at rest when it wrote nothing for so long."""
SHORT_RESYNC = {"MOORING_RESYNC_INTERVAL": "8"}
"""For events that are never told: nothing but a complete list finds what they said."""
SPEC: dict[str, Any] = {
    "model": {"name": MODEL, "version": "v1"},
    "replicas": 2,
    "rollout": {
        "steps": [{"weight": 25, "minRows": 500}, {"weight": 50, "minRows": 500}],
        "analysis": {"metrics": ["errors"], "margins": {"errors": 0.05}},
        "progressDeadline": "5m",
    },
    # Scenarios let a candidate in right after a rollback, and often.
    "rollback": {"keepWarm": "1s", "cooldown": "0s", "budget": {"count": 20, "per": "1s"}},
    "monitoring": {"interval": "500ms"},
}


class Stuck(Exception):
    """A condition did not come to hold."""


@dataclass(frozen=True)
class Tools:
    """What all runs share."""

    server: Server
    api: AsyncApi
    mirror: Mirror
    nursery: Nursery
    watching: asyncio.Task[None]
    """The mirror's watches."""
    folder: Path


@dataclass
class Stage:
    """The world of one run, as its script sees it."""

    tools: Tools
    room: Namespace
    simulator: Simulator
    proxy: Proxy
    keeper: Keeper
    journal: Journal
    properties: Properties
    log: Path
    reached: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    """Each condition that the script waited for, and when it held."""
    _background: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    # What people do

    def path(self, kind: str, name: str = "") -> str:
        return RESOURCES[kind].path(self.room.name, name)

    async def create(self, kind: Kind, name: str, spec: Mapping[str, Any]) -> Object:
        document = {
            "apiVersion": API_VERSION,
            "kind": kind.value,
            "metadata": {"name": name, "namespace": self.room.name},
            "spec": dict(spec),
        }
        return await self.tools.api.create(self.path(kind.value), document)

    async def edit(self, kind: Kind, name: str, **spec: Any) -> None:
        await self.tools.api.merge(self.path(kind.value, name), {"spec": spec})

    async def annotate(self, kind: Kind, name: str, key: str, value: str) -> None:
        body = {"metadata": {"annotations": {key: value}}}
        await self.tools.api.merge(self.path(kind.value, name), body)

    async def deploy(self, **spec: Any) -> None:
        """Creates the deployment."""
        await self.create(Kind.MODEL_DEPLOYMENT, DEPLOYMENT, SPEC | spec)

    async def ask_for(self, version: str) -> None:
        await self.edit(Kind.MODEL_DEPLOYMENT, DEPLOYMENT, model={"version": version})

    # What people see

    def status(self, kind: Kind, name: str) -> dict[str, Any]:
        """The status of the present generation; empty while it speaks of an older one."""
        item = self.room.get(kind.value, name)
        status: dict[str, Any] = {} if item is None else item.get("status", {})
        current = item is not None and (
            status.get("observedGeneration") == item["metadata"]["generation"]
        )
        return status if current else {}

    @property
    def deployment(self) -> dict[str, Any]:
        return self.status(Kind.MODEL_DEPLOYMENT, DEPLOYMENT)

    def standing(self, kind: Kind = Kind.MODEL_DEPLOYMENT, name: str = DEPLOYMENT) -> str:
        """Which of Ready, Reconciling and Stalled is True, and why."""
        for condition in self.status(kind, name).get("conditions", []):
            summary = condition["type"] in ("Ready", "Reconciling", "Stalled")
            if summary and condition["status"] == "True":
                return f"{condition['type']}/{condition['reason']}"
        return "-"

    def workloads(self) -> int:
        return len(self.room.all("Deployment"))

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Goes on when the condition holds."""

        def over() -> bool:
            return holds() or self.failure() is not None

        await self.room.until(over, PATIENCE_SECONDS)
        if not holds():
            status = json.dumps(self.deployment, indent=1)[:3000]
            raise Stuck(f"not {what} in {PATIENCE_SECONDS:g} s: {self.standing()} {status}")
        self.reached.append((what, asyncio.get_running_loop().time()))

    async def until_serving(self, version: str, standing: str) -> None:
        """The version serves alone, and the deployment stands so."""

        def holds() -> bool:
            stable: dict[str, Any] = self.deployment.get("stable") or {}
            return (
                self.standing() == standing
                and stable.get("version") == version
                and not self.deployment.get("retired")
                and self.workloads() == 1
            )

        await self.until(holds, f"{version} serving, {standing}")

    async def until_analysing(self, version: str) -> None:
        """The version is analysed, and its share has reached the stable pods."""

        def holds() -> bool:
            candidate: dict[str, Any] = self.deployment.get("candidate") or {}
            analysed: bool = (
                candidate.get("version") == version and candidate["stage"] == "Analysing"
            )
            return analysed and self.properties.weighted(candidate["revision"])

        await self.until(holds, f"{version} analysed")

    async def at_rest(self) -> None:
        """Goes on when nothing was written for a while."""
        count = -1
        while count != len(self.journal.writes):
            count = len(self.journal.writes)
            await asyncio.sleep(QUIET_SECONDS)

    # The operator

    async def start_operator(self) -> None:
        self._runs(self.keeper.run())

    async def run_controllers(self) -> None:
        self._runs(self.simulator.run())

    def _runs(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self.room.stir())  # who waits must see that it failed
        self._background.add(task)

    def failure(self) -> BaseException | None:
        """What broke in the harness itself."""
        for task in (self.tools.watching, *self._background):
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.keeper.close()
        await self.proxy.close()
        self.simulator.close()


@dataclass
class Operator:
    """One more operator of a namespace, behind a proxy of its own."""

    proxy: Proxy
    keeper: Keeper
    journal: Journal


@asynccontextmanager
async def another_operator(
    stage: Stage, identity: str, **settings: str
) -> AsyncGenerator[Operator]:
    """An operator beside the stage's own one, under another name in the Lease."""
    name, folder = stage.room.name, stage.tools.folder
    journal = Journal(asyncio.get_running_loop().time)
    proxy = Proxy(stage.tools.server, None, stage.keeper.kill, journal)
    kubeconfig = folder / f"{name}-{identity}.kubeconfig"
    environment = environment_of(name, kubeconfig, None) | settings
    environment["MOORING_IDENTITY"] = identity
    keeper = Keeper(stage.tools.nursery, environment, folder / f"{name}-{identity}.log", _nothing)
    await proxy.open()
    _write_kubeconfig(kubeconfig, proxy.port)
    running = asyncio.create_task(keeper.run())
    try:
        yield Operator(proxy, keeper, journal)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await keeper.close()
        await proxy.close()


def _nothing() -> None:
    """Nobody waits for this one's restart."""


@asynccontextmanager
async def stage_of(
    tools: Tools, name: str, fault: Fault | None, answers: Answers, **settings: str
) -> AsyncGenerator[Stage]:
    """A fresh namespace; its objects are deleted afterwards, by Kubernetes' own collector.

    Args:
        tools: what all runs share.
        name: of the namespace.
        fault: what goes wrong in the run; None: nothing.
        answers: what Jobs come to.
        settings: of the operator, besides those of all runs.
    """
    labels = {Label.OPERATOR.value: name, Label.ENVIRONMENT.value: "prod"}
    namespace = {"metadata": {"name": name, "labels": labels}}
    await tools.api.create("/api/v1/namespaces", namespace)
    stage = _assemble(tools, name, fault, answers, settings)
    await stage.proxy.open()
    _write_kubeconfig(tools.folder / f"{name}.kubeconfig", stage.proxy.port)
    try:
        await stage.run_controllers()
        yield stage
    finally:
        await stage.close()
        tools.mirror.close(name)
        for kind in Kind:
            await tools.api.delete(RESOURCES[kind.value].path(name))
        await tools.api.delete(RESOURCES["Event"].path(name))


def _assemble(
    tools: Tools,
    name: str,
    fault: Fault | None,
    answers: Answers,
    settings: Mapping[str, str],
) -> Stage:
    room = tools.mirror.open(name)
    log = tools.folder / f"{name}.log"
    journal = Journal(asyncio.get_running_loop().time)
    simulator = Simulator(
        tools.api, room, answers, lambda pod, route: properties.routed(pod, route)
    )
    properties = Properties(room, simulator.ready)
    proxy = Proxy(tools.server, fault, lambda: keeper.kill(), journal)
    environment = environment_of(name, tools.folder / f"{name}.kubeconfig", fault) | dict(settings)
    keeper = Keeper(tools.nursery, environment, log, proxy.restarted)
    return Stage(tools, room, simulator, proxy, keeper, journal, properties, log)


def environment_of(name: str, kubeconfig: Path, fault: Fault | None) -> dict[str, str]:
    """The settings of a namespace's operator."""
    settings = {
        "PATH": os.defpath,
        "HOME": str(kubeconfig.parent),
        "KUBECONFIG": str(kubeconfig),
        "MOORING_NAMESPACE": name,
        "MOORING_WATCH_NAMESPACES": name,
        "MOORING_SERVING_IMAGE": IMAGE,
        # The successor of a killed process has its name, as a restarted container of one pod
        # would: it need not wait until the Lease expires.
        "MOORING_IDENTITY": "operator-0",
        "MOORING_LISTEN": "127.0.0.1",
        "MOORING_PROBE_PORT": "0",
        "MOORING_METRICS_PORT": "0",
    }
    return settings | (SHORT_RESYNC if fault and fault.what is What.DROPPED else {})


def _write_kubeconfig(path: Path, port: int) -> None:
    server = {"server": f"http://127.0.0.1:{port}"}
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "faults",
        "contexts": [{"name": "faults", "context": {"cluster": "proxy", "user": "operator"}}],
        "clusters": [{"name": "proxy", "cluster": server}],
        "users": [{"name": "operator", "user": {}}],
    }
    path.write_text(json.dumps(document))
