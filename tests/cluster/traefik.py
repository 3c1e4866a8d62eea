"""Traefik as a process of this host: a real implementation of the Gateway API, on the loopback."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.cluster.operator_process import free_port, until
from tests.cluster_tools.cluster import Cluster

CLASS = "traefik-test"
GATEWAY = "web"
HOST = "localhost"
"""Of the clients' requests, as their Host header says it."""
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Traefik:
    """A running Traefik with one Gateway, whose listener is a port of the loopback."""

    cluster: Cluster
    namespace: str
    """The Gateway's."""
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where clients come in."""
        return f"http://{HOST}:{self.port}"

    def admit(self, whose: str) -> None:
        """Lets the listener admit routes: `Same` of the Gateway's own namespace, or `All`."""
        listener = {
            "name": "http",
            "port": self.port,
            "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": whose}},
        }
        gateway: dict[str, Any] = {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY, "namespace": self.namespace},
            "spec": {"gatewayClassName": CLASS, "listeners": [listener]},
        }
        self.cluster.kubectl("apply", "-f", "-", input=json.dumps(gateway))

    def status(self, path: str, host: str = HOST) -> int:
        """What a client is answered."""
        headers = {"Host": f"{host}:{self.port}"}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers).status_code


@contextmanager
def gateway_api(cluster: Cluster, definitions: Path) -> Generator[None]:
    """The CRDs of the Gateway API's standard channel, until the end; or those that are there."""
    if "httproutes.gateway" in cluster.kubectl("get", "crds", "-o", "name"):
        yield
        return
    folder = definitions / "config" / "crd" / "standard"
    files = [path for path in sorted(folder.glob("*.yaml")) if path.name != "kustomization.yaml"]
    for path in files:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", path)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", *_crds(files))
    try:
        yield
    finally:
        for path in files:
            cluster.kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", path)


@contextmanager
def run_traefik(
    cluster: Cluster, namespace: str, program: Path, folder: Path
) -> Generator[Traefik]:
    """Runs Traefik with a GatewayClass and a Gateway of its own until the end.

    Args:
        cluster: whose HTTPRoutes it serves.
        namespace: where its Gateway is made.
        program: Traefik.
        folder: for its log.
    """
    port, pings = free_port(), free_port()
    traefik = Traefik(cluster, namespace, port, folder / "traefik.log")
    gateway_class = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": CLASS},
        "spec": {"controllerName": "traefik.io/gateway-controller"},
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(gateway_class))
    traefik.admit("Same")
    flags = [
        f"--entrypoints.web.address=127.0.0.1:{port}",
        f"--entrypoints.ping.address=127.0.0.1:{pings}",
        "--ping.entrypoint=ping",
        "--providers.kubernetesgateway=true",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=INFO",
        "--log.nocolor=true",
    ]
    variables = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
    with (
        traefik.log.open("wb") as output,
        subprocess.Popen(
            [program, *flags], cwd=folder, env=variables, stdout=output, stderr=output
        ) as process,
    ):
        try:
            until(lambda: _is_ready(process, pings, traefik.log), _START_SECONDS)
            yield traefik
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            cluster.kubectl("delete", "gatewayclass", CLASS, "--ignore-not-found")


def _crds(files: list[Path]) -> list[str]:
    """The CRDs among the files, for `kubectl wait`, each with the flag before it but the first."""
    crds = [str(path) for path in files if "kind: CustomResourceDefinition" in path.read_text()]
    return [word for path in crds for word in ("-f", path)][1:]


def _is_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-4000:]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
