"""The binary tensor extension: tensors as bytes behind the JSON of a request or an answer.

A header `Inference-Header-Content-Length` says how long the JSON is; the tensors follow in the
order of their declaration, little-endian, each of `parameters.binary_data_size` bytes. Elements of
BYTES stand behind their length (uint32), BOOL takes one byte. (Triton's extension_binary_data.)
"""

import math
import struct
from collections.abc import Mapping
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from mooring_serving.errors import RequestRefused
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.codec import decode_document, parse_json_object
from mooring_serving.protocol.datatypes import NUMPY_TYPES, Datatype
from mooring_serving.protocol.encode import describe_output, encode_document, select_outputs
from mooring_serving.protocol.messages import Column, InferenceRequest, OutputArrays
from mooring_serving.protocol.signature import MATRIX_NAME, Signature
from mooring_serving.protocol.tensors import (
    Shape,
    is_list,
    is_object,
    parse_datatype,
    parse_shape,
)
from mooring_serving.refusals import Refusal

HEADER_LENGTH: Final = "inference-header-content-length"
OCTETS: Final = "application/octet-stream"
_LENGTH = struct.Struct("<I")


def decode_binary_request(
    body: bytes, header: bytes, signature: Signature, limits: TensorLimits
) -> InferenceRequest:
    """Decode and check a request with tensors as bytes.

    Args:
        body: The whole body.
        header: The value of `Inference-Header-Content-Length`.
        signature: Of the model.
        limits: Limits of bodies.

    Raises:
        RequestRefused: What is wrong, naming the tensor where there is one.
    """
    if not header.isdigit() or len(header) > 18 or int(header) > len(body):
        raise RequestRefused(
            f"header {HEADER_LENGTH}: the length of the JSON is needed, 0 to {len(body)} here"
        )
    length = int(header)
    raw = memoryview(body)[length:]
    if length == 0:
        return decode_document(_describe_raw(raw, signature), signature, limits)
    document = parse_json_object(body[:length], limits)
    inputs = document.get("inputs")
    if is_list(inputs):
        document = {**document, "inputs": _attach(inputs, raw, limits)}
    return decode_document(document, signature, limits)


def decode_raw(
    name: str, data: memoryview, datatype: Datatype, shape: Shape, limits: TensorLimits
) -> npt.NDArray[np.float64] | list[object]:
    """A tensor's bytes as float64 [values], or as a list of texts or booleans.

    Raises:
        RequestRefused: They are not `shape` elements of the datatype.
    """
    total = math.prod(shape)
    if datatype is Datatype.BYTES:
        return _read_texts(name, data, total, limits)
    kind = NUMPY_TYPES[datatype]
    if len(data) != total * kind.itemsize:
        raise RequestRefused(
            f"input {name[:128]!r}: {len(data)} bytes of data, shape {list(shape)} of {datatype} "
            f"needs {total * kind.itemsize}"
        )
    values = np.frombuffer(data, dtype=kind)
    if datatype is Datatype.BOOL:
        if total and int(values.max()) > 1:
            raise RequestRefused(f"input {name[:128]!r}: a byte of a BOOL tensor must be 0 or 1")
        return cast("list[object]", values.astype(np.bool_).tolist())
    if datatype is Datatype.BF16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    # A signalling NaN in the client's bytes is a NaN as any other, and no warning in our log.
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def _attach(
    inputs: list[object], raw: memoryview, limits: TensorLimits
) -> list[Mapping[str, object] | object]:
    """The tensors with their bytes as `data`."""
    attached: list[Mapping[str, object] | object] = []
    at = 0
    for tensor in inputs:
        parameters = tensor.get("parameters") if is_object(tensor) else None
        size = parameters.get("binary_data_size") if is_object(parameters) else None
        if not is_object(tensor) or not is_object(parameters) or size is None:
            attached.append(tensor)
            continue
        name = tensor.get("name")
        name = name if isinstance(name, str) else ""
        if type(size) is not int or not 0 <= size <= len(raw) - at:
            raise RequestRefused(
                f"input {name[:128]!r}: binary_data_size must be the number of its bytes; "
                f"{len(raw) - at} are left in the body"
            )
        if "data" in tensor:
            raise RequestRefused(f"input {name[:128]!r}: both data and binary_data_size are given")
        datatype = parse_datatype(name, tensor.get("datatype"))
        shape = parse_shape(name, tensor.get("shape"), limits)
        data = decode_raw(name, raw[at : at + size], datatype, shape, limits)
        at += size
        others = {key: value for key, value in parameters.items() if key != "binary_data_size"}
        attached.append({**tensor, "parameters": others, "data": data})
    if at != len(raw):
        raise RequestRefused(
            f"{len(raw) - at} bytes of the body belong to no tensor; check binary_data_size and "
            f"the header {HEADER_LENGTH}"
        )
    return attached


def _describe_raw(raw: memoryview, signature: Signature) -> dict[str, object]:
    """A body that is nothing but one tensor, of as many rows as its length says."""
    datatypes = {feature.datatype for feature in signature.features}
    datatype = next(iter(datatypes))
    if not signature.accepts_matrix or len(datatypes) != 1:
        raise RequestRefused(
            f"header {HEADER_LENGTH}: 0 is for models with one input or features of one numeric "
            "datatype; send the JSON that describes the tensors"
        )
    width = len(signature.features)
    row_bytes = width * NUMPY_TYPES[datatype].itemsize
    rows, rest = divmod(len(raw), row_bytes)
    if rest or not rows:
        raise RequestRefused(
            f"the body has {len(raw)} bytes, rows of {width} {datatype} have {row_bytes} each"
        )
    values = np.frombuffer(raw, dtype=NUMPY_TYPES[datatype]).astype(np.float64)
    tensor = {"name": MATRIX_NAME, "datatype": datatype, "shape": [rows, width], "data": values}
    return {"inputs": [tensor], "parameters": {"binary_data_output": True}}


def _read_texts(name: str, data: memoryview, total: int, limits: TensorLimits) -> list[object]:
    texts: list[object] = []
    at = 0
    for _ in range(total):
        length = _LENGTH.unpack_from(data, at)[0] if at + _LENGTH.size <= len(data) else None
        at += _LENGTH.size
        if length is None or at + length > len(data):
            raise RequestRefused(
                f"input {name[:128]!r}: the bytes end within element {len(texts)} of {total}; each "
                "stands behind its length (uint32, little-endian)"
            )
        if length > limits.text_bytes:
            raise RequestRefused(
                f"input {name[:128]!r}: element {len(texts)} has {length} bytes, at most "
                f"{limits.text_bytes}",
                reason=Refusal.TEXT_TOO_LONG,
            )
        try:
            texts.append(bytes(data[at : at + length]).decode())
        except UnicodeDecodeError as error:
            raise RequestRefused(
                f"input {name[:128]!r}: element {len(texts)} is not UTF-8"
            ) from error
        at += length
    if at != len(data):
        raise RequestRefused(
            f"input {name[:128]!r}: {len(data) - at} bytes follow the last of {total} elements"
        )
    return texts


def encode_binary_answer(
    request: InferenceRequest,
    signature: Signature,
    values: OutputArrays,
    *,
    model: tuple[str, str],
    prediction_id: str,
) -> tuple[bytes, int]:
    """The answer's body, and the length of the JSON at its start.

    Args:
        request: `binary` names the outputs that are sent as bytes; the others are JSON.
        signature: Names, datatypes and widths of the outputs.
        values: The outputs, all finite.
        model: Name and version.
        prediction_id: The receipt.
    """
    tensors: list[dict[str, object]] = []
    pieces: list[bytes] = []
    for output in select_outputs(request, signature, values):
        tensor = describe_output(output, request.rows)
        array = values[output.name].ravel()
        if output.name in request.binary:
            data = encode_raw(array, output.datatype)
            tensor["parameters"] = {"binary_data_size": len(data)}
            pieces.append(data)
        else:
            tensor["data"] = array.tolist()
        tensors.append(tensor)
    head = encode_document(request, tensors, model=model, prediction_id=prediction_id)
    return b"".join((head, *pieces)), len(head)


def encode_raw(array: Column, datatype: Datatype) -> bytes:
    """An output's values [values] as bytes."""
    if datatype is not Datatype.BYTES:
        return array.astype(NUMPY_TYPES[datatype]).tobytes()
    pieces: list[bytes] = []
    for value in cast("list[str]", array.tolist()):
        text = value.encode()
        pieces += (_LENGTH.pack(len(text)), text)
    return b"".join(pieces)
