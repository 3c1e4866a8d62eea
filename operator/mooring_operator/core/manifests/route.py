"""The HTTPRoute of a deployment: two Services, and how a Gateway divides requests between them.

It has no RequestMirror filter, which the Gateway API calls extended: a Gateway without it answers
every request of such a rule with an error (ADR 12). Stable pods mirror.
"""

from mooring_operator.api.deployment import ModelDeployment, ModelDeploymentSpec, TrafficMode
from mooring_operator.api.gateway import GatewayReference
from mooring_operator.core.decision import ChildRef, Manifest
from mooring_operator.core.manifests.labels import child
from mooring_operator.core.manifests.names import (
    candidate_service_name,
    route_name,
    stable_service_name,
)
from mooring_operator.core.manifests.traffic import SERVICE_PORT
from mooring_operator.core.observation import RouteShape

GATEWAY_GROUP = "gateway.networking.k8s.io"
ROUTE_API = f"{GATEWAY_GROUP}/v1"
ROUTE_KIND = "HTTPRoute"


def asked_gateway(spec: ModelDeploymentSpec) -> GatewayReference | None:
    """The Gateway that divides the requests; None: none does."""
    return spec.traffic.gateway if spec.traffic.mode is TrafficMode.GATEWAY else None


def wanted_shape(spec: ModelDeploymentSpec, namespace: str, weight: int) -> RouteShape | None:
    """What the route must say; None where no Gateway divides.

    Args:
        spec: what people declared.
        namespace: of the deployment, and of a Gateway without a namespace.
        weight: percent of the requests that the candidate's Service gets.
    """
    gateway = asked_gateway(spec)
    if gateway is None:
        return None
    return RouteShape(
        gateway=gateway.name,
        namespace=gateway.namespace or namespace,
        section=gateway.section_name or "",
        hostnames=tuple(gateway.hostnames),
        path_prefix=gateway.path_prefix,
        weight=weight,
    )


def http_route(owner: ModelDeployment, shape: RouteShape) -> Manifest:
    """The route as an object."""
    deployment = owner.metadata.name
    parent = {
        "group": GATEWAY_GROUP,
        "kind": "Gateway",
        "name": shape.gateway,
        "namespace": shape.namespace,
    }
    if shape.section:
        parent["sectionName"] = shape.section
    rule: Manifest = {
        "matches": [{"path": {"type": "PathPrefix", "value": shape.path_prefix}}],
        "backendRefs": [
            _backend(stable_service_name(deployment), 100 - shape.weight),
            _backend(candidate_service_name(deployment), shape.weight),
        ],
    }
    spec: Manifest = {"parentRefs": [parent], "rules": [rule]}
    if shape.hostnames:
        spec["hostnames"] = list(shape.hostnames)
    return child(ROUTE_API, ROUTE_KIND, route_name(deployment), owner, {"spec": spec})


def route_ref(deployment: str) -> ChildRef:
    """The route, as a reference."""
    return ChildRef(ROUTE_API, ROUTE_KIND, route_name(deployment))


def _backend(service: str, weight: int) -> Manifest:
    return {
        "group": "",
        "kind": "Service",
        "name": service,
        "port": SERVICE_PORT,
        "weight": weight,
    }
