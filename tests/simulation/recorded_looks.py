"""Looks of the operator, recorded in simulated rollouts: one for each state that they reach.

A look is settled: deciding once more would change nothing. What a person says next is the only
difference that a test makes.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.core.decision import Decision, OperatorConfig
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.rollout.plan import decide
from tests.builders.resources import DEPLOYMENT, NAMESPACE, model, version_status
from tests.simulation.cluster import Behaviour
from tests.simulation.world import LARGE, STEPS, World, unfit

BAD = Behaviour(error_rate=0.15)
BROKEN = Behaviour(starts=False, failure="crash loop")
GATED = {"steps": STEPS, "approval": {"required": True}}


@dataclass(frozen=True)
class Look:
    """What the operator saw at one moment, and the title of the state it was in."""

    title: str
    observation: DeploymentObservation
    config: OperatorConfig
    now: datetime

    def decide(self, **annotations: str) -> Decision[ModelDeploymentStatus]:
        """What is decided when these annotations are set as well; `_` stands for a dash."""
        metadata = self.observation.resource.metadata
        said = {f"mooring.dev/{verb.replace('_', '-')}": v for verb, v in annotations.items()}
        told = metadata.model_copy(update={"annotations": metadata.annotations | said})
        resource = self.observation.resource.model_copy(update={"metadata": told})
        return decide(replace(self.observation, resource=resource), self.config, self.now)

    def with_status(self, status: ModelDeploymentStatus) -> "Look":
        """The same look with another status."""
        resource = self.observation.resource.model_copy(update={"status": status})
        return replace(self, observation=replace(self.observation, resource=resource))

    @property
    def wire(self) -> dict[str, Any]:
        """The ModelDeployment as the API server would return it, defaults filled in."""
        resource = self.observation.resource
        return {
            "metadata": {
                "name": DEPLOYMENT,
                "namespace": NAMESPACE,
                "generation": resource.metadata.generation,
                "annotations": dict(resource.metadata.annotations),
            },
            "spec": resource.spec.to_wire(),
            "status": resource.status.to_wire(),
        }


class RecordingWorld(World):
    """A world that keeps the first settled look of each state."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.looks: dict[str, Look] = {}

    def reconcile(self) -> bool:
        observation = self.observe()
        moved = super().reconcile()
        if not moved:
            title = _title(self)
            self.looks.setdefault(title, Look(title, observation, self.config, self.now))
        return moved


@cache
def recorded_looks() -> tuple[Look, ...]:
    """One look of each state, in the order in which the scenarios reach them."""
    found: dict[str, Look] = {}
    for scenario in _SCENARIOS:
        found = scenario() | found
    return tuple(sorted(found.values(), key=lambda look: look.title))


def look_at(title: str) -> Look:
    """The look of a state by the beginning of its title."""
    return next(look for look in recorded_looks() if look.title.startswith(title))


def _title(world: World) -> str:
    status = world.status
    candidate, desired = status.get("candidate"), status.get("desired")
    shown = "-" if candidate is None else f"{candidate['version']} {candidate['stage']}"
    stable = status.get("stable")
    parts = [
        world.standing,
        f"asked for {'-' if desired is None else desired['version']}",
        f"stable {'-' if stable is None else stable['version']}",
        f"candidate {shown}",
    ]
    spec = world.spec or {}
    flags = [name for name in ("paused",) if spec.get(name)]
    if spec.get("rollout", {}).get("approval", {}).get("required"):
        flags.append("gated")
    return " | ".join([*parts, *flags])


def _serving(behaviours: dict[str, Behaviour] | None = None, **fields: Any) -> RecordingWorld:
    world = RecordingWorld(behaviours)
    world.apply("v1", **fields)
    world.run_until("Ready/Initialized", within=120)
    world.run(20)
    return world


def _good() -> dict[str, Look]:
    world = _serving()
    world.apply("v2")
    world.run_until("Ready/Promoted")
    world.run(20)
    world.apply("v3")
    world.run_until("Reconciling/Analysing")
    world.run(20)
    world.apply("v2")
    world.run(60)
    return world.looks


def _bad() -> dict[str, Look]:
    world = _serving({"v2": BAD})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    world.run(20)
    world.apply("v1")
    world.run_until("Ready/RollbackCleared", within=60)
    world.apply("v2")
    world.run(30)
    return world.looks


def _paused() -> dict[str, Look]:
    world = RecordingWorld()
    world.apply("v1", paused=True)
    world.run(20)
    world.edit(paused=False)
    world.run_until("Ready/Initialized", within=120)
    world.run(20)
    world.apply("v2", paused=True)
    world.run(20)
    world.edit(paused=False)
    world.run(10)
    world.edit(paused=True)
    world.run(40)
    world.edit(paused=False)
    world.run_until("Reconciling/Analysing")
    world.edit(paused=True)
    world.run(20)
    return world.looks


def _undecided() -> dict[str, Look]:
    world = _serving(rollout={"steps": STEPS, "analysis": {"maxDuration": "5m"}})
    world.cluster.traffic.per_tick = 60
    world.apply("v2")
    world.run_until("Stalled/AnalysisUndecided", within=600)
    world.metrics_lost = True
    world.run(60)
    return world.looks


def _gated() -> dict[str, Look]:
    world = RecordingWorld({"v2": BAD})
    world.apply("v1", rollout=GATED)
    world.run(20)
    assert world.status["desired"] is not None
    world.annotate("mooring.dev/approve", world.status["desired"]["revision"])
    world.run_until("Ready/Initialized", within=120)
    world.run(20)
    world.apply("v2")
    world.run(20)
    world.edit(paused=True)
    world.run(20)
    world.edit(paused=False)
    world.annotate("mooring.dev/approve", world.status["desired"]["revision"])
    world.run_until("Stalled/RolledBack")
    world.run(20)
    return world.looks


def _unresolved() -> dict[str, Look]:
    world = _serving()
    world.model = model("v1", "v2", version_status("v3", "Verifying"))
    world.apply("v3")
    world.run(20)
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.model = model("v1", version_status("v2", "Verifying"))
    world.run(20)
    world.model = None
    world.run(40)
    return world.looks


def _broken() -> dict[str, Look]:
    world = RecordingWorld({"v1": BROKEN, "v2": BROKEN})
    world.apply("v1", rollout={"steps": STEPS, "progressDeadline": "1m"})
    world.run(100)
    world.apply("v3")
    world.run_until("Ready/Initialized", within=120)
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    world.foreign = ("Service delays-candidate",)
    world.run(20)
    return world.looks


def _cooling() -> dict[str, Look]:
    world = _serving({"v2": BAD}, rollback={"cooldown": "30m"})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    world.apply("v3")
    world.run(20)
    world.edit(rollback={"budget": {"count": 1, "per": "24h"}})
    world.run(20)
    return world.looks


def _unfit() -> dict[str, Look]:
    world = _serving(rollout={"steps": STEPS, "progressDeadline": "2m"})
    unfit(world, LARGE)
    world.edit(resources=LARGE)
    world.run(200)
    return world.looks


_SCENARIOS = (_good, _bad, _paused, _undecided, _gated, _unresolved, _broken, _cooling, _unfit)
