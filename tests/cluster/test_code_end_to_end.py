"""A model of code in the cluster: refused without the label, fenced and restarted with it."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from mooring_model.build import package
from mooring_model.python.source import CodeModel
from tests.builders.code_models import EXAMPLES, Example
from tests.cluster.operator_process import until
from tests.cluster.scene import Scene
from tests.cluster.small_model import MODEL, deployment_manifest, model_manifest
from tests.demo.resources import Version
from tests.demo.setting import open_store, publish, service_url
from tests.demo.world import condition

LABEL = "mooring.dev/allow-code=true"
SELECTOR = f"mooring.dev/deployment={MODEL}"
WORKERS = 2
KILL_A_MODEL_PROCESS = """
import os, signal
parents = {}
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        parents[int(name)] = int(open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[1])
    except OSError:
        continue
workers = {process for process, parent in parents.items() if parent == 1}
mine = [process for process, parent in parents.items() if parent in workers]
os.kill(mine[0], signal.SIGKILL)
print(len(mine))
"""
pytestmark = pytest.mark.timeout(300)


def graph_version(scene: Scene, folder: Path, name: str) -> tuple[Example, Version]:
    """A search in a graph of routes, packaged and uploaded."""
    example = EXAMPLES["graph"](folder)
    out = folder / "package"
    code = CodeModel(example.directory, example.entrypoint, regression=True)
    package(None, example.table, target="target", out=out, name=MODEL, code=code)
    _, outside = open_store(scene.cluster)
    return example, publish(out, outside, name=name)


def phases(model: dict[str, Any]) -> dict[str, str]:
    versions = model["status"].get("versions", [])
    return {version["name"]: f"{version['phase']} {version.get('reason', '')}".strip()
            for version in versions}  # fmt: skip


def test_code_is_refused_until_the_namespace_allows_it_and_then_survives_a_kill(
    scene: Scene, tmp_path: Path
) -> None:
    example, early = graph_version(scene, tmp_path, "early")
    scene.world.apply(model_manifest(scene.namespace, [early]))
    refused = {"early": "Refused CodeNotAllowed"}
    model = scene.world.wait("mdl", MODEL, scene.namespace, seconds=120,
                             until=lambda seen: phases(seen) == refused,
                             what="a refusal of code")  # fmt: skip
    assert "mooring.dev/allow-code=true" in condition(model, "Stalled")["message"]

    scene.cluster.kubectl("label", "namespace", scene.namespace, LABEL)
    late = Version("late", early.uri, early.digest)
    scene.world.apply(model_manifest(scene.namespace, [late]))
    runtime = {"workers": WORKERS}
    one = {"version": "late"}
    scene.world.apply(deployment_manifest(scene.namespace, one, replicas=1, runtime=runtime))
    scene.wait_ready("late")

    url = f"{service_url(scene.cluster, MODEL, scene.namespace)}/v2/models/{MODEL}/infer"
    expected = float(example.table["target"].iloc[0])
    assert answered(url, example) == pytest.approx(expected, rel=0.5)

    (pod,) = scene.cluster.kubectl(
        "get", "pods", "-n", scene.namespace, "-l", SELECTOR, "-o", "name"
    ).split()
    killed = scene.cluster.kubectl(
        *("exec", "-n", scene.namespace, pod, "-c", "server", "--"),
        *("python", "-c", KILL_A_MODEL_PROCESS),
    )
    assert int(killed) == WORKERS
    until(lambda: ends(scene, pod) == 1, 60)
    # Each connection is one worker's; with eight, both answer. None pays for the idle death.
    for _ in range(8):
        assert answered(url, example) == pytest.approx(expected, rel=0.5)
    assert scene.mdep()["status"]["version"] == "late"


def answered(url: str, example: Example) -> float:
    """The answer to the first row of the example's table."""
    row = example.table.drop(columns="target").iloc[0]
    tensors = [
        {"name": name, "shape": [1], "datatype": "BYTES", "data": [value]}
        if isinstance(value, str)
        else {"name": name, "shape": [1], "datatype": "FP64", "data": [float(value)]}
        for name, value in row.items()
    ]
    answer = httpx.post(url, content=json.dumps({"inputs": tensors}), timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    return float(answer.json()["outputs"][0]["data"][0])


def ends(scene: Scene, pod: str) -> float:
    """Model processes of the pod that ended without being asked to."""
    address = scene.cluster.kubectl(
        "get", "-n", scene.namespace, pod, "-o", "jsonpath={.status.podIP}"
    ).strip()
    text = httpx.get(f"http://{address}:8081/metrics", timeout=10, trust_env=False).text
    found = [line for line in text.splitlines() if line.startswith("mooring_model_process_ends")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)
