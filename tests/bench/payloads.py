"""The same rows as each protocol and each rival wants them."""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tests.bench.exchanges import GrpcLoad, HttpLoad, Load, build_request

Matrix = npt.NDArray[np.float64]
INFER_PATH = "/v2/models/cancer/infer"
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
_BINARY_TYPE = "application/octet-stream"


class Protocol(StrEnum):
    """How a request travels."""

    JSON = "json"
    """Open Inference Protocol over REST, tensors as JSON."""
    BINARY = "binary"
    """The same with the binary tensor extension, both ways."""
    GRPC = "grpc"
    """Open Inference Protocol over gRPC, raw tensors."""


def _tensor(matrix: Matrix) -> dict[str, Any]:
    return {"name": "input", "datatype": "FP64", "shape": list(matrix.shape)}


def protocol_json(matrix: Matrix) -> bytes:
    """A request whose values are JSON, nested by row."""
    return json.dumps({"inputs": [_tensor(matrix) | {"data": matrix.tolist()}]}).encode()


def sklearn_json(matrix: Matrix) -> bytes:
    """What MLServer's scikit-learn runtime wants so as to answer with probabilities."""
    tensor = _tensor(matrix) | {"data": matrix.tolist()}
    return json.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}).encode()


def bentoml_json(matrix: Matrix) -> bytes:
    """BentoML's own body: the argument of its method."""
    return json.dumps({"matrix": matrix.tolist()}).encode()


def binary_body(matrix: Matrix) -> tuple[int, bytes]:
    """Length of the JSON head, and the body of the binary extension."""
    raw = matrix.astype("<f8").tobytes()
    document = {
        "inputs": [_tensor(matrix) | {"parameters": {"binary_data_size": len(raw)}}],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(document).encode()
    return len(head), head + raw


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    parts: list[int] = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def infer_message(matrix: Matrix, model: str = "cancer") -> bytes:
    """`ModelInferRequest` with raw contents; numbers are those of `open_inference_grpc.proto`."""
    shape = b"".join(map(_varint, matrix.shape))
    tensor = _field(1, b"input") + _field(2, b"FP64") + _field(3, shape)
    return _field(1, model.encode()) + _field(5, tensor) + _field(7, matrix.astype("<f8").tobytes())


def build_load(
    protocol: Protocol,
    ports: Mapping[str, int],
    matrix: Matrix,
    *,
    path: str = INFER_PATH,
    encode: Callable[[Matrix], bytes] = protocol_json,
) -> Load:
    """The request of a protocol.

    Args:
        protocol: How it travels.
        ports: The server's `http` and `grpc`.
        matrix: The rows, float64 [rows, 30].
        path: REST path.
        encode: The JSON body.

    Raises:
        KeyError: The server has no port for the protocol.
    """
    if protocol is Protocol.GRPC:
        return GrpcLoad(ports["grpc"], GRPC_PATH, infer_message(matrix))
    port = ports["http"]
    if protocol is Protocol.JSON:
        return HttpLoad(port, build_request(path, encode(matrix), port=port))
    head, body = binary_body(matrix)
    headers = [("content-type", _BINARY_TYPE), ("inference-header-content-length", str(head))]
    return HttpLoad(port, build_request(path, body, port=port, headers=headers))


def numbers_of(answer: bytes) -> list[float]:
    """All numbers of a JSON answer, to compare with what the model must say."""
    found: list[float] = []

    def collect(value: object) -> None:
        match value:
            case bool():
                pass
            case int() | float():
                found.append(float(value))
            case list():
                for item in cast("list[object]", value):
                    collect(item)
            case dict():
                collect(list(cast("dict[str, object]", value).values()))
            case _:
                pass

    collect(json.loads(answer))
    return found
