"""Who may ask for a Gateway: who may make an HTTPRoute himself. Judged by the real API server."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.gateway_policy import REFUSED, gateway_policy, routed
from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.errors import ClusterError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def guarded(cluster: Cluster, namespace: str) -> Generator[str]:
    """A namespace where anna and bert may write ModelDeployments, and anna HTTPRoutes as well.

    The API server need not know HTTPRoutes: rights are words..
    """
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")
    for name, group, resource, users in (
        ("editor", "mooring.dev", "modeldeployments", ("anna", "bert")),
        ("router", "gateway.networking.k8s.io", "httproutes", ("anna",)),
    ):
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": namespace},
            "rules": [{"apiGroups": [group], "resources": [resource], "verbs": ["*"]}],
        }
        cluster.kubectl("create", "-f", "-", input=json.dumps(role))
        bound = ("create", "rolebinding", name, "-n", namespace, f"--role={name}")
        cluster.kubectl(*bound, *(f"--user={user}" for user in users))
    with gateway_policy(cluster, namespace, "bert"):
        yield namespace


def test_gateway_is_asked_for_by_those_alone_who_may_make_routes(
    cluster: Cluster, guarded: str
) -> None:
    def apply(user: str, document: dict[str, Any]) -> None:
        words = ("apply", "-f", "-", "-n", guarded, f"--as={user}")
        cluster.kubectl(*words, input=json.dumps(document))

    def patch(user: str, name: str, **spec: Any) -> None:
        words = ("patch", "mdep", name, "-n", guarded, "--type=merge", f"--as={user}", "-p")
        cluster.kubectl(*words, json.dumps({"spec": spec}))

    plain = routed("plain")
    del plain["spec"]["traffic"]
    apply("bert", plain)
    turned = {"mode": "Gateway", "gateway": {"name": "web"}}
    with pytest.raises(ClusterError, match=f"bert {REFUSED}"):
        patch("bert", "plain", traffic=turned)
    with pytest.raises(ClusterError, match=f"in namespace {guarded}, or set another traffic.mode"):
        apply("bert", routed("routed"))
    apply("anna", routed("routed"))
    for change in (
        {"name": "other"},
        {"namespace": "other"},
        {"sectionName": "other"},
        {"hostnames": ["shop.example.com"]},
        {"pathPrefix": "/v2"},
    ):
        with pytest.raises(ClusterError, match=f"bert {REFUSED}"):
            patch("bert", "routed", traffic={"gateway": change})
    patch("bert", "routed", replicas=3)
    patch("anna", "routed", traffic={"gateway": {"pathPrefix": "/v2"}})
    patch("bert", "routed", traffic={"mode": "Forward", "gateway": None})
    with pytest.raises(ClusterError, match=f"bert {REFUSED}"):
        patch("bert", "routed", traffic=turned)
