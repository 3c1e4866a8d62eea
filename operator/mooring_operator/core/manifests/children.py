"""All children of a ModelDeployment in the order in which they are applied, and those to delete."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.deployment_status import (
    CandidateStage,
    ModelDeploymentStatus,
    RevisionRef,
)
from mooring_operator.api.group import Annotation
from mooring_operator.core.decision import ChildRef, Manifest, OperatorConfig
from mooring_operator.core.manifests import access, names, traffic
from mooring_operator.core.manifests.route import (
    asked_gateway,
    http_route,
    route_ref,
    wanted_shape,
)
from mooring_operator.core.manifests.workload import workload
from mooring_operator.core.memory import remember
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.pod_settings import settings_hash, wanted_settings, with_settings
from mooring_operator.core.rollout.steps import candidate_replicas, gateway_weight
from mooring_operator.ids import Revision

FLIP = timedelta(seconds=10)
"""How long after a flip the nodes may still lead the stable Service to the former pods. Endpoints
take a second or two; the rest is for a loaded control plane."""
_LET_GO = (CandidateStage.STARTING, CandidateStage.ROLLING_BACK, CandidateStage.WITHDRAWING)
"""Stages in which no client must come to the candidate, whatever share a Gateway still gives it."""


def children_of(
    observation: DeploymentObservation,
    status: ModelDeploymentStatus,
    config: OperatorConfig,
    now: datetime,
) -> tuple[Manifest, ...]:
    """Objects that must exist for this status, pods before the Services that lead to them.

    Names that somebody else's objects occupy are left out: they are not ours to change.
    """
    serving = _serving(status)
    if serving is None:
        return ()
    owner = with_settings(observation.resource, status)
    wanted: tuple[Manifest, ...] = (
        access.service_account(owner),
        access.sync_keys(owner, config),
        access.network_policy(owner, config),
        *_workloads(owner, observation, status, config),
        *_entrance(owner, observation, status, serving, now),
    )
    return tuple(item for item in wanted if _described(item) not in observation.foreign)


def _entrance(
    owner: ModelDeployment,
    observation: DeploymentObservation,
    status: ModelDeploymentStatus,
    serving: RevisionRef,
    now: datetime,
) -> tuple[Manifest, ...]:
    """The Services, the route between them, and the budget of what serves.

    What clients come to stays as it is while the first revision starts beside another one that has
    ready pods: after a lost status and memory they are led there, and would find no pod here.
    """
    second = traffic.candidate_service(owner, _second(owner, status, now))
    if status.stable is None and _others_ready(observation, serving):
        return (second,) if asked_gateway(owner.spec) is None else ()
    return (
        access.disruption_budget(owner, serving.revision),
        traffic.stable_service(owner, serving.revision),
        second,
        *_route(owner, observation, status),
    )


def _others_ready(observation: DeploymentObservation, serving: RevisionRef) -> bool:
    others = (s for s in observation.revisions.values() if s.revision != serving.revision)
    return any(seen.ready for seen in others)


def flip_ends(status: ModelDeploymentStatus) -> datetime | None:
    """Until when retired pods may need the candidate's Service to find stable; None: no more."""
    if status.stable is None or status.retired is None:
        return None
    return status.stable.since + FLIP


def _route(
    owner: ModelDeployment, observation: DeploymentObservation, status: ModelDeploymentStatus
) -> Iterator[Manifest]:
    """The HTTPRoute, after the Services that it names; where the API server has such."""
    weight = gateway_weight(status, owner.spec)
    shape = wanted_shape(owner.spec, owner.metadata.namespace, weight)
    if shape is not None and observation.gateway_api:
        yield http_route(owner, shape)


def _second(owner: ModelDeployment, status: ModelDeploymentStatus, now: datetime) -> str | None:
    """The revision behind the candidate's Service.

    In mode Gateway never nobody: where a Gateway is slow to follow, its requests still find pods.
    """
    if asked_gateway(owner.spec) is None:
        return _needed(status, now)
    candidate, stable = status.candidate, status.stable
    if candidate is not None and candidate.stage in _LET_GO and stable is not None:
        return stable.revision
    serving = _serving(status)
    return _needed(status, now) or (None if serving is None else serving.revision)


def _needed(status: ModelDeploymentStatus, now: datetime) -> str | None:
    """Whom stable pods, or those that a flip left, must find there; None: nobody.

    A candidate if there is one. Without one, the former stable revision while it is warm: after
    a flip back to it, its own pods are reached by this Service before the nodes lead the stable one
    there. Right after a flip it therefore stays with the revision that was flipped to.
    """
    if status.stable is None:
        return None
    if status.candidate is not None:
        return status.candidate.revision
    ends = flip_ends(status)
    if ends is None or status.retired is None:
        return None
    # What a rollback left is no way back: its pods only hand over, to the end.
    flipping = now < ends or status.retired.rolled_back
    return (status.stable if flipping else status.retired).revision


def obsolete(
    observation: DeploymentObservation,
    status: ModelDeploymentStatus,
    config: OperatorConfig,
    now: datetime,
) -> tuple[ChildRef, ...]:
    """Deployments of revisions that nothing needs any more, and a route that nobody asks for.

    While the first revision starts beside others that have ready pods, all stay: after a lost
    status and memory one of them is what clients come to. Before it, all stay as well: what has no
    pod now may have some soon. What pods still forward to stays until they do not.
    """
    serving = _serving(status)
    if serving is None:
        return ()
    live = {ref.revision for ref in live_revisions(status)}
    live |= still_forwarded_to(observation, status, config, now)
    spared = status.stable is None and _others_ready(observation, serving)
    deployment = observation.resource.metadata.name
    unasked = observation.route is not None and asked_gateway(observation.resource.spec) is None
    return (
        *(
            names.workload(deployment, seen.revision)
            for seen in sorted(observation.revisions.values(), key=lambda seen: seen.revision)
            if seen.revision not in live and not spared
        ),
        *((route_ref(deployment),) if unasked else ()),
    )


def still_forwarded_to(
    observation: DeploymentObservation,
    status: ModelDeploymentStatus,
    config: OperatorConfig,
    now: datetime,
) -> set[Revision]:
    """Revisions without a role that a pod forwards to, as it said itself.

    Only a lost status and memory leave such, beside what is the first revision then; what a pod
    was told before lapses by itself.
    """
    telemetry, stable = observation.telemetry, status.stable
    if telemetry is None or stable is None or stable.reason != Reason.INITIALIZED:
        return set()
    if now - stable.since >= config.sync_ttl:
        return set()
    told = (route for routes in telemetry.routes.values() for route in routes if route is not None)
    targets = {
        route.candidate_revision
        for route in told
        if route.candidate_revision is not None and (route.weight_percent or route.shadow_percent)
    }
    roles = {Revision(ref.revision) for ref in live_revisions(status)}
    return (targets & set(observation.revisions)) - roles


def live_revisions(status: ModelDeploymentStatus) -> tuple[RevisionRef, ...]:
    """Revisions that have pods: stable, candidate, the former one while warm, and a kept one.

    A kept revision that is still retired has all its pods until it is not.
    """
    roles = (status.stable, status.candidate, status.retired, status.kept)
    found = {ref.revision: ref for ref in reversed(roles) if ref is not None}
    return tuple(ref for ref in roles if ref is not None and found[ref.revision] is ref)


def _serving(status: ModelDeploymentStatus) -> RevisionRef | None:
    """The revision that clients reach: stable, or the first one while it starts."""
    return status.stable or status.candidate


def _workloads(
    owner: ModelDeployment,
    observation: DeploymentObservation,
    status: ModelDeploymentStatus,
    config: OperatorConfig,
) -> Iterator[Manifest]:
    settings = settings_hash(wanted_settings(owner.spec))
    for ref in live_revisions(status):
        replicas = owner.spec.replicas
        candidate = status.candidate
        if candidate is not None and ref is candidate:
            replicas = candidate_replicas(owner.spec, candidate)
        if ref is status.kept:
            replicas = 1
        annotations = {Annotation.POD_SETTINGS.value: settings}
        if ref is status.stable:
            annotations[Annotation.MEMORY.value] = remember(status)
        yield workload(
            owner,
            ref,
            config,
            environment=observation.environment,
            replicas=replicas,
            annotations=annotations,
        )


def _described(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"
