"""Answers as arrays: checking our own model's, reading another pod's, comparing the two. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.messages import Column, InferenceRequest, OutputArrays
from mooring_serving.protocol.signature import Output, Signature
from mooring_serving.protocol.tensors import is_list, is_object
from mooring_serving.receipts import MAX_LENGTH

_TOLERANCE = 1e-6
_COMPARED = ("label", "prediction", "probability")
"""The output that is compared is the first of these that both answers have."""
_SCORED = ("probability", "prediction")
"""The output that is the score."""


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """Another pod's answer.

    Attributes:
        values: The wanted outputs.
        prediction_id: Its receipt, empty when it has none.
    """

    values: OutputArrays
    prediction_id: str


def find_fault(output: Output, array: Column, rows: int) -> str | None:
    """Why an output of our own model is unusable, or None."""
    if len(array) != rows or array.size != rows * output.width:
        return f"output {output.name!r} has {array.size} values for {rows} rows of {output.width}"
    kind = array.dtype.kind
    match output.datatype:
        case Datatype.BYTES:
            usable = kind == "O" and set(map(type, array.flat)) <= {str}
        case Datatype.BOOL:
            usable = kind == "b"
        case _ if kind == "f":
            usable = bool(np.isfinite(array).all())
            return None if usable else f"output {output.name!r} has a value that is not finite"
        case _:
            usable = kind in "iu"
    return None if usable else f"output {output.name!r} has values that are not {output.datatype}"


def read_answer(body: bytes, request: InferenceRequest, signature: Signature) -> ReadAnswer | None:
    """The outputs of another pod's answer.

    None when a wanted output is missing, or has a null (that is how NaN is written), a value of
    another type, or another number of values than the request has rows. What only explains an
    answer may be missing unless it was asked for by name.
    """
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    tensors = document.get("outputs") if is_object(document) else None
    if not is_object(document) or not is_list(tensors):
        return None
    given: dict[str, Sequence[object]] = {}
    for tensor in tensors:
        if is_object(tensor):
            name, data = tensor.get("name"), tensor.get("data")
            if isinstance(name, str) and is_list(data):
                given[name] = data
    values: dict[str, Column] = {}
    for output in signature.outputs:
        if request.outputs is not None and output.name not in request.outputs:
            continue
        data = given.get(output.name)
        if data is None and request.outputs is None and output.name not in _COMPARED:
            continue  # an explanation that the other revision does not give
        array = _as_array(output, data, request.rows)
        if array is None:
            return None
        values[output.name] = array
    return ReadAnswer(values, _read_receipt(document.get("parameters")))


def _as_array(output: Output, data: Sequence[object] | None, rows: int) -> Column | None:
    if data is None or len(data) != rows * output.width:
        return None
    kinds = set(map(type, data))
    match output.datatype:
        case Datatype.BYTES if kinds <= {str}:
            array: Column = np.array(data, dtype=np.object_)
        case Datatype.BOOL if kinds <= {bool}:
            array = np.array(data, dtype=np.bool_)
        case Datatype.FP16 | Datatype.FP32 | Datatype.FP64 if kinds <= {int, float}:
            array = np.array(data, dtype=np.float64)
        case _ if kinds <= {int} and all(_fits(value) for value in data):
            array = np.array(data, dtype=np.int64)
        case _:
            return None
    return array if output.width == 1 else array.reshape(rows, output.width)


def _fits(value: object) -> bool:
    return isinstance(value, int) and -(1 << 63) <= value < 1 << 63


def _read_receipt(parameters: object) -> str:
    value = parameters.get("prediction_id") if is_object(parameters) else None
    return value if isinstance(value, str) and len(value) <= MAX_LENGTH else ""


def scored_output(values: OutputArrays) -> str | None:
    """Name of the output that drift is watched on, None when the answer lacks it."""
    return next((name for name in _SCORED if name in values), None)


def count_disagreements(
    ours: OutputArrays, theirs: OutputArrays, *, rows: int, scale: float
) -> int:
    """Rows in which two answers differ.

    A label differs when it is another one, a number when it is more than 1e-6 of `scale` away.
    """
    name = next((name for name in _COMPARED if name in ours and name in theirs), None)
    if name is None or ours[name].size != theirs[name].size:
        return 0
    a, b = ours[name].reshape(rows, -1), theirs[name].reshape(rows, -1)
    if a.dtype.kind == "f" and b.dtype.kind in "fiu":
        difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
        differs = difference > _TOLERANCE * scale
    else:
        differs = a != b
    return int(np.count_nonzero(differs.any(axis=1)))
