"""Real stores on loopback: an HTTPS file server with its own authority, and an S3 server."""

import functools
import http.server
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster_tools.certificates import Authority, Identity
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.toolchain import STORE, ensure_programs

READY_SECONDS = 20.0


@dataclass
class Answers:
    """What the HTTPS server does besides serving files, by the last part of the path."""

    redirects: dict[str, str] = field(default_factory=dict[str, str])
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    cut_short: set[str] = field(default_factory=set[str])
    asked: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class HttpsServer:
    """A running server. `authority` is its CA certificate."""

    port: int
    authority: Path
    answers: Answers

    @property
    def url(self) -> str:
        """Of its root."""
        return f"https://localhost:{self.port}"


@contextmanager
def https_server(
    root: Path, pki: Path, *, names: tuple[str, ...] = ("localhost", "127.0.0.1"), tls: bool = True
) -> Generator[HttpsServer]:
    """Serves `root` on a free port of this machine."""
    authority = Authority(pki, now=datetime.fromtimestamp(time.time(), UTC))
    authority.issue("server", Identity("store", names=names))
    answers = Answers()
    handler = functools.partial(_Handler, answers=answers, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / "server.crt", pki / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield HttpsServer(server.server_address[1], pki / "ca.crt", answers)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments: object, answers: Answers, directory: str) -> None:
        self._answers = answers
        super().__init__(*arguments, directory=directory)  # pyright: ignore[reportArgumentType] - the server's own three

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        self._answers.asked.append(self.path)
        if name in self._answers.redirects:
            self.send_response(302)
            self.send_header("Location", self._answers.redirects[name])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif name in self._answers.statuses:
            self.send_error(self._answers.statuses[name])
        elif name in self._answers.cut_short:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"half")
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Says nothing."""


@dataclass(frozen=True)
class S3Server:
    """A running versitygw; its buckets are folders of `root`."""

    endpoint: str
    root: Path
    access: str = "mooring-test"
    secret: str = "only-on-loopback"  # noqa: S105 - of a server that this process starts and ends

    def environment(self) -> dict[str, str]:
        """The standard environment of an S3 client."""
        return {
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def s3_server(root: Path) -> Generator[S3Server]:
    """Runs versitygw over a folder; the program is built where the cache lacks it."""
    program = ensure_programs((STORE,), default_layout(), Progress())["versitygw"]
    port = _free_port()
    server = S3Server(f"http://127.0.0.1:{port}", root)
    root.mkdir(parents=True)
    process = subprocess.Popen(
        [program, "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(root)],
        env={
            "PATH": os.environ.get("PATH", ""),
            "ROOT_ACCESS_KEY": server.access,
            "ROOT_SECRET_KEY": server.secret,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.02)
    raise RuntimeError(f"versitygw did not open port {port}")
