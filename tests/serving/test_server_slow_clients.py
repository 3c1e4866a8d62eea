"""Slow clients cost themselves: 64 of them drip, or never read, and the others do not notice."""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package

TENSOR = {"name": "input", "datatype": "FP64", "shape": [1, 30], "data": [1.0] * 30}
BODY = json.dumps({"inputs": [TENSOR]}).encode()
HEAD = b"POST /v2/models/cancer/infer HTTP/1.1\r\nhost: x\r\n"
POST = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
GET = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"
SLOW = 64
NORMAL = 4
REQUESTS = 150
"""Of each normal client."""
LIMITS = {
    "MOORING_LIMIT_HEADER_SECONDS": "1.5",
    "MOORING_LIMIT_RECEIVE_SECONDS": "2.5",
    "MOORING_LIMIT_IDLE_SECONDS": "2",
}


@pytest.fixture(scope="module")
def pod() -> Iterator[Server]:
    with running(cancer_package(), environment=LIMITS) as server:
        yield server


async def drip(server: Server, kind: int) -> bytes:
    """Send a byte of headers or of a body every 50 ms, or read no answers; what came back."""
    # Beyond twice its limit the stream stops reading: that is a client that does not read.
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http, limit=1024)
    try:
        match kind % 3:
            case 0:
                endless = HEAD + b"x-slow: " + b"a" * 10_000
            case 1:
                writer.write(HEAD + b"content-length: 100000\r\n\r\n")
                endless = b" " * 100_000
            case _:
                writer.write(GET * 2000)
                await asyncio.sleep(6)
                return b"unread"
        for at in range(len(endless)):
            writer.write(endless[at : at + 1])
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(reader.read(65_536), 0.05)
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return b""


async def ask(server: Server) -> list[float]:
    """Milliseconds of each of a normal client's requests."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http)
    taken: list[float] = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        writer.write(POST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        taken.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0.002)
    writer.close()
    await writer.wait_closed()
    return taken


async def measure(server: Server) -> float:
    """The normal clients' p99 in milliseconds."""
    answers = await asyncio.gather(*(ask(server) for _ in range(NORMAL)))
    return statistics.quantiles([ms for client in answers for ms in client], n=100)[98]


async def test_others_are_as_quick_as_before_when_64_clients_are_slow(pod: Server) -> None:
    await measure(pod)
    alone = [await measure(pod) for _ in range(3)]
    slow = [asyncio.create_task(drip(pod, kind)) for kind in range(SLOW)]
    await asyncio.sleep(0.3)
    beside = [await measure(pod) for _ in range(3)]
    ended = await asyncio.gather(*slow)
    print(f"p99 {min(alone):.2f} ms alone, {min(beside):.2f} ms beside {SLOW} slow clients")
    # The slow ones share a process with the clients that measure, and all share the machine.
    assert min(beside) < 3 * min(alone) + 20
    told = [answer for answer in ended if answer.startswith(b"HTTP/1.1 408 ")]
    unread = [answer for answer in ended if answer == b"unread"]
    assert len(told) == SLOW - SLOW // 3, "every dripping client was told why"
    assert len(unread) == SLOW // 3
    # One that reads nothing may also have been cut off in the middle of a request.
    assert len(told) <= pod.refusals()["TooSlow"] <= len(told) + len(unread)
    assert pod.refusals()["NotRead"] == len(unread)


async def test_slow_clients_of_every_kind_are_gone_after_their_deadline(pod: Server) -> None:
    started = time.monotonic()
    answers = await asyncio.gather(*(drip(pod, kind) for kind in range(2)))
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
    assert all(b"connection: close" in answer and b'{"error":"' in answer for answer in answers)
    assert time.monotonic() - started < 2.5 + 1.5
