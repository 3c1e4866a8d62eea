"""Runs `mooring` commands, each in a fork with limits: `python -m tests.serving.bounded_commands`.

Reads one JSON list of arguments a line, answers with its exit code, seconds and peak memory. The
fork has the command's libraries already, so that hundreds of commands take seconds.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import mooring_cli.main
import mooring_model.storage
import mooring_model.stores.directory
import mooring_model.stores.https
import mooring_model.trial
import mooring_model.verify

ADDRESS_SPACE = 6 << 30
"""Bytes; what a check may take, the package's own size included."""
DEADLINE = 60.0
ROOT = Path(__file__).resolve().parents[2]
LOADED = (
    mooring_model.storage,
    mooring_model.stores.directory,
    mooring_model.stores.https,
    mooring_model.trial,
    mooring_model.verify,
)
"""What the commands import; here, so that it happens once."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Exit code; negative: ended by this signal.
        seconds: Its duration.
        peak_bytes: Resident memory at most, of itself alone.
    """

    code: int
    seconds: float
    peak_bytes: int


class Commands:
    """The runner, as a test uses it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, *arguments: str) -> Outcome:
        """Runs one command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def bounded_commands() -> Generator[Commands]:
    """A runner until the context ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serving.bounded_commands"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Commands(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(DEADLINE)
        assert process.stdout is not None
        process.stdout.close()


def _run(arguments: list[str]) -> Outcome:
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(arguments)
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - begun > DEADLINE:
            os.kill(child, 9)
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(status)
    return Outcome(code, time.monotonic() - begun, usage.ru_maxrss * 1024)


def _become(arguments: list[str]) -> None:
    """The command itself; does not return."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    silent = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silent, descriptor)
    sys.argv = ["mooring", *arguments]
    code = 70
    try:
        mooring_cli.main.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code)


def main() -> None:
    """Runs commands until the input ends."""
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line)).__dict__), flush=True)


if __name__ == "__main__":
    main()
