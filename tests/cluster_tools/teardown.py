"""Taking an embedded cluster down until nothing of it is left, whatever state it is in."""

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster_tools import cgroups, network
from tests.cluster_tools.commands import run, succeeds
from tests.cluster_tools.containers import Containers
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.layout import Layout
from tests.cluster_tools.processes import Ledger, stop
from tests.cluster_tools.progress import Progress

# Ended before the containers are removed, so that nothing starts them again.
_BEFORE_CONTAINERS = ("kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager")
CONTAINER_LINKS = Path("/var/log/containers")
# Where the kubelet, runc and CNI insist on having folders; removed when they are empty again.
_SHARED_FOLDERS = tuple(
    Path(path)
    for path in (
        "/run/containerd/s",
        "/run/containerd/runc/k8s.io",
        "/run/containerd/runc",
        "/run/containerd",
        "/var/lib/cni/results",
        "/var/lib/cni",
        "/var/lib/kubelet/device-plugins",
        "/var/lib/kubelet",
        "/var/log/containers",
    )
)


@dataclass(frozen=True)
class Teardown:
    """Removes one embedded cluster: processes, containers, mounts, network, cgroups, files."""

    layout: Layout
    containers: Containers
    progress: Progress

    def run(self) -> None:
        """Remove everything but the images; a cluster that is not there is no error.

        Raises:
            ClusterError: something of it could not be removed; the message lists what.
        """
        ledger = Ledger(self.layout.processes)
        processes = ledger.read()
        for process in processes:
            if process.name in _BEFORE_CONTAINERS:
                stop(process)
        self.containers.remove_all()
        for process in reversed(processes):
            stop(process)
        self.containers.stop_shims()
        cgroups.remove(self.layout.cgroup)
        for mount in reversed(mounts_below(self.layout.state)):
            if not succeeds(["umount", mount]):
                run(["umount", "--lazy", mount])
        network.tear_down(self.layout)
        self._remove_files()
        left = self.leftovers()
        if left:
            raise ClusterError(
                "these are left of the cluster; remove them by hand, then run `down` again:\n"
                + "\n".join(left)
            )
        ledger.forget()
        self.layout.programs.unlink(missing_ok=True)

    def leftovers(self) -> list[str]:
        """What of the cluster is still there besides its images, in words."""
        processes = Ledger(self.layout.processes).read()
        return [
            *[f"process {p.pid} ({p.name})" for p in processes if p.alive()],
            *[f"process {p.pid} ({p.name})" for p in self.containers.shims()],
            *[f"mount {path}" for path in mounts_below(self.layout.state)],
            *network.leftovers(self.layout),
            *cgroups.leftovers(self.layout.cgroup),
            *[f"link {path}" for path in self._container_links()],
        ]

    def _remove_files(self) -> None:
        if mounts_below(self.layout.state):
            # Removing files below a mount could reach somebody else's.
            return
        for link in self._container_links():
            link.unlink(missing_ok=True)
        keep = self.layout.containerd_root.parent
        if not self.layout.containerd_clean.exists():
            shutil.rmtree(keep, ignore_errors=True)
        for path in sorted(self.layout.state.glob("*")):
            if path in {keep, self.layout.processes, self.layout.programs}:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

        for folder in _SHARED_FOLDERS:
            with suppress(OSError):
                folder.rmdir()

    def _container_links(self) -> list[Path]:
        pods = self.layout.logs / "pods"
        return [
            path
            for path in CONTAINER_LINKS.glob("*.log")
            if path.is_symlink() and path.readlink().is_relative_to(pods)
        ]


def mounts_below(folder: Path) -> list[Path]:
    """The mount points below a folder, in the order in which they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(_unescape(line.split()[4])) for line in lines]
    return [point for point in points if point.is_relative_to(folder) and point != folder]


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
