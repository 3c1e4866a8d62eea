"""What the embedded node does for pods: run them restricted, resolve and route Services."""

import importlib
import json
import socket
import time
import urllib.request
from collections.abc import Mapping
from typing import Protocol

import pytest

from tests.cluster_tools.cluster import Cluster, ensure_up
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.layout import MANIFESTS
from tests.cluster_tools.progress import Progress

HTTP_SERVER = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(socket.gethostname().encode())
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""

LOOK_UP = """
import socket, sys, urllib.request
for name in sys.argv[1:]:
    print(socket.gethostbyname(name), urllib.request.urlopen(f"http://{name}:80", timeout=5).read())
"""

OUTSIDE_LOOK_UP = """
import socket
try:
    socket.gethostbyname("registry.example.com")
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME)
"""


class Store(Protocol):
    """The part of s3fs that these tests use."""

    def mkdir(self, path: str) -> None: ...
    def pipe(self, path: str, value: bytes) -> None: ...
    def cat(self, path: str) -> bytes: ...
    def rm(self, path: str, *, recursive: bool) -> None: ...


class ImageNames(Protocol):
    """The part of the `images` fixture that these tests use."""

    @property
    def operator(self) -> str: ...


def restricted_pod(
    name: str, image: str, script: str, *arguments: str, probe: Mapping[str, object] | None = None
) -> dict[str, object]:
    """A pod that Pod Security `restricted` admits, with a read-only root, running Python."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": ["python3", "-c", script, *arguments],
                    **({"readinessProbe": probe} if probe else {}),
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }


def serve_http(cluster: Cluster, namespace: str, image: str) -> None:
    """A pod `server` answering on port 8080 with its host name, and its Service `web`, ready."""
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    pod = restricted_pod("server", image, HTTP_SERVER, probe=probe)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    documents = {"apiVersion": "v1", "kind": "List", "items": [pod, service]}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(documents))
    ready = ["--for=condition=Ready", "pod/server", "--timeout=60s"]
    cluster.kubectl("wait", "-n", namespace, *ready)


def run_to_end(cluster: Cluster, namespace: str, pod: dict[str, object], name: str) -> str:
    """Run a pod to its end and return its log."""
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(pod))
    done = ["--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s"]
    cluster.kubectl("wait", "-n", namespace, *done)
    return cluster.kubectl("logs", "-n", namespace, name)


def open_store(endpoint: str) -> Store:
    """A client of the cluster's S3 server with the key pair of `manifests/s3.yaml`."""
    store: Store = importlib.import_module("s3fs").S3FileSystem(
        key="mooring",
        secret="mooring-test-only",  # noqa: S106 - the throw-away server's, in the manifest
        endpoint_url=endpoint,
    )
    return store


def cluster_address(cluster: Cluster, namespace: str, service: str) -> str:
    path = ["-o", "jsonpath={.spec.clusterIP}"]
    return cluster.kubectl("get", "-n", namespace, "service", service, *path)


def test_restricted_pod_gets_ready_and_its_service_answers_on_the_host(
    cluster: Cluster, namespace: str, images: ImageNames
) -> None:
    serve_http(cluster, namespace, images.operator)
    address = cluster_address(cluster, namespace, "web")
    with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
        assert answer.read() == b"server"


def test_service_resolves_by_every_name_when_asked_in_a_pod(
    cluster: Cluster, namespace: str, images: ImageNames
) -> None:
    serve_http(cluster, namespace, images.operator)
    names = [
        "web",
        f"web.{namespace}",
        f"web.{namespace}.svc",
        f"web.{namespace}.svc.cluster.local",
    ]
    pod = restricted_pod("asker", images.operator, LOOK_UP, *names)
    log = run_to_end(cluster, namespace, pod, "asker")
    address = cluster_address(cluster, namespace, "web")
    assert log.splitlines() == [f"{address} b'server'"] * len(names)


def test_pod_reaches_itself_through_its_own_service(
    cluster: Cluster, namespace: str, images: ImageNames
) -> None:
    serve_http(cluster, namespace, images.operator)
    ask = "import urllib.request; print(urllib.request.urlopen('http://web', timeout=5).read())"
    log = cluster.kubectl("exec", "-n", namespace, "server", "--", "python3", "-c", ask)
    assert log.strip() == "b'server'"


def test_outside_name_fails_at_once_when_asked_in_a_pod(
    cluster: Cluster, namespace: str, images: ImageNames
) -> None:
    pod = restricted_pod("asker", images.operator, OUTSIDE_LOOK_UP)
    assert run_to_end(cluster, namespace, pod, "asker").strip() == "True"


def test_privileged_pod_is_refused_when_the_namespace_is_restricted(
    cluster: Cluster, namespace: str, images: ImageNames
) -> None:
    arguments = ["--image", images.operator, "--privileged", "-n", namespace]
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        cluster.kubectl("run", "root", *arguments)


def test_kubelet_reports_what_a_pod_uses(cluster: Cluster) -> None:
    summary = json.loads(
        cluster.kubectl("get", "--raw", "/api/v1/nodes/mooring/proxy/stats/summary")
    )
    pods = {pod["podRef"]["name"].split("-")[0]: pod for pod in summary["pods"]}
    assert pods["coredns"]["memory"]["workingSetBytes"] > 0


def test_up_returns_within_two_seconds_when_the_cluster_is_healthy(cluster: Cluster) -> None:
    began = time.monotonic()
    again = ensure_up(progress=Progress())
    assert again.kubeconfig == cluster.kubeconfig
    assert time.monotonic() - began < 2


def test_store_keeps_an_object_when_it_runs_restricted(
    cluster: Cluster, images: ImageNames
) -> None:
    cluster.kubectl("apply", "-f", MANIFESTS / "s3.yaml")
    available = ["--for=condition=Available", "deployment/s3", "--timeout=60s"]
    cluster.kubectl("wait", "-n", "storage", *available)
    address = cluster_address(cluster, "storage", "s3")
    with socket.create_connection((address, 7070), timeout=5):
        pass
    store = open_store(f"http://{address}:7070")
    store.mkdir("cluster-tools")
    store.pipe("cluster-tools/a/b.txt", b"kept")
    assert store.cat("cluster-tools/a/b.txt") == b"kept"
    store.rm("cluster-tools", recursive=True)
