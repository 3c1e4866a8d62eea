"""What the images hold, seen from restricted pods with a read-only root."""

import json
from typing import Protocol

from tests.cluster_tools.cluster import Cluster

LOOK = """
import importlib, importlib.metadata, importlib.util, json, os, pathlib, shutil, sys
print(json.dumps({
    "uid": os.getuid(),
    "python": sys.version_info[:2],
    "version": importlib.metadata.version("mooring"),
    "mooring": shutil.which("mooring"),
    "operator": shutil.which("mooring-operator"),
    "pip": shutil.which("pip"),
    "settings": [p for p in ("/etc/pip.conf", "/run/pip-ca.pem") if pathlib.Path(p).exists()],
    "byteCode": all(
        pathlib.Path(importlib.util.cache_from_source(m.__file__)).exists()
        for m in map(importlib.import_module, ["numpy", "mooring_profile"])
    ),
}))
"""


class ImageNames(Protocol):
    """The part of the `images` fixture that these tests use."""

    @property
    def operator(self) -> str: ...

    @property
    def serving(self) -> str: ...


def run_once(cluster: Cluster, namespace: str, image: str, *command: str) -> str:
    """What a restricted pod's only container logs; an empty command runs the image's own."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        **({"command": list(command)} if command else {"args": ["--help"]}),
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "once"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(pod))
    done = ["--for=jsonpath={.status.phase}=Succeeded", "pod/once", "--timeout=90s"]
    cluster.kubectl("wait", "-n", namespace, *done)
    return cluster.kubectl("logs", "-n", namespace, "once")


def test_serving_image_holds_the_commands_and_nothing_of_the_build(
    cluster: Cluster, namespace: str, images: ImageNames
) -> None:
    found = json.loads(run_once(cluster, namespace, images.serving, "python3", "-c", LOOK))
    assert found == {
        "uid": 65532,
        "python": [3, 11],
        "version": "0.1.0",
        "mooring": "/opt/mooring/bin/mooring",
        "operator": None,
        "pip": None,
        "settings": [],
        "byteCode": True,
    }


def test_operator_image_holds_the_operator_and_nothing_of_the_build(
    cluster: Cluster, namespace: str, images: ImageNames
) -> None:
    found = json.loads(run_once(cluster, namespace, images.operator, "python3", "-c", LOOK))
    assert found["operator"] == "/opt/mooring/bin/mooring-operator"
    assert (found["mooring"], found["pip"], found["settings"]) == (None, None, [])
    assert found["byteCode"]


def test_serving_image_runs_mooring_by_itself(
    cluster: Cluster, namespace: str, images: ImageNames
) -> None:
    assert "serve" in run_once(cluster, namespace, images.serving)
