"""Server processes of a benchmark: start on one core, stop for a while, measure, end."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE = 0
LOAD_CORE = 1


class ServerFailed(Exception):
    """A server did not come up or ended; the message holds the end of its output."""


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a server.

    Attributes:
        arguments: Program and arguments; `{http}`, `{grpc}`, `{metrics}` become free ports.
        environment: Variables on top of ours.
        announces: Whether it prints its ports as one JSON line; else its port is awaited.
        directory: Where it runs.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    announces: bool
    directory: Path = ROOT


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for _ in range(count):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports


def cpu_seconds_of(pid: int) -> float:
    """User and system time of one running process."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / CLOCK_TICKS


def process_tree(first: int) -> list[int]:
    """A process and its descendants that still run."""
    found: list[int] = []
    waiting = [first]
    while waiting:
        pid = waiting.pop()
        tasks: list[Path] = []
        with contextlib.suppress(OSError):
            tasks += Path(f"/proc/{pid}/task").iterdir()
            found.append(pid)
        for task in tasks:
            with contextlib.suppress(OSError):  # a thread may end while one looks
                waiting += map(int, (task / "children").read_text().split())
    return found


def resident_bytes(first: int) -> int:
    """Resident memory of a process tree, pages that several share divided among them (Pss)."""
    total = 0
    for pid in process_tree(first):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class ServerProcess:
    """A running server and its descendants, in a session of their own."""

    def __init__(self, process: "subprocess.Popen[bytes]", ports: Mapping[str, int]) -> None:
        self._process = process
        self.ports = ports

    @property
    def pid(self) -> int:
        """The first process."""
        return self._process.pid

    def tree(self) -> list[int]:
        """The processes of the server that still run."""
        return process_tree(self._process.pid)

    def cpu_seconds(self) -> float:
        """User and system time of the tree, its ended children included."""
        ticks = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, stat[11:15]))
        return ticks / CLOCK_TICKS

    def resident_bytes(self) -> int:
        """Resident memory of the tree."""
        return resident_bytes(self._process.pid)

    def pause(self) -> None:
        """Stop the tree: a server that is not being measured takes nothing from the core."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the tree run again."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """SIGTERM to the tree, and SIGKILL to what is left after a while."""
        tree = self.tree()
        self.resume()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        for pid in {*tree, *self.tree()}:
            if pid == self._process.pid or _session(pid) == self._process.pid:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait(5)

    def _signal(self, number: int) -> None:
        for pid in self.tree():
            with contextlib.suppress(OSError):
                os.kill(pid, number)


def _session(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return None


@contextlib.contextmanager
def started(command: Command, *, core: int | None, seconds: float = 90) -> Generator[ServerProcess]:
    """A server pinned to a core, ready for connections.

    Args:
        command: How to start it.
        core: The core that its processes may use, None for all.
        seconds: How long it may take to come up.

    Raises:
        ServerFailed: It did not come up.
    """
    http, grpc, metrics = free_ports(3)
    ports: dict[str, int] = {"http": http, "grpc": grpc, "metrics": metrics}
    arguments = [argument.format(**ports) for argument in command.arguments]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            arguments,
            cwd=command.directory,
            env={**os.environ, **{k: v.format(**ports) for k, v in command.environment.items()}},
            stdout=subprocess.PIPE if command.announces else errors,
            stderr=errors,
            start_new_session=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
        server = ServerProcess(process, ports)
        try:
            try:
                server.ports = _await_ports(process, command, ports, seconds)
            except ServerFailed as failure:
                errors.seek(0)
                output = errors.read()[-3000:].decode(errors="replace")
                raise ServerFailed(f"{arguments}: {failure}\n{output}") from None
            yield server
        finally:
            server.close()
            if process.stdout is not None:
                process.stdout.close()


def _await_ports(
    process: "subprocess.Popen[bytes]", command: Command, ports: Mapping[str, int], seconds: float
) -> Mapping[str, int]:
    if process.stdout is not None:
        return _read_ports(process, process.stdout, seconds)
    deadline = time.monotonic() + seconds
    while not _listens(ports["http"]):
        if process.poll() is not None:
            raise ServerFailed(f"it ended with {process.returncode} before it was ready")
        if time.monotonic() > deadline:
            raise ServerFailed(f"it did not listen within {seconds:.0f} s")
        time.sleep(0.1)
    return ports


def _read_ports(
    process: "subprocess.Popen[bytes]", output: IO[bytes], seconds: float
) -> Mapping[str, int]:
    readable, _, _ = select.select([output], [], [], seconds)
    line = output.readline() if readable else b""
    if not line:
        raise ServerFailed(f"it did not say its ports; exit code {process.poll()}")
    return {name: port for name, port in json.loads(line).items() if port is not None}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
