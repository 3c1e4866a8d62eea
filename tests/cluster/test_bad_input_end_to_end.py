"""Bad packages and bad requests: a reason, the object, a remedy, and the stable revision serves."""

import json
import pickle
import shutil
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from mooring_model.manifest import Format, package_digest, write_manifest
from mooring_model.stores.s3 import filesystem
from tests.cluster.operator_process import start_operator
from tests.cluster.small_model import (
    MODEL,
    Fleet,
    build_fleet,
    deployment_manifest,
    model_manifest,
    open_namespace,
    requests,
)
from tests.cluster_tools.cluster import Cluster
from tests.demo.resources import Version
from tests.demo.setting import environment, open_store, service_url
from tests.demo.world import World, condition, is_true

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def fleet(cluster: Cluster, images: object, packages: Path) -> Fleet:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")
    return build_fleet(cluster, packages)


@pytest.fixture
def world(cluster: Cluster, namespace: str, fleet: Fleet, tmp_path: Path) -> Generator[World]:
    open_namespace(cluster, namespace, fleet.store)
    single = {"MOORING_LEADER_ELECTION": "false"}
    operator = start_operator(
        cluster.kubeconfig, namespace, tmp_path / "operator.log", environment=single
    )
    yield World(cluster)
    operator.kill()


def broken_versions(cluster: Cluster, packages: Path, fleet: Fleet, folder: Path) -> list[Version]:
    """One version for each way in which a store can hold the wrong thing."""
    good = fleet.versions["v3"]
    _, outside = open_store(cluster)
    corrupt = folder / "corrupt"
    shutil.copytree(packages / "v3", corrupt)
    model = corrupt / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    disguised = folder / "disguised"
    shutil.copytree(packages / "v3", disguised)
    (disguised / "manifest.json").unlink()
    (disguised / "model.onnx").write_bytes(pickle.dumps({"a": 1}))
    manifest = write_manifest(
        disguised, model=MODEL, format_=Format.ONNX, created_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    with environment(outside.environment()):
        for source in (corrupt, disguised):
            filesystem().put(
                f"{source}/", f"models/broken/{folder.name}/{source.name}/", recursive=True
            )
    base = f"s3://models/broken/{folder.name}"
    return [
        Version("missing", f"{base}/nowhere", good.digest),
        Version("other", fleet.versions["v1"].uri, good.digest),
        Version("corrupt", f"{base}/corrupt", good.digest),
        Version("disguised", f"{base}/disguised", package_digest(manifest)),
    ]


def test_broken_versions_are_refused_by_name_while_stable_serves(
    cluster: Cluster, world: World, namespace: str, fleet: Fleet, packages: Path, tmp_path: Path
) -> None:
    world.apply(model_manifest(namespace, [fleet.versions["v1"]]))
    world.apply(deployment_manifest(namespace, {"version": "v1"}))
    world.wait("mdep", MODEL, namespace, until=lambda seen: is_true(seen, "Ready"),
               what="Ready with v1", seconds=SECONDS)  # fmt: skip
    broken = broken_versions(cluster, packages, fleet, tmp_path)
    world.apply(model_manifest(namespace, [fleet.versions["v1"], *broken]))
    expected = {
        "v1": "",
        "missing": "PackageNotFound",
        "other": "DigestMismatch",
        "corrupt": "FileCorrupt",
        "disguised": "PickleRefused",
    }

    def judged(seen: dict[str, Any]) -> bool:
        phases = {v["name"]: v["phase"] for v in seen["status"].get("versions", [])}
        return len(phases) == len(expected) and set(phases.values()) <= {"Verified", "Refused"}

    model = world.wait("mdl", MODEL, namespace, until=judged, what="a verdict on every version",
                       seconds=SECONDS)  # fmt: skip
    assert {v["name"]: v.get("reason", "") for v in model["status"]["versions"]} == expected
    stalled = condition(model, "Stalled")
    assert stalled["reason"] == "VersionRefused"
    assert "missing" in stalled["message"]

    world.apply(deployment_manifest(namespace, {"version": "missing"}))
    deployment = world.wait("mdep", MODEL, namespace, until=lambda seen: is_true(seen, "Stalled"),
                            what="Stalled", seconds=SECONDS)  # fmt: skip
    assert condition(deployment, "Stalled")["reason"] == "VersionRefused"
    assert condition(deployment, "Available")["status"] == "True"
    assert deployment["status"]["version"] == "v1"
    world.apply(deployment_manifest(namespace, {"version": "nobody-declared-it"}))
    deployment = world.wait(
        "mdep", MODEL, namespace,
        until=lambda seen: condition(seen, "Stalled").get("reason") == "VersionNotFound",
        what="VersionNotFound", seconds=SECONDS,
    )  # fmt: skip
    assert "nobody-declared-it" in condition(deployment, "Stalled")["message"]

    url = f"{service_url(cluster, MODEL, namespace)}/v2/models/{MODEL}/infer"
    status, answer = post(url, next(requests()).body)
    assert (status, answer["model_version"]) == (200, "v1")
    bad = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 30], "data": [1.0]}]}
    status, answer = post(url, json.dumps(bad).encode())
    assert status == 400
    assert "input" in answer["error"]


def test_deployment_of_an_absent_model_says_so(world: World, namespace: str) -> None:
    world.apply(deployment_manifest(namespace, {"version": "v1"}))
    seen = world.wait("mdep", MODEL, namespace, until=lambda seen: is_true(seen, "Stalled"),
                      what="Stalled", seconds=SECONDS)  # fmt: skip
    assert condition(seen, "Stalled")["reason"] == "ModelNotFound"
    assert MODEL in condition(seen, "Stalled")["message"]


def post(url: str, body: bytes) -> tuple[int, dict[str, Any]]:
    answer = httpx.post(url, content=body, headers={"content-type": "application/json"})
    return answer.status_code, answer.json()
