"""Who may do what with the pods: no API access, few open ports, no eviction of too many."""

import json

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.core.decision import Manifest, OperatorConfig
from mooring_operator.core.manifests.labels import (
    child,
    deployment_selector,
    revision_selector,
)
from mooring_operator.core.manifests.names import (
    account_name,
    budget_name,
    network_policy_name,
    sync_keys_name,
)
from mooring_operator.core.manifests.traffic import (
    FORWARD_PORT,
    GRPC_PORT,
    HTTP_PORT,
    MANAGEMENT_PORT,
)

SYNC_KEYS_FILE = "keys.json"


def service_account(owner: ModelDeployment) -> Manifest:
    """An account without a token: pods need nothing of the API server."""
    name = account_name(owner.metadata.name)
    return child("v1", "ServiceAccount", name, owner, {"automountServiceAccountToken": False})


def sync_keys(owner: ModelDeployment, config: OperatorConfig) -> Manifest:
    """The public keys that the pods believe, mounted so that a rotation needs no restart."""
    text = json.dumps(list(config.sync_public_keys), separators=(",", ":"))
    name = sync_keys_name(owner.metadata.name)
    return child("v1", "ConfigMap", name, owner, {"data": {SYNC_KEYS_FILE: text}})


def network_policy(owner: ModelDeployment, config: OperatorConfig) -> Manifest:
    """Clients reach 8080 and 9000, the deployment's own pods 8082, the operator 8081.

    The kubelet's probes come from the pod's own node, which no policy blocks.
    """
    deployment = owner.metadata.name
    operator = {"kubernetes.io/metadata.name": config.operator_namespace}
    ingress = [
        _from({"namespaceSelector": {}}, HTTP_PORT, GRPC_PORT),
        _from({"podSelector": {"matchLabels": deployment_selector(deployment)}}, FORWARD_PORT),
        _from({"namespaceSelector": {"matchLabels": operator}}, MANAGEMENT_PORT),
    ]
    spec: Manifest = {
        "podSelector": {"matchLabels": deployment_selector(deployment)},
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }
    name = network_policy_name(deployment)
    return child("networking.k8s.io/v1", "NetworkPolicy", name, owner, {"spec": spec})


def disruption_budget(owner: ModelDeployment, revision: str) -> Manifest:
    """At most one serving pod is evicted at a time; broken ones always may be."""
    spec: Manifest = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": revision_selector(owner.metadata.name, revision)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    name = budget_name(owner.metadata.name)
    return child("policy/v1", "PodDisruptionBudget", name, owner, {"spec": spec})


def _from(peer: Manifest, *ports: int) -> Manifest:
    return {"from": [peer], "ports": [{"protocol": "TCP", "port": port} for port in ports]}
