"""JSON bodies of inference requests, decoded and checked against the model's signature."""

import math
import re
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson

from mooring_serving.errors import RequestRefused
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.depth import exceeds_depth
from mooring_serving.protocol.large import LARGE_BODY, MatrixDocument, read_matrix_document
from mooring_serving.protocol.messages import (
    Column,
    Columns,
    InferenceRequest,
    MatrixColumns,
    Scalar,
)
from mooring_serving.protocol.plain import read_plain_columns
from mooring_serving.protocol.signature import MATRIX_NAME, Feature, Signature
from mooring_serving.protocol.tensors import (
    Shape,
    build_booleans,
    build_texts,
    flatten_data,
    is_list,
    is_object,
    parse_datatype,
    parse_shape,
    read_numbers,
)
from mooring_serving.refusals import Refusal

_FIELDS: Final = frozenset({"inputs", "outputs", "parameters", "id", "labels"})
"""What is read, and checked for its exact structure; anything else is passed over."""

_ID: Final = re.compile(r"[A-Za-z0-9._-]+")
_NOTHING: Final[frozenset[str]] = frozenset()


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
        raise RequestRefused(
            f"the body is not JSON: {error}", reason=Refusal.MALFORMED_BODY
        ) from error
    if not is_object(document):
        raise RequestRefused("the body must be a JSON object")
    for name in document.keys() - _FIELDS if not document.keys() <= _FIELDS else ():
        if exceeds_depth(document[name], limits.json_depth):
            raise RequestRefused(
                f"{name[:128]!r} nests more than {limits.json_depth} levels deep",
                reason=Refusal.TOO_DEEP,
            )
    return document


def decode_request(body: bytes, signature: Signature, limits: TensorLimits) -> InferenceRequest:
    """Decode and check an inference request against the model's signature.

    Raises:
        RequestRefused: What is wrong, naming the tensor where there is one.
    """
    if len(body) >= LARGE_BODY and signature.accepts_matrix:
        document = read_matrix_document(body)
        if document is not None:
            return _decode_large(document, signature, limits)
    return decode_document(parse_json_object(body, limits), signature, limits)


def decode_document(
    document: Mapping[str, object], signature: Signature, limits: TensorLimits
) -> InferenceRequest:
    """Decode a parsed request; tensors may hold their data as arrays already.

    Raises:
        RequestRefused: As `decode_request`.
    """
    tensors = _parse_tensors(document.get("inputs"), limits)
    parameters = _parse_parameters(document.get("parameters"), limits)
    outputs, binary = _parse_outputs(document.get("outputs"), parameters, signature, limits)
    identity = _parse_id(document.get("id"), limits)
    columns: Columns
    if len(tensors) == 1 and signature.accepts_matrix and MATRIX_NAME in tensors:
        matrix = _decode_matrix(tensors[MATRIX_NAME], signature, limits)
        columns, rows = MatrixColumns(matrix, signature.positions), len(matrix)
    else:
        columns, rows = _decode_columns(tensors, signature, limits)
    return InferenceRequest(identity, columns, rows, outputs, parameters, binary)


def _decode_large(
    document: MatrixDocument, signature: Signature, limits: TensorLimits
) -> InferenceRequest:
    """The same for one large matrix whose numbers were never Python objects."""
    for name, value in document.rest.items():
        if name not in _FIELDS and exceeds_depth(value, limits.json_depth):
            raise RequestRefused(
                f"{name[:128]!r} nests more than {limits.json_depth} levels deep",
                reason=Refusal.TOO_DEEP,
            )
    return decode_document(
        {**document.rest, "inputs": [{**document.tensor, "data": document.values}]},
        signature,
        limits,
    )


def _parse_tensors(value: object, limits: TensorLimits) -> dict[str, dict[str, object]]:
    if not is_list(value) or not value:
        raise RequestRefused("inputs must be a list of at least one tensor")
    if len(value) > limits.tensors:
        raise RequestRefused(
            f"inputs has {len(value)} tensors, at most {limits.tensors}",
            reason=Refusal.TENSOR_TOO_LARGE,
        )
    tensors: dict[str, dict[str, object]] = {}
    for index, item in enumerate(value):
        if not is_object(item):
            raise RequestRefused(f"inputs[{index}] must be an object")
        name = item.get("name")
        if not isinstance(name, str) or not name:
            raise RequestRefused(f"inputs[{index}]: name must be a string")
        if name in tensors:
            raise RequestRefused(f"input {name[:128]!r} is given twice")
        if item.get("parameters") is not None:
            _check_tensor_parameters(name, item["parameters"], limits)
        tensors[name] = item
    return tensors


def _check_tensor_parameters(name: str, value: object, limits: TensorLimits) -> None:
    if not is_object(value) or len(value) > limits.parameters:
        raise RequestRefused(f"input {name[:128]!r}: parameters must be an object")
    if "binary_data_size" in value:
        raise RequestRefused(
            f"input {name[:128]!r}: binary_data_size is given, but the request has no header "
            "Inference-Header-Content-Length; send it, or data as JSON"
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
    value: object,
    parameters: Mapping[str, Scalar],
    signature: Signature,
    limits: TensorLimits,
) -> tuple[tuple[str, ...] | None, frozenset[str]]:
    """The wanted outputs in the wanted order, and those that are wanted as bytes.

    `binary_data_output` of the request is the default, `binary_data` of an output wins.
    """
    default = _flag(parameters, "binary_data_output", "parameters")
    if value is None:
        return None, signature.output_names if default else _NOTHING
    if not is_list(value) or len(value) > limits.outputs:
        raise RequestRefused(f"outputs must be a list of at most {limits.outputs} names")
    names: list[str] = []
    binary: list[str] = []
    for index, item in enumerate(value):
        name = item.get("name") if is_object(item) else None
        if not is_object(item) or not isinstance(name, str):
            raise RequestRefused(f"outputs[{index}]: an object with a name is needed")
        if name not in signature.output_names:
            known = ", ".join(sorted(signature.output_names))
            raise RequestRefused(f"output {name[:128]!r} is not an output of the model: {known}")
        if name in names:
            raise RequestRefused(f"output {name!r} is wanted twice")
        names.append(name)
        own = _parse_parameters(item.get("parameters"), limits)
        if _flag(own, "binary_data", f"outputs[{index}].parameters", default=default):
            binary.append(name)
    if not names:
        return None, signature.output_names if default else _NOTHING
    return tuple(names), frozenset(binary)


def _flag(
    parameters: Mapping[str, Scalar], name: str, where: str, *, default: bool = False
) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestRefused(f"{where}.{name} must be true or false")
    return value


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
    flat = read_numbers(
        MATRIX_NAME, tensor.get("data"), datatype, shape, nullable=signature.any_nullable
    )
    matrix = flat.reshape(shape)
    if signature.any_nullable:
        _check_missing(matrix, signature)
    return matrix


def _check_missing(matrix: npt.NDArray[np.float64], signature: Signature) -> None:
    # The sum is NaN only if a value is: one pass, where looking for None would take ten times it.
    if not math.isnan(float(matrix.sum())):
        return
    for at, feature in enumerate(signature.features):
        if not feature.nullable and bool(np.isnan(matrix[:, at]).any()):
            raise RequestRefused(
                f"input {MATRIX_NAME!r}: null is not accepted in the column of {feature.name!r}"
            )


def _decode_columns(
    tensors: Mapping[str, Mapping[str, object]], signature: Signature, limits: TensorLimits
) -> tuple[Columns, int]:
    """One tensor [rows] or [rows, 1] for each feature."""
    if tensors.keys() != signature.by_name.keys():
        _refuse_names(tensors, signature)
    plain = read_plain_columns(tensors, signature)
    if plain is not None:
        _check_rows(signature.features[0].name, len(plain), signature)
        return MatrixColumns(plain, signature.positions), len(plain)
    columns: dict[str, Column] = {}
    rows = 0
    for feature in signature.features:
        tensor = tensors[feature.name]
        shape = parse_shape(feature.name, tensor.get("shape"), limits)
        length = shape[0]
        if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
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


def _refuse_names(tensors: Mapping[str, object], signature: Signature) -> None:
    for name in tensors:
        if name not in signature.by_name:
            raise RequestRefused(f"input {name[:128]!r} is not an input of the model")
    missing = next(feature.name for feature in signature.features if feature.name not in tensors)
    raise RequestRefused(f"input {missing!r} is missing")


def _decode_column(
    feature: Feature, tensor: Mapping[str, object], shape: Shape, limits: TensorLimits
) -> Column:
    name = feature.name
    datatype = parse_datatype(name, tensor.get("datatype"))
    data = tensor.get("data")
    match feature.datatype:
        case Datatype.BYTES:
            values = flatten_data(name, data, shape)
            return build_texts(name, values, datatype, nullable=feature.nullable, limits=limits)
        case Datatype.BOOL:
            values = flatten_data(name, data, shape)
            return build_booleans(name, values, datatype, nullable=feature.nullable)
        case _:
            return read_numbers(name, data, datatype, shape, nullable=feature.nullable)


def _check_rows(name: str, rows: int, signature: Signature) -> None:
    if rows > signature.max_rows:
        raise RequestRefused(
            f"input {name!r} has {rows} rows, this model takes at most {signature.max_rows} a "
            "request; send several requests",
            reason=Refusal.TENSOR_TOO_LARGE,
        )
