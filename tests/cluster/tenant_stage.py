"""The stage of the tenant's attempts: three namespaces, objects of others, an operator, a tenant.

No pod runs: a quota of 0 keeps them out of the tenant's namespace, since objects are what is
judged. Verdicts and the one stable revision are put there by an administrator instead.
"""

import json
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mooring_operator.core.registry.records import verification_record_name
from tests.cluster.gateway_policy import gateway_policy
from tests.cluster.installed_rights import account_kubeconfig, installed_account
from tests.cluster.operator_process import OperatorProcess, start_operator, until
from tests.cluster.tenant_attempts import (
    CONSENTED,
    MODEL,
    OTHER,
    SWAPPED,
    TENANT,
    VERSION,
    VICTIM,
    Attempt,
    Document,
    deployment,
    model,
    version,
)
from tests.cluster.tenant_neighbours import DIGEST, IMAGE, OURS, foreign_objects, placed_in
from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.errors import ClusterError

PLAIN = "d-plain"
CHILDREN = (
    "deployments,replicasets,controllerrevisions,jobs,cronjobs,pods,services,serviceaccounts,"
    "configmaps,secrets,networkpolicies,poddisruptionbudgets,roles,rolebindings,statefulsets,"
    "daemonsets,persistentvolumeclaims,resourcequotas,horizontalpodautoscalers,"
    "httproutes.gateway.networking.k8s.io,gateways.gateway.networking.k8s.io"
)
CLUSTER_WIDE = "clusterroles,clusterrolebindings,namespaces,persistentvolumes"
SETTLED_SECONDS = 2.0
Identity = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass
class Stage:
    """What the attempts are made on."""

    cluster: Cluster
    tenant: str
    victim: str
    home: str
    """The operator's namespace."""
    said: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """What the API server said to each attempt, for people."""

    def make(self, attempt: Attempt) -> None:
        """Applies an attempt's documents as its person."""
        self.said[attempt.what] = [
            self._apply(document, attempt.subresource, attempt.person) for document in attempt.steps
        ]

    def owned(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Objects by the resource of ours, (kind, name), that they belong to in the end."""
        items = self.objects(self.tenant, f"{OURS},{CHILDREN}")
        by_uid = {item["metadata"]["uid"]: item for item in items}
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for item in items:
            root = _root(item, by_uid)
            if root is not item and root["apiVersion"].startswith("mooring.dev/"):
                found.setdefault((root["kind"], root["metadata"]["name"]), []).append(item)
        return found

    def others(self) -> dict[Identity, str]:
        """Every object that belongs to nobody's resource of ours, with what it says."""
        mine = {_identity(item) for items in self.owned().values() for item in items}
        found: dict[Identity, str] = {}
        for namespace in (self.tenant, self.victim, self.home, "kube-system", "default"):
            for item in self.objects(namespace, CHILDREN):
                if _identity(item) not in mine and not _moves_by_itself(item):
                    found[_identity(item)] = _content(item)
        for item in self.objects(self.victim, OURS):
            found[_identity(item)] = json.dumps(item["spec"], sort_keys=True)
        for item in self.objects("", CLUSTER_WIDE):
            if "mooring.dev/test" not in item["metadata"].get("labels", {}):
                found[_identity(item)] = _content(item)
        return found

    def objects(self, namespace: str, kinds: str) -> list[dict[str, Any]]:
        """All objects of some kinds in a namespace, or cluster-wide ones."""
        place = ("-n", namespace) if namespace else ()
        text = self.cluster.kubectl("get", kinds, *place, "-o", "json")
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items

    def free(self) -> None:
        """Takes the finalizers away that the tenant set, which would hold its resources."""
        patch = json.dumps({"metadata": {"finalizers": None}})
        for item in self.objects(self.tenant, OURS):
            if item["metadata"].get("finalizers"):
                name = f"{item['kind']}.mooring.dev/{item['metadata']['name']}"
                self.cluster.kubectl("patch", name, "-n", self.tenant, "--type=merge", "-p", patch)

    def settle(self) -> None:
        """Returns when the operator has looked at everything and makes nothing any more."""
        until(self._looked_at, 60)
        seen, since = self._versions(), time.monotonic()

        def still() -> bool:
            nonlocal seen, since
            now = self._versions()
            if now != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > SETTLED_SECONDS

        until(still, 60)

    def _looked_at(self) -> bool:
        return all(
            item["metadata"]["generation"] == item["status"].get("observedGeneration")
            for item in self.objects(self.tenant, OURS)
        )

    def _versions(self) -> set[tuple[Identity, str]]:
        return {
            (_identity(item), item["metadata"]["uid"])
            for item in self.objects(self.tenant, CHILDREN)
        }

    def _apply(self, document: Document, subresource: str, who: str) -> str:
        text = json.dumps(document).replace(VICTIM, self.victim)
        place = () if "namespace" in document["metadata"] else ("-n", self.tenant)
        person = (f"--as={who}", f"--as-group={who}s")
        if subresource:
            field_ = "spec" if subresource == "scale" else "status"
            patch = json.dumps({field_: json.loads(text)[field_]})
            name = f"{document['kind']}.mooring.dev/{document['metadata']['name']}"
            words = ("patch", name, f"--subresource={subresource}", "--type=merge", "-p", patch)
            text = ""
        else:
            words = ("apply", "--validate=ignore", "-f", "-")
        try:
            return self.cluster.kubectl(*words, *place, *person, input=text).strip()
        except ClusterError as error:
            return str(error).splitlines()[-1]


@contextmanager
def open_stage(cluster: Cluster, folder: Path) -> Generator[Stage]:
    """Everything is there, and one deployment of the tenant serves."""
    suffix = uuid.uuid4().hex[:8]
    stage = Stage(cluster, f"tenant-{suffix}", f"victim-{suffix}", f"home-{suffix}")
    names = (stage.tenant, stage.victim, stage.home)
    for name in names:
        _apply(cluster, _namespace(name, operator=stage.home))
    operator: OperatorProcess | None = None
    try:
        _apply(cluster, *foreign_objects(stage.tenant, stage.victim))
        with (
            installed_account(cluster, stage.home),
            gateway_policy(cluster, stage.tenant, TENANT),
        ):
            operator = start_operator(
                account_kubeconfig(cluster, stage.home, folder),
                stage.home,
                folder / "operator.log",
                environment={
                    "MOORING_WATCH_NAMESPACES": f"{stage.tenant},{stage.victim}",
                    "MOORING_SERVING_IMAGE": IMAGE,
                },
            )
            operator.wait_until_leading()
            _first_scene(stage)
            yield stage
    finally:
        if operator is not None:
            operator.kill()
        stage.free()
        cluster.kubectl("delete", "namespace", *names, "--wait=false")


def _first_scene(stage: Stage) -> None:
    """Verified models, and a deployment of the tenant with a stable revision."""
    stage.make(Attempt("models", "", (model(MODEL, version()), model(SWAPPED, version()))))
    _apply(stage.cluster, placed_in(stage.victim, model(OTHER, version())))
    for namespace, name in (
        (stage.tenant, MODEL),
        (stage.tenant, SWAPPED),
        (stage.victim, OTHER),
    ):
        _record_verdict(stage.cluster, namespace, name)
    log = {"uri": "s3://logs/plain", "secretName": CONSENTED}
    stage.make(Attempt("plain", "", (deployment(PLAIN, predictionLog=log),)))
    until(lambda: bool(_status(stage).get("candidate")), 30)
    candidate = _status(stage)["candidate"]
    stable = {
        key: candidate[key] for key in ("revision", "version", "digest", "uri", "image", "seq")
    }
    stable |= {"since": candidate["startedAt"], "reason": "Initialized"}
    patch = json.dumps({"status": {"stable": stable, "candidate": None}})
    words = ("patch", "mdep", PLAIN, "-n", stage.tenant, "--subresource=status", "--type=merge")
    stage.cluster.kubectl(*words, "-p", patch)
    until(lambda: _status(stage).get("candidate") is None, 30)
    stage.settle()


def _status(stage: Stage) -> dict[str, Any]:
    text = stage.cluster.kubectl("get", "mdep", PLAIN, "-n", stage.tenant, "-o", "json")
    status: dict[str, Any] = json.loads(text).get("status", {})
    return status


def _record_verdict(cluster: Cluster, namespace: str, name: str) -> None:
    """As if a Job had verified the model's one version."""
    uid = cluster.kubectl("get", "mdl", name, "-n", namespace, "-o", "jsonpath={.metadata.uid}")
    owner = {
        "apiVersion": "mooring.dev/v1alpha1",
        "kind": "Model",
        "name": name,
        "uid": uid,
        "controller": True,
    }
    labels = {
        "app.kubernetes.io/managed-by": "mooring",
        "mooring.dev/model": name,
        "mooring.dev/model-version": VERSION,
        "mooring.dev/record": "verification",
    }
    record = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": verification_record_name(name, VERSION, DIGEST),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "data": {"verdict": "Verified", "version": VERSION, "digest": DIGEST},
        "revision": 1,
    }
    _apply(cluster, record)


def _namespace(name: str, *, operator: str) -> Document:
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "mooring.dev/environment": "dev",
        "mooring.dev/operator": operator,
        "mooring.dev/test": "true",
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _apply(cluster: Cluster, *documents: Document) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(listed))


def _root(item: dict[str, Any], by_uid: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The owner of the owner, and so on."""
    for reference in item["metadata"].get("ownerReferences", ()):
        owner = by_uid.get(reference["uid"])
        if reference.get("controller") and owner is not None:
            return _root(owner, by_uid)
    return item


def _identity(item: Mapping[str, Any]) -> Identity:
    metadata = item["metadata"]
    return item["kind"], metadata.get("namespace", ""), metadata["name"]


def _content(item: Mapping[str, Any]) -> str:
    """What an object says, without what Kubernetes itself writes down about it."""
    metadata = {
        key: value
        for key, value in item["metadata"].items()
        if key not in ("resourceVersion", "managedFields", "generation", "creationTimestamp")
    }
    kept = {key: value for key, value in item.items() if key not in ("status", "metadata")}
    return json.dumps(kept | {"metadata": metadata}, sort_keys=True)


def _moves_by_itself(item: Mapping[str, Any]) -> bool:
    """Pods and ReplicaSets of kube-system come and go."""
    return item["metadata"]["namespace"] == "kube-system" and item["kind"] in ("Pod", "ReplicaSet")
