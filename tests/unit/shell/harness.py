"""The shell wired over an in-memory Kubernetes, with a decision that a test supplies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.core.decision import Decision, Manifest, Route
from mooring_operator.ids import ObjectKey, Revision
from mooring_operator.io.token_bucket import TokenBucket
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.apply import Applier
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.certainty import Certainty
from mooring_operator.reconcile.ingest import Ingest
from mooring_operator.reconcile.loop import Decided, Hands, Loop
from mooring_operator.reconcile.recorder import EventRecorder
from mooring_operator.reconcile.report import StatusWriter
from mooring_operator.reconcile.streams import Streams
from tests.unit.shell.manual_clock import ManualClock
from tests.unit.shell.memory_kube import MemoryKube
from tests.unit.shell.objects import deployment_resource

KEY = ObjectKey("ModelDeployment", "a", "d")
Answer = Callable[[Manifest, tuple[str, ...], datetime], Decision[Any]]


def granted() -> None:
    """A guard that always lets through."""


def nothing(_: Manifest, __: tuple[str, ...], ___: datetime) -> Decision[Any]:
    """A decision that wants nothing."""
    return Decision(status=ModelDeploymentStatus(observed_generation=1))


def always(decision: Decision[Any]) -> Answer:
    """Decides the same whatever is observed."""

    def decide(_: Manifest, __: tuple[str, ...], ___: datetime) -> Decision[Any]:
        return decision

    return decide


@dataclass
class Harness:
    """One deployment `a/d`, and everything between its events and its children."""

    decide: Answer = nothing
    guard: Callable[[], None] = granted
    kube: MemoryKube = field(default_factory=MemoryKube)
    clock: ManualClock = field(default_factory=ManualClock)
    cache: Cache = field(default_factory=Cache)
    routes: list[Mapping[Revision, Route]] = field(default_factory=list[Mapping[Revision, Route]])
    woken: list[ObjectKey] = field(default_factory=list[ObjectKey])
    served: bool = True
    forgotten: list[ObjectKey] = field(default_factory=list[ObjectKey])

    def __post_init__(self) -> None:
        metrics = OperatorMetrics()
        self.ingest = Ingest(self.cache, Streams(), self.clock, metrics)
        self.ingest.subscribe(self.woken.append)
        self.certainty = Certainty(self.kube, self.ingest)
        self.applier = Applier(self.kube, self.cache, self.ingest, self._guarded, self.certainty)
        rate = TokenBucket(rate=1000.0, burst=1000, now=0.0)
        self.events = EventRecorder(self.kube, self.clock, metrics, rate, instance="test")
        hands = Hands(
            status=StatusWriter(self.kube, self.ingest, self._guarded, self.certainty),
            applier=self.applier,
            events=self.events,
            certainty=self.certainty,
            push_routes=lambda key, routes: self.routes.append(routes),
            serves=lambda key: self.served,
            forget=self.forgotten.append,
        )
        self.loop = Loop(self.cache, {"ModelDeployment": self._decided}, hands, self.clock, metrics)

    def _guarded(self) -> None:
        self.guard()

    def _decided(self, manifest: Manifest, foreign: tuple[str, ...], now: datetime) -> Decided:
        return self.decide(manifest, foreign, now), None

    def declare(self, **spec: Any) -> Manifest:
        """Stores the ModelDeployment and tells the cache."""
        stored = self.kube.put(deployment_resource(**spec))
        self.ingest.watched("ADDED", stored)
        return stored

    def tell(self) -> None:
        """Brings the cache up to date, as watches do."""
        for manifest in list(self.kube.objects.values()):
            self.ingest.watched("MODIFIED", manifest)

    def status(self) -> dict[str, Any]:
        """The deployment's status as stored."""
        return self.kube.objects["ModelDeployment", "a", "d"]["status"]

    def condition(self, type_: str) -> dict[str, Any] | None:
        """A condition as stored."""
        return next((c for c in self.status()["conditions"] if c["type"] == type_), None)
