"""Starting the cluster's processes so that they outlive us, and ending exactly those.

A process is known by its pid and its start time in clock ticks since boot, which the kernel gives
to no second process: a recorded pid that was reused by somebody else is never signalled.
"""

import json
import os
import select
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster_tools.commands import SYSTEM_PATH
from tests.cluster_tools.errors import ClusterError

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process that this tool started.

    Attributes:
        name: the component, e.g. `kubelet`.
        pid: its process id.
        started: its start time, clock ticks since boot.
    """

    name: str
    pid: int
    started: int

    def alive(self) -> bool:
        """Whether the process runs and still is the one that was started."""
        return start_time(self.pid) == self.started


class Ledger:
    """The file that records which processes belong to a cluster."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Process, ...]:
        """The recorded processes, in the order of their start; none when there is no file."""
        try:
            records = json.loads(self._path.read_text())
        except FileNotFoundError:
            return ()
        except ValueError as error:
            raise ClusterError(
                f"{self._path} is damaged: end the cluster's processes by hand and remove the file"
            ) from error
        return tuple(
            Process(name=str(r["name"]), pid=int(r["pid"]), started=int(r["started"]))
            for r in records
        )

    def start(self, name: str, argv: Sequence[str | Path], *, log: Path, path: str = "") -> Process:
        """Start a process in its own session, with its output in a log file, and record it.

        Args:
            name: the component's name.
            argv: program (absolute path) and arguments.
            log: gets standard output and error.
            path: directories put before the system's PATH, joined with `:`.

        Raises:
            ClusterError: the program cannot be executed.
        """
        words = [str(word) for word in argv]
        log.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        environment = {
            "PATH": f"{path}:{SYSTEM_PATH}" if path else SYSTEM_PATH,
            "HOME": os.environ.get("HOME", "/"),
        }
        try:
            # Not subprocess: the process must outlive this one without a warning about it.
            pid = os.posix_spawn(
                words[0],
                words,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )
        except OSError as error:
            raise ClusterError(f"cannot start {name} ({words[0]}): {error.strerror}") from error
        started = start_time(pid)
        if started is None:
            raise ClusterError(f"{name} ended as soon as it was started; see {log}")
        process = Process(name, pid, started)
        self._write((*self.read(), process))
        return process

    def begin(self) -> None:
        """Write a file without processes."""
        self._write(())

    def forget(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def _write(self, processes: tuple[Process, ...]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps([asdict(process) for process in processes], indent=2))
        partial.rename(self._path)


def start_time(pid: int) -> int | None:
    """Clock ticks since boot at which a process started; None when it is gone or a zombie."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name in parentheses may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def stop(process: Process, *, grace: float = 10.0) -> None:
    """End a process: SIGTERM, and SIGKILL when it is still there after `grace` seconds."""
    if not process.alive():
        _reap(process.pid)
        return
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if process.alive():
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            if not _ended(descriptor, grace):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                _ended(descriptor, grace)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    _reap(process.pid)


def find_by_argument(argument: str) -> tuple[Process, ...]:
    """Running processes one of whose arguments is exactly this one (e.g. our socket's path)."""
    found: list[Process] = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        started = start_time(int(entry.name))
        if argument.encode() in words and started is not None:
            found.append(Process(Path(os.fsdecode(words[0])).name, int(entry.name), started))
    return tuple(found)


def _ended(descriptor: int, timeout: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(timeout * 1000))


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
