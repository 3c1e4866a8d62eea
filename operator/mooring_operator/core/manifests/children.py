"""All children of a ModelDeployment in the order in which they are applied, and those to delete."""

from collections.abc import Iterator

from mooring_operator.api.deployment_status import (
    ModelDeploymentStatus,
    RevisionRef,
)
from mooring_operator.api.group import Annotation
from mooring_operator.core.decision import ChildRef, Manifest, OperatorConfig
from mooring_operator.core.manifests import access, names, traffic
from mooring_operator.core.manifests.workload import workload
from mooring_operator.core.memory import remember
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.rollout.steps import candidate_replicas


def children_of(
    observation: DeploymentObservation, status: ModelDeploymentStatus, config: OperatorConfig
) -> tuple[Manifest, ...]:
    """Objects that must exist for this status, pods before the Services that lead to them.

    Names that somebody else's objects occupy are left out: they are not ours to change.
    """
    serving = _serving(status)
    if serving is None:
        return ()
    owner = observation.resource
    candidate = status.candidate
    analysed = candidate.revision if candidate is not None and status.stable is not None else None
    wanted: tuple[Manifest, ...] = (
        access.service_account(owner),
        access.sync_keys(owner, config),
        access.network_policy(owner, config),
        *_workloads(observation, status, config),
        access.disruption_budget(owner, serving.revision),
        traffic.stable_service(owner, serving.revision),
        traffic.candidate_service(owner, analysed),
    )
    return tuple(item for item in wanted if _described(item) not in observation.foreign)


def obsolete(
    observation: DeploymentObservation, status: ModelDeploymentStatus
) -> tuple[ChildRef, ...]:
    """Deployments of revisions that nothing needs any more.

    While the first revision starts, others that still have ready pods stay: after a lost status
    and memory they may be what serves.
    """
    live = {ref.revision for ref in live_revisions(status)}
    starting = status.stable is None
    deployment = observation.resource.metadata.name
    return tuple(
        names.workload(deployment, seen.revision)
        for seen in sorted(observation.revisions.values(), key=lambda seen: seen.revision)
        if seen.revision not in live and not (starting and seen.ready)
    )


def live_revisions(status: ModelDeploymentStatus) -> tuple[RevisionRef, ...]:
    """Revisions that have pods: stable, candidate, and the former stable one while warm."""
    roles = (status.stable, status.candidate, status.retired)
    return tuple(ref for ref in roles if ref is not None)


def _serving(status: ModelDeploymentStatus) -> RevisionRef | None:
    """The revision that clients reach: stable, or the first one while it starts."""
    return status.stable or status.candidate


def _workloads(
    observation: DeploymentObservation, status: ModelDeploymentStatus, config: OperatorConfig
) -> Iterator[Manifest]:
    owner = observation.resource
    for ref in live_revisions(status):
        replicas = owner.spec.replicas
        candidate = status.candidate
        if candidate is not None and ref is candidate:
            replicas = candidate_replicas(owner.spec, candidate)
        annotations = {Annotation.MEMORY.value: remember(status)} if ref is status.stable else {}
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
