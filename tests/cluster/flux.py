"""Flux's source-controller and kustomize-controller as processes of this host, in one namespace.

Each has an account of its own, so that the API server's audit log tells them apart.
"""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.installed_rights import account_kubeconfig
from tests.cluster.operator_process import free_port, until
from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.toolchain import Programs
from tests.demo.world import Object, World

ROOT = Path(__file__).parents[2]
SOURCE, KUSTOMIZE = "source-controller", "kustomize-controller"
NAME = "models"
"""Of the GitRepository and of the Kustomization, as in manifests/flux."""
INTERVAL_SECONDS = 5
KUSTOMIZATIONS = "kustomizations.kustomize.toolkit.fluxcd.io"
REPOSITORIES = "gitrepositories.source.toolkit.fluxcd.io"
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Apply:
    """One server-side apply of the kustomize-controller, as it tells of it.

    Attributes:
        revision: `BRANCH@sha1:HASH` of the commit.
        output: for each object, `KIND/NAMESPACE/NAME`, what was done: `unchanged`, `configured`, …
    """

    revision: str
    output: dict[str, str]


@dataclass(frozen=True)
class Flux:
    """The two controllers, reconciling one repository into one namespace."""

    cluster: Cluster
    namespace: str
    logs: Path

    @property
    def account(self) -> str:
        """The user name of the kustomize-controller."""
        return f"system:serviceaccount:{self.namespace}:{KUSTOMIZE}"

    def reconcile(self, url: str, branch: str) -> None:
        """Lets Flux reconcile a repository as manifests/flux/models.yaml does, more often."""
        source = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {"interval": f"{INTERVAL_SECONDS}s", "url": url, "ref": {"branch": branch}},
        }
        shipped: Object = yaml.safe_load((ROOT / "manifests/flux/models.yaml").read_text())
        shipped["metadata"]["namespace"] = self.namespace
        # The operator and its CRDs are there already, by other means.
        del shipped["spec"]["dependsOn"]
        shipped["spec"] |= {
            "interval": f"{INTERVAL_SECONDS}s",
            "targetNamespace": self.namespace,
        }
        World(self.cluster).apply(yaml.safe_dump_all([source, shipped]))

    def wait(self, until_: Callable[[Object], bool], what: str, seconds: float) -> Object:
        """The Kustomization, once `until_` holds of it."""
        return World(self.cluster).wait(
            KUSTOMIZATIONS, NAME, self.namespace, until=until_, what=what, seconds=seconds
        )

    def applies(self) -> list[Apply]:
        """Every apply so far."""
        text = (self.logs / f"{KUSTOMIZE}.log").read_text()
        lines = map(_read, text[: text.rfind("\n") + 1].splitlines())
        return [
            Apply(str(line["revision"]), dict(line["output"]))
            for line in lines
            if line.get("msg") == "server-side apply completed"
        ]

    def events(self) -> list[Object]:
        """What Flux has told in Events of the Kustomization."""
        about = f"involvedObject.kind=Kustomization,involvedObject.name={NAME}"
        text = self.cluster.kubectl(
            "get", "events", "-n", self.namespace, "--field-selector", about, "-o", "json"
        )
        return list(json.loads(text)["items"])

    def remove(self) -> None:
        """Removes the Kustomization, and with it what it applied, and the source."""
        for kind in (KUSTOMIZATIONS, REPOSITORIES):
            self.cluster.kubectl(
                *("delete", kind, NAME, "-n", self.namespace, "--ignore-not-found"),
                "--timeout=60s",
            )


@contextmanager
def run_flux(
    cluster: Cluster,
    namespace: str,
    programs: Programs,
    definitions: list[Path],
    folder: Path,
    gates: str = "",
) -> Generator[Flux]:
    """Installs Flux's CRDs and runs its controllers until the end.

    Args:
        cluster: where they reconcile.
        namespace: the one that they look at.
        programs: the controllers.
        definitions: folders with their CRDs.
        folder: for logs, artifacts and kubeconfigs.
        gates: feature gates of the kustomize-controller, `NAME=true,…`.
    """
    for place in definitions:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", place)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", place)
    storage = f"127.0.0.1:{free_port()}"
    flags = {
        SOURCE: [
            f"--storage-path={folder}",
            f"--storage-addr={storage}",
            f"--storage-adv-addr={storage}",
        ],
        KUSTOMIZE: [f"--feature-gates={gates}"] if gates else [],
    }
    flux = Flux(cluster, namespace, folder)
    with ExitStack() as running:
        for name, own in flags.items():
            _admit(cluster, namespace, name)
            kubeconfig = account_kubeconfig(cluster, namespace, folder, name)
            controller = _controller(programs[name], own, namespace, kubeconfig, folder)
            running.enter_context(controller)
        try:
            yield flux
        finally:
            flux.remove()


def _admit(cluster: Cluster, namespace: str, name: str) -> None:
    """An account that may do everything in the namespace, as Flux' own in its cluster."""
    cluster.kubectl("create", "serviceaccount", name, "-n", namespace)
    account = f"--serviceaccount={namespace}:{name}"
    cluster.kubectl(
        *("create", "rolebinding", name, "-n", namespace, "--clusterrole=cluster-admin", account)
    )


@contextmanager
def _controller(
    program: Path, own: list[str], namespace: str, kubeconfig: Path, folder: Path
) -> Generator[None]:
    health, scratch = f"127.0.0.1:{free_port()}", folder / f"{program.name}.tmp"
    scratch.mkdir()
    flags = [
        f"--health-addr={health}",
        "--metrics-addr=0",
        "--watch-all-namespaces=false",
        "--log-encoding=json",
        *own,
    ]
    variables = {
        "KUBECONFIG": str(kubeconfig),
        "RUNTIME_NAMESPACE": namespace,
        "TMPDIR": str(scratch),
    }
    log = folder / f"{program.name}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [program, *flags], env=os.environ | variables, stdout=output, stderr=output
        ) as process,
    ):
        try:
            until(lambda: _is_ready(process, health, log), _START_SECONDS)
            yield
        finally:
            process.terminate()
            _end(process)


def _is_ready(process: "subprocess.Popen[bytes]", health: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-4000:]
    try:
        with urllib.request.urlopen(f"http://{health}/readyz", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def _read(line: str) -> dict[str, Any]:
    return json.loads(line) if line.startswith("{") else {}
