"""Running other programs to their end, and waiting for conditions with a deadline."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster_tools.errors import ClusterError

POLL_SECONDS = 0.05
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120.0,
) -> str:
    """Run a program to its end and return what it wrote to standard output.

    Args:
        argv: the program and its arguments.
        stdin: text for its standard input; without one it reads nothing.
        env: variables added to this process's environment.
        cwd: the directory to run in.
        timeout: seconds until it is killed.

    Raises:
        ClusterError: it is missing, took too long, or exited with another status than 0; the
            message carries the end of its standard error.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed or not executable") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{_shorten(words)}` took longer than {timeout:.0f} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise ClusterError(f"`{_shorten(words)}` exited with {done.returncode}:\n{tail}")
    return done.stdout


def succeeds(argv: Sequence[str | Path], *, timeout: float = 20.0) -> bool:
    """Whether a program runs and exits with status 0."""
    try:
        run(argv, timeout=timeout)
    except ClusterError:
        return False
    return True


def wait_until(condition: Callable[[], bool], *, what: str, timeout: float) -> None:
    """Return as soon as the condition holds.

    Args:
        condition: asked every 50 ms; may raise ClusterError to give up at once.
        what: names the condition in the error.
        timeout: seconds until giving up.

    Raises:
        ClusterError: the condition did not hold in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"gave up after {timeout:.0f} s waiting for {what}")
        time.sleep(POLL_SECONDS)


def _shorten(words: Sequence[str]) -> str:
    line = " ".join(words)
    return line if len(line) <= 200 else f"{line[:200]} ..."
