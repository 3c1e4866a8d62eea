"""What tests and the demo use: a running cluster and its kubectl."""

import fcntl
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster_tools.commands import run
from tests.cluster_tools.embedded import Embedded
from tests.cluster_tools.existing import Existing, find_kubectl
from tests.cluster_tools.kind import Kind
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.provider import Provider, ProviderName, chosen_provider


@dataclass(frozen=True)
class Versions:
    """What runs, as the API server reports it."""

    apiserver: str
    kubelet: str
    runtime: str
    operating_system: str
    kernel: str

    def __str__(self) -> str:
        return (
            f"kube-apiserver {self.apiserver}, kubelet {self.kubelet}, {self.runtime}, "
            f"{self.operating_system}, kernel {self.kernel}"
        )


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up.

    Attributes:
        provider: where it comes from.
        kubeconfig: an administrator's kubeconfig.
        kubectl_path: the kubectl that fits it.
    """

    provider: Provider
    kubeconfig: Path
    kubectl_path: Path

    def kubectl(
        self,
        *args: str | Path,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run uses
        timeout: float = 120.0,
    ) -> str:
        """Run kubectl and return its standard output.

        Args:
            args: its arguments, e.g. `"apply", "-f", "-"`.
            input: text for its standard input.
            timeout: seconds until it is killed.

        Raises:
            ClusterError: it exited with another status than 0; the message has its errors.
        """
        argv = [self.kubectl_path, f"--kubeconfig={self.kubeconfig}", *args]
        return run(argv, stdin=input, timeout=timeout)

    def versions(self) -> Versions:
        """Ask the API server for its own and the first node's versions."""
        server = json.loads(self.kubectl("get", "--raw", "/version"))
        node = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"][0]
        info = node["status"]["nodeInfo"]
        return Versions(
            apiserver=str(server["gitVersion"]),
            kubelet=str(info["kubeletVersion"]),
            runtime=str(info["containerRuntimeVersion"]),
            operating_system=str(info["osImage"]),
            kernel=str(info["kernelVersion"]),
        )

    def load_image(self, archive: Path) -> None:
        """Put an OCI or Docker archive on the node."""
        self.provider.load_image(archive)


def open_provider(name: ProviderName, progress: Progress, *, confirmed: bool = False) -> Provider:
    """The provider of this name, for the layout that the environment asks for."""
    match name:
        case ProviderName.EMBEDDED:
            return Embedded(default_layout(), progress)
        case ProviderName.KIND:
            return Kind(default_layout(), progress)
        case ProviderName.EXISTING:
            return Existing(progress, confirmed, find_kubectl())


def connect(provider: Provider) -> Cluster:
    """A provider's cluster, which must be up."""
    return Cluster(provider, provider.kubeconfig, provider.kubectl_path())


@contextmanager
def borrow(provider: Provider, users: Path) -> Generator[Cluster]:
    """Bring the cluster up for a while and leave it as it was found.

    Args:
        provider: where it comes from.
        users: a file that everybody who borrows the cluster shares, so that the last one takes it
            down.
    """
    users.parent.mkdir(parents=True, exist_ok=True)
    with users.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        was_up = provider.healthy()
        provider.up()
        yield connect(provider)
        if was_up:
            return
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            provider.down()


def ensure_up(*, provider: ProviderName | None = None, progress: Progress | None = None) -> Cluster:
    """Bring the cluster up when it is not, and return it.

    Args:
        provider: where it comes from; None: what `MOORING_CLUSTER_PROVIDER` says.
        progress: told what happens; None: standard error.

    Raises:
        ClusterError: it cannot be had; the message says what to do.
    """
    name = provider or chosen_provider(None)
    opened = open_provider(name, progress or Progress(sys.stderr))
    opened.up()
    return connect(opened)
