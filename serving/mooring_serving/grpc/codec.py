"""ModelInfer messages: requests to `InferenceRequest`, replies to responses. Pure.

The checks are the JSON codec's: a message becomes the document that JSON would have been, with
arrays in place of lists, and `decode_document` judges it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError

from mooring_serving.conversation import Reply
from mooring_serving.errors import RequestRefused
from mooring_serving.grpc.columns import read_raw_columns
from mooring_serving.grpc.proto import open_inference_pb2 as pb
from mooring_serving.grpc.reply import encode_raw_reply
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.binary import decode_raw
from mooring_serving.protocol.codec import decode_document
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.encode import select_outputs, shape_of
from mooring_serving.protocol.messages import Column, InferenceRequest, Scalar
from mooring_serving.protocol.signature import MATRIX_NAME, Signature
from mooring_serving.protocol.tensors import parse_datatype, parse_shape
from mooring_serving.refusals import Refusal

_SMALL_MESSAGE: Final = 256 * 1024
"""Below this no message can take more than about 10 MiB once parsed."""

_CONTENTS: Final = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
"""The field of InferTensorContents for each datatype; FP16 and BF16 have none, they go raw."""


def parse_request(message: bytes, limits: TensorLimits) -> pb.ModelInferRequest:
    """A ModelInfer request as protobuf has it.

    Raises:
        RequestRefused: It is not one, or has more parts than could be answered.
    """
    if len(message) > _SMALL_MESSAGE:
        _check_parts(message, 2 * limits.tensors + limits.outputs + limits.parameters + 8)
    try:
        return pb.ModelInferRequest.FromString(message)
    except DecodeError as error:
        raise _malformed() from error


def decode_request(
    document: pb.ModelInferRequest, signature: Signature, limits: TensorLimits
) -> InferenceRequest:
    """Decode and check a request against the model's signature.

    Raises:
        RequestRefused: What is wrong, naming the tensor where there is one.
    """
    fields: dict[str, object] = {}
    matrix = read_raw_columns(document, signature)
    if matrix is not None:
        fields["inputs"] = [
            {
                "name": MATRIX_NAME,
                "datatype": Datatype.FP64,
                "shape": list(matrix.shape),
                "data": matrix.ravel(),
            }
        ]
    else:
        fields["inputs"] = _read_tensors(document, limits)
    if document.id:
        fields["id"] = document.id
    if document.parameters:
        fields["parameters"] = _read_parameters(document.parameters, "parameters")
    if document.outputs:
        fields["outputs"] = [{"name": output.name} for output in document.outputs]
    return decode_document(fields, signature, limits)


def encode_reply(reply: Reply, signature: Signature, *, model: str, raw: bool) -> bytes:
    """A ModelInfer response.

    Args:
        reply: The answer.
        signature: Names, datatypes and widths of the outputs.
        model: The model's name.
        raw: Whether tensors go as raw contents; all do when one cannot go as typed ones.
    """
    outputs = select_outputs(reply.request, signature, reply.values)
    if raw or any(output.datatype not in _CONTENTS for output in outputs):
        return encode_raw_reply(reply, outputs, model=model)
    request = reply.request
    response = pb.ModelInferResponse(model_name=model, model_version=reply.version)
    if request.id is not None:
        response.id = request.id
    response.parameters["prediction_id"].string_param = reply.prediction_id
    for output in outputs:
        tensor = response.outputs.add(
            name=output.name,
            datatype=output.datatype.value,
            shape=shape_of(output, request.rows),
        )
        _fill_contents(tensor.contents, reply.values[output.name].ravel(), output.datatype)
    return response.SerializeToString()


def _read_tensors(document: pb.ModelInferRequest, limits: TensorLimits) -> list[object]:
    """The tensors as JSON would have them, with arrays in place of lists of numbers."""
    inputs, raw = document.inputs, document.raw_input_contents
    if raw and len(raw) != len(inputs):
        raise RequestRefused(
            f"raw_input_contents has {len(raw)} entries for {len(inputs)} inputs; send one for "
            "each input, or none"
        )
    tensors: list[object] = []
    for index, tensor in enumerate(inputs[: limits.tensors + 1]):
        name = tensor.name
        shape = list(tensor.shape)
        data = (
            _read_raw(tensor, shape, raw[index], limits) if raw else _read_contents(tensor, limits)
        )
        entry: dict[str, object] = {
            "name": name,
            "datatype": tensor.datatype,
            "shape": shape,
            "data": data,
        }
        if tensor.parameters:
            parameters = _read_parameters(tensor.parameters, f"input {name[:128]!r}")
            # kserve's client sends REST's parameter here too; the message itself says the size.
            parameters.pop("binary_data_size", None)
            entry["parameters"] = parameters
        tensors.append(entry)
    return tensors


def _check_parts(message: bytes, limit: int) -> None:
    """Count a large message's fields before protobuf makes an object of each."""
    at, end, parts = 0, len(message), 0
    while at < end:
        parts += 1
        if parts > limit:
            raise RequestRefused(
                f"the message has more than {limit} fields", reason=Refusal.TENSOR_TOO_LARGE
            )
        tag, at = _read_varint(message, at)
        if tag & 7 != 2:  # no field of a request is a plain number
            raise _malformed()
        length, at = _read_varint(message, at)
        at += length
    if at != end:
        raise _malformed()


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for position, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << 7 * position
        if not byte & 0x80:
            return value, at + position + 1
    raise _malformed()


def _malformed() -> RequestRefused:
    return RequestRefused(
        "the message is not an inference.ModelInferRequest", reason=Refusal.MALFORMED_BODY
    )


def _read_raw(
    tensor: pb.ModelInferRequest.InferInputTensor,
    shape: list[int],
    data: bytes,
    limits: TensorLimits,
) -> object:
    name = tensor.name
    if tensor.HasField("contents") and tensor.contents.ByteSize():
        raise RequestRefused(
            f"input {name[:128]!r}: both contents and raw_input_contents are given"
        )
    datatype = parse_datatype(name[:128], tensor.datatype)
    parsed = parse_shape(name[:128], shape, limits)
    return decode_raw(name, memoryview(data), datatype, parsed, limits)


def _read_contents(tensor: pb.ModelInferRequest.InferInputTensor, limits: TensorLimits) -> object:
    """Typed contents: numbers as float64, texts and booleans as lists."""
    name = tensor.name[:128]
    datatype = parse_datatype(name, tensor.datatype)
    field = _CONTENTS.get(datatype)
    if field is None:
        raise RequestRefused(f"input {name!r}: {datatype} has no typed contents, send it raw")
    contents = tensor.contents
    for other, _ in contents.ListFields():
        if other.name != field:
            raise RequestRefused(
                f"input {name!r}: contents.{other.name} is given, {datatype} needs contents.{field}"
            )
    if datatype is Datatype.BYTES:
        return _decode_texts(name, contents.bytes_contents, limits)
    values: Sequence[float] = getattr(contents, field)
    if datatype is Datatype.BOOL:
        return list(values)
    return np.fromiter(values, np.float64, len(values))


def _decode_texts(name: str, values: Sequence[bytes], limits: TensorLimits) -> list[str]:
    texts: list[str] = []
    for value in values:
        if len(value) > limits.text_bytes:
            raise RequestRefused(
                f"input {name!r}: element {len(texts)} has {len(value)} bytes, at most "
                f"{limits.text_bytes}",
                reason=Refusal.TEXT_TOO_LONG,
            )
        try:
            texts.append(value.decode())
        except UnicodeDecodeError as error:
            raise RequestRefused(f"input {name!r}: element {len(texts)} is not UTF-8") from error
    return texts


def _read_parameters(parameters: Mapping[str, pb.InferParameter], where: str) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is None:
            raise RequestRefused(f"{where}: parameter {name[:128]!r} has no value")
        value: Scalar = getattr(parameter, kind)
        if isinstance(value, float) and not math.isfinite(value):
            raise RequestRefused(f"{where}: parameter {name[:128]!r} is not finite")
        values[name] = value
    return values


def _fill_contents(contents: pb.InferTensorContents, values: Column, datatype: Datatype) -> None:
    plain = values.tolist()
    if datatype is Datatype.BYTES:
        contents.bytes_contents.extend([str(value).encode() for value in plain])
    else:
        getattr(contents, _CONTENTS[datatype]).extend(plain)
