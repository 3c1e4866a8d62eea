"""Who may make the Secret of the sync key, judged by the real API server for three users."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mooring_operator.io.signing import SECRET_NAME, SECRET_TYPE
from tests.cluster.operator_process import until
from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.errors import ClusterError

POLICY = Path(__file__).resolve().parents[2] / "manifests" / "install" / "sync-key-policy.yaml"
TENANT = ("--as=bert", "--as-group=system:authenticated")


@pytest.fixture
def guarded(cluster: Cluster, namespace: str) -> Generator[str]:
    """A namespace in the place of the operator's, in which a tenant may write Secrets."""
    policy, binding = _renamed(namespace)
    rights = ("--verb=get,create,update,patch,delete", "--resource=secrets")
    cluster.kubectl("create", "role", "editor", "-n", namespace, *rights)
    users = ("--user=bert", f"--serviceaccount={namespace}:mooring-operator")
    cluster.kubectl("create", "rolebinding", "editors", "-n", namespace, "--role=editor", *users)
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, binding]})
    cluster.kubectl("apply", "-f", "-", input=document)
    # The API server takes a moment to compile a new policy.
    until(lambda: _is_refused(cluster, namespace, *TENANT, "--dry-run=server"), 30)
    yield namespace
    cluster.kubectl("delete", "-f", "-", input=document)


def test_nobody_but_operator_and_admin_writes_the_sync_key(cluster: Cluster, guarded: str) -> None:
    assert _is_refused(cluster, guarded, *TENANT)
    cluster.kubectl("create", "secret", "generic", "team-db", "-n", guarded, *TENANT)
    operator = f"--as=system:serviceaccount:{guarded}:mooring-operator"
    assert not _is_refused(cluster, guarded, operator)
    change = ("patch", "secret", SECRET_NAME, "-n", guarded, "--type=merge", "-p")
    planted = json.dumps({"data": {"current": "AAAA"}})
    with pytest.raises(ClusterError, match="bert may not write Secret mooring-sync-key"):
        cluster.kubectl(*change, planted, *TENANT)
    cluster.kubectl(*change, planted)


def _renamed(namespace: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The installed policy and its binding, beside those of an operator that may be installed."""
    policy, binding = yaml.safe_load_all(POLICY.read_text())
    policy["metadata"]["name"] = binding["metadata"]["name"] = f"sync-key-{namespace}"
    binding["spec"]["policyName"] = policy["metadata"]["name"]
    selector = binding["spec"]["matchResources"]["namespaceSelector"]
    assert selector == {"matchLabels": {"kubernetes.io/metadata.name": "mooring-system"}}
    selector["matchLabels"]["kubernetes.io/metadata.name"] = namespace
    return policy, binding


def _is_refused(cluster: Cluster, namespace: str, *arguments: str) -> bool:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET_NAME, "namespace": namespace},
        "type": SECRET_TYPE,
    }
    try:
        cluster.kubectl("create", "-f", "-", *arguments, input=json.dumps(secret))
    except ClusterError as error:
        return "may not write Secret mooring-sync-key" in str(error)
    return False
