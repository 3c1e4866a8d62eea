"""A gRPC client for the server's tests: grpcio's channel and the messages of our proto files."""

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from mooring_serving.grpc.proto import health_pb2
from mooring_serving.grpc.proto import open_inference_pb2 as pb

METHODS: dict[str, tuple[type[Message], str]] = {
    "ServerLive": (pb.ServerLiveResponse, "inference.GRPCInferenceService"),
    "ServerReady": (pb.ServerReadyResponse, "inference.GRPCInferenceService"),
    "ModelReady": (pb.ModelReadyResponse, "inference.GRPCInferenceService"),
    "ServerMetadata": (pb.ServerMetadataResponse, "inference.GRPCInferenceService"),
    "ModelMetadata": (pb.ModelMetadataResponse, "inference.GRPCInferenceService"),
    "ModelInfer": (pb.ModelInferResponse, "inference.GRPCInferenceService"),
    "Check": (health_pb2.HealthCheckResponse, "grpc.health.v1.Health"),
}


class Client:
    """Calls of one channel."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def raw(self, method: str) -> Callable[..., bytes]:
        """A method that takes and gives bytes."""
        service = METHODS[method][1] if method in METHODS else "inference.GRPCInferenceService"
        return self.channel.unary_unary(f"/{service}/{method}")

    def call(self, method: str, request: Message, **options: Any) -> Any:
        """The parsed answer."""
        options.setdefault("timeout", 10)
        answer = self.raw(method)(request.SerializeToString(), **options)
        return METHODS[method][0].FromString(answer)

    def infer(self, request: "pb.ModelInferRequest", **options: Any) -> "pb.ModelInferResponse":
        """ModelInfer."""
        return self.call("ModelInfer", request, **options)

    def infer_with_call(
        self, request: "pb.ModelInferRequest", **options: Any
    ) -> "tuple[pb.ModelInferResponse, dict[str, str]]":
        """ModelInfer and the answer's headers."""
        options.setdefault("timeout", 10)
        answer, call = self.raw("ModelInfer").with_call(  # type: ignore[attr-defined]
            request.SerializeToString(), **options
        )
        headers = {item.key: item.value for item in call.initial_metadata()}
        return pb.ModelInferResponse.FromString(answer), headers

    def attempt(self, body: bytes, method: str = "ModelInfer", **options: Any) -> Any:
        """The error of a call, None when it was answered."""
        options.setdefault("timeout", 10)
        try:
            self.raw(method)(body, **options)
        except grpc.RpcError as error:
            return error
        return None

    def refused(self, request: Message | bytes, method: str = "ModelInfer", **options: Any) -> Any:
        """The error of a call that must fail: it has code() and details()."""
        body = request if isinstance(request, bytes) else request.SerializeToString()
        error = self.attempt(body, method, **options)
        assert error is not None, "the call was answered"
        return error


@contextlib.contextmanager
def connected(port: int, **options: Any) -> Generator[Client]:
    """A client of a port on loopback."""
    settings = [("grpc.use_local_subchannel_pool", 1), *options.pop("settings", ())]
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=settings, **options)
    with channel:
        yield Client(channel)


def matrix_request(
    values: npt.NDArray[np.float64], *, raw: bool = True, model: str = "cancer", **more: Any
) -> "pb.ModelInferRequest":
    """One FP64 matrix named `input`."""
    request = pb.ModelInferRequest(model_name=model, **more)
    tensor = request.inputs.add(name="input", datatype="FP64", shape=values.shape)
    if raw:
        request.raw_input_contents.append(values.astype("<f8").tobytes())
    else:
        tensor.contents.fp64_contents.extend(values.ravel().tolist())
    return request


def read_output(answer: "pb.ModelInferResponse", name: str) -> list[Any]:
    """An output's values, whichever way it was sent."""
    for index, tensor in enumerate(answer.outputs):
        if tensor.name != name:
            continue
        if answer.raw_output_contents:
            data = answer.raw_output_contents[index]
            if tensor.datatype == "BYTES":
                return split_texts(data)
            kind = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}[tensor.datatype]
            return np.frombuffer(data, kind).tolist()
        _, values = tensor.contents.ListFields()[0]
        return [item.decode() if isinstance(item, bytes) else item for item in values]
    raise AssertionError(f"there is no output {name}")


def split_texts(data: bytes) -> list[str]:
    """Length-prefixed texts."""
    texts: list[str] = []
    while data:
        size = int.from_bytes(data[:4], "little")
        texts.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return texts


def join_texts(texts: "list[str]") -> bytes:
    """Texts behind their lengths."""
    return b"".join(len(t.encode()).to_bytes(4, "little") + t.encode() for t in texts)
