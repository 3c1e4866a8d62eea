"""Every sample is taken by the real API server, with strict validation."""

import json
from pathlib import Path

import pytest

from tests.cluster_tools.cluster import Cluster

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
NAMESPACES = "namespace.yaml"


@pytest.fixture(scope="module", autouse=True)
def crds(cluster: Cluster) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")


@pytest.mark.parametrize(
    "sample", [path for path in SAMPLES if path.name != NAMESPACES], ids=lambda path: path.stem
)
def test_sample_is_applied_strictly(cluster: Cluster, namespace: str, sample: Path) -> None:
    cluster.kubectl("apply", "--validate=strict", "-n", namespace, "-f", sample)
    listed = json.loads(cluster.kubectl("get", "-n", namespace, "-f", sample, "-o", "json"))
    kinds = {item["kind"] for item in listed.get("items", [listed])}
    assert kinds


def test_namespaces_sample_is_valid(cluster: Cluster) -> None:
    sample = ROOT / "manifests" / "samples" / NAMESPACES
    told = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", sample)
    assert told.count("namespace/flights-") == 3
