"""The choice of the client for forwards, measured: one POST and its answer, CPU time each.

`python -m tests.bench.forward_clients` runs every candidate in this process against the bare
protocol server of `http_servers` on the other core.
"""

import asyncio
import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from mooring_serving.http.client import Address, ConnectionPool
from tests.bench.http_servers import await_port, build_body

PORT = 18_470
PATH = "/v2/models/bare/infer"
CONCURRENCY = 8
REQUESTS = 1500
BODY = build_body(1)

Post = Callable[[], Awaitable[int]]


async def with_pool(run: Callable[[Post], Awaitable[None]]) -> None:
    """Our pool on httptools."""
    pool = ConnectionPool()
    address = Address("127.0.0.1", PORT)
    headers = {"content-type": "application/json"}

    async def post() -> int:
        return (await pool.post(address, PATH, headers, BODY)).status

    await run(post)
    pool.close()


async def with_aiohttp(run: Callable[[Post], Awaitable[None]]) -> None:
    """aiohttp's client session."""
    aiohttp: Any = importlib.import_module("aiohttp")
    async with aiohttp.ClientSession() as session:

        async def post() -> int:
            async with session.post(f"http://127.0.0.1:{PORT}{PATH}", data=BODY) as answer:
                await answer.read()
                return answer.status

        await run(post)


async def with_httpx(run: Callable[[Post], Awaitable[None]]) -> None:
    """httpx's client."""
    httpx: Any = importlib.import_module("httpx")
    async with httpx.AsyncClient() as client:

        async def post() -> int:
            answer = await client.post(f"http://127.0.0.1:{PORT}{PATH}", content=BODY)
            return answer.status_code

        await run(post)


async def with_streams(run: Callable[[Post], Awaitable[None]]) -> None:
    """Plain asyncio streams with a pool, the least that can be written without a parser."""
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()

    async def post() -> int:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", PORT)
        writer.write(head + BODY)
        found = await reader.readuntil(b"\r\n\r\n")
        length = int(found.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        idle.append((reader, writer))
        return int(found[9:12])

    await run(post)
    for _, writer in idle:
        writer.close()


CANDIDATES = {
    "our pool": with_pool,
    "asyncio streams": with_streams,
    "aiohttp": with_aiohttp,
    "httpx": with_httpx,
}


def measure(name: str) -> tuple[float, float]:
    """CPU and wall microseconds of a request."""
    spent: list[float] = []

    async def run(post: Post) -> None:
        async def worker() -> None:
            for _ in range(REQUESTS // CONCURRENCY):
                assert await post() == 200

        await post()
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
        spent.extend([time.process_time() - cpu, time.perf_counter() - wall])

    uvloop.run(CANDIDATES[name](run))
    return spent[0] / REQUESTS * 1e6, spent[1] / REQUESTS * 1e6


def main() -> None:
    """Measure all candidates three times, alternating."""
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.bench.http_servers"),
            *("--serve", "protocol-httptools", "--port", str(PORT)),
        ]
    )
    try:
        await_port(PORT, server)
        os.sched_setaffinity(0, {1})
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in CANDIDATES}
        for _ in range(3):
            for name, found in runs.items():
                found.append(measure(name))
    finally:
        server.terminate()
        server.wait(10)
    print(f"{'client':<20}{'CPU us':>10}{'wall us':>10}")
    for name, found in runs.items():
        cpu, wall = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name:<20}{cpu:>10.1f}{wall:>10.1f}")


if __name__ == "__main__":
    main()
