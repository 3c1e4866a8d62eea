"""The rights that manifests/install gives the operator, handed to an account of a test's own."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster_tools.cluster import Cluster

ROOT = Path(__file__).parents[2]
NAMESPACE = "mooring-system"
ACCOUNT = "mooring-operator"
KINDS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}

Right = tuple[str, str, str]
"""Verb, `resource.group` or `resource.group/subresource`, the one name that it is for or ""."""


def installed_objects(cluster: Cluster) -> list[dict[str, Any]]:
    """The objects of manifests/install that give rights."""
    text = cluster.kubectl("kustomize", ROOT / "manifests" / "install")
    objects = [item for item in yaml.safe_load_all(text) if item["kind"] in KINDS]
    assert {item["kind"] for item in objects} == KINDS
    return objects


def granted_rights(objects: list[dict[str, Any]]) -> set[Right]:
    """Every verb on every resource that the roles allow."""
    return {
        right
        for item in objects
        if item["kind"] in ("ClusterRole", "Role")
        for rule in item["rules"]
        for right in _expanded(rule)
    }


@contextmanager
def installed_account(cluster: Cluster, namespace: str) -> Generator[str]:
    """An account in `namespace` with the installed rights; its full user name."""
    rights = [_moved(item, namespace) for item in installed_objects(cluster)]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": rights})
    cluster.kubectl("apply", "-f", "-", input=document)
    try:
        yield f"system:serviceaccount:{namespace}:{ACCOUNT}"
    finally:
        own = f"{ACCOUNT}-{namespace}"
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", own)


def account_kubeconfig(
    cluster: Cluster, namespace: str, place: Path, account: str = ACCOUNT
) -> Path:
    """A kubeconfig with nothing but the account's token."""
    token = cluster.kubectl("create", "token", account, "-n", namespace).strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    context = next(c for c in config["contexts"] if c["name"] == config["current-context"])
    context["context"]["user"] = account
    config["users"] = [{"name": account, "user": {"token": token}}]
    path = place / f"{account}.kubeconfig"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return path


def resource_name(group: str, resource: str, subresource: str = "") -> str:
    """`deployments.apps`, `models.mooring.dev/status`, `pods`."""
    full = f"{resource}.{group}" if group else resource
    return f"{full}/{subresource}" if subresource else full


def _expanded(rule: dict[str, Any]) -> Iterator[Right]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            plural, _, subresource = resource.partition("/")
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames", [""]):
                    yield verb, resource_name(group, plural, subresource), name


def _moved(item: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Into another namespace; cluster-wide rights get names of their own."""
    own = f"{ACCOUNT}-{namespace}"
    moved: dict[str, Any] = json.loads(json.dumps(item).replace(NAMESPACE, namespace))
    if moved["kind"].startswith("ClusterRole"):
        moved["metadata"]["name"] = own
        if "roleRef" in moved:
            moved["roleRef"]["name"] = own
    return moved
