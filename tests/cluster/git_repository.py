"""A Git repository over smart HTTP on the loopback: `git http-backend` behind Python's server."""

import os
import subprocess
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.cluster_tools.commands import run

BRANCH = "main"
_AUTHOR = ("-c", "user.name=people", "-c", "user.email=people@example.invalid")


@dataclass(frozen=True)
class Repository:
    """A bare repository that is served, and a checkout that people commit to.

    Attributes:
        url: where it is served.
        checkout: the working copy.
    """

    url: str
    checkout: Path

    def commit(self, files: Mapping[str, str], message: str) -> str:
        """Writes the files, commits and pushes them; returns the commit's hash."""
        for name, text in files.items():
            path = self.checkout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        self._git("push", "--quiet", "origin", f"HEAD:{BRANCH}")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        return run(["git", *_AUTHOR, *arguments], cwd=self.checkout)


@contextmanager
def serve_repository(folder: Path) -> Generator[Repository]:
    """An empty repository below `folder`, served until the end."""
    bare, checkout = folder / "served" / "models.git", folder / "checkout"
    run(["git", "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", bare])
    run(["git", "init", "--quiet", f"--initial-branch={BRANCH}", checkout])
    run(["git", "remote", "add", "origin", bare], cwd=checkout)
    with _Server(bare.parent) as server:
        thread = threading.Thread(target=server.serve_forever, name="git")
        thread.start()
        try:
            yield Repository(f"http://127.0.0.1:{server.server_port}/{bare.name}", checkout)
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root


class _Handler(BaseHTTPRequestHandler):
    """Hands each request to git's own CGI program; nobody may push."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"])))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Nothing: the tests' output is for the tests."""

    def _answer(self, body: bytes) -> None:
        assert isinstance(self.server, _Server)
        path, _, query = self.path.partition("?")
        variables = {
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=os.environ | variables,
            capture_output=True,
            check=True,
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
