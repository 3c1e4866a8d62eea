"""A world in which a candidate was promoted, what then befalls it, and how it is read."""

from datetime import timedelta
from typing import Any

from mooring_operator.api.monitoring_status import DriftedFeature, DriftStatus
from tests.simulation.cluster import Behaviour
from tests.simulation.world import World

STEPS = [{"shadow": 100, "minRows": 500}, {"weight": 50, "minRows": 500}]
ROLLOUT: dict[str, Any] = {
    "steps": STEPS,
    "analysis": {"metrics": ["errors"], "margins": {"errors": 0.05, "loss": 0.05}},
    "progressDeadline": "2m",
}
MONITORING: dict[str, Any] = {"interval": "10s", "window": "20s", "drift": {}}
LABELS = {"labels": {"maturity": "10m"}}
FAILING = Behaviour(error_rate=0.3)
CRASH = "container server: Error (exit code 139): segmentation fault"


def promoted(**fields: Any) -> World:
    """A world in which v2 was promoted a minute ago, after v1 had soaked."""
    world = World()
    rollback = {"soak": "1m", "keepWarm": "10m", "cooldown": "0s"} | fields.pop("rollback", {})
    asked = {"rollout": ROLLOUT, "monitoring": MONITORING, "rollback": rollback} | fields
    world.apply("v1", None, **asked)
    world.run_until("Ready/Initialized", within=120)
    world.run(120)
    world.apply("v2")
    world.run_until("Ready/Promoted")
    world.run(60)
    return world


def cold(**fields: Any) -> World:
    """The same, after v1 lost its warm pods."""
    rollback = {"keepWarm": "1m"} | fields.pop("rollback", {})
    world = promoted(rollback=rollback, **fields)
    world.run(60)
    assert len(world.cluster.workloads) == 1
    return world


def changes(world: World, **behaviours: Behaviour) -> None:
    """What versions do changes from now on."""
    for version, behaviour in behaviours.items():
        world.cluster.behaviours[version] = behaviour
    world.happens(f"{', '.join(behaviours)} behave otherwise")


def crashes(world: World, version: str) -> None:
    world.cluster.crash(version, CRASH, world.now)
    world.happens(f"{version} crashes, and again whenever it starts")


def drifts(world: World) -> None:
    """The drift watch of what serves raises its alarm."""
    stable = world.status["stable"]
    feature = DriftedFeature(
        name="dep_delay", kind="shift", effect=0.2, since=world.now - timedelta(seconds=30)
    )
    world.drift = DriftStatus(
        revision=stable["revision"], verdict="Drifted", features=[feature], at=world.now
    )
    world.happens("the inputs drift")


def degrades(world: World) -> None:
    """The quality watch of what serves finds its labelled loss too high."""
    revision = world.status["stable"]["revision"]
    labels = {"verdict": "Degraded", "since": world.now.isoformat(), "loss": 0.4, "limit": 0.2}
    world.status["quality"] = {"revision": revision, "labels": labels}
    world.happens("labels of mature predictions say that v2 became worse")


def versions(world: World) -> tuple[str, list[str]]:
    """What serves, and what is in quarantine."""
    assert world.stable is not None
    return world.stable.version, [e["version"] for e in world.status.get("quarantine", ())]


def probes(world: World) -> list[tuple[str, str]]:
    """Trigger and verdict of the probes of what serves."""
    return [(p["trigger"], p["verdict"]) for p in world.status["stable"].get("probes", ())]


def last(world: World) -> tuple[str, str]:
    """Trigger and reason of the last rollback."""
    rollback = world.status["lastRollback"]
    return rollback["trigger"], rollback["reason"]


def message(world: World, type_: str = "Ready") -> str:
    condition = world.condition(type_)
    assert condition is not None
    return condition["message"]
