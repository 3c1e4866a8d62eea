"""A witness beside a benchmark: how fast a server's probe answers, and what its memory is.

`python -m tests.bench.observer PID PORT SECONDS` writes a JSON line every SECONDS until its
standard input is closed. It is a process of its own, so that a busy load generator does not
delay it.
"""

import contextlib
import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass

from tests.bench.processes import ROOT, resident_bytes

_PROBE = "/livez"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a server.

    Attributes:
        at: Seconds since the observer started.
        probe_ms: How long the probe took, None when it failed.
        resident: Memory of the server's processes, bytes.
    """

    at: float
    probe_ms: float | None
    resident: int


class Observer:
    """A running observer."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.samples: list[Sample] = []

    def finish(self) -> list[Sample]:
        """End it; returns what it saw."""
        output, _ = self._process.communicate(timeout=30)
        self.samples = [Sample(**json.loads(line)) for line in output.splitlines()]
        return self.samples


@contextlib.contextmanager
def observing(pid: int, port: int, seconds: float) -> Generator[Observer]:
    """An observer of a server with this first process and management port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.observer", str(pid), str(port), str(seconds)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Observer(process)
    finally:
        process.terminate()
        process.wait(10)


def probe(port: int) -> float | None:
    """Milliseconds that the probe took, None when it failed or took more than 10 s."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", _PROBE)
        if connection.getresponse().status != 200:
            return None
    except OSError:
        return None
    finally:
        connection.close()
    return (time.perf_counter() - started) * 1e3


def main() -> None:
    """Look until standard input is closed."""
    pid, port, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    started = time.perf_counter()
    while True:
        at = time.perf_counter() - started
        sample = {"at": at, "probe_ms": probe(port), "resident": resident_bytes(pid)}
        print(json.dumps(sample), flush=True)
        left = max(0.0, at + seconds - (time.perf_counter() - started))
        if select.select([sys.stdin], [], [], left)[0]:
            return


if __name__ == "__main__":
    main()
