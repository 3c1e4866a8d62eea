"""Services: where clients go, and where stable pods forward a candidate's share to."""

from mooring_operator.api.deployment import ModelDeployment, TrafficMode
from mooring_operator.core.decision import Manifest
from mooring_operator.core.manifests.labels import child, revision_selector
from mooring_operator.core.manifests.names import candidate_service_name, stable_service_name

SERVICE_PORT = 80
"""Where clients and Gateways find HTTP at a Service."""
HTTP_PORT = 8080
MANAGEMENT_PORT = 8081
FORWARD_PORT = 8082
GRPC_PORT = 9000
"""The server's default. It stands in no pod template, neither as an argument (a pinned image may be
older than the option) nor as a container port (which would restart the pods of every revision)."""
NOBODY = "none"
"""Selects no pod: no revision is named like this, since it is no hash."""


def stable_service(owner: ModelDeployment, revision: str) -> Manifest:
    """The Service of the deployment; a promotion or a rollback is a flip of its selector."""
    ports = [
        _port("http", SERVICE_PORT, "http"),
        _port("grpc", GRPC_PORT, GRPC_PORT) | {"appProtocol": "kubernetes.io/h2c"},
        _port("forward", FORWARD_PORT, "forward"),
    ]
    return _service(owner, stable_service_name(owner.metadata.name), revision, ports)


def candidate_service(owner: ModelDeployment, revision: str | None) -> Manifest:
    """The Service of the candidate's pods. Without a revision it has no endpoints.

    It always exists, so that its name resolves the moment that a step gives it traffic. A Gateway
    reaches it as clients reach the stable one.
    """
    ports = [_port("forward", FORWARD_PORT, "forward")]
    if owner.spec.traffic.mode is TrafficMode.GATEWAY:
        ports.insert(0, _port("http", SERVICE_PORT, "http"))
    name = candidate_service_name(owner.metadata.name)
    return _service(owner, name, revision or NOBODY, ports)


def _port(name: str, port: int, target: str | int) -> Manifest:
    return {"name": name, "port": port, "targetPort": target, "protocol": "TCP"}


def _service(owner: ModelDeployment, name: str, revision: str, ports: list[Manifest]) -> Manifest:
    selector = revision_selector(owner.metadata.name, revision)
    spec = {"type": "ClusterIP", "selector": selector, "ports": ports}
    return child("v1", "Service", name, owner, {"spec": spec})
