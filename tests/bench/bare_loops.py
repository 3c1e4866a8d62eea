"""Floors for `bench-serving`: HTTP, JSON and onnxruntime, and nothing else.

`python -m tests.bench.bare_loops granian|protocol PACKAGE` prints its port as JSON when ready.
"""

import argparse
import asyncio
import importlib
import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httptools
import numpy as np
import orjson
import uvloop

_ort: Any = importlib.import_module("onnxruntime")
_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}

Answer = Callable[[bytes], bytes]


def load(directory: Path) -> Answer:
    """The model's file as a function from body to body."""
    options = _ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = _ort.InferenceSession(str(directory / "model.onnx"), options)
    inputs = [(node.name, _DTYPES[node.type]) for node in session.get_inputs()]
    wanted = [node.name for node in session.get_outputs()]

    def answer(body: bytes) -> bytes:
        tensor = orjson.loads(body)["inputs"][0]
        values = np.array(tensor["data"], dtype=np.float64).reshape(tensor["shape"])
        if len(inputs) == 1:
            feed = {inputs[0][0]: values.astype(inputs[0][1])}
        else:
            feed = {
                name: values[:, at : at + 1].astype(dtype)
                for at, (name, dtype) in enumerate(inputs)
            }
        label, probability = session.run(wanted, feed)
        rows = len(label)
        return orjson.dumps(
            {
                "model_name": "cancer",
                "model_version": "v1",
                "outputs": [
                    {
                        "name": "label",
                        "datatype": "INT64",
                        "shape": [rows],
                        "data": label.tolist(),
                    },
                    {
                        "name": "probability",
                        "datatype": "FP64",
                        "shape": [rows],
                        "data": probability[:, 1].tolist(),
                    },
                ],
            }
        )

    return answer


def announce(port: int) -> None:
    """Tell the benchmark that the server is ready."""
    print(json.dumps({"http": port}), flush=True)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def serve_granian(answer: Answer) -> None:
    """Granian's RSGI, embedded."""
    embed: Any = importlib.import_module("granian.server.embed")
    constants: Any = importlib.import_module("granian.constants")

    async def app(_: object, protocol: Any) -> None:
        body = await protocol()
        protocol.response_bytes(200, [("content-type", "application/json")], answer(body))

    port = free_port()
    server = embed.Server(app, port=port, interface=constants.Interfaces.RSGI, log_enabled=False)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    serving = asyncio.create_task(server.serve())
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            break
    announce(port)
    await serving


class BareProtocol(asyncio.Protocol):
    """The least that speaks HTTP/1.1 on httptools."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._chunks: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        body = self._answer(b"".join(self._chunks))
        self._chunks.clear()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (len(body), body)
        )


async def serve_protocol(answer: Answer) -> None:
    """The bare protocol on uvloop."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(lambda: BareProtocol(answer), "127.0.0.1", 0)
    announce(server.sockets[0].getsockname()[1])
    await ended.wait()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loop", choices=["granian", "protocol"])
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    answer = load(options.directory)
    serve = serve_granian if options.loop == "granian" else serve_protocol
    uvloop.run(serve(answer))


if __name__ == "__main__":
    main()
