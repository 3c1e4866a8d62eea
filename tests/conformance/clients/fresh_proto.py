"""A client compiled on the spot from the protocol's own service definition, raw and typed."""

import importlib
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from script import REQUEST_ID, UNKNOWN, Script, Served, open_script

_protoc: Any = importlib.import_module("grpc_tools.protoc")
_grpc: Any = importlib.import_module("grpc")
_CONTENTS = {
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}


def compile_client(scratch: Path) -> tuple[Any, Any]:
    """The generated messages and stubs.

    Raises:
        AssertionError: The definition did not compile.
    """
    here = Path(__file__).resolve().parent
    out = [f"--python_out={scratch}", f"--grpc_python_out={scratch}"]
    status = _protoc.main(["protoc", f"-I{here}", *out, "open_inference.proto"])
    assert status == 0, f"protoc ended with {status}"
    sys.path.insert(0, str(scratch))
    messages: Any = importlib.import_module("open_inference_pb2")
    stubs: Any = importlib.import_module("open_inference_pb2_grpc")
    return messages, stubs


def raw_column(datatype: str, column: Any) -> bytes:
    """A tensor's raw contents, little-endian."""
    if datatype == "BYTES":
        values = column.reshape(-1).tolist()
        return b"".join(struct.pack("<I", len(value)) + value for value in values)
    return np.ascontiguousarray(column).tobytes()


def build_request(messages: Any, served: Served, *, raw: bool) -> Any:
    """The rows as one request."""
    request = messages.ModelInferRequest(model_name=served.model, id=REQUEST_ID)
    tensors = {"input": ("FP64", served.values)} if served.matrix is not None else {}
    if not tensors:
        tensors = {
            name: (each["datatype"], served.column(name)) for name, each in served.inputs.items()
        }
    for name, (datatype, column) in tensors.items():
        tensor = request.inputs.add(name=name, datatype=datatype, shape=column.shape)
        if raw:
            request.raw_input_contents.append(raw_column(datatype, column))
        else:
            getattr(tensor.contents, _CONTENTS[datatype]).extend(column.reshape(-1).tolist())
    return request


def read_output(answer: Any, name: str) -> Any:
    """An output, raw or typed."""
    for index, tensor in enumerate(answer.outputs):
        if tensor.name != name:
            continue
        if not answer.raw_output_contents:
            return np.array(getattr(tensor.contents, _CONTENTS[tensor.datatype]))
        raw = answer.raw_output_contents[index]
        if tensor.datatype == "BYTES":
            return _texts(raw)
        return np.frombuffer(raw, {"FP64": "<f8", "INT64": "<i8"}[tensor.datatype])
    return None


def _texts(raw: bytes) -> Any:
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        found.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return np.array(found, dtype=object)


def check_answer(served: Served, answer: Any) -> None:
    """All outputs are right, and the id is echoed."""
    for name in served.outputs:
        served.check_output(name, read_output(answer, name))
    assert answer.id == REQUEST_ID


def look_around(script: Script, messages: Any, stub: Any, served: Served) -> None:
    """Health, readiness and metadata."""
    with script.check("live"):
        assert stub.ServerLive(messages.ServerLiveRequest(), timeout=10).live
    with script.check("ready"):
        assert stub.ServerReady(messages.ServerReadyRequest(), timeout=10).ready
    with script.check("model ready"):
        assert stub.ModelReady(messages.ModelReadyRequest(name=served.model), timeout=10).ready
    with script.check("server metadata"):
        found = stub.ServerMetadata(messages.ServerMetadataRequest(), timeout=10)
        assert found.name, "the server has no name"
        assert found.version, "the server has no version"
    with script.check("model metadata"):
        found = stub.ModelMetadata(messages.ModelMetadataRequest(name=served.model), timeout=10)
        assert found.platform, "the platform is empty"
        assert {each.name for each in found.outputs} == set(served.outputs)
    with script.check("versions"):
        asked = messages.ModelMetadataRequest(name=served.model, version=served.version)
        assert served.version in stub.ModelMetadata(asked, timeout=10).versions


def refuse(script: Script, messages: Any, stub: Any, served: Served) -> None:
    """What must be an error, and which."""
    with script.refuses("unknown model", "NOT_FOUND"):
        request = build_request(messages, served, raw=True)
        request.model_name = UNKNOWN
        stub.ModelInfer(request, timeout=10)
    with script.refuses("wrong version", "NOT_FOUND"):
        request = build_request(messages, served, raw=True)
        request.model_version = "v-none"
        stub.ModelInfer(request, timeout=10)
    with script.refuses("unknown output", "INVALID_ARGUMENT"):
        request = build_request(messages, served, raw=True)
        request.outputs.add(name="nothing")
        stub.ModelInfer(request, timeout=10)
    with script.refuses("wrong shape", "INVALID_ARGUMENT"):
        request = build_request(messages, served, raw=True)
        request.inputs[0].shape[1] += 1
        stub.ModelInfer(request, timeout=10)


def main() -> None:
    """Run the script."""
    script = open_script()
    served, text = script.numeric, script.text
    messages, stubs = compile_client(script.scratch)
    stub = stubs.GRPCInferenceServiceStub(_grpc.insecure_channel(served.grpc_host))
    look_around(script, messages, stub, served)
    for name, raw in (("gRPC raw", True), ("gRPC typed", False)):
        with script.check(name):
            request = build_request(messages, served, raw=raw)
            check_answer(served, stub.ModelInfer(request, timeout=10))
    with script.check("gzip"):
        request = build_request(messages, served, raw=True)
        packed = _grpc.Compression.Gzip
        check_answer(served, stub.ModelInfer(request, timeout=10, compression=packed))
    with script.check("id echo"):
        request = build_request(messages, served, raw=True)
        assert stub.ModelInfer(request, timeout=10).id == REQUEST_ID
    with script.check("outputs selection"):
        request = build_request(messages, served, raw=True)
        request.outputs.add(name="probability")
        found = [each.name for each in stub.ModelInfer(request, timeout=10).outputs]
        assert found == ["probability"], f"asked for probability, got {found}"
    refuse(script, messages, stub, served)
    other = stubs.GRPCInferenceServiceStub(_grpc.insecure_channel(text.grpc_host))
    with script.check("text gRPC"):
        for raw in (True, False):
            request = build_request(messages, text, raw=raw)
            check_answer(text, other.ModelInfer(request, timeout=10))
    script.report()


if __name__ == "__main__":
    main()
