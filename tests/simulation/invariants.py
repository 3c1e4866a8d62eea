"""What must hold after every tick and every decision: P1 to P9 of the design, and kstatus.

P1 no decision writes a spec. P2 a quarantined revision gets no traffic. P3 at most one candidate.
P4 weight only with ready pods. P5 every crash point converges (its own test). P6 looking again
changes nothing. P8 the status reads as kstatus expects. P9 a revert ends Ready (its own test).
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.core.decision import Decision, RouteRole
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.rollout.plan import decide
from mooring_operator.ids import Revision
from tests.builders.resources import DEPLOYMENT
from tests.contract.kstatus_rules import ALWAYS_ON_DEPLOYMENT, kstatus, violations
from tests.simulation.census import note_state

if TYPE_CHECKING:
    from tests.simulation.cluster import Workload
    from tests.simulation.world import World

EXPECTED = {"Ready": "Current", "Reconciling": "InProgress", "Stalled": "Failed"}
"""What kstatus must compute for each standing."""


def check_decision(
    world: World, observation: DeploymentObservation, decision: Decision[ModelDeploymentStatus]
) -> None:
    """Every decision: idempotent, at most one candidate, weight only towards ready pods."""
    wire = decision.status.to_wire()
    note_state(observation, world.config, world.now)
    again = decide(
        replace(observation, resource=_with_status(observation, wire)), world.config, world.now
    )
    assert again.status.to_wire() == wire, "P6: a second look at the same world changed the status"
    assert again.children == decision.children, "P6: a second look changed the children"
    assert again.routes == decision.routes, "P6: a second look changed the routes"
    assert not again.events, f"P6: a second look posted {again.events}"
    check_role(observation, decision)
    candidates = {r.candidate_revision for r in decision.routes.values() if r.candidate_revision}
    roles = [route.role for route in decision.routes.values()]
    assert len(candidates) <= 1, "P3: more than one candidate is routed to"
    assert roles.count(RouteRole.CANDIDATE) <= 1, "P3: more than one revision is a candidate"
    quarantined = {entry.revision for entry in decision.status.quarantine}
    told = {revision: route.role for revision, route in decision.routes.items()}
    answering = {revision for revision, role in told.items() if role is not RouteRole.RETIRED}
    assert not answering & quarantined, "P2: a quarantined revision is told to answer"
    check_route(observation, decision, quarantined)
    for route in decision.routes.values():
        if route.weight_percent or route.shadow_percent:
            assert route.candidate_revision is not None
            pods = observation.revisions.get(route.candidate_revision)
            assert pods is not None, "P4: weight without a Deployment"
            assert pods.ready > 0, "P4: weight without a ready pod"
            check_rise(observation, pods.ready, route.weight_percent)
            assert route.candidate_revision not in quarantined, "P2: a quarantined route"


def check_route(
    observation: DeploymentObservation,
    decision: Decision[ModelDeploymentStatus],
    quarantined: set[str],
) -> None:
    """A Gateway is led to ready pods alone, and nothing counts before it is known to follow."""
    candidate = decision.status.candidate
    for manifest in decision.children:
        if manifest["kind"] != "HTTPRoute":
            continue
        weight = manifest["spec"]["rules"][0]["backendRefs"][1]["weight"]
        if weight:
            assert candidate is not None
            pods = observation.revisions.get(Revision(candidate.revision))
            assert pods is not None, "P4: a Gateway's weight without a Deployment"
            assert pods.ready > 0, "P4: a Gateway's weight without a ready pod"
            check_rise(observation, pods.ready, weight)
            assert candidate.revision not in quarantined, "P2: a quarantined route"
    counting = [
        route
        for route in decision.routes.values()
        if route.role is RouteRole.CANDIDATE and route.phase is not None
    ]
    seen = observation.route
    assert not counting or (seen is not None and seen.accepted and seen.shape.weight > 0), (
        "counted for a weight that the Gateway is not known to follow"
    )


def check_rise(observation: DeploymentObservation, ready: int, weight: int) -> None:
    """A weight that was never given before needs as many ready pods as its share of all."""
    before = observation.resource.status.candidate
    if before is not None and before.probe is None and weight > (before.weight_reached or 0):
        least = ceil(observation.resource.spec.replicas * weight / 100)
        assert ready >= least, f"P4: weight {weight}% with {ready} of {least} pods"


def check_role(
    observation: DeploymentObservation, decision: Decision[ModelDeploymentStatus]
) -> None:
    """The stable role moves only to pods that are there: as many as serve now, or as are wanted."""
    before, after = observation.resource.status.stable, decision.status.stable
    if before is None or after is None or before.revision == after.revision:
        return
    ready = {seen.revision: seen.ready for seen in observation.revisions.values()}
    taken, left = ready.get(Revision(after.revision), 0), ready.get(Revision(before.revision), 0)
    assert taken > 0, "P4: the stable role moved to no ready pod"
    least = min(left, observation.resource.spec.replicas)
    assert taken >= least, f"the stable role moved from {left} ready pods to {taken}"


def check_scaling(world: World, workload: Workload, replicas: int) -> None:
    """Capacity falls only after weight has moved."""
    if replicas >= workload.replicas and replicas > 0:
        return
    for other in world.cluster.workloads.values():
        for pod in other.ready(world.now):
            route = pod.effective(world.now, world.cluster.ttl)
            if route.candidate_revision != workload.revision:
                continue
            used = route.weight_percent or route.shadow_percent
            assert replicas or not used, "pods were dropped while they still got traffic"
            check_enough(world, replicas, route.weight_percent)
    if world.cluster.services.get(f"{DEPLOYMENT}-candidate") == workload.revision:
        check_enough(world, replicas, world.cluster.gateway.weight)
    serving = world.cluster.services.get(DEPLOYMENT)
    assert replicas or serving != workload.revision, "the serving revision was dropped"


def check_enough(world: World, replicas: int, weight: int) -> None:
    """Fewer pods are still as many as their share of the requests needs."""
    least = ceil(world.resource.spec.replicas * weight / 100)
    assert replicas >= least, f"{replicas} pods were left to {weight}% of the requests"


def check_traffic(world: World) -> None:
    """No client fails once something was stable, and nothing quarantined answers."""
    by_candidate = world.cluster.traffic.by_candidate
    before: dict[str, int] = world.__dict__.setdefault("answered_before", {})
    moved = {r for r, n in by_candidate.items() if n != before.get(r, 0)}
    before.update(by_candidate)
    quarantined = {entry["revision"] for entry in world.status.get("quarantine", ())}
    assert not moved & quarantined, f"P2: quarantined revisions answered: {moved & quarantined}"
    lost = world.cluster.traffic.failed - world.cluster.traffic.excused
    last = "\n".join(world.transcript.lines[-12:])
    assert not lost, f"{lost} requests failed although nobody took the pods away\n{last}"


def check_status(world: World) -> None:
    """The stored status reads as it should, for every tool."""
    if world.status.get("observedGeneration") == -1:
        return
    broken = violations(world.status, world.generation, ALWAYS_ON_DEPLOYMENT)
    assert not broken, f"P8: {broken}"
    standing = world.standing.split("/")[0]
    if world.status["observedGeneration"] == world.generation:
        assert kstatus(world.status, world.generation) == EXPECTED[standing], "P8"
    desired, stable = world.status.get("desired"), world.status.get("stable")
    if standing == "Ready":
        assert desired is not None
        assert stable is not None
        assert desired["revision"] == stable["revision"], "Ready while another revision is desired"
        assert world.status.get("candidate") is None, "Ready with a candidate"
    most = 3 + (world.status.get("kept") is not None)
    assert len(world.cluster.workloads) <= most, "more Deployments than roles"


def _with_status(observation: DeploymentObservation, wire: dict[str, Any]) -> Any:
    status = ModelDeploymentStatus.model_validate(wire)
    return observation.resource.model_copy(update={"status": status})
