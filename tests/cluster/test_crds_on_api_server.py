"""The real API server takes our CRDs, fills in defaults, and refuses bad fields with a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.errors import ClusterError

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="module", autouse=True)
def crds(cluster: Cluster) -> None:
    cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "crds"))
    cluster.kubectl(
        "wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/part-of=mooring"
    )


def model(**spec: Any) -> dict[str, Any]:
    base = {"purpose": "test", "versions": [{"name": "v1", "uri": "s3://b/v1", "digest": DIGEST}]}
    return _object("Model", base | spec)


def deployment(**spec: Any) -> dict[str, Any]:
    return _object("ModelDeployment", {"model": {"name": "m", "version": "v1"}} | spec)


def policy(**spec: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "deployment": {"name": "d"},
        "triggers": [{"name": "drift", "drift": {}}],
        "output": {"uri": "s3://models/retrained"},
    }
    return _object("RetrainPolicy", base | spec)


def _object(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "sample"}
    return {"apiVersion": "mooring.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def apply(cluster: Cluster, namespace: str, document: dict[str, Any]) -> str:
    return cluster.kubectl("apply", "-n", namespace, "-f", "-", input=yaml.safe_dump(document))


BAD = {
    "version without digest": (
        model(versions=[{"name": "v1", "uri": "s3://b/v1"}]),
        "spec.versions[0].digest: Required value",
    ),
    "file URI": (
        model(versions=[{"name": "v1", "uri": "file:///m", "digest": DIGEST}]),
        "file: works on the command line only",
    ),
    "short digest": (
        model(versions=[{"name": "v1", "uri": "s3://b/v1", "digest": "sha256:12"}]),
        "write the package digest that `mooring digest` prints",
    ),
    "two sources for one channel": (
        model(channels=[{"name": "live", "version": "v1", "follow": "Newest"}]),
        "a channel has exactly one of version (pinned) and follow",
    ),
    "the same version twice": (
        model(versions=[{"name": "v1", "uri": "s3://b/1", "digest": DIGEST}] * 2),
        "Duplicate value",
    ),
    "Secret without the prefix": (
        model(versions=[{"name": "v1", "uri": "s3://b/1", "digest": DIGEST, "secretName": "db"}]),
        "name a Secret that starts with mooring-",
    ),
    "neither version nor channel": (
        deployment(model={"name": "m"}),
        "name exactly one of version and channel",
    ),
    "step with shadow and weight": (
        deployment(rollout={"steps": [{"shadow": 100, "weight": 5}]}),
        "a step has exactly one of shadow and weight",
    ),
    "weight of 100": (
        deployment(rollout={"steps": [{"weight": 100}]}),
        "should be less than or equal to 99",
    ),
    "unknown metric": (
        deployment(rollout={"analysis": {"metrics": ["vibes"]}}),
        'supported values: "errors", "invalidOutputs", "latency", "loss"',
    ),
    "duration without a unit": (
        deployment(rollout={"progressDeadline": "10"}),
        "write a duration like 90s, 1h30m or 7d",
    ),
    "trigger of two kinds": (
        policy(triggers=[{"name": "x", "drift": {}, "manual": {}}]),
        "a trigger has exactly one of drift, schedule and manual",
    ),
    "cron of two fields": (
        policy(triggers=[{"name": "x", "schedule": {"cron": "bad cron!!"}}]),
        "spec.triggers[0].schedule.cron",
    ),
    "unknown mode of traffic": (
        deployment(traffic={"mode": "Ratio"}),
        'supported values: "Forward", "Gateway", "BlueGreen"',
    ),
    "weight that blue-green cannot reach": (
        deployment(traffic={"mode": "BlueGreen"}, rollout={"steps": [{"weight": 5}]}),
        "reaches the weights 0 and 100 only",
    ),
    "gateway without a Gateway": (
        deployment(traffic={"mode": "Gateway"}),
        "traffic.gateway and mode Gateway belong together",
    ),
    "a Gateway for another mode": (
        deployment(traffic={"gateway": {"name": "web"}}),
        "traffic.gateway and mode Gateway belong together",
    ),
    "sticky gateway": (
        deployment(
            traffic={"mode": "Gateway", "gateway": {"name": "web"}, "stickyHeader": "x-user-id"}
        ),
        "a Gateway divides requests, not users",
    ),
    "hostname in capitals": (
        deployment(traffic={"mode": "Gateway", "gateway": {"name": "web", "hostnames": ["A.b"]}}),
        "write a hostname like models.example.com",
    ),
    "path without a slash": (
        deployment(traffic={"mode": "Gateway", "gateway": {"name": "web", "pathPrefix": "v2"}}),
        "write a path like /v2/models/flight-delay",
    ),
    "sticky blue-green": (
        deployment(traffic={"mode": "BlueGreen", "stickyHeader": "x-user-id"}),
        "stickyHeader needs mode Forward",
    ),
    "header with a space": (
        deployment(traffic={"stickyHeader": "user id"}),
        "write the name of an HTTP header",
    ),
}


@pytest.mark.parametrize(("document", "sentence"), BAD.values(), ids=BAD.keys())
def test_bad_field_is_refused_with_a_sentence(
    cluster: Cluster, namespace: str, document: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ClusterError) as caught:
        apply(cluster, namespace, document)
    assert sentence in str(caught.value)


def test_unknown_field_is_pruned_with_a_warning_when_a_client_does_not_ask_for_strict_validation(
    cluster: Cluster, namespace: str
) -> None:
    document = deployment(bogus=1)
    cluster.kubectl(
        "apply", "--validate=warn", "-n", namespace, "-f", "-", input=yaml.safe_dump(document)
    )
    stored = json.loads(cluster.kubectl("get", "mdep", "sample", "-n", namespace, "-o", "json"))
    assert "bogus" not in stored["spec"]


def test_new_object_reads_as_in_progress_for_kstatus(cluster: Cluster, namespace: str) -> None:
    for document in (model(), deployment(), policy()):
        apply(cluster, namespace, document)
    for kind in ("mdl", "mdep", "rtp"):
        stored = json.loads(cluster.kubectl("get", kind, "sample", "-n", namespace, "-o", "json"))
        assert stored["status"] == {"observedGeneration": -1}


def test_version_is_immutable(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, model())
    changed = model(versions=[{"name": "v1", "uri": "s3://b/other", "digest": DIGEST}])
    with pytest.raises(ClusterError, match="give the new package a new version name"):
        apply(cluster, namespace, changed)


def test_scale_subresource_sets_replicas(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, deployment())
    cluster.kubectl("scale", "mdep", "sample", "--replicas=3", "-n", namespace)
    replicas = cluster.kubectl(
        "get", "mdep", "sample", "-n", namespace, "-o", "jsonpath={.spec.replicas}"
    )
    assert replicas.strip() == "3"


def test_kinds_answer_to_their_short_names_and_category(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, model())
    assert "model.mooring.dev/sample" in cluster.kubectl(
        "get", "mooring", "-n", namespace, "-o", "name"
    )
