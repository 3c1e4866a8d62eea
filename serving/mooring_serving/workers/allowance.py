"""What the machine allows this process: CPUs and memory, by cgroup or else by affinity."""

import os
from collections.abc import Callable
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_MOST_WITHOUT_QUOTA = 4
_UNLIMITED = 1 << 60
"""cgroup v1 writes a number near 2**63 for no limit."""


def read_cpus(root: Path = CGROUP) -> int | None:
    """Whole CPUs of the cgroup's quota, at least 1; None without a quota.

    Args:
        root: Where the cgroup file system is mounted: v2 has `cpu.max`, v1 `cpu/cpu.cfs_*_us`.
    """
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None  # "max", or -1 in v1
    return max(1, int(quota) // int(period))


def read_memory(root: Path = CGROUP) -> int | None:
    """Bytes that the cgroup may have; None without a limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() and int(text) < _UNLIMITED else None
    return None


def default_workers(
    root: Path = CGROUP,
    affinity: Callable[[], int] = lambda: len(os.sched_getaffinity(0)),
    *,
    in_pod: bool,
    bytes_each: int = 128 * 1024 * 1024,
) -> int:
    """Worker processes when nobody says how many.

    The quota's whole CPUs. Without a quota one in a pod, which does not own its node and asked for
    little, and elsewhere the CPUs that the scheduler may use, at most 4. Never so many that each
    had less memory than it needs.

    Args:
        root: The cgroup file system.
        affinity: CPUs that this process may run on.
        in_pod: Whether the process shares its machine with others' pods.
        bytes_each: Memory that a worker needs with a model of usual size.
    """
    cpus = read_cpus(root) or (1 if in_pod else min(affinity(), _MOST_WITHOUT_QUOTA))
    memory = read_memory(root)
    return max(1, cpus if memory is None else min(cpus, memory // bytes_each))


def memory_per_worker(workers: int, root: Path = CGROUP) -> int | None:
    """Soft limit of a process' own memory in bytes: nine tenths of its share; None without one."""
    memory = read_memory(root)
    return None if memory is None else memory * 9 // 10 // workers


def own_memory(pid: int | str = "self") -> int:
    """Resident bytes that the process shares with no file and no other process.

    That is what the kernel cannot take back; the libraries' pages count once for all workers.
    """
    _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")
