"""What manifests/install lets the operator do: enough to work, and nothing that it must not."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cluster.installed_rights import account_kubeconfig, installed_account
from tests.cluster.operator_process import start_operator, until
from tests.cluster_tools.cluster import Cluster

ROOT = Path(__file__).parents[2]
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
    ("patch", "httproutes.gateway.networking.k8s.io"),
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
    ("get", "pods"),
    ("get", "namespaces"),
]


@pytest.fixture(scope="module", autouse=True)
def crds(cluster: Cluster) -> None:
    """Our resources are known to the API server."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")


@pytest.fixture
def account(cluster: Cluster, namespace: str) -> Generator[str]:
    """The installed rights, given to an account of the test's namespace; its full user name."""
    with installed_account(cluster, namespace) as user:
        yield user


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
        account_kubeconfig(cluster, namespace, tmp_path), namespace, tmp_path / "operator.log"
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
