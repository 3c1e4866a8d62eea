"""The kind provider: a cluster of the kind command in Docker.

Not exercised where Mooring is developed (no Docker there); it uses the two commands as their
manuals describe.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cluster_tools.commands import run, succeeds
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.layout import POD_RANGE, SERVICE_RANGE, Layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.provider import INPUTS_LABEL, ProviderName, parse_image_list

CLUSTER_NAME = "mooring"
NODE_CONTAINER = f"{CLUSTER_NAME}-control-plane"


@dataclass(frozen=True)
class Kind:
    """Brings a kind cluster up and down."""

    layout: Layout
    progress: Progress
    name: ProviderName = ProviderName.KIND

    @property
    def kubeconfig(self) -> Path:
        return self.layout.state / "kind.kubeconfig"

    def kubectl_path(self) -> Path:
        return _find("kubectl", "https://kubernetes.io/docs/tasks/tools/")

    def up(self) -> None:
        """Create the cluster when it is not there.

        Raises:
            ClusterError: kind, docker or kubectl is missing, or kind fails.
        """
        kind = _find("kind", "https://kind.sigs.k8s.io/docs/user/quick-start/")
        _find("docker", "https://docs.docker.com/engine/install/")
        self.kubectl_path()
        if self.healthy():
            self.progress.say(f"the kind cluster {CLUSTER_NAME} is up")
            return
        self.layout.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = self.layout.state / "kind.json"
        config.write_text(json.dumps(_config(), indent=2))
        with self.progress.step(f"creating the kind cluster {CLUSTER_NAME}"):
            if CLUSTER_NAME in run([kind, "get", "clusters"]).split():
                run([kind, "delete", "cluster", "--name", CLUSTER_NAME], timeout=300)
            create = [kind, "create", "cluster", "--name", CLUSTER_NAME, "--config", config]
            run([*create, "--kubeconfig", self.kubeconfig, "--wait", "180s"], timeout=900)
        self._route_services()
        self.progress.say(f"the cluster is up: export KUBECONFIG={self.kubeconfig}")

    def down(self, *, purge: bool = False) -> None:
        """Delete the cluster with everything in it; there is nothing more to purge."""
        kind = _find("kind", "https://kind.sigs.k8s.io/docs/user/quick-start/")
        run([kind, "delete", "cluster", "--name", CLUSTER_NAME], timeout=300)
        self.kubeconfig.unlink(missing_ok=True)

    def healthy(self) -> bool:
        """Whether the API server is ready and every node too."""
        if not self.kubeconfig.exists():
            return False
        kubectl = [self.kubectl_path(), f"--kubeconfig={self.kubeconfig}"]
        wait = ["wait", "--for=condition=Ready", "node", "--all", "--timeout=1s"]
        return succeeds([*kubectl, "get", "--raw", "/readyz"]) and succeeds([*kubectl, *wait])

    def status(self) -> list[str]:
        return [f"cluster: {'healthy' if self.healthy() else 'not healthy'}"]

    def load_image(self, archive: Path, *, name: str = "", inputs: str = "") -> None:
        """Load an archive into the node and label the image."""
        kind = _find("kind", "https://kind.sigs.k8s.io/docs/user/quick-start/")
        run([kind, "load", "image-archive", archive, "--name", CLUSTER_NAME], timeout=600)
        if name:
            run([*self._ctr(), "images", "label", name, f"{INPUTS_LABEL}={inputs}"])

    def image_inputs(self) -> dict[str, str]:
        return parse_image_list(run([*self._ctr(), "images", "list"]))

    def _ctr(self) -> list[str]:
        return ["docker", "exec", NODE_CONTAINER, "ctr", "--namespace=k8s.io"]

    def _route_services(self) -> None:
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        if sys.platform == "linux" and os.geteuid() == 0:
            node = run(["docker", "inspect", "-f", template, NODE_CONTAINER]).split()[0]
            for addresses in (SERVICE_RANGE, POD_RANGE):
                run(["ip", "route", "replace", addresses, "via", node])
        else:
            self.progress.say(
                "this machine has no route to Service addresses (that needs Linux and root): "
                "tests that call a Service from outside need `kubectl port-forward`"
            )


def _config() -> dict[str, object]:
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"serviceSubnet": SERVICE_RANGE, "podSubnet": POD_RANGE},
    }


def _find(program: str, manual: str) -> Path:
    found = shutil.which(program)
    if not found:
        raise ClusterError(f"{program} is not on the PATH: install it ({manual})")
    return Path(found)
