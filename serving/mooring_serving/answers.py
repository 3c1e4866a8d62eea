"""Answers as values: checking our own model's, reading another pod's, comparing the two. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import orjson

from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.protocol.signature import Output, Signature
from mooring_serving.protocol.tensors import is_list, is_object

OutputValues: TypeAlias = Mapping[str, Sequence[object]]
"""For each output its values in row-major order, [rows * width]."""

_TOLERANCE = 1e-6
_COMPARED = ("label", "prediction", "probability")
"""The output that is compared is the first of these that both answers have."""


def find_fault(output: Output, values: Sequence[object], rows: int) -> str | None:
    """Why the values of an output are unusable, or None."""
    if len(values) != rows * output.width:
        return f"output {output.name!r} has {len(values)} values for {rows} rows of {output.width}"
    if output.datatype is Datatype.BYTES:
        usable = all(isinstance(value, str) for value in values)
    elif output.datatype is Datatype.BOOL:
        usable = all(isinstance(value, bool) for value in values)
    else:
        usable = all(map(_is_finite_number, values))
    return None if usable else f"output {output.name!r} has a value that is not finite"


def _is_finite_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def read_answer(
    body: bytes, request: InferenceRequest, signature: Signature
) -> OutputValues | None:
    """The outputs of another pod's answer.

    None when a wanted output is missing, or has a null (that is how NaN is written), a value of
    another type, or another number of values than the request has rows.
    """
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    tensors = document.get("outputs") if is_object(document) else None
    if not is_list(tensors):
        return None
    values: dict[str, Sequence[object]] = {}
    for tensor in tensors:
        if is_object(tensor):
            name, data = tensor.get("name"), tensor.get("data")
            if isinstance(name, str) and is_list(data):
                values[name] = data
    for output in signature.outputs:
        if request.outputs is not None and output.name not in request.outputs:
            continue
        data = values.get(output.name)
        if data is None or find_fault(output, data, request.rows) is not None:
            return None
    return values


def count_disagreements(
    ours: OutputValues, theirs: OutputValues, *, rows: int, scale: float
) -> int:
    """Rows in which two answers differ.

    A label differs when it is another one, a number when it is more than 1e-6 of `scale` away.
    """
    name = next((name for name in _COMPARED if name in ours and name in theirs), None)
    if name is None or len(ours[name]) != len(theirs[name]):
        return 0
    width = max(1, len(ours[name]) // rows)
    pairs = list(zip(ours[name], theirs[name], strict=True))
    return sum(
        any(_differ(a, b, scale) for a, b in pairs[row * width : (row + 1) * width])
        for row in range(rows)
    )


def _differ(ours: object, theirs: object, scale: float) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float | int):
        return abs(ours - theirs) > _TOLERANCE * scale
    return ours != theirs
