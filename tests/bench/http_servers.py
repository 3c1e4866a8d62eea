"""The choice of the HTTP server, measured: the same handler behind each candidate (ADR 0001).

`python -m tests.bench.http_servers` pins each server to one core and the load generator to
another, alternates the candidates over several rounds and prints medians. Each candidate is a
subprocess of this same module.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import orjson
import uvloop

from tests.bench.closed_loop import HttpLoad, build_request, run_load

FEATURES = 30
_HEADERS = [("content-type", "application/json")]


def answer(body: bytes) -> bytes:
    """The handler that every candidate runs: decode, a little numpy, encode."""
    document = orjson.loads(body)
    tensor = document["inputs"][0]
    values = np.asarray(tensor["data"], dtype=np.float64).reshape(tensor["shape"])
    score = values @ np.ones(FEATURES)
    return orjson.dumps(
        {
            "model_name": "bare",
            "outputs": [
                {"name": "score", "datatype": "FP64", "shape": [len(score)], "data": score.tolist()}
            ],
        }
    )


class _RsgiProtocol(Protocol):
    async def __call__(self) -> bytes: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


def serve_granian_rsgi(port: int) -> None:
    """Granian, RSGI, embedded in our own event loop."""
    from granian.constants import Interfaces
    from granian.server.embed import Server

    async def app(scope: object, protocol: _RsgiProtocol) -> None:
        protocol.response_bytes(200, _HEADERS, answer(await protocol()))

    async def main() -> None:
        server = Server(app, port=port, interface=Interfaces.RSGI, log_enabled=False)
        await server.serve()

    uvloop.run(main())


def serve_granian_asgi(port: int) -> None:
    """Granian, ASGI, embedded in our own event loop."""
    from granian.constants import Interfaces
    from granian.server.embed import Server

    async def app(
        scope: Mapping[str, object],
        receive: Callable[[], Awaitable[Mapping[str, object]]],
        send: Callable[[Mapping[str, object]], Awaitable[None]],
    ) -> None:
        body = b""
        while True:
            event = await receive()
            chunk = event.get("body", b"")
            body += chunk if isinstance(chunk, bytes) else b""
            if not event.get("more_body"):
                break
        data = answer(body)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(data)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    async def main() -> None:
        server = Server(app, port=port, interface=Interfaces.ASGINL, log_enabled=False)
        await server.serve()

    uvloop.run(main())


def serve_granian_mp(port: int) -> None:
    """Granian as it is usually run: its own supervisor and one worker process, RSGI."""
    from granian import Granian
    from granian.constants import Interfaces

    os.environ["MOORING_BENCH_APP"] = "1"
    Granian(
        "tests.bench.http_servers:rsgi_app", port=port, interface=Interfaces.RSGI, log_enabled=False
    ).serve()


async def rsgi_app(scope: object, protocol: _RsgiProtocol) -> None:
    """The RSGI target of `serve_granian_mp`."""
    protocol.response_bytes(200, _HEADERS, answer(await protocol()))


def serve_aiohttp(port: int) -> None:
    """aiohttp's low-level server (no routing table) on uvloop."""
    from aiohttp import web

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=answer(await request.read()), content_type="application/json")

    async def main() -> None:
        server = web.Server(handler)
        loop = asyncio.get_running_loop()
        await loop.create_server(server, "127.0.0.1", port)
        await asyncio.Event().wait()

    uvloop.run(main())


class _HttptoolsProtocol(asyncio.Protocol):
    """A bare protocol on httptools (llhttp): what a hand-written server could reach."""

    def __init__(self) -> None:
        import httptools

        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop transports share the interface of asyncio.Transport but not its class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        data = answer(b"".join(self._body))
        self._body.clear()
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        ) % len(data)
        self._transport.write(head + data)


def serve_httptools(port: int) -> None:
    """The bare httptools protocol on uvloop."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_server(_HttptoolsProtocol, "127.0.0.1", port)
        await asyncio.Event().wait()

    uvloop.run(main())


CANDIDATES: Mapping[str, Callable[[int], None]] = {
    "granian-rsgi-embedded": serve_granian_rsgi,
    "granian-asgi-embedded": serve_granian_asgi,
    "granian-rsgi-1-worker": serve_granian_mp,
    "aiohttp-web-server": serve_aiohttp,
    "protocol-httptools": serve_httptools,
}


def build_body(rows: int) -> bytes:
    """One inference request of `rows` rows and 30 features, flat."""
    values = np.random.default_rng(1).normal(size=rows * FEATURES).round(4).tolist()
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, FEATURES], "data": values}
    return orjson.dumps({"inputs": [tensor]})


def await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the server answers a request, at most 20 s."""
    deadline = time.monotonic() + 20
    request = urllib.request.Request(f"http://127.0.0.1:{port}/x", data=build_body(1))
    while not _answers(request):
        if time.monotonic() > deadline or process.poll() is not None:
            raise ConnectionError(f"the server did not answer; exit code {process.poll()}")
        time.sleep(0.05)


def _answers(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=2) as response:  # noqa: S310 - loopback
            return response.status == 200
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its one worker."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    ticks = 0
    for each in pids:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One run of one candidate; CPU time is per request and hardly minds a busy machine."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def measure(name: str, *, rows: int, connections: int, seconds: float, port: int) -> Run:
    """Start one candidate on core 0 and drive it from core 1."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.http_servers", "--serve", name, "--port", str(port)]
    )
    try:
        await_port(port, process)
        request = build_request("/v2/models/bare/infer", build_body(rows), port=port)
        load = HttpLoad(port, request)
        run_load(load, connections=connections, seconds=0.5)
        before = cpu_seconds(process.pid)
        result = run_load(load, connections=connections, seconds=seconds)
        used = cpu_seconds(process.pid) - before
    finally:
        process.terminate()
        process.wait(10)
    p50, p99 = result.p50_ms, result.p99_ms
    if p50 is None or p99 is None:
        raise ConnectionError(f"{name} gave no good answer: {result.statuses}")
    return Run(result.rate, p50, p99, used / result.requests * 1e6)


def main() -> None:
    """Serve one candidate, or measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve")
    parser.add_argument("--only", nargs="*", default=list(CANDIDATES))
    parser.add_argument("--port", type=int, default=18_480)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    if options.serve:
        os.sched_setaffinity(0, {0})
        CANDIDATES[options.serve](options.port)
        return
    os.sched_setaffinity(0, {1})
    runs: dict[str, list[Run]] = {name: [] for name in options.only}
    for number in range(options.rounds):
        for offset, name in enumerate(options.only):
            run = measure(
                name,
                rows=options.rows,
                connections=options.connections,
                seconds=options.seconds,
                port=options.port + number * len(options.only) + offset,
            )
            runs[name].append(run)
    print(f"{'server':<24}{'median/s':>10}{'best/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'CPU us':>10}")
    for name, found in runs.items():
        numbers = (
            f"{statistics.median(run.rate for run in found):>10.0f}",
            f"{max(run.rate for run in found):>10.0f}",
            f"{statistics.median(run.p50_ms for run in found):>10.3f}",
            f"{statistics.median(run.p99_ms for run in found):>10.3f}",
            f"{min(run.cpu_us for run in found):>10.1f}",
        )
        print(f"{name:<24}" + "".join(numbers))


if __name__ == "__main__":
    main()
