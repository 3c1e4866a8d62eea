"""Side effects of a decision on the children that the simulated API server holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mooring_operator.core.decision import ChildRef, Manifest
from tests.builders.resources import DEPLOYMENT
from tests.simulation import invariants
from tests.simulation.cluster import Workload

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass(frozen=True)
class Effect:
    """One side effect of a decision."""

    act: Callable[[], None]
    changes: bool
    """Whether the world is different afterwards."""


def application(world: World, manifest: Manifest) -> Effect:
    """Server-side apply of a child."""
    name, kind = manifest["metadata"]["name"], manifest["kind"]
    if kind == "Deployment":
        return _workload(world, name, manifest)
    if kind == "Service":
        revision = manifest["spec"]["selector"]["mooring.dev/revision"]
        before = world.cluster.services.get(name)

        def flip() -> None:
            if name == DEPLOYMENT and (before is None or before in world.cluster.harmed):
                # What was taken away cannot have a successor that is ready already.
                world.cluster.harmed.add(revision)
            if before != revision:
                world.transcript.child(world.now, f"Service {name} -> {revision}")
            world.cluster.services[name] = revision

        return Effect(flip, before != revision)
    if kind == "HTTPRoute":
        return _route(world, name, manifest)
    key = f"{kind} {name}"
    known = key in world.cluster.other_children
    return Effect(lambda: world.cluster.other_children.add(key), not known)


def _route(world: World, name: str, manifest: Manifest) -> Effect:
    gateway = world.cluster.gateway
    shape = gateway.apply(manifest)

    def act() -> None:
        if gateway.shape != shape:
            world.transcript.child(
                world.now, f"HTTPRoute {name} gives {shape.weight}% to the candidate's Service"
            )
        gateway.shape = shape

    return Effect(act, gateway.shape != shape)


def _workload(world: World, name: str, manifest: Manifest) -> Effect:
    replicas = manifest["spec"]["replicas"]
    annotations = manifest["metadata"]["annotations"]
    memory = annotations.get("mooring.dev/memory")
    settings = annotations["mooring.dev/pod-settings"]
    known = world.cluster.workloads.get(name)
    held = None if known is None else (known.replicas, known.memory, known.settings)
    changes = held != (replicas, memory, settings)

    def act() -> None:
        workload = known
        if workload is None:
            container = manifest["spec"]["template"]["spec"]["containers"][0]
            environment = {e["name"]: e.get("value", "") for e in container["env"]}
            workload = Workload(
                manifest["metadata"]["labels"]["mooring.dev/revision"],
                environment["MOORING_VERSION"],
                container["image"],
                world.now,
            )
            world.cluster.workloads[name] = workload
        if workload.replicas != replicas:
            invariants.check_scaling(world, workload, replicas)
            world.transcript.child(
                world.now, f"Deployment {name} {workload.replicas} -> {replicas} pods"
            )
            world.cluster.scale(name, replicas, world.now)
        if workload.settings != settings:
            if workload.settings:
                limits = manifest["spec"]["template"]["spec"]["containers"][0]["resources"]
                world.transcript.child(world.now, f"Deployment {name} pods with {limits}")
            world.cluster.configure(name, settings, world.now)
        workload.memory = memory

    return Effect(act, changes)


def deletion(world: World, ref: ChildRef) -> Effect:
    """A child that is not wanted any more goes."""

    def act() -> None:
        if ref.kind == "HTTPRoute":
            world.transcript.child(world.now, f"HTTPRoute {ref.name} deleted")
            world.cluster.gateway.shape = None
            return
        workload = world.cluster.workloads.pop(ref.name)
        invariants.check_scaling(world, workload, 0)
        world.transcript.child(world.now, f"Deployment {ref.name} deleted")

    return Effect(act, changes=True)
