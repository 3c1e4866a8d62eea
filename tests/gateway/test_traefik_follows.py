"""Traefik, a real implementation of the Gateway API, follows our HTTPRoute: weights, and how soon.

An API server without a cluster, and two local servers in place of pods. Only where Traefik is built
already, which takes minutes: `make prove-gateway` builds it.
"""

import http.server
import os
import socket
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from mooring_operator.core.manifests.route import http_route, wanted_shape
from mooring_operator.core.manifests.traffic import candidate_service, stable_service
from mooring_operator.core.observation import RouteObservation
from mooring_operator.core.rollout.steps import GATEWAY_SETTLES
from mooring_operator.reconcile.likeness import carries
from mooring_operator.reconcile.observe_route import observe_route
from tests.builders.resources import DEPLOYMENT, NAMESPACE, deployment, spec
from tests.cluster.operator_process import free_port, until
from tests.cluster_tools.certificates import write_kubeconfig
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.toolchain import TRAEFIK, ensure_programs, fetch_sources, is_built
from tests.faults.api import Api, Object, Server
from tests.faults.control_plane import control_plane

FULL = os.environ.get("MOORING_PROOF") == "full"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1"
HERE = f"{GATEWAYS}/namespaces/{NAMESPACE}"
ROUTE = f"{HERE}/httproutes/{DEPLOYMENT}"
PATH = "/v2/models/m"
OWNER = deployment(
    spec(
        traffic={
            "mode": "Gateway",
            "gateway": {"name": "web", "hostnames": ["localhost"], "pathPrefix": PATH},
        }
    )
)
WEIGHTS = (25, 50, 5, 99, 0) if FULL else (25, 5, 0)
REQUESTS = 400 if FULL else 200
pytestmark = [
    pytest.mark.timeout(900 if FULL else 240),
    pytest.mark.skipif(
        not FULL and not is_built(TRAEFIK, default_layout()),
        reason="Traefik is not built: make prove-gateway builds it",
    ),
]


@dataclass(frozen=True)
class Edge:
    """An API server, and a Traefik that serves the routes in it."""

    api: Api
    client: httpx.Client

    def route(self, weight: int) -> Object:
        """Applies our route with a weight; as it was applied."""
        shape = wanted_shape(OWNER.spec, NAMESPACE, weight)
        assert shape is not None
        made = _orphan(http_route(OWNER, shape))
        self.api.call("PUT", ROUTE, made | {"metadata": made["metadata"] | self._version()})
        return made

    def seen(self) -> RouteObservation:
        """The route as the operator reads it."""
        return observe_route(self.api.call("GET", ROUTE))

    def answers(self, count: int = REQUESTS) -> list[str]:
        """Who answers so many requests, one after the other."""
        return [self.client.get(f"{PATH}/infer").text for _ in range(count)]

    def await_accepted(self) -> None:
        until(lambda: self.seen().accepted, 30)

    def _version(self) -> Object:
        return {"resourceVersion": self.api.call("GET", ROUTE)["metadata"]["resourceVersion"]}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[Edge]:
    layout, progress = default_layout(), Progress()
    program = ensure_programs((TRAEFIK,), layout, progress)["traefik"]
    definitions = fetch_sources(TRAEFIK, "sigs.k8s.io/gateway-api", layout, progress)
    folder = tmp_path_factory.mktemp("traefik")
    with ExitStack() as running:
        server = running.enter_context(control_plane(progress))
        api = running.enter_context(Api(server))
        _install(api, definitions / "config" / "crd" / "standard")
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for service in (stable_service(OWNER, "a" * 12), candidate_service(OWNER, "b" * 12)):
            port = running.enter_context(_served(service["metadata"]["name"]))
            _make(api, _orphan(service), port)
        port = running.enter_context(_traefik(server, program, folder))
        listener = {"name": "http", "port": port, "protocol": "HTTP"}
        _post(api, f"{GATEWAYS}/gatewayclasses", "GatewayClass", "t", _CLASS)
        gateway = {"gatewayClassName": "t", "listeners": [listener]}
        _post(api, f"{HERE}/gateways", "Gateway", "web", gateway)
        shape = wanted_shape(OWNER.spec, NAMESPACE, 0)
        assert shape is not None
        api.call("POST", f"{HERE}/httproutes", _orphan(http_route(OWNER, shape)))
        client = running.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"host": "localhost"})
        )
        found = Edge(api, client)
        found.await_accepted()
        until(lambda: client.get(f"{PATH}/infer").status_code == 200, 20)
        yield found


def test_requests_are_divided_by_the_weights_once_the_route_was_accepted(edge: Edge) -> None:
    for weight in WEIGHTS:
        applied = edge.route(weight)
        edge.await_accepted()
        time.sleep(GATEWAY_SETTLES.total_seconds())  # what is proved: it is enough
        answers = edge.answers()
        share = 100 * answers.count(f"{DEPLOYMENT}-candidate") / len(answers)
        assert set(answers) <= {DEPLOYMENT, f"{DEPLOYMENT}-candidate"}
        assert abs(share - weight) <= 0.5, f"{share}% and not {weight}%"
        live = edge.api.call("GET", ROUTE)
        assert carries(live, applied), "what the API server fills in is no drift"
        assert edge.seen().shape.weight == weight


def test_other_paths_and_hosts_are_not_led_to_the_deployment(edge: Edge) -> None:
    assert edge.client.get(f"{PATH}/infer").status_code == 200
    assert edge.client.get("/v2").status_code == 404
    assert edge.client.get(f"{PATH}/infer", headers={"host": "other"}).status_code == 404


def test_route_of_a_listener_that_is_not_there_is_told_as_refused(edge: Edge) -> None:
    edge.route(0)
    edge.await_accepted()
    live = edge.api.call("GET", ROUTE)
    live["spec"]["parentRefs"][0]["sectionName"] = "https"
    edge.api.call("PUT", ROUTE, live)
    until(lambda: bool(edge.seen().refusal), 30)
    assert "NoMatchingParent" in edge.seen().refusal


def test_filter_that_mirrors_would_fail_every_request_of_an_accepted_route(edge: Edge) -> None:
    """Why our routes have none (ADR 12)."""
    edge.route(0)
    edge.await_accepted()
    live = edge.api.call("GET", ROUTE)
    mirror = {"backendRef": {"name": f"{DEPLOYMENT}-candidate", "port": 80}}
    live["spec"]["rules"][0]["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
    edge.api.call("PUT", ROUTE, live)
    until(lambda: edge.client.get(f"{PATH}/infer").status_code == 500, 30)
    edge.await_accepted()
    assert edge.client.get(f"{PATH}/infer").status_code == 500
    assert edge.seen().shape.weight == -1, "it is put right"


_CLASS = {"controllerName": "traefik.io/gateway-controller"}


def _install(api: Api, folder: Path) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for file in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if document and document["kind"] == "CustomResourceDefinition":
                api.call("POST", path, document)

    def served() -> bool:
        listed = api.call("GET", "/apis/gateway.networking.k8s.io/v1")["resources"]
        return {"httproutes", "gateways", "gatewayclasses"} <= {item["name"] for item in listed}

    until(served, 30)


def _make(api: Api, service: Object, port: int) -> None:
    """A Service and its only endpoint."""
    name = service["metadata"]["name"]
    api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/services", service)
    body: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [_address()], "conditions": {"ready": True}}],
    }
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
    api.call("POST", slices, body)


def _post(api: Api, path: str, kind: str, name: str, wanted: Object) -> None:
    body = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind}
    api.call("POST", path, body | {"metadata": {"name": name}, "spec": wanted})


def _orphan(manifest: Object) -> Object:
    """Without an owner, which is not there."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k != "ownerReferences"}
    return manifest | {"metadata": metadata}


def _address() -> str:
    """This machine's own address: a Service has no endpoint on the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("10.255.255.255", 1))  # a datagram socket sends nothing by this
        return str(probe.getsockname()[0])


@contextmanager
def _served(name: str) -> Generator[int]:
    """A server that answers everything with its name; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Says nothing."""

    with http.server.ThreadingHTTPServer((_address(), 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


@contextmanager
def _traefik(server: Server, program: Path, folder: Path) -> Generator[int]:
    """Traefik on a port of the loopback."""
    kubeconfig, port = folder / "kubeconfig", free_port()
    write_kubeconfig(kubeconfig, pki=server.pki, user="admin", server=server.url)
    flags = [
        f"--entrypoints.web.address=127.0.0.1:{port}",
        "--providers.kubernetesgateway=true",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    with (
        (folder / "traefik.log").open("wb") as output,
        subprocess.Popen(
            [program, *flags], cwd=folder, env=environment, stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield port
        finally:
            process.terminate()
            process.wait(20)
