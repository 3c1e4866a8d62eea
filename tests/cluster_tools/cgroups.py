"""The control group under which the kubelet puts every pod, and its removal."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.cluster_tools.commands import wait_until
from tests.cluster_tools.errors import ClusterError

CGROUPS = Path("/sys/fs/cgroup")
_V2_CONTROLLERS = ("cpuset", "cpu", "memory", "pids", "hugetlb", "io")


def create(name: str) -> None:
    """Make the group in every hierarchy; a group that exists is kept."""
    for root in _hierarchies():
        if (root / "cgroup.subtree_control").exists():
            _enable_controllers(root)
        (root / name).mkdir(exist_ok=True)
        if (root / name / "cgroup.subtree_control").exists():
            _enable_controllers(root / name)


def remove(name: str) -> None:
    """Kill what still runs in the group and remove it with all groups below.

    Raises:
        ClusterError: a process in it cannot be ended.
    """
    groups = [root / name for root in _hierarchies() if (root / name).is_dir()]
    for pid in _members(groups):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for group in groups:
        for folder in _deepest_first(group):
            wait_until(
                lambda folder=folder: _removed(folder), what=f"{folder} to empty", timeout=10
            )


def leftovers(name: str) -> list[str]:
    """The groups of this name that exist, in words."""
    return [f"cgroup {root / name}" for root in _hierarchies() if (root / name).is_dir()]


def _hierarchies() -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    roots = [path for path in sorted(CGROUPS.iterdir()) if path.is_dir() and not path.is_symlink()]
    # A hybrid machine's empty v2 hierarchy (`unified`) gets the group too: runc joins it there.
    return [path for path in roots if (path / "cgroup.procs").exists()]


def _enable_controllers(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    for controller in _V2_CONTROLLERS:
        if controller in available:
            try:
                (group / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as error:
                raise ClusterError(
                    f"cannot hand the {controller} controller to groups below {group}: "
                    f"{error.strerror}; run in a container or session that delegates cgroups, or "
                    f"use MOORING_CLUSTER_PROVIDER=kind or existing"
                ) from error


def _members(groups: list[Path]) -> set[int]:
    files = [path for group in groups for path in group.rglob("cgroup.procs")]
    return {int(pid) for path in files for pid in path.read_text().split()}


def _deepest_first(group: Path) -> Iterator[Path]:
    below = [path for path in group.rglob("*") if path.is_dir()]
    yield from sorted(below, key=lambda path: len(path.parts), reverse=True)
    yield group


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
