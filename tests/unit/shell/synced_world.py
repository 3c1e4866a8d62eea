"""A deployment, its pods in memory, and sync between them."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from mooring_operator.core.decision import Manifest, Route, RouteRole
from mooring_operator.core.observation import TelemetryObservation
from mooring_operator.ids import ObjectKey, Revision
from mooring_operator.io.signing import Signer
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.messages import Messages
from mooring_operator.reconcile.sync import Sync, SyncTools
from tests.unit.shell.manual_clock import ManualClock
from tests.unit.shell.memory_pods import MemoryPod, MemoryPods
from tests.unit.shell.objects import deployment_resource, pod

KEY = ObjectKey("ModelDeployment", "a", "d")
R1, R2 = Revision("1" * 12), Revision("2" * 12)
STABLE = Route(RouteRole.STABLE)
ANALYSING = {
    R1: Route(RouteRole.STABLE, phase=f"{R2}/0", candidate_revision=R2, weight_percent=5),
    R2: Route(RouteRole.CANDIDATE, phase=f"{R2}/0", candidate_revision=R2),
}


@dataclass
class World:
    """A deployment, its pods, and sync between them."""

    clock: ManualClock = field(default_factory=ManualClock)
    pods: MemoryPods = field(default_factory=MemoryPods)
    cache: Cache = field(default_factory=Cache)
    woken: list[ObjectKey] = field(default_factory=list[ObjectKey])
    reviewed: list[ObjectKey] = field(default_factory=list[ObjectKey])
    scheduled: list[ObjectKey] = field(default_factory=list[ObjectKey])
    epoch: int = 1
    version: int = 10

    def __post_init__(self) -> None:
        self.signer = Signer(bytes(32))
        self.declare()
        self.sync = self.restarted(start=0)

    def restarted(self, *, start: int) -> Sync:
        """A new process of the operator."""
        messages = Messages(
            self.signer.sign, lambda: self.epoch, start=start, ttl=timedelta(seconds=60)
        )
        self.metrics = OperatorMetrics()
        tools = SyncTools(self.pods, messages, self.clock, self.metrics, ttl=timedelta(seconds=60))
        self.sync = Sync(
            self.cache,
            tools,
            wake=self.woken.append,
            review=self.reviewed.append,
            schedule=self.scheduled.append,
        )
        return self.sync

    def declare(self, **monitoring: Any) -> None:
        self.version += 1
        asked = {"interval": "15s", **monitoring}
        self.resource = deployment_resource(version=self.version, monitoring=asked)
        self.cache.store(self.resource)

    def heard(self) -> None:
        """An operator before this one told what the pods said."""
        self.version += 1
        condition = {
            "type": "MetricsAvailable",
            "status": "True",
            "reason": "Fresh",
            "message": "Every ready pod answered lately",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
        self.resource = deployment_resource(version=self.version)
        self.resource["status"] = {"observedGeneration": 1, "conditions": [condition]}
        self.cache.store(self.resource)

    def add(self, name: str, revision: str, **counters: Any) -> MemoryPod:
        """A ready pod that counted this."""
        self.version += 1
        manifest = pod(name, revision, version=self.version)
        self.cache.store(manifest)
        found = MemoryPod(
            uid=manifest["metadata"]["uid"],
            revision=revision,
            deployment_uid=self.resource["metadata"]["uid"],
            keys=self.signer.public_keys,
            counters=counters,
        )
        self.pods.pods[f"10.0.0.{name}"] = found
        return found

    def change(self, name: str, revision: str, **rest: Any) -> Manifest:
        self.version += 1
        manifest = pod(name, revision, version=self.version, **rest)
        self.cache.store(manifest)
        return manifest

    def remove(self, name: str, revision: str) -> None:
        self.version += 1
        self.cache.apply("DELETED", pod(name, revision, version=self.version))

    def seen(self) -> TelemetryObservation:
        telemetry = self.sync.telemetry(KEY)
        assert telemetry is not None
        return telemetry


def phase_counters(requests: int, errors: int = 0) -> dict[str, Any]:
    latency = {"bounds": [1, 10], "counts": [requests, 0, 0]}
    arm = {"requests": requests, "rows": requests, "errors": errors, "latencyMs": latency}
    return {"phases": {f"{R2}/0": {"stable": arm, "candidate": arm, "shadow": {}}}}
