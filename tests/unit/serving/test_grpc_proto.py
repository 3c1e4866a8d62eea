"""The compiled gRPC messages: current, and the public protocol's."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from mooring_serving.grpc.proto import health_pb2
from mooring_serving.grpc.proto import open_inference_pb2 as pb

SERVING = Path(__file__).resolve().parents[3] / "serving"
PROTO = Path("mooring_serving/grpc/proto")


@pytest.mark.parametrize("name", ["open_inference", "health"])
def test_compiled_messages_are_current(name: str, tmp_path: Path) -> None:
    compiler = [sys.executable, "-m", "grpc_tools.protoc", "-I", "."]
    outputs = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*compiler, *outputs, str(PROTO / f"{name}.proto")], cwd=SERVING, check=True)
    for suffix in ("py", "pyi"):
        file = PROTO / f"{name}_pb2.{suffix}"
        assert (tmp_path / file).read_text() == (SERVING / file).read_text(), "run make proto"


def numbers(message: Any) -> dict[str, int]:
    """Fields and their numbers, nested messages' too."""
    found = {f"{message.name}.{field.name}": field.number for field in message.fields}
    for nested in message.nested_types:
        found |= {f"{message.name}.{name}": number for name, number in numbers(nested).items()}
    return found


def test_infer_messages_have_the_public_protocols_numbers() -> None:
    assert numbers(pb.ModelInferRequest.DESCRIPTOR) == {
        "ModelInferRequest.model_name": 1,
        "ModelInferRequest.model_version": 2,
        "ModelInferRequest.id": 3,
        "ModelInferRequest.parameters": 4,
        "ModelInferRequest.inputs": 5,
        "ModelInferRequest.outputs": 6,
        "ModelInferRequest.raw_input_contents": 7,
        "ModelInferRequest.InferInputTensor.name": 1,
        "ModelInferRequest.InferInputTensor.datatype": 2,
        "ModelInferRequest.InferInputTensor.shape": 3,
        "ModelInferRequest.InferInputTensor.parameters": 4,
        "ModelInferRequest.InferInputTensor.contents": 5,
        "ModelInferRequest.InferInputTensor.ParametersEntry.key": 1,
        "ModelInferRequest.InferInputTensor.ParametersEntry.value": 2,
        "ModelInferRequest.InferRequestedOutputTensor.name": 1,
        "ModelInferRequest.InferRequestedOutputTensor.parameters": 2,
        "ModelInferRequest.InferRequestedOutputTensor.ParametersEntry.key": 1,
        "ModelInferRequest.InferRequestedOutputTensor.ParametersEntry.value": 2,
        "ModelInferRequest.ParametersEntry.key": 1,
        "ModelInferRequest.ParametersEntry.value": 2,
    }
    assert numbers(pb.InferTensorContents.DESCRIPTOR) == {
        "InferTensorContents.bool_contents": 1,
        "InferTensorContents.int_contents": 2,
        "InferTensorContents.int64_contents": 3,
        "InferTensorContents.uint_contents": 4,
        "InferTensorContents.uint64_contents": 5,
        "InferTensorContents.fp32_contents": 6,
        "InferTensorContents.fp64_contents": 7,
        "InferTensorContents.bytes_contents": 8,
    }


def test_services_have_the_public_protocols_methods() -> None:
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == "inference.GRPCInferenceService"
    assert [method.name for method in service.methods] == [
        "ServerLive",
        "ServerReady",
        "ModelReady",
        "ServerMetadata",
        "ModelMetadata",
        "ModelInfer",
    ]
    assert health_pb2.DESCRIPTOR.services_by_name["Health"].full_name == "grpc.health.v1.Health"


def test_string_param_is_text() -> None:
    field = pb.InferParameter.DESCRIPTOR.fields_by_name["string_param"]
    assert (field.number, field.type) == (3, FieldDescriptor.TYPE_STRING)
