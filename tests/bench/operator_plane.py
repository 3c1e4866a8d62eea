"""A control plane of a benchmark's own: etcd and kube-apiserver, nothing else, on free ports.

No controller, no scheduler and no kubelet run: what these would do, `operator_simulator.py` does.
Every contender has a certificate of its own, and the API server's audit log counts its requests.
"""

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.processes import cpu_seconds_of, free_ports
from tests.cluster_tools.certificates import Authority, Identity, write_kubeconfig
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.toolchain import KUBERNETES, Programs, ensure_programs

ADMIN = "admin"
_MASTERS = ("system:masters",)
_SERVICE_RANGE = "10.112.0.0/14"
"""Of no network here: only numbers that Services get. Two a deployment."""
_READY_SECONDS = 90.0
_STOP_SECONDS = 20.0
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


class PlaneFailed(Exception):
    """The control plane did not come up; the message holds the end of a log."""


@dataclass(frozen=True)
class Plane:
    """A control plane that is up.

    Attributes:
        folder: its files; removed with it.
        server: address of the API server.
        pids: of etcd and of the API server.
    """

    folder: Path
    server: str
    pids: tuple[int, ...] = ()

    @property
    def audit_log(self) -> Path:
        """One line a finished request of a contender."""
        return self.folder / "audit.log"

    @property
    def port(self) -> int:
        """Of the API server, on the loopback."""
        return int(self.server.rsplit(":", 1)[1])

    def cpu_seconds(self) -> float:
        """User and system time of its processes."""
        return sum(map(cpu_seconds_of, self.pids))

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of a user."""
        return self.folder / f"{user}.kubeconfig"

    def tls(self, user: str) -> ssl.SSLContext:
        """The TLS set-up of a user."""
        pki = self.folder / "pki"
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / f"{user}.crt", pki / f"{user}.key")
        return context


class Audit:
    """Reads what is new in the audit log."""

    def __init__(self, plane: Plane) -> None:
        self._path = plane.audit_log
        self._at = 0

    def requests(self, user: str) -> Counter[str]:
        """Requests of a user since the last call, by `verb resource`, Leases left out."""
        seen: Counter[str] = Counter()
        if not self._path.exists():
            return seen
        with self._path.open("rb") as log:
            log.seek(self._at)
            for line in log:
                if not line.endswith(b"\n"):
                    break  # still being written
                self._at += len(line)
                event = json.loads(line)
                place = event.get("objectRef", {})
                if event["user"]["username"] != user or place.get("resource") == "leases":
                    continue
                sub = f"/{place['subresource']}" if place.get("subresource") else ""
                seen[f"{event['verb']} {place.get('resource', event['requestURI'])}{sub}"] += 1
        return seen


def by_verb(requests: Counter[str]) -> dict[str, int]:
    """Requests by verb alone."""
    verbs: Counter[str] = Counter()
    for name, count in requests.items():
        verbs[name.split(" ", 1)[0]] += count
    return dict(sorted(verbs.items()))


def writes_of(requests: Counter[str]) -> int:
    """Requests that change something."""
    return sum(count for verb, count in by_verb(requests).items() if verb in WRITES)


@contextlib.contextmanager
def control_plane(users: tuple[str, ...], core: int | None) -> Generator[Plane]:
    """A fresh control plane with our resource types; ended and removed afterwards.

    Args:
        users: who gets a certificate and is counted in the audit log.
        core: the core that its processes may use; None: all.

    Raises:
        PlaneFailed: it did not come up.
    """
    programs = ensure_programs((KUBERNETES,), default_layout(), Progress(sys.stderr))
    folder = Path(tempfile.mkdtemp(prefix="mooring-bench-"))
    client, peer, secure = free_ports(3)
    plane = Plane(folder, f"https://127.0.0.1:{secure}")
    _write_identities(plane, users)
    _write_policy(plane, users)
    with contextlib.ExitStack() as running:
        running.callback(shutil.rmtree, folder, ignore_errors=True)
        etcd = f"http://127.0.0.1:{client}"
        store = _etcd(programs, folder, etcd, peer)
        first = running.enter_context(_process("etcd", store, folder, core))
        argv = _apiserver(programs, plane, etcd, secure)
        server = running.enter_context(_process("kube-apiserver", argv, folder, core))
        _await_ready(plane, server)
        kubectl = [str(programs["kubectl"]), f"--kubeconfig={plane.kubeconfig(ADMIN)}"]
        crds = Path(__file__).resolve().parents[2] / "crds"
        subprocess.run(
            [*kubectl, "apply", "--server-side", "-k", str(crds)], check=True, capture_output=True
        )
        kinds = ("models", "modeldeployments", "retrainpolicies")
        for kind in kinds:
            name = f"crd/{kind}.mooring.dev"
            wait = [*kubectl, "wait", "--for=condition=Established", name, "--timeout=30s"]
            subprocess.run(wait, check=True, capture_output=True)
        yield replace(plane, pids=(first.pid, server.pid))


def _write_identities(plane: Plane, users: tuple[str, ...]) -> None:
    pki = plane.folder / "pki"
    authority = Authority(pki, now=datetime.fromtimestamp(time.time(), tz=UTC))
    authority.issue("apiserver", Identity("kube-apiserver", names=("127.0.0.1", "localhost")))
    authority.issue_signing_key("service-accounts")
    for user in (ADMIN, *users):
        authority.issue(user, Identity(user, _MASTERS))
        write_kubeconfig(plane.kubeconfig(user), pki=pki, user=user, server=plane.server)


def _write_policy(plane: Plane, users: tuple[str, ...]) -> None:
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "omitManagedFields": True,
        "rules": [{"level": "Metadata", "users": list(users)}, {"level": "None"}],
    }
    (plane.folder / "audit-policy.json").write_text(json.dumps(policy))


def _etcd(programs: Programs, folder: Path, client: str, peer: int) -> list[str]:
    peers = f"http://127.0.0.1:{peer}"
    return [
        str(programs["etcd"]),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
    ]


def _apiserver(programs: Programs, plane: Plane, etcd: str, port: int) -> list[str]:
    folder, pki = plane.folder, plane.folder / "pki"
    return [
        str(programs["kube-apiserver"]),
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={_SERVICE_RANGE}",
        "--authorization-mode=RBAC",
        # Nobody makes service accounts here, and no pod of the benchmark runs.
        "--disable-admission-plugins=ServiceAccount",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--audit-policy-file={folder / 'audit-policy.json'}",
        f"--audit-log-path={plane.audit_log}",
        # MiB. What was rotated away would not be counted.
        "--audit-log-maxsize=10000",
    ]


@contextlib.contextmanager
def _process(
    name: str, argv: list[str], folder: Path, core: int | None
) -> Generator["subprocess.Popen[bytes]"]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            argv,
            stdout=log,
            stderr=log,
            # A young heap is collected all the time, which no API server with a past does. With
            # 5,000 deployments over a gigabyte of it lives: a limit of 3 GiB would have it collect
            # five times as often.
            env={**os.environ, "GOGC": "400", "GOMEMLIMIT": "8GiB"},
            start_new_session=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)


def _await_ready(plane: Plane, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_SECONDS
    context = plane.tls(ADMIN)
    while True:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPSConnection(
                "127.0.0.1", plane.port, timeout=5, context=context
            )
            try:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            finally:
                connection.close()
        if server.poll() is not None or time.monotonic() > deadline:
            tail = (plane.folder / "kube-apiserver.log").read_text(errors="replace")[-3000:]
            raise PlaneFailed(f"kube-apiserver is not ready; its log ends with\n{tail}")
        time.sleep(0.2)
