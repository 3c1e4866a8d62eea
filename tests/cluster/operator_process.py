"""The operator as a process on this host, against the real API server."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LOOK_SECONDS = 0.1
Happened = Callable[[], bool]


@dataclass
class OperatorProcess:
    """One running operator. Its log is kept for failing tests."""

    process: subprocess.Popen[bytes]
    log: Path
    probe_port: int
    metrics_port: int

    def page(self, path: str) -> tuple[int, str]:
        """Status and body of a probe or of the metrics; status 0 when nobody answers."""
        port = self.metrics_port if path == "/metrics" else self.probe_port
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, line: str) -> float:
        """The value of a metric by its full line; 0 when it is absent."""
        for text in self.page("/metrics")[1].splitlines():
            if text.startswith(line + " "):
                return float(text.rsplit(" ", 1)[1])
        return 0.0

    @property
    def leads(self) -> bool:
        """Whether this process holds the Lease, as it says itself."""
        return self.metric('leader_election_master_status{name="mooring-operator"}') == 1.0

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Returns when /readyz answers 200."""
        until(lambda: self.page("/readyz")[0] == 200, seconds, self)

    def wait_until_leading(self, seconds: float = 60.0) -> None:
        """Returns when this process leads."""
        until(lambda: self.leads, seconds, self)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


def start_operator(
    kubeconfig: Path,
    namespace: str,
    log: Path,
    *,
    module: str = "mooring_operator",
    environment: Mapping[str, str] | None = None,
) -> OperatorProcess:
    """Starts an operator that lives in `namespace` and serves it alone.

    Args:
        kubeconfig: how it reaches the API server.
        namespace: where its Lease and key are, and what it watches.
        log: file for its output.
        module: what to run with `python -m`.
        environment: further settings.
    """
    probe_port, metrics_port = free_port(), free_port()
    variables = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "MOORING_NAMESPACE": namespace,
        "MOORING_WATCH_NAMESPACES": namespace,
        "MOORING_LISTEN": "127.0.0.1",
        "MOORING_PROBE_PORT": str(probe_port),
        "MOORING_METRICS_PORT": str(metrics_port),
        **(environment or {}),
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=ROOT, env=variables, stdout=output, stderr=output
        )
    return OperatorProcess(process, log, probe_port, metrics_port)


def until(happened: Happened, seconds: float, operator: OperatorProcess | None = None) -> None:
    """Returns when `happened()` is true; fails after `seconds` with the end of the log."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            told = "" if operator is None else operator.log.read_text()[-4000:]
            raise AssertionError(f"did not happen in {seconds} s\n{told}")
        time.sleep(_LOOK_SECONDS)


def free_port() -> int:
    """A TCP port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
