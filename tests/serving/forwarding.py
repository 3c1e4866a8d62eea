"""What forwarding tests share: a request, how forwards ended, peers that are no pods of ours."""

import asyncio
import contextlib
import json
import threading
from typing import Any

from tests.serving.running_server import Server
from tests.serving.served_packages import cancer_rows

CANDIDATE = "bbbbbbbbbbbb"


def request(rows: int = 1) -> dict[str, Any]:
    values = cancer_rows(rows)
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": values.tolist()}
    return {"inputs": [tensor]}


def outcomes(server: Server) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in server.metrics().splitlines():
        if line.startswith("mooring_forwards_total{"):
            outcome = line.partition('outcome="')[2].partition('"')[0]
            found[outcome] = int(float(line.rpartition(" ")[2]))
    return {outcome: count for outcome, count in found.items() if count}


class StubPeer:
    """A peer that answers every request with the same bytes: what no pod of ours would send."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self._loop = asyncio.new_event_loop()
        self._opened: asyncio.Server | None = None
        self.port = 0

    def __enter__(self) -> "StubPeer":
        ready = threading.Event()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    writer.write(self.answer)
                    await writer.drain()
            writer.close()

        async def serve() -> None:
            self._opened = await asyncio.start_server(talk, "127.0.0.1", 0)
            self.port = self._opened.sockets[0].getsockname()[1]
            ready.set()

        def run() -> None:
            self._loop.run_until_complete(serve())
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            assert self._opened is not None
            self._opened.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


def http_answer(document: object, status: str = "200 OK", server_ms: str | None = "1.0") -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nmooring-revision: {CANDIDATE}\r\n"
    if server_ms is not None:
        head += f"mooring-server-ms: {server_ms}\r\n"
    return head.encode() + b"\r\n" + body


def outputs(label: object, probability: object) -> dict[str, object]:
    return {
        "outputs": [{"name": "label", "data": label}, {"name": "probability", "data": probability}]
    }
