"""The embedded provider: a real single-node Kubernetes as processes of this machine."""

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster_tools import cgroups, network
from tests.cluster_tools.certificates import write_kubeconfig, write_pki
from tests.cluster_tools.commands import run, succeeds, wait_until
from tests.cluster_tools.configuration import (
    API_SERVER,
    PAUSE_IMAGE,
    SERVER_NAMES,
    Configuration,
)
from tests.cluster_tools.containers import Containers
from tests.cluster_tools.debian import RUNTIME_PROGRAMS
from tests.cluster_tools.debian import ensure_programs as ensure_packages
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.layout import MANIFESTS, NODE_ADDRESS, NODE_NAME, Layout
from tests.cluster_tools.oci import ProgramImage
from tests.cluster_tools.processes import Ledger, find_by_argument
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.provider import ProviderName
from tests.cluster_tools.teardown import Teardown
from tests.cluster_tools.toolchain import (
    DNS,
    KUBERNETES,
    RUNTIME,
    content_hash,
    ensure_programs,
    read_programs,
)

COMPONENTS = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
COREDNS_IMAGE = "localhost/mooring/coredns:1"
ELSEWHERE = "Use MOORING_CLUSTER_PROVIDER=kind (Docker and kind) or =existing (your kubeconfig)."
READY_TIMEOUT_SECONDS = 120.0


def refusal(*, system: str, uid: int, layout: Layout) -> str | None:
    """Why the embedded cluster cannot run here, with the remedy; None when it can.

    Args:
        system: `sys.platform`.
        uid: the effective user id.
        layout: where it would keep its state.
    """
    if system != "linux":
        return f"the embedded cluster needs Linux; this is {system}. {ELSEWHERE}"
    if uid != 0:
        return f"the embedded cluster needs root (namespaces, iptables, mounts). {ELSEWHERE}"
    if not layout.fits_sockets():
        return (
            f"the state directory {layout.state} is too long for a Unix socket "
            f"({layout.longest_socket_bytes()} bytes, 107 at most). Set MOORING_CLUSTER_DIR to a "
            f"shorter one."
        )
    return None


@dataclass(frozen=True)
class Embedded:
    """Brings one embedded cluster up and down."""

    layout: Layout
    progress: Progress
    name: ProviderName = ProviderName.EMBEDDED

    @property
    def kubeconfig(self) -> Path:
        return self.layout.kubeconfig

    def kubectl_path(self) -> Path:
        return self._configuration().programs["kubectl"]

    def up(self) -> None:
        """Bring the cluster up, or return at once when it is healthy.

        Raises:
            ClusterError: it cannot run here, or a component did not become ready.
        """
        self._refuse_where_it_cannot_run()
        with self._locked():
            running = self._running()
            if running and self.healthy():
                self.progress.say("the cluster is up")
                return
            ensure_packages(RUNTIME_PROGRAMS, self.progress)
            configuration = self._newest()
            self._refuse_beside_another_kubelet()
            self._teardown(running or configuration).run()
            self._start(configuration)

    def down(self, *, purge: bool = False) -> None:
        """Take the cluster down; with `purge` its imported images go too."""
        self._refuse_where_it_cannot_run()
        with self._locked():
            if not self.layout.processes.exists():
                self.progress.say("no cluster is up")
            else:
                with self.progress.step("taking the cluster down"):
                    self._teardown(self._running() or self._newest()).run()
            if purge:
                shutil.rmtree(self.layout.state, ignore_errors=True)

    def healthy(self) -> bool:
        """Whether every process runs, the API server is ready, the node and CoreDNS too."""
        configuration = self._running()
        alive = {p.name for p in Ledger(self.layout.processes).read() if p.alive()}
        if not configuration or not alive.issuperset(COMPONENTS) or not self.kubeconfig.exists():
            return False
        kubectl = self._kubectl(configuration)
        if not succeeds([*kubectl, "get", "--raw", "/readyz"], timeout=10):
            return False
        wanted = [f"node/{NODE_NAME}", "deployment/coredns"]
        try:
            text = run([*kubectl, "get", *wanted, "-n", "kube-system", "-o", "json"], timeout=10)
        except ClusterError:
            return False
        return len(_true_conditions(text) & {"Node/Ready", "Deployment/Available"}) == 2

    def status(self) -> list[str]:
        """One line per component, and one for the whole."""
        recorded = {process.name: process for process in Ledger(self.layout.processes).read()}
        lines = [
            f"{name}: pid {recorded[name].pid}, {'running' if recorded[name].alive() else 'ended'}"
            if name in recorded
            else f"{name}: not started"
            for name in COMPONENTS
        ]
        healthy = bool(recorded) and self.healthy()
        return [*lines, f"cluster: {'healthy' if healthy else 'not healthy'}"]

    def image_inputs(self) -> dict[str, str]:
        """Image name -> the input hash that it was imported with."""
        return Containers(self._configuration()).image_inputs()

    def load_image(self, archive: Path, *, name: str = "", inputs: str = "") -> None:
        """Import an OCI or Docker archive into the node."""
        Containers(self._configuration()).import_image(archive, name=name, inputs=inputs)

    def _running(self) -> Configuration | None:
        """What the running cluster was started with, whatever the modules say by now."""
        programs = read_programs(self.layout.programs)
        return Configuration(self.layout, programs) if programs else None

    def _newest(self) -> Configuration:
        programs = ensure_programs((KUBERNETES, RUNTIME, DNS), self.layout, self.progress)
        return Configuration(self.layout, programs)

    def _configuration(self) -> Configuration:
        running = self._running()
        if not running:
            raise ClusterError("the cluster is not up: python -m tests.cluster_tools up")
        return running

    def _teardown(self, configuration: Configuration) -> Teardown:
        return Teardown(self.layout, Containers(configuration), self.progress)

    def _start(self, configuration: Configuration) -> None:
        configuration.programs.record(self.layout.programs)
        # Written before anything is made, so that `down` has something to go by from now on.
        Ledger(self.layout.processes).begin()
        network.set_up(self.layout)
        cgroups.create(self.layout.cgroup)
        configuration.write()
        self._write_identities()
        start = _Starter(Ledger(self.layout.processes), self.layout, configuration)
        containers = Containers(configuration)
        with self.progress.step("starting etcd, containerd and the API server"):
            start("etcd", configuration.etcd())
            start("containerd", configuration.containerd())
            self.layout.containerd_clean.unlink(missing_ok=True)
            start("kube-apiserver", configuration.apiserver())
            containers.wait_ready()
            self._import_images(configuration, containers)
            kubectl = self._kubectl(configuration)
            start.wait(
                lambda: succeeds([*kubectl, "get", "--raw", "/readyz"], timeout=10),
                what="the API server's /readyz",
            )
        with self.progress.step("starting the node and CoreDNS"):
            start("kube-controller-manager", configuration.controller_manager())
            start("kube-scheduler", configuration.scheduler())
            start("kubelet", configuration.kubelet())
            start("kube-proxy", configuration.kube_proxy())
            run([*kubectl, "apply", "-f", MANIFESTS / "coredns.yaml"])
            start.wait(self.healthy, what="node Ready and CoreDNS Available")
        self.progress.say(f"the cluster is up: export KUBECONFIG={self.kubeconfig}")

    def _write_identities(self) -> None:
        pki, config = self.layout.pki, self.layout.config
        write_pki(
            pki,
            now=datetime.fromtimestamp(time.time(), tz=UTC),
            node=NODE_NAME,
            server_names=SERVER_NAMES,
            node_address=NODE_ADDRESS,
        )
        write_kubeconfig(self.kubeconfig, pki=pki, user="admin", server=API_SERVER)
        for user, file_name in (
            ("controller-manager", "controller-manager"),
            ("scheduler", "scheduler"),
            ("kubelet", "kubelet"),
            ("proxy", "kube-proxy"),
        ):
            path = config / f"{file_name}.kubeconfig"
            write_kubeconfig(path, pki=pki, user=user, server=API_SERVER)

    def _import_images(self, configuration: Configuration, containers: Containers) -> None:
        catatonit = shutil.which("catatonit") or "/usr/bin/catatonit"
        coredns = configuration.programs["coredns"]
        wanted = (
            (ProgramImage(PAUSE_IMAGE, {"/pause": Path(catatonit)}, ("/pause", "-P")), "1"),
            (
                ProgramImage(COREDNS_IMAGE, {"/coredns": coredns}, ("/coredns",)),
                content_hash(DNS),
            ),
        )
        present = containers.image_inputs()
        for image, inputs in wanted:
            if present.get(image.name) == inputs:
                continue
            file_name = image.name.split("/")[-1].replace(":", "-")
            archive = self.layout.images / f"{file_name}-{inputs}.tar"
            if not archive.exists():
                image.write(archive)
            containers.import_image(archive, name=image.name, inputs=inputs)

    def _kubectl(self, configuration: Configuration) -> list[str | Path]:
        return [configuration.programs["kubectl"], f"--kubeconfig={self.kubeconfig}"]

    def _refuse_where_it_cannot_run(self) -> None:
        reason = refusal(system=sys.platform, uid=os.geteuid(), layout=self.layout)
        if reason:
            raise ClusterError(reason)

    def _refuse_beside_another_kubelet(self) -> None:
        ours = find_by_argument(f"--root-dir={self.layout.kubelet_root}")
        others = _kubelets_in_this_network() - {process.pid for process in ours}
        if others:
            raise ClusterError(
                f"another kubelet runs here (pid {min(others)}); two share no network. Take that "
                f"cluster down, or use it: MOORING_CLUSTER_PROVIDER=existing"
            )

    @contextmanager
    def _locked(self) -> Generator[None]:
        self.layout.lock.parent.mkdir(parents=True, exist_ok=True)
        with self.layout.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.progress.say("waiting for another command on this cluster to end")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True)
class _Starter:
    """Starts components and gives up on a condition as soon as one of them has died."""

    ledger: Ledger
    layout: Layout
    configuration: Configuration

    def __call__(self, name: str, argv: list[str | Path]) -> None:
        # containerd looks for its shim on the PATH.
        path = str(self.configuration.programs.folder_of("containerd-shim-runc-v2"))
        self.ledger.start(name, argv, log=self._log(name), path=path)

    def wait(self, condition: Callable[[], bool], *, what: str) -> None:
        def holds() -> bool:
            for process in self.ledger.read():
                if not process.alive():
                    tail = "\n".join(self._log(process.name).read_text().splitlines()[-15:])
                    raise ClusterError(f"{process.name} ended while waiting for {what}:\n{tail}")
            return condition()

        try:
            wait_until(holds, what=what, timeout=READY_TIMEOUT_SECONDS)
        except ClusterError as error:
            raise ClusterError(f"{error}\nThe logs are in {self.layout.logs}") from error

    def _log(self, name: str) -> Path:
        return self.layout.logs / f"{name}.log"


def _true_conditions(text: str) -> set[str]:
    found: set[str] = set()
    for item in json.loads(text)["items"]:
        for condition in item.get("status", {}).get("conditions", []):
            if condition["status"] == "True":
                found.add(f"{item['kind']}/{condition['type']}")
    return found


def _kubelets_in_this_network() -> set[int]:
    here = Path("/proc/self/ns/net").stat().st_ino
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            is_kubelet = (entry / "comm").read_text().strip() == "kubelet"
            if is_kubelet and (entry / "ns" / "net").stat().st_ino == here:
                found.add(int(entry.name))
        except OSError:
            continue
    return found
