"""What manifests/install lets the operator do: enough to work, and nothing that it must not."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.operator_process import start_operator, until
from tests.cluster_tools.cluster import Cluster

ROOT = Path(__file__).parents[2]
_RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
NEEDED = [
    ("watch", "models.mooring.dev"),
    ("watch", "namespaces"),
    ("watch", "pods"),
    ("patch", "modeldeployments.mooring.dev/status"),
    ("create", "deployments.apps"),
    ("patch", "deployments.apps"),
    ("delete", "deployments.apps"),
    ("patch", "services"),
    ("patch", "serviceaccounts"),
    ("patch", "configmaps"),
    ("patch", "networkpolicies.networking.k8s.io"),
    ("patch", "poddisruptionbudgets.policy"),
    ("create", "jobs.batch"),
    ("delete", "jobs.batch"),
    ("create", "controllerrevisions.apps"),
    ("patch", "events"),
]
FORBIDDEN = [
    ("get", "secrets"),
    ("list", "secrets"),
    ("create", "secrets"),
    ("patch", "models.mooring.dev"),
    ("update", "modeldeployments.mooring.dev"),
    ("delete", "modeldeployments.mooring.dev"),
    ("create", "pods"),
    ("create", "pods/exec"),
    ("create", "roles.rbac.authorization.k8s.io"),
    ("bind", "clusterroles.rbac.authorization.k8s.io"),
    ("escalate", "clusterroles.rbac.authorization.k8s.io"),
    ("impersonate", "users"),
    ("create", "serviceaccounts/token"),
    ("patch", "jobs.batch"),
    ("patch", "controllerrevisions.apps"),
    ("delete", "controllerrevisions.apps"),
    ("delete", "namespaces"),
    ("get", "nodes"),
]


@pytest.fixture(scope="module", autouse=True)
def crds(cluster: Cluster) -> None:
    """Our resources are known to the API server."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")


@pytest.fixture
def account(cluster: Cluster, namespace: str) -> Generator[str]:
    """The installed rights, given to an account of the test's namespace; its full user name."""
    text = cluster.kubectl("kustomize", ROOT / "manifests" / "install")
    moved = yaml.safe_load_all(text.replace("mooring-system", namespace))
    rights = [_renamed(item, namespace) for item in moved if item["kind"] in _RIGHTS]
    assert {item["kind"] for item in rights} == _RIGHTS
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": rights})
    cluster.kubectl("apply", "-f", "-", input=document)
    yield f"system:serviceaccount:{namespace}:mooring-operator"
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", f"mooring-operator-{namespace}")


def _renamed(item: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Cluster-wide rights get names of their own."""
    own = f"mooring-operator-{namespace}"
    if item["kind"].startswith("ClusterRole"):
        item["metadata"]["name"] = own
        if "roleRef" in item:
            item["roleRef"]["name"] = own
    return item


def _review(cluster: Cluster, user: str, verb: str, resource: str, namespace: str) -> bool:
    """One SubjectAccessReview in a team's namespace."""
    place, _, subresource = resource.partition("/")
    plural, _, group = place.partition(".")
    attributes = {
        "verb": verb,
        "resource": plural,
        "group": group,
        "subresource": subresource,
        "namespace": namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = cluster.kubectl("create", "-o", "json", "-f", "-", input=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


def test_operator_may_do_what_it_needs_and_nothing_else(cluster: Cluster, account: str) -> None:
    lacking = [item for item in NEEDED if not _review(cluster, account, *item, "default")]
    excess = [item for item in FORBIDDEN if _review(cluster, account, *item, "default")]
    assert (lacking, excess) == ([], [])


def test_operator_works_with_the_installed_rights_alone(
    cluster: Cluster, namespace: str, account: str, tmp_path: Path
) -> None:
    assert account
    operator = start_operator(
        _kubeconfig(cluster, namespace, tmp_path), namespace, tmp_path / "operator.log"
    )
    try:
        operator.wait_until_leading()
        version = {
            "name": "v1",
            "uri": "https://store.invalid/v1",
            "digest": "sha256:" + "0" * 64,
        }
        model = {
            "apiVersion": "mooring.dev/v1alpha1",
            "kind": "Model",
            "metadata": {"name": "m", "namespace": namespace},
            "spec": {"purpose": "Test the rights", "versions": [version]},
        }
        cluster.kubectl("apply", "-f", "-", input=json.dumps(model))
        until(lambda: _count(cluster, namespace, "jobs") == 1, 20, operator)
        until(lambda: _count(cluster, namespace, "events", "Verifying") >= 1, 20, operator)
        assert operator.page("/livez")[0] == 200
        assert " 403" not in operator.log.read_text()
        assert "forbidden" not in operator.log.read_text()
    finally:
        assert operator.stop() == 0


def _count(cluster: Cluster, namespace: str, resource: str, reason: str = "") -> int:
    items = json.loads(cluster.kubectl("get", resource, "-n", namespace, "-o", "json"))["items"]
    return sum(1 for item in items if not reason or item.get("reason") == reason)


def _kubeconfig(cluster: Cluster, namespace: str, place: Path) -> Path:
    """A kubeconfig with nothing but the account's token."""
    token = cluster.kubectl("create", "token", "mooring-operator", "-n", namespace).strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    context = next(c for c in config["contexts"] if c["name"] == config["current-context"])
    context["context"]["user"] = "operator"
    config["users"] = [{"name": "operator", "user": {"token": token}}]
    path = place / "kubeconfig"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return path
