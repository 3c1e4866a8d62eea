"""The simulated world of one ModelDeployment: people, the API server, the operator's loop, ticks.

The operator's shell is played faithfully: the status is written before the children, children are
applied one by one, routes are pushed last, and the operator can die between any two of these.
Its only memory is what the API server holds. Time moves in ticks and never by itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.model import Model
from mooring_operator.api.monitoring_status import DriftStatus
from mooring_operator.core.decision import Decision, OperatorConfig, Route
from mooring_operator.core.observation import (
    DeploymentObservation,
    LossCounts,
    RevisionObservation,
    TelemetryObservation,
)
from mooring_operator.core.pod_settings import settings_hash, wanted_settings
from mooring_operator.core.rollout.plan import decide
from mooring_operator.core.runtime import Answered, Look, RuntimeWatch, fold
from mooring_operator.ids import Revision
from tests.builders.resources import CONFIG, DEPLOYMENT, EPOCH, deployment, model, spec
from tests.simulation import invariants
from tests.simulation.cluster import Behaviour, Cluster, Pod, Workload
from tests.simulation.effects import Effect, application, deletion
from tests.simulation.ledger import Ledger
from tests.simulation.transcript import Transcript
from tests.simulation.witness import show, sighting_of

TICK = timedelta(seconds=10)
PATIENCE = 2 * TICK
"""How long a new operator waits for the first answers before it calls pods silent."""
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
STEPS = [
    {"shadow": 100, "minRows": 500},
    {"weight": 10, "minRows": 200},
    {"weight": 50, "minRows": 1000},
]
"""The rollout of most simulations: short enough to read, with every kind of step."""
NEW: dict[str, Any] = {"rollout": {"steps": STEPS}, "rollback": {"cooldown": "0s"}}
"""What a spec has where a test says nothing."""
_ROLE = ("revision", "stage", "step", "withheld", "weightRequested")
"""Of a candidate: what is no time."""
MOST_LOOKS = 6
"""Status writes wake the operator up again; more than this many in a tick is a livelock."""


LARGE = {"requests": {"memory": "900Gi"}}
"""More than any node has."""


class Crash(Exception):
    """The operator's process dies here."""


class World:
    """One ModelDeployment, its Model, its pods, and an operator that may die."""

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour] | None = None,
        *,
        seed: int = 1,
        crash_at: int | None = None,
        config: OperatorConfig = CONFIG,
    ) -> None:
        known = {name: Behaviour() for name in ("v1", "v2", "v3")} | dict(behaviours or {})
        self.config = config
        self.now = EPOCH
        self.model: Model | None = model(*known)
        self.spec: dict[str, Any] | None = None
        self.generation = 0
        self.annotations: dict[str, str] = {}
        self.deleted: datetime | None = None
        self.status: dict[str, Any] = {"observedGeneration": -1}
        self.cluster = Cluster(known, seed, config.sync_ttl)
        self.foreign: tuple[str, ...] = ()
        self.metrics_lost = False
        self.deaf = False
        """Whether the newest pod of the stable revision is not reached any more."""
        self.coverage = 1.0
        self.transcript = Transcript(EPOCH)
        self.ledger = Ledger()
        self.crash_at = crash_at
        self.effects = 0
        """Side effects that changed something, so far."""
        self.begun: list[int] = []
        """How many of them there were before each look of this tick."""
        self.writes = 0
        self.down_until = EPOCH
        self.drift: DriftStatus | None = None
        """What the drift watch found, and of which revision; None: nothing is watched."""
        self._round: datetime | None = None
        """When the last round of sync ended; kept in the operator's memory only."""
        self._served = False
        """Whether anything was stable yet: clients come from then on, and stay."""
        self._up_since: datetime | None = None
        """When the operator that runs now began to look; None: none did yet."""
        self._runtime: RuntimeWatch | None = None
        """The runtime watch of the stable revision; kept there as well."""

    # People

    def apply(self, version: str | None = None, channel: str | None = None, **fields: Any) -> None:
        """`kubectl apply` of the manifest; an identical one changes nothing."""
        kept = dict(self.spec or NEW)
        kept.pop("model", None)
        wire = spec(version, channel, **(kept | fields))
        self.transcript.user(self.now, f"apply {channel or version}", fields)
        if wire != self.spec:
            self.spec = wire
            self.generation += 1
            show(sighting_of(self))

    def edit(self, **fields: Any) -> None:
        """Changes fields of the spec other than the model."""
        assert self.spec is not None
        self.transcript.user(self.now, "edit", fields)
        self.spec = self.spec | fields
        self.generation += 1
        show(sighting_of(self))

    def annotate(self, name: str, value: str) -> None:
        """`kubectl annotate --overwrite`."""
        self.transcript.user(self.now, f"annotate {name}={value}", {})
        self.annotations[name] = value

    def delete(self) -> None:
        """`kubectl delete --cascade=foreground`: the object stays until its children are gone."""
        self.transcript.user(self.now, "kubectl delete", {})
        self.deleted = self.now

    def upgrade(self, image: str) -> None:
        """The operator is replaced by one with another serving image."""
        self.transcript.user(self.now, f"operator upgraded, serving image {image}", {})
        self.config = replace(self.config, serving_image=image)
        self._forget()

    def restart(self) -> None:
        """The operator is replaced by one of the same release."""
        self.transcript.user(self.now, "operator restarted", {})
        self._forget()

    def kill(self) -> None:
        """The operator's process ends here, and another one comes in a while."""
        self.transcript.user(self.now, "kill -9 of the operator", {})
        self.down_until = self.now + 3 * TICK
        self._forget()

    def _forget(self) -> None:
        """What an operator's process knows ends with it."""
        self._round = self._runtime = self._up_since = None

    def happens(self, what: str) -> None:
        """Notes in the transcript what the test did to the world."""
        self.transcript.user(self.now, what, {})

    # Reading

    @property
    def resource(self) -> ModelDeployment:
        """The ModelDeployment as the API server holds it."""
        return deployment(
            self.spec,
            self.status,
            generation=self.generation,
            annotations=self.annotations,
            deleted=self.deleted,
        )

    def condition(self, type_: str) -> Mapping[str, Any] | None:
        """A condition on the wire."""
        found = [c for c in self.status.get("conditions", ()) if c["type"] == type_]
        return found[0] if found else None

    @property
    def standing(self) -> str:
        """Which of Ready, Reconciling and Stalled is True, and why."""
        for type_ in ("Ready", "Reconciling", "Stalled"):
            condition = self.condition(type_)
            if condition is not None and condition["status"] == "True":
                return f"{type_}/{condition['reason']}"
        return "-"

    @property
    def stable(self) -> Workload | None:
        """The stable revision's Deployment."""
        stable = self.status.get("stable")
        return None if stable is None else self.cluster.revision(stable["revision"])

    def outcome(self) -> dict[str, Any]:
        """What must not depend on when the operator died: no times, no numbers of the analysis."""
        stable, retired = self.status.get("stable"), self.status.get("retired")
        candidate = self.status.get("candidate")
        return {
            "standing": self.standing,
            "stable": stable and stable["revision"],
            "candidate": candidate and {name: candidate.get(name) for name in _ROLE},
            "retired": retired and retired["revision"],
            "quarantine": [e["revision"] for e in self.status.get("quarantine", ())],
            # A revision that was asked for only while the operator was away leaves no trace.
            "outcomes": [
                (e["revision"], e["outcome"])
                for e in self.status.get("history", ())
                if e["outcome"] != "Superseded"
            ],
            "workloads": {n: w.replicas for n, w in self.cluster.workloads.items()},
            "services": dict(self.cluster.services),
            "route": self.cluster.gateway.shape,
        }

    # Time

    def run(self, seconds: float) -> None:
        """Ticks for so long."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.tick()

    def run_until(self, standing: str, *, within: float = 7200) -> None:
        """Ticks until the deployment stands so."""
        end = self.now + timedelta(seconds=within)
        while self.standing != standing:
            assert self.now < end, f"{self.standing} and not {standing} after {within} s"
            self.tick()

    def tick(self) -> None:
        """One tick: pods start, clients send, the operator looks and acts until it is content."""
        self.now += TICK
        self._served = self._served or self.stable is not None
        if self._served:
            self.cluster.serve(DEPLOYMENT, self.now)
        invariants.check_traffic(self)
        if self.spec is None or self.now < self.down_until:
            return
        if self._round is not None:
            self._round = self.now
            self._look()
        try:
            self.settle()
        except Crash:
            self.kill()
        invariants.check_status(self)

    def settle(self) -> None:
        """The operator looks and acts until it is content with this moment."""
        self.begun = []
        for _ in range(MOST_LOOKS):
            self.begun.append(self.effects)
            if not self.reconcile():
                return
        raise AssertionError(f"the operator is never content at {self.standing}")

    def _look(self) -> None:
        """The round of sync looks at the stable revision, unless the pods cannot be reached."""
        workload = self.stable
        if workload is None or self.metrics_lost:
            return
        counted = {"pods": self.cluster.answered.get(workload.revision, Answered())}
        seen = len(workload.ready(self.now))
        look = Look(Revision(workload.revision), counted, seen, self.now)
        limit = self.resource.spec.rollback.max_errors
        self._runtime = fold(self._runtime, look, limit=limit, interval=TICK)

    # The operator's shell

    def reconcile(self) -> bool:
        """Observe, decide, apply. Returns whether the status changed, or pods answered first."""
        self._up_since = self._up_since or self.now
        observation = self.observe()
        decision = decide(observation, self.config, self.now)
        invariants.check_decision(self, observation, decision)
        wire = decision.status.to_wire()
        moved, unheard = wire != self.status, self._round is None
        for effect in self._effects(decision, wire):
            if effect.changes:
                if self.effects == self.crash_at:
                    self.effects += 1
                    raise Crash
                self.effects += 1
            effect.act()
        return moved or (unheard and self._round is not None)

    def _effects(self, decision: Decision[Any], wire: dict[str, Any]) -> list[Effect]:
        effects = [Effect(lambda: self._write(decision, wire), wire != self.status)]
        for manifest in decision.children:
            effects.append(application(self, manifest))
        for ref in decision.prune:
            effects.append(deletion(self, ref))
        effects.append(self._push(decision.routes))
        return effects

    def _write(self, decision: Decision[Any], wire: dict[str, Any]) -> None:
        if wire != self.status:
            self.writes += 1
            self.ledger.written(self.status, wire, self.resource.spec.rollback, self.now)
        self.status = wire
        if self.deleted is None:  # of what is being deleted every tool says just that
            show(sighting_of(self))
        self.transcript.decided(self.now, self, decision.events)

    def _push(self, routes: Mapping[Revision, Route]) -> Effect:
        pods = [
            (pod, routes.get(Revision(workload.revision)))
            for workload in self.cluster.workloads.values()
            for pod in self.reached(workload)
        ]
        changes = any(pod.route != route for pod, route in pods)

        def act() -> None:
            for pod, route in pods:
                pod.route, pod.route_at = route, self.now
            self.transcript.routed(self.now, routes)
            self._round = self.now

        if self.metrics_lost:
            # The pods cannot be reached: neither routes nor counters travel.
            return Effect(lambda: None, changes=False)
        return Effect(act, changes)

    def reached(self, workload: Workload) -> list[Pod]:
        """The ready pods that messages come to."""
        ready = [pod for pod in workload.ready(self.now) if not pod.silent]
        return ready[:-1] if self.deaf and workload is self.stable else ready

    def observe(self) -> DeploymentObservation:
        """What the operator's gatherer would find."""
        stable = self.status.get("stable")
        memories = [w for w in self.cluster.workloads.values() if w.memory]
        newest = max(memories, key=lambda w: w.created_at, default=None)
        return DeploymentObservation(
            resource=self.resource,
            environment="prod",
            model=self.model,
            revisions={
                Revision(w.revision): self._observed(w) for w in self.cluster.workloads.values()
            },
            memory=None if newest is None else newest.memory,
            telemetry=self._telemetry(None if stable is None else stable["revision"]),
            foreign=self.foreign,
            gateway_api=self.cluster.gateway.installed,
            route=self.cluster.gateway.observe(),
        )

    def _observed(self, workload: Workload) -> RevisionObservation:
        ready = len(workload.ready(self.now))
        behaviour = self.cluster.behaviours[workload.version]
        return RevisionObservation(
            revision=Revision(workload.revision),
            created_at=workload.created_at,
            replicas=workload.replicas,
            ready=ready,
            updated=workload.updated(self.now),
            available=ready >= workload.replicas,
            failure=behaviour.failure if not behaviour.starts else self._unfit(workload),
            annotations={"mooring.dev/pod-settings": workload.settings},
        )

    def _unfit(self, workload: Workload) -> str | None:
        return "Unschedulable: Insufficient memory" if workload.rolled_at is None else None

    def _telemetry(self, stable: str | None) -> TelemetryObservation | None:
        workloads = list(self.cluster.workloads.values())
        pods = sum(len(workload.ready(self.now)) for workload in workloads)
        heard = sum(len(self.reached(workload)) for workload in workloads)
        answering = 0 if self.metrics_lost else heard
        up_since = self._up_since or self.now
        if self._round is None and (answering == pods or self.now - up_since <= PATIENCE):
            return None
        return TelemetryObservation(
            at=self._round or NEVER,
            fresh=not self.metrics_lost and answering == pods,
            serving=pods,
            answering=answering,
            routes={
                Revision(w.revision): tuple(pod.route for pod in w.ready(self.now))
                for w in self.cluster.workloads.values()
            },
            phases=dict(self.cluster.phases),
            stable=None if stable is None else Revision(stable),
            labelled=self.cluster.labelled.get(stable or "", LossCounts()),
            coverage=self.coverage,
            drift=self.drift,
            runtime=self._runtime,
        )


def unfit(world: World, resources: Mapping[str, Any]) -> None:
    """From now on no pod starts that has these resources."""
    fields = dict(world.spec or {}) | {"resources": resources}
    world.cluster.unfit.add(settings_hash(wanted_settings(deployment(fields).spec)))
