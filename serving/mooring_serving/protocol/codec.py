"""JSON bodies: inference requests in, inference answers out."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson

from mooring_serving.errors import RequestRefused
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.depth import exceeds_depth
from mooring_serving.protocol.messages import Column, InferenceRequest, MatrixColumns, Scalar
from mooring_serving.protocol.signature import MATRIX_NAME, Feature, Signature
from mooring_serving.protocol.tensors import (
    Shape,
    build_booleans,
    build_numbers,
    build_texts,
    flatten_data,
    is_list,
    is_object,
    parse_datatype,
    parse_shape,
)

_FIELDS: Final = frozenset({"inputs", "outputs", "parameters", "id", "labels"})
"""What is read, and checked for its exact structure; anything else is passed over."""

_ID: Final = re.compile(r"[A-Za-z0-9._-]+")


def parse_json_object(body: bytes, limits: TensorLimits) -> dict[str, object]:
    """The body as a JSON object.

    Raises:
        RequestRefused: Empty, not UTF-8, not JSON (NaN and Infinity are not, nor more than the
            parser's 1,024 levels), not an object, or nesting too deeply in a field that nobody
            reads.
    """
    if not body:
        raise RequestRefused("the body is empty, a JSON object is needed")
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(f"the body is not JSON: {error}") from error
    if not is_object(document):
        raise RequestRefused("the body must be a JSON object")
    for name in document.keys() - _FIELDS:
        if exceeds_depth(document[name], limits.json_depth):
            raise RequestRefused(f"{name[:128]!r} nests more than {limits.json_depth} levels deep")
    return document


def decode_request(body: bytes, signature: Signature, limits: TensorLimits) -> InferenceRequest:
    """Decode and check an inference request against the model's signature.

    Raises:
        RequestRefused: What is wrong, naming the tensor where there is one.
    """
    document = parse_json_object(body, limits)
    tensors = _parse_tensors(document.get("inputs"), limits)
    parameters = _parse_parameters(document.get("parameters"), limits)
    if parameters.get("binary_data_output"):
        raise RequestRefused(
            "parameters.binary_data_output: binary tensors are not served, ask for JSON"
        )
    outputs = _parse_outputs(document.get("outputs"), signature, limits)
    identity = _parse_id(document.get("id"), limits)
    if signature.accepts_matrix and len(tensors) == 1 and MATRIX_NAME in tensors:
        matrix = _decode_matrix(tensors[MATRIX_NAME], signature, limits)
        lazy = MatrixColumns(matrix, signature.positions)
        return InferenceRequest(identity, lazy, len(matrix), outputs, parameters)
    columns, rows = _decode_columns(tensors, signature, limits)
    return InferenceRequest(identity, columns, rows, outputs, parameters)


def encode_answer(
    request: InferenceRequest,
    signature: Signature,
    values: Mapping[str, Sequence[object]],
    *,
    model: tuple[str, str],
    prediction_id: str,
) -> bytes:
    """The answer's body.

    Args:
        request: Its id is echoed; its selection of outputs decides what is sent, in that order.
        signature: Names, datatypes and widths of the outputs.
        values: For each output its values in row-major order, all finite.
        model: Name and version.
        prediction_id: The receipt.
    """
    wanted = request.outputs
    selected = (
        signature.outputs
        if wanted is None
        else [output for name in wanted for output in signature.outputs if output.name == name]
    )
    document: dict[str, object] = {
        "model_name": model[0],
        "model_version": model[1],
        "outputs": [
            {
                "name": output.name,
                "datatype": output.datatype,
                "shape": [request.rows] if output.width == 1 else [request.rows, output.width],
                "data": values[output.name],
            }
            for output in selected
        ],
        "parameters": {"prediction_id": prediction_id},
    }
    if request.id is not None:
        document["id"] = request.id
    return orjson.dumps(document)


def _parse_tensors(value: object, limits: TensorLimits) -> dict[str, dict[str, object]]:
    if not is_list(value) or not value:
        raise RequestRefused("inputs must be a list of at least one tensor")
    if len(value) > limits.tensors:
        raise RequestRefused(f"inputs has {len(value)} tensors, at most {limits.tensors}")
    tensors: dict[str, dict[str, object]] = {}
    for index, item in enumerate(value):
        if not is_object(item):
            raise RequestRefused(f"inputs[{index}] must be an object")
        name = item.get("name")
        if not isinstance(name, str) or not name:
            raise RequestRefused(f"inputs[{index}]: name must be a string")
        if name in tensors:
            raise RequestRefused(f"input {name[:128]!r} is given twice")
        _check_tensor_parameters(name, item.get("parameters"), limits)
        tensors[name] = item
    return tensors


def _check_tensor_parameters(name: str, value: object, limits: TensorLimits) -> None:
    if value is None:
        return
    if not is_object(value) or len(value) > limits.parameters:
        raise RequestRefused(f"input {name[:128]!r}: parameters must be an object")
    if "binary_data_size" in value:
        raise RequestRefused(
            f"input {name[:128]!r}: binary tensors are not served, send data as JSON"
        )


def _parse_parameters(value: object, limits: TensorLimits) -> Mapping[str, Scalar]:
    if value is None:
        return {}
    if not is_object(value) or len(value) > limits.parameters:
        raise RequestRefused(f"parameters must be an object of at most {limits.parameters} entries")
    parameters: dict[str, Scalar] = {}
    for name, item in value.items():
        if not isinstance(item, str | int | float | bool):
            raise RequestRefused(
                f"parameters.{name[:128]}: a string, a number or a boolean is needed"
            )
        parameters[name] = item
    return parameters


def _parse_outputs(
    value: object, signature: Signature, limits: TensorLimits
) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not is_list(value) or len(value) > limits.outputs:
        raise RequestRefused(f"outputs must be a list of at most {limits.outputs} names")
    known = {output.name for output in signature.outputs}
    names: list[str] = []
    for index, item in enumerate(value):
        name = item.get("name") if is_object(item) else None
        if not isinstance(name, str):
            raise RequestRefused(f"outputs[{index}]: an object with a name is needed")
        if name not in known:
            raise RequestRefused(
                f"output {name[:128]!r} is not an output of the model: {', '.join(sorted(known))}"
            )
        if name in names:
            raise RequestRefused(f"output {name!r} is wanted twice")
        names.append(name)
    return tuple(names) or None


def _parse_id(value: object, limits: TensorLimits) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise RequestRefused("id must be a string")
    if len(value) > limits.id_length or not _ID.fullmatch(value):
        raise RequestRefused(
            f"id must have 1 to {limits.id_length} characters of A-Z a-z 0-9 . _ -"
        )
    return value


def _decode_matrix(
    tensor: Mapping[str, object], signature: Signature, limits: TensorLimits
) -> npt.NDArray[np.float64]:
    """One tensor [rows, features]."""
    width = len(signature.features)
    datatype = parse_datatype(MATRIX_NAME, tensor.get("datatype"))
    shape = parse_shape(MATRIX_NAME, tensor.get("shape"), limits)
    if len(shape) != 2 or shape[1] != width:
        raise RequestRefused(
            f"input {MATRIX_NAME!r}: shape {list(shape)} given, [rows, {width}] is needed"
        )
    _check_rows(MATRIX_NAME, shape[0], signature)
    values = flatten_data(MATRIX_NAME, tensor.get("data"), shape)
    flat = build_numbers(MATRIX_NAME, values, datatype, nullable=any(signature.nullable))
    matrix = flat.reshape(shape)
    # The sum is NaN only if a value is: one pass, where looking for None would take ten times it.
    if math.isnan(float(flat.sum())):
        _check_missing(matrix, signature)
    return matrix


def _check_missing(matrix: npt.NDArray[np.float64], signature: Signature) -> None:
    for at, feature in enumerate(signature.features):
        if not feature.nullable and bool(np.isnan(matrix[:, at]).any()):
            raise RequestRefused(
                f"input {MATRIX_NAME!r}: null is not accepted in the column of {feature.name!r}"
            )


def _decode_columns(
    tensors: Mapping[str, Mapping[str, object]], signature: Signature, limits: TensorLimits
) -> tuple[dict[str, Column], int]:
    """One tensor [rows] or [rows, 1] for each feature."""
    unknown = [name for name in tensors if name not in signature.by_name]
    if unknown:
        raise RequestRefused(f"input {unknown[0][:128]!r} is not an input of the model")
    columns: dict[str, Column] = {}
    rows = 0
    for feature in signature.features:
        tensor = tensors.get(feature.name)
        if tensor is None:
            raise RequestRefused(f"input {feature.name!r} is missing")
        shape = parse_shape(feature.name, tensor.get("shape"), limits)
        length = shape[0]
        if shape not in ((length,), (length, 1)):
            raise RequestRefused(
                f"input {feature.name!r}: shape {list(shape)} given, [rows] or [rows, 1] is needed"
            )
        if rows == 0:
            rows = length
            _check_rows(feature.name, rows, signature)
        elif length != rows:
            raise RequestRefused(
                f"input {feature.name!r} has {length} rows, the tensors before it have {rows}"
            )
        columns[feature.name] = _decode_column(feature, tensor, shape, limits)
    return columns, rows


def _decode_column(
    feature: Feature, tensor: Mapping[str, object], shape: Shape, limits: TensorLimits
) -> Column:
    name = feature.name
    datatype = parse_datatype(name, tensor.get("datatype"))
    values = flatten_data(name, tensor.get("data"), shape)
    match feature.datatype:
        case Datatype.BYTES:
            return build_texts(name, values, datatype, nullable=feature.nullable, limits=limits)
        case Datatype.BOOL:
            return build_booleans(name, values, datatype, nullable=feature.nullable)
        case _:
            return build_numbers(name, values, datatype, nullable=feature.nullable)


def _check_rows(name: str, rows: int, signature: Signature) -> None:
    if rows > signature.max_rows:
        raise RequestRefused(
            f"input {name!r} has {rows} rows, this model takes at most {signature.max_rows} a "
            "request; send several requests"
        )
