"""A process that has imported the operator once and forks one for each request.

Starting Python and importing takes seconds, forking takes milliseconds, and what is forked is a
process of its own: it is killed with SIGKILL by its pid like any other. Run as
`python -m tests.faults.nursery`; requests and news are lines of JSON on stdin and stdout.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Child:
    """One operator process."""

    pid: int
    ended: asyncio.Future[int] = field(default_factory=asyncio.Future[int])
    """Its exit status once it is over, negative for the signal that ended it."""

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it is over."""
        if not self.ended.done():
            # It is the nursery's child until that one reaps it, so the pid is not reused.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def killed(self) -> None:
        """kill -9; returns when it is gone."""
        self.signal(signal.SIGKILL)
        await asyncio.shield(self.ended)


class Nursery:
    """The parent's side."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._spawning = asyncio.Lock()
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._children: dict[int, Child] = {}
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.nursery",
            cwd=ROOT,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Ends it, and with it every operator that still runs."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        assert self._reader is not None
        await self._reader

    async def spawn(self, environment: Mapping[str, str], log: Path) -> Child:
        """Forks an operator with these settings and nothing else in its environment."""
        assert self._process is not None
        assert self._process.stdin is not None
        async with self._spawning:
            request = {"environment": dict(environment), "log": str(log)}
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await self._process.stdin.drain()
            return self._children[await self._born.get()]

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            news = json.loads(line)
            if "born" in news:
                self._children[news["born"]] = Child(news["born"])
                self._born.put_nowait(news["born"])
            else:
                child = self._children.pop(news["ended"])
                child.ended.set_result(news["status"])


def _run_operator(environment: Mapping[str, str], log: str) -> int:
    """In the child: becomes the operator, with its log instead of our pipes."""
    from mooring_operator.__main__ import main  # imported by the nursery already

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(environment)
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 as the interpreter does at the top of any process
        traceback.print_exc()
        return 1
    return 0


def _tell(**news: int) -> None:
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


def _reap(children: set[int]) -> None:
    for pid in sorted(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.discard(pid)
            _tell(ended=pid, status=os.waitstatus_to_exitcode(status))


def _nothing(_: int, __: object) -> None:
    """Its signal has written to the wake-up pipe."""


def _serve() -> None:
    importlib.import_module("mooring_operator.__main__")  # once, for all that are forked
    waker, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, _nothing)
    signal.set_wakeup_fd(wakeup)
    gc.freeze()
    children: set[int] = set()
    pending = b""
    while True:
        readable, _, _ = select.select([0, waker], [], [])
        if waker in readable:
            os.read(waker, 4096)
        if 0 in readable:
            received = os.read(0, 1 << 20)
            if not received:
                break
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    code = _run_operator(request["environment"], request["log"])
                    os._exit(code)
                children.add(pid)
                _tell(born=pid)
        _reap(children)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    _serve()
