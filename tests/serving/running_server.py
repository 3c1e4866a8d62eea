"""Starting, asking and stopping real server processes on loopback."""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ROOT = Path(__file__).resolve().parents[2]
KEY = Ed25519PrivateKey.generate()


def raw_public_key(key: Ed25519PrivateKey = KEY) -> str:
    """The base64 raw public key of `key`."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode()


@dataclass
class Server:
    """A running server process."""

    process: "subprocess.Popen[str]"
    http: int
    management: int
    forward: int
    grpc: int
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))
    counter: int = 0

    def url(self, path: str) -> str:
        """A URL of the client port."""
        return f"http://127.0.0.1:{self.http}{path}"

    def managed(self, path: str) -> str:
        """A URL of the management port."""
        return f"http://127.0.0.1:{self.management}{path}"

    def post(self, path: str, document: object, **headers: str) -> httpx.Response:
        """POST a JSON document to the client port."""
        return self.client.post(self.url(path), json=document, headers=headers)

    def identity(self) -> dict[str, Any]:
        """The pod's identity."""
        return self.client.get(self.managed("/mooring/v1/identity")).json()

    def payload(self, **route: object) -> dict[str, Any]:
        """The next valid payload for this pod, with this route."""
        self.counter += 1
        identity = self.identity()
        base = {"role": "Stable", "phase": None, "candidateRevision": None}
        return {
            "podUid": identity["podUid"],
            "deploymentUid": identity["deploymentUid"],
            "bootNonce": identity["bootNonce"],
            "epoch": 1,
            "counter": self.counter,
            "ttlSeconds": 60,
            "route": base | {"weightPercent": 0, "shadowPercent": 0, "deadlineMs": 1000} | route,
        }

    def send(self, payload: object, key: Ed25519PrivateKey = KEY) -> httpx.Response:
        """Sign a payload and send it."""
        raw = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
        message = {
            "payload": base64.b64encode(raw).decode(),
            "signature": base64.b64encode(key.sign(raw)).decode(),
        }
        return self.client.post(self.managed("/mooring/v1/sync"), json=message)

    def sync(self, ttl: float = 60, **route: object) -> dict[str, Any]:
        """Set the route; returns the snapshot."""
        answer = self.send(self.payload(**route) | {"ttlSeconds": ttl})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def metrics(self) -> str:
        """The Prometheus exposition."""
        return self.client.get(self.managed("/metrics")).text

    def refusals(self) -> dict[str, int]:
        """What the metrics count as refused, by reason."""
        pattern = r'mooring_requests_refused_total\{[^}]*reason="(\w+)"[^}]*\} (\S+)'
        return {name: int(float(count)) for name, count in re.findall(pattern, self.metrics())}

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """SIGTERM and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.terminate()
        self.client.close()
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()


@contextlib.contextmanager
def running(
    directory: Path,
    *,
    peer: int | Sequence[int] | None = None,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    **more: str,
) -> Generator[Server]:
    """A server process over a package.

    Args:
        directory: The package.
        peer: Forward ports of the servers that forwards go to, one after the other.
        arguments: More arguments of `server_process`.
        environment: Variables on top of a usual set.
        more: More of them, such as `MOORING_REVISION`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        keys = Path(scratch) / "keys.json"
        keys.write_text(json.dumps([raw_public_key()]))
        variables: Mapping[str, str] = {
            "MOORING_DRAIN_SECONDS": "0",
            "MOORING_LINGER_SECONDS": "0",
            "MOORING_SYNC_KEYS": str(keys),
            "MOORING_POD_UID": "pod-1",
            "MOORING_DEPLOYMENT_UID": "deployment-1",
            "MOORING_DEPLOYMENT": "cancer",
            "MOORING_NAMESPACE": "tests",
            "MOORING_REVISION": "aaaaaaaaaaaa",
            "MOORING_VERSION": "v1",
        }
        peers = [peer] if isinstance(peer, int) else peer or []
        forwards = [word for port in peers for word in ("--peer", str(port))]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.serving.server_process", str(directory)),
                *forwards,
                *arguments,
            ],
            cwd=ROOT,
            env={**os.environ, **variables, **(environment or {}), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if "MOORING_TEST_QUIET" in os.environ else None,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"the server ended with {process.wait(10)} before it was ready")
        server = Server(process=process, **json.loads(line))
        try:
            yield server
        finally:
            server.stop()
            process.stdout.close()


def await_true(condition: Any, *, seconds: float = 10.0, what: str = "the condition") -> None:
    """Poll until `condition()` is true, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds} s"
        time.sleep(0.02)
