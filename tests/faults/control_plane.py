"""etcd, kube-apiserver and the garbage collector alone, on free ports of the loopback.

No Deployment, Job or namespace controller, no scheduler and no kubelet: what they would do to the
objects, `simulator.py` does. Ownership is Kubernetes' own: children go by its garbage collector.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from tests.cluster.operator_process import free_port
from tests.cluster_tools.certificates import write_kubeconfig, write_pki
from tests.cluster_tools.commands import wait_until
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.toolchain import KUBERNETES, Programs, ensure_programs
from tests.faults.api import Api, Object, Server

ROOT = Path(__file__).parents[2]
SERVICE_RANGE = "10.96.0.0/16"
_READY_SECONDS = 90.0


@dataclass(frozen=True)
class _Component:
    process: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def control_plane(progress: Progress) -> Generator[Server]:
    """A fresh API server with our CRDs; everything is gone afterwards."""
    programs = ensure_programs((KUBERNETES,), default_layout(), progress)
    state = Path(tempfile.mkdtemp(prefix="mooring-faults-"))
    started: list[_Component] = []
    try:
        with progress.step("starting etcd, the API server and the garbage collector"):
            server = _start(programs, state, started)
        yield server
    finally:
        for component in reversed(started):
            _stop(component.process)
        shutil.rmtree(state, ignore_errors=True)


def _start(programs: Programs, state: Path, started: list[_Component]) -> Server:
    pki = state / "pki"
    write_pki(
        pki,
        now=datetime.fromtimestamp(time.time(), tz=UTC),
        node="none",
        server_names=("localhost", "127.0.0.1"),
        node_address="127.0.0.1",
    )
    etcd, peer, port = free_port(), free_port(), free_port()
    server = Server("127.0.0.1", port, pki)
    kubeconfig = state / "admin.kubeconfig"
    write_kubeconfig(kubeconfig, pki=pki, user="admin", server=server.url)

    def start(name: str, *flags: str) -> None:
        started.append(_spawn([programs[name], *flags], state / f"{name}.log"))

    start(
        "etcd",
        f"--data-dir={state / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{etcd}",
        f"--advertise-client-urls=http://127.0.0.1:{etcd}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
        "--log-level=error",
    )
    start("kube-apiserver", *_apiserver(pki, etcd, port))
    with Api(server) as api:
        _await(started, api.is_ready, "the API server's /readyz")
        _install(api, started)
    # After the CRDs, so that the collector knows our kinds from its first look on.
    start(
        "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--controllers=garbage-collector-controller",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_port()}",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    )
    return server


def _apiserver(pki: Path, etcd: int, port: int) -> Sequence[str]:
    return (
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=RBAC",
        # Nobody makes the `default` accounts here, and no pod runs.
        "--disable-admission-plugins=ServiceAccount",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
    )


def _install(api: Api, started: list[_Component]) -> None:
    """Our CRDs, established."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    names: list[str] = []
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(file.read_text())
        if crd["kind"] == "CustomResourceDefinition":
            names.append(api.call("POST", path, crd)["metadata"]["name"])

    def established() -> bool:
        return all(_is_established(api.call("GET", f"{path}/{name}")) for name in names)

    _await(started, established, "our CRDs to be established")


def _is_established(crd: Object) -> bool:
    conditions: list[Object] = crd.get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _await(started: list[_Component], condition: Callable[[], bool], what: str) -> None:
    def holds() -> bool:
        for component in started:
            if component.process.poll() is not None:
                tail = "\n".join(component.log.read_text().splitlines()[-15:])
                raise ClusterError(f"{component.log.stem} ended while waiting for {what}:\n{tail}")
        return condition()

    wait_until(holds, what=what, timeout=_READY_SECONDS)


def _spawn(argv: Sequence[str | Path], log: Path) -> _Component:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")},
        )
    return _Component(process, log)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
