"""The installed policy on who may ask for a Gateway, made to hold in a test's namespace alone."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.operator_process import until
from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.errors import ClusterError

POLICY = Path(__file__).resolve().parents[2] / "manifests" / "install" / "gateway-policy.yaml"
REFUSED = "may not set spec.traffic.gateway"


@contextmanager
def gateway_policy(cluster: Cluster, namespace: str, user: str) -> Generator[None]:
    """The policy, from the moment that it refuses `user`, who may write ModelDeployments there."""
    policy, binding = yaml.safe_load_all(POLICY.read_text())
    policy["metadata"]["name"] = binding["metadata"]["name"] = f"gateway-{namespace}"
    binding["spec"]["policyName"] = policy["metadata"]["name"]
    assert "matchResources" not in binding["spec"], "installed, it holds in every namespace"
    binding["spec"]["matchResources"] = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    }
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, binding]})
    cluster.kubectl("apply", "-f", "-", input=document)
    try:
        # The API server takes a moment to compile a new policy.
        until(lambda: REFUSED in _refusal(cluster, namespace, user), 30)
        yield
    finally:
        cluster.kubectl("delete", "-f", "-", input=document)


def routed(name: str, **gateway: Any) -> dict[str, Any]:
    """A deployment that asks for a Gateway."""
    return {
        "apiVersion": "mooring.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {
            "model": {"name": "m", "version": "v1"},
            "traffic": {"mode": "Gateway", "gateway": {"name": "web"} | gateway},
        },
    }


def _refusal(cluster: Cluster, namespace: str, user: str) -> str:
    """What a user is told who would create such a deployment; empty: it is admitted."""
    document = json.dumps(routed("asked"))
    words = ("create", "-f", "-", "-n", namespace, "--dry-run=server", f"--as={user}")
    try:
        cluster.kubectl(*words, input=document)
    except ClusterError as error:
        return str(error)
    return ""
