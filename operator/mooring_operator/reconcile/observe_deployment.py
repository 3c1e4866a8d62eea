"""What a decision about a ModelDeployment reads, gathered from the cache and from sync."""

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.group import API_VERSION, Annotation, Kind, Label
from mooring_operator.api.model import Model
from mooring_operator.core.decision import Manifest
from mooring_operator.core.manifests.names import route_name
from mooring_operator.core.manifests.route import ROUTE_KIND
from mooring_operator.core.observation import (
    DeploymentObservation,
    RevisionObservation,
    RouteObservation,
    TelemetryObservation,
)
from mooring_operator.ids import ObjectKey, Revision
from mooring_operator.io.fields import mapping_at, number_at, objects_at, text_at
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.links import key_of
from mooring_operator.reconcile.observe_route import observe_route
from mooring_operator.reconcile.parse import (
    controller_uid,
    is_condition_true,
    is_going,
    parsed,
    parsed_or_none,
    time_at,
)
from mooring_operator.reconcile.pod_reports import failure_of, has_label


def observe_deployment(
    cache: Cache,
    manifest: Manifest,
    *,
    foreign: tuple[str, ...],
    telemetry: TelemetryObservation | None,
) -> DeploymentObservation:
    """The observation.

    Raises:
        Unparsable: the ModelDeployment does not fit our types.
    """
    resource = parsed(ModelDeployment, manifest)
    key = key_of(manifest)
    workloads = [
        item
        for item in cache.linked("Deployment", key)
        if controller_uid(item) == resource.metadata.uid and not is_going(item)
    ]
    workloads.sort(key=lambda item: time_at(item, "metadata", "creationTimestamp"))
    pods = cache.linked("Pod", key)
    seen = (_revision(item, pods) for item in workloads)
    memories = (
        text_at(item, "metadata", "annotations", Annotation.MEMORY.value) for item in workloads
    )
    namespace = cache.get(ObjectKey("Namespace", "", key.namespace))
    model_key = ObjectKey(Kind.MODEL.value, key.namespace, resource.spec.model.name)
    return DeploymentObservation(
        resource=resource,
        environment=text_at(namespace, "metadata", "labels", Label.ENVIRONMENT.value) or None,
        model=parsed_or_none(Model, cache.get(model_key)),
        revisions={item.revision: item for item in seen if item.revision},
        memory=next((text for text in reversed(list(memories)) if text), None),
        telemetry=telemetry,
        foreign=foreign,
        rivals=_rivals(cache, key.namespace, foreign),
        gateway_api=cache.serves(ROUTE_KIND),
        route=_route(cache, key, resource.metadata.uid),
    )


def _rivals(cache: Cache, namespace: str, foreign: tuple[str, ...]) -> dict[str, str]:
    """Which objects of ours control those of the foreign children that we know."""
    found: dict[str, str] = {}
    for child in foreign:
        kind, _, name = child.partition(" ")
        live = cache.get(ObjectKey(kind, namespace, name))
        for reference in objects_at(live, "metadata", "ownerReferences"):
            ours = text_at(reference, "apiVersion") == API_VERSION
            if ours and reference.get("controller") is True:
                found[child] = f"{text_at(reference, 'kind')} {text_at(reference, 'name')}"
    return found


def _route(cache: Cache, key: ObjectKey, uid: str) -> RouteObservation | None:
    live = cache.get(ObjectKey(ROUTE_KIND, key.namespace, route_name(key.name)))
    if live is None or is_going(live) or controller_uid(live) != uid:
        return None
    return observe_route(live)


def _revision(workload: Manifest, pods: tuple[Manifest, ...]) -> RevisionObservation:
    revision = Revision(text_at(workload, "metadata", "labels", Label.REVISION.value))
    # Until the controller has seen our last change, its counts speak of the old template.
    current = number_at(workload, "status", "observedGeneration") >= number_at(
        workload, "metadata", "generation"
    )
    annotations = mapping_at(workload, "metadata", "annotations")
    return RevisionObservation(
        revision=revision,
        created_at=time_at(workload, "metadata", "creationTimestamp"),
        replicas=number_at(workload, "spec", "replicas"),
        ready=number_at(workload, "status", "readyReplicas"),
        updated=number_at(workload, "status", "updatedReplicas") if current else 0,
        available=current and is_condition_true(workload, "Available"),
        failure=_cannot_create(workload)
        or failure_of(pod for pod in pods if has_label(pod, Label.REVISION.value, revision)),
        annotations={name: str(value) for name, value in annotations.items()},
    )


def _cannot_create(workload: Manifest) -> str | None:
    """Why no pod can even be made: quota, admission, a missing ServiceAccount."""
    if not is_condition_true(workload, "ReplicaFailure"):
        return None
    for item in objects_at(workload, "status", "conditions"):
        if text_at(item, "type") == "ReplicaFailure":
            return f"{text_at(item, 'reason')}: {text_at(item, 'message')}"
    return None
