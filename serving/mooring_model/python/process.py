"""The model's process as the server keeps it: started, asked, ended, and started again.

Used from several threads; one call is answered at a time. A process that dies, hangs or answers
nonsense costs the call that it was answering, and none when it dies idle; a thread starts the next
one at once, and later and later when that keeps happening.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.prediction import Columns, FloatArray, PredictionFailed
from mooring_model.python import child, wire
from mooring_model.python.declaration import WHEELS, Declaration, read_declaration
from mooring_model.python.fence import hide_memory
from mooring_model.python.wheels import unpack_wheels

CRASHES = 5
"""So many within `WINDOW_SECONDS`, and the server calls itself not ready."""
WINDOW_SECONDS = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds between a crash and the next start; the first within a window has none."""
END_SECONDS = 5.0
"""Longest wait for a killed process to be gone."""
_DYING_SECONDS = 1.0
"""How long a process that hung up may take to be gone, so that it is known how it ended."""
_IDLE = "died between calls"
ANSWER_BYTES_PER_ROW = 8 * 1024
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",  # each arena reserves 64 MiB of the address space
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""All that the process is told: no credentials, no key, nothing of the server's own."""


@dataclass(frozen=True)
class _Child:
    """One running process and the connection to it."""

    process: "subprocess.Popen[bytes]"
    connection: socket.socket

    def end(self, patience: float = 0.0) -> str:
        """Kills it with all that it started; returns how it ended.

        Args:
            patience: seconds that it has for ending by itself, when it is already about to.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.connection.close()
        try:
            code = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "did not end"
        if code >= 0:
            return f"exited with {code}"
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"


class ModelProcess:
    """The model of one package, alive in a process of its own.

    Args:
        directory: a checked package of format python.
        clock: monotonic seconds.

    Raises:
        PackageRefused: LoadFailed; the code cannot be imported or constructed within its limits.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory.resolve()
        self._declaration: Declaration = read_declaration(directory)
        self._clock = clock
        self._calling = threading.Lock()
        self._changed = threading.Condition()
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._last_crash = ""
        self._closed = False
        self._child: _Child | None = None
        self.ends = 0
        """How often a process died, hung or was of no use."""
        self.filtered = False
        """Whether the kernel filters its calls; see `fence`."""
        hide_memory()
        self._libraries = _unpacked(self._directory)
        try:
            self._adopt(self._start())
        except PredictionFailed as error:
            self.close()
            raise PackageRefused(
                RefusalReason.LOAD_FAILED,
                f"{directory}: {self._declaration.entrypoint} does not load: {error}",
                "run it once with the same data; what it needs must be in code/, data/ and wheels/,"
                " and within the limits of python.json",
            ) from error

    @property
    def fault(self) -> str | None:
        """Why no client should be sent here; None when all is well."""
        crashes = [at for at in list(self._crashes) if self._clock() - at < WINDOW_SECONDS]
        if len(crashes) < CRASHES:
            return None
        return (
            f"the model's process ended {len(crashes)} times within {WINDOW_SECONDS:.0f} s, last: "
            f"{self._last_crash}"
        )

    @property
    def pid(self) -> int | None:
        """Of the running process; None while there is none."""
        running = self._child
        return None if running is None else running.process.pid

    @property
    def peak_memory_bytes(self) -> int:
        """Resident memory of the running process at most (Linux); 0 while there is none."""
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return 0

    def call(self, columns: Columns) -> dict[str, FloatArray]:
        """The model's answers to some rows, as it gave them.

        Raises:
            PredictionFailed: the code raised, or its process died, hung or answered nonsense.
        """
        limit = float(self._declaration.limits.call_seconds)
        with self._calling:
            running = self._await_child(limit)
            if running.process.poll() is not None:  # before `_watch` could tell
                self._crashed(running, _IDLE)
                running = self._await_child(limit)
            try:
                head, body = self._ask(running, columns, limit)
            except wire.WireError as error:
                raise self._crashed(running, f"broke the protocol ({error})") from error
            except TimeoutError as error:
                late = f"took longer than {limit:.0f} s"
                raise self._crashed(running, late, patience=0.0) from error
            except (wire.Closed, OSError) as error:
                raise self._crashed(running, "died", patience=_DYING_SECONDS) from error
            if "error" in head:
                raise PredictionFailed(str(head["error"])[: child.MAX_TEXT])
            try:
                return wire.decode_answers(head.get("answers"), body)
            except wire.WireError as error:
                raise self._crashed(running, f"broke the protocol ({error})") from error

    def close(self) -> None:
        """Ends the process and removes what was unpacked for it."""
        with self._changed:
            self._closed = True
            running, self._child = self._child, None
            self._changed.notify_all()
        if running is not None:
            running.end()
        if self._libraries is not None:
            self._libraries.cleanup()

    def _adopt(self, started: _Child) -> None:
        """Makes a process the running one; ends it instead when closed meanwhile."""
        with self._changed:
            if self._closed:
                started.end()
                return
            self._child = started
            self._changed.notify_all()
        threading.Thread(
            target=self._watch, args=(started,), name="model-watch", daemon=True
        ).start()

    def _watch(self, running: _Child) -> None:
        """Replaces a process that dies while no call is with it."""
        with contextlib.suppress(ChildProcessError):  # somebody else saw it end
            # Popen.wait would hold the lock that poll() needs in `call`.
            os.waitid(os.P_PID, running.process.pid, os.WEXITED | os.WNOWAIT)
        with self._calling:  # a call that it dies under tells by itself
            if self._child is running:
                self._crashed(running, _IDLE)

    def _ask(
        self, running: _Child, columns: Columns, limit: float
    ) -> tuple[dict[str, Any], memoryview]:
        rows = len(next(iter(columns.values())))
        entries, parts = wire.encode_columns(columns)
        running.connection.settimeout(limit)
        wire.send(running.connection, {"rows": rows, "columns": entries}, parts)
        return wire.receive(running.connection, body_limit=ANSWER_BYTES_PER_ROW * max(rows, 64))

    def _await_child(self, seconds: float) -> _Child:
        """The running process; waits for one that is being started."""
        with self._changed:
            self._changed.wait_for(lambda: self._child is not None or self._closed, seconds)
            if self._child is None:
                raise PredictionFailed(f"the model's process is not running; {self._last_crash}")
            return self._child

    def _crashed(self, running: _Child, how: str, patience: float = 0.0) -> PredictionFailed:
        """Ends a process that cannot go on, and has the next one started."""
        ended = running.end(patience)
        self._last_crash = f"the process {how}, and {ended}"
        with self._changed:
            self._child = None
        self._count_crash()
        threading.Thread(target=self._restart, name="model-restart", daemon=True).start()
        return PredictionFailed(self._last_crash)

    def _count_crash(self) -> None:
        self._crashes.append(self._clock())
        self.ends += 1

    def _restart(self) -> None:
        """Starts the next process, with a growing pause between failures."""
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, self._pause()):
                    return
            try:
                started = self._start()
            except PredictionFailed as error:
                self._last_crash = f"it does not start: {error}"
                self._count_crash()
                continue
            self._adopt(started)
            return

    def _pause(self) -> float:
        """Seconds until the next start."""
        now = self._clock()
        recent = sum(1 for at in self._crashes if now - at < WINDOW_SECONDS)
        return 0.0 if recent < 2 else min(LONGEST_PAUSE, FIRST_PAUSE * 4.0 ** (recent - 2))

    def _start(self) -> _Child:
        """Starts a process and waits until its model is there.

        Raises:
            PredictionFailed: it does not come up.
        """
        limits = self._declaration.limits
        running = self._spawn()
        running.connection.settimeout(limits.start_seconds)
        try:
            wire.send(running.connection, self._task())
            head, _ = wire.receive(running.connection, body_limit=0)
        except (wire.Closed, wire.WireError, OSError) as error:
            late = isinstance(error, TimeoutError)
            how = f"took longer than {limits.start_seconds} s" if late else "died at start"
            ended = running.end(0.0 if late else _DYING_SECONDS)
            raise PredictionFailed(f"the process {how}, and {ended}") from error
        if "ready" not in head:
            running.end()
            raise PredictionFailed(str(head.get("error"))[: child.MAX_TEXT])
        self.filtered = head["ready"] is True
        return running

    def _spawn(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                    [sys.executable, "-I", "-B", child.__file__, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd=self._directory,
                    env=_ENVIRONMENT,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise PredictionFailed(f"no process can be started: {error}") from error
        return _Child(process, ours)

    def _task(self) -> Mapping[str, object]:
        limits = self._declaration.limits
        return {
            "directory": str(self._directory),
            "libraries": None if self._libraries is None else self._libraries.name,
            "entrypoint": self._declaration.entrypoint,
            "memoryBytes": limits.memory_bytes,
            "openFiles": limits.open_files,
            "startSeconds": limits.start_seconds,
            "callSeconds": limits.call_seconds,
        }


def _unpacked(directory: Path) -> "tempfile.TemporaryDirectory[str] | None":
    """The locked libraries, unpacked; None without any.

    Raises:
        PackageRefused: LockInvalid.
    """
    if not (directory / WHEELS).is_dir():
        return None
    target = tempfile.TemporaryDirectory(prefix="mooring-libraries-", ignore_cleanup_errors=True)
    try:
        unpack_wheels(directory, Path(target.name))
    except PackageRefused:
        target.cleanup()
        raise
    return target
