"""Large JSON bodies of one matrix: the numbers go from text to doubles without becoming objects.

simdjson parses three times as fast as a parser that makes a Python object of each number. It is
used only where what it says can be told exactly; everything else is read again by the ordinary
decoder, which also finds the words for what is wrong.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mooring_serving.protocol.datatypes import FLOATS
from mooring_serving.protocol.signature import MATRIX_NAME
from mooring_serving.protocol.tensors import is_list, is_object

_simdjson: Any = importlib.import_module("simdjson")

LARGE_BODY: Final = 4096
"""Bytes from which on this is quicker."""
_OPENS_LIST: Final = ord("[")


@dataclass(frozen=True, slots=True)
class MatrixDocument:
    """A request with one matrix.

    Attributes:
        rest: All fields of the body but `inputs`.
        tensor: All fields of the tensor but `data`.
        values: The data, float64 [values].
    """

    rest: Mapping[str, object]
    tensor: Mapping[str, object]
    values: npt.NDArray[np.float64]


def read_matrix_document(body: bytes) -> MatrixDocument | None:
    """The body as a matrix document; None when it is not one for certain.

    Its `data` must be plain numbers, flat or in rows of one length, of a floating-point datatype.
    """
    try:
        document = _simdjson.Parser().parse(body)
        inputs = document["inputs"]
        tensor = inputs[0]
        data = tensor["data"]
        if len(inputs) != 1 or tensor["name"] != MATRIX_NAME or tensor["datatype"] not in FLOATS:
            return None
        rest, fields = _others(document, "inputs"), _others(tensor, "data")
        if rest is None or fields is None:
            return None
        others = _count_lists(rest) + _count_lists(fields)
        # As many lists as are known and no more: so every value of `data` is a number.
        lists = np.count_nonzero(np.frombuffer(body, np.uint8) == _OPENS_LIST)
        if lists != 2 + _rows_of(data, fields.get("shape")) + others:
            return None
        return MatrixDocument(rest, fields, np.frombuffer(data.as_buffer(of_type="d")))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError):
        return None


def read_number_lists(text: bytes, shape: tuple[int, int]) -> npt.NDArray[np.float64] | None:
    """JSON lists of numbers, flat or one a row, as float64 [values]; None for anything else."""
    try:
        data = _simdjson.Parser().parse(text)
        # As many lists as are known and no more: so every value of `data` is a number.
        lists = text.count(b"[")
        if lists != 1 and (lists != 1 + shape[0] or set(map(len, data)) != {shape[1]}):
            return None
        values = np.frombuffer(data.as_buffer(of_type="d"))
    except (ValueError, TypeError, RuntimeError):
        return None
    return values if values.size == shape[0] * shape[1] else None


def _others(proxy: Any, left_out: str) -> dict[str, object] | None:
    """An object's other fields; None when a name occurs twice (which of them counts?)."""
    names = list(proxy)
    if len(set(names)) != len(names):
        return None
    fields: dict[str, object] = {}
    for name in names:
        if name != left_out:
            value = proxy[name]
            if isinstance(value, _simdjson.Object):
                value = value.as_dict()
            elif isinstance(value, _simdjson.Array):
                value = value.as_list()
            fields[name] = value
    return fields


def _rows_of(data: Any, shape: object) -> int:
    """How many lists the data holds: none when it is flat, one a row when each has one length.

    Raises:
        ValueError: It is neither, or not of the tensor's shape.
    """
    if not isinstance(data[0], _simdjson.Array):
        return 0
    if not is_list(shape) or len(shape) != 2 or len(data) != shape[0]:
        raise ValueError("rows")
    width = shape[1]
    for row in data:
        if len(row) != width:
            raise ValueError("a row of another length")
    return len(data)


def _count_lists(value: object) -> int:
    """The lists in a JSON value."""
    if is_list(value):
        return 1 + sum(_count_lists(item) for item in value)
    if is_object(value):
        return sum(_count_lists(item) for item in value.values())
    return 0
