"""`down` leaves nothing behind, also after a crash.

Each test has a cluster of its own in a network namespace of its own, so that the cluster which the
other tests share goes on undisturbed. What is left is looked for here, not asked of the tool.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.layout import CHECKOUT, Layout

NETWORK_NAMESPACE = f"mooring-{os.getpid()}"


@dataclass(frozen=True)
class OwnCluster:
    """A cluster apart: a state directory and a network namespace.

    Attributes:
        state: its state directory.
        network: the path of its network namespace.
    """

    state: Path
    network: Path

    def run(self, *arguments: str) -> str:
        return self.inside(sys.executable, "-m", "tests.cluster_tools", *arguments)

    def inside(self, *command: str) -> str:
        """What a command that runs in the network namespace prints."""
        done = subprocess.run(
            ["nsenter", f"--net={self.network}", *command],
            env={**os.environ, "MOORING_CLUSTER_DIR": str(self.state)},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def processes(self) -> dict[int, str]:
        """Pid -> name of what runs in the network namespace, from the state, or in a pod."""
        here, identity = self.network.stat().st_ino, self.identity()
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                words = (entry / "cmdline").read_text()
                in_network = (entry / "ns" / "net").stat().st_ino == here
                in_pod = identity in (entry / "cgroup").read_text()
                if words and (in_network or in_pod or str(self.state) in words):
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
        return found

    def leftovers(self) -> list[str]:
        """Everything of it that a machine could still hold, but for the imported images."""
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        links = json.loads(self.inside("ip", "-json", "link", "show"))
        rules = [
            line
            for command in ("iptables-save", "ip6tables-save")
            for line in self.inside(command).splitlines()
            if re.search(r"(KUBE|CNI)-", line)
        ]
        files = [path for path in self.state.iterdir() if path.name != "containerd"]
        return [
            *[f"{pid} {name}" for pid, name in self.processes().items()],
            *[line for line in mounts if str(self.state) in line],
            *[f"link {link['ifname']}" for link in links if is_made(link)],
            *[f"route {line}" for line in self.inside("ip", "route").splitlines()],
            *rules,
            *[str(path) for path in files],
            *[str(path) for path in Path("/sys/fs/cgroup").glob(f"**/*{self.identity()}*")],
            *[str(path) for path in logs_of(self.state)],
        ]

    def identity(self) -> str:
        return Layout(cache=self.state, state=self.state).identity


def is_made(link: dict[str, str]) -> bool:
    """Whether a link is not one of those that a new namespace has (lo, tunnels)."""
    return link["ifname"].startswith(("kube", "cni", "veth"))


def logs_of(state: Path) -> list[Path]:
    links = Path("/var/log/containers").glob("*.log")
    return [link for link in links if link.is_symlink() and state in link.readlink().parents]


@pytest.fixture
def own_cluster(cluster: Cluster) -> Generator[OwnCluster]:
    """A cluster apart, not yet up; it is taken down afterwards whatever happened."""
    if cluster.provider.name != "embedded":
        pytest.skip("only the embedded cluster is ours to take down")
    state = Path(tempfile.mkdtemp(prefix="mooring-"))
    network = Path("/run/netns") / NETWORK_NAMESPACE
    subprocess.run(["ip", "netns", "add", NETWORK_NAMESPACE], check=True)
    apart = OwnCluster(state, network)
    yield apart
    apart.run("down", "--purge")
    subprocess.run(["ip", "netns", "delete", NETWORK_NAMESPACE], check=True)
    shutil.rmtree(state, ignore_errors=True)
    Layout(cache=state, state=state).lock.unlink()


def test_down_leaves_no_process_mount_link_route_chain_cgroup_or_file(
    own_cluster: OwnCluster,
) -> None:
    own_cluster.run("up")
    names = set(own_cluster.processes().values())
    assert {"etcd", "kubelet", "coredns", "pause"} <= names, "the check sees what runs"
    assert own_cluster.leftovers(), "the check sees what is there"
    own_cluster.run("down")
    assert own_cluster.leftovers() == []


def test_up_and_down_recover_when_everything_was_killed(own_cluster: OwnCluster) -> None:
    own_cluster.run("up")
    shims = {
        pid for pid, name in own_cluster.processes().items() if name.startswith("containerd-shim")
    }
    for pid in own_cluster.processes().keys() - shims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    own_cluster.run("up")
    assert "cluster: healthy" in own_cluster.run("status")
    assert not shims & own_cluster.processes().keys(), "the old shims are gone"
    own_cluster.run("down")
    assert own_cluster.leftovers() == []
