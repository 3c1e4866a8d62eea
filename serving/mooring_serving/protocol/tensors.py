"""One JSON tensor to one array, every fault named.

JSON was parsed by then, so values are str, int, float, bool, None, list or dict; NaN and Infinity
cannot occur, since the parser refuses them.
"""

import math
from array import array as packed_array
from collections.abc import Sequence
from itertools import chain
from typing import Final, TypeAlias, TypeGuard, cast

import numpy as np
import numpy.typing as npt

from mooring_serving.errors import RequestRefused
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.datatypes import DATATYPES, NUMBERS, Datatype, NumberRange
from mooring_serving.protocol.messages import Column
from mooring_serving.refusals import Refusal

Shape: TypeAlias = tuple[int, *tuple[int, ...]]
"""At least one dimension, each at least 1."""

_MANY: Final = 256
"""From so many values on, packing and then looking for oddities beats looking at each type."""

_NUMBERS: Final = frozenset({int, float})
_INTEGERS: Final = frozenset({int})
_NONE: Final = type(None)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether a JSON value is an array."""
    return type(value) is list


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a JSON value is an object (its keys are always text)."""
    return type(value) is dict


def parse_datatype(name: str, value: object) -> Datatype:
    """The tensor's datatype."""
    datatype = DATATYPES.get(value) if isinstance(value, str) else None
    if datatype is None:
        known = ", ".join(DATATYPES)
        raise RequestRefused(f"input {name!r}: datatype {_shown(value)} is not one of {known}")
    return datatype


def parse_shape(name: str, value: object, limits: TensorLimits) -> Shape:
    """The tensor's shape: 1 to `rank` dimensions, each at least 1, of a bounded product."""
    if not is_list(value) or not value:
        raise RequestRefused(f"input {name!r}: shape must be a list of positive integers")
    if len(value) > limits.rank:
        raise RequestRefused(
            f"input {name!r}: shape has {len(value)} dimensions, at most {limits.rank}",
            reason=Refusal.TENSOR_TOO_LARGE,
        )
    product = 1
    shape: list[int] = []
    for dimension in value:
        if type(dimension) is not int or dimension < 1:
            raise RequestRefused(
                f"input {name!r}: shape must be a list of positive integers, "
                f"not {_shown(dimension)}"
            )
        product *= dimension
        if product > limits.elements:
            raise RequestRefused(
                f"input {name!r}: shape has more than {limits.elements} elements",
                reason=Refusal.TENSOR_TOO_LARGE,
            )
        shape.append(dimension)
    return shape[0], *shape[1:]


def flatten_data(name: str, value: object, shape: Sequence[int]) -> list[object]:
    """The tensor's values in row-major order, from flat or nested lists of exactly this shape."""
    if isinstance(value, np.ndarray):
        return cast("list[object]", value.tolist())
    if not is_list(value):
        raise RequestRefused(f"input {name!r}: data must be a list")
    total = math.prod(shape)
    level: list[object] = value
    # A flat list of the right length needs no look at nesting unless its first value is a list.
    for depth in range(len(shape) - 1):
        if not level or not is_list(level[0]):
            break
        rows: list[list[object]] = []
        for item in level:
            if not is_list(item):
                raise RequestRefused(f"input {name!r}: data mixes lists and values")
            rows.append(item)
        expected = math.prod(shape[: depth + 1])
        width = shape[depth + 1]
        if len(rows) != expected or set(map(len, rows)) != {width}:
            raise RequestRefused(
                f"input {name!r}: nested data does not have the shape {list(shape)}"
            )
        level = list(chain.from_iterable(rows))
    if len(level) != total:
        raise RequestRefused(
            f"input {name!r}: data has {len(level)} values, shape {list(shape)} needs {total}"
        )
    return level


def read_numbers(
    name: str, data: object, datatype: Datatype, shape: Shape, *, nullable: bool
) -> npt.NDArray[np.float64]:
    """Numbers [product of the shape] as float64, from JSON lists or from an array already made."""
    if isinstance(data, np.ndarray):
        array = cast("npt.NDArray[np.float64]", data)
        return check_numbers(name, array, datatype, shape, nullable=nullable)
    return build_numbers(name, flatten_data(name, data, shape), datatype, nullable=nullable)


def check_numbers(
    name: str, array: npt.NDArray[np.float64], datatype: Datatype, shape: Shape, *, nullable: bool
) -> npt.NDArray[np.float64]:
    """The array, if it has as many values as its shape and all are in the datatype's range.

    NaN is null, as it is in a column of the model.
    """
    bounds = NUMBERS.get(datatype)
    if bounds is None:
        raise RequestRefused(
            f"input {name!r}: datatype {datatype} given, a numeric datatype is needed"
        )
    total = math.prod(shape)
    if array.size != total:
        raise RequestRefused(
            f"input {name!r}: data has {array.size} values, shape {list(shape)} needs {total}"
        )
    if array.min() >= bounds.low and array.max() <= bounds.high:
        return array  # neither holds when a value is NaN
    if not nullable and bool(np.isnan(array).any()):
        raise RequestRefused(
            f"input {name!r}: NaN stands for null, which is not accepted: the feature is required"
        )
    return _checked(name, array, datatype)


def build_numbers(
    name: str, values: list[object], datatype: Datatype, *, nullable: bool
) -> npt.NDArray[np.float64]:
    """A float64 array [len(values)]; null becomes NaN where the feature is nullable."""
    bounds = NUMBERS.get(datatype)
    if bounds is None:
        raise RequestRefused(
            f"input {name!r}: datatype {datatype} given, a numeric datatype is needed"
        )
    if len(values) < _MANY:
        if set(map(type, values)) <= (_INTEGERS if bounds.integer else _NUMBERS):
            # Python's own minimum of a few numbers takes less than numpy's call does.
            numbers = cast("list[float]", values)
            if bounds.low <= min(numbers) and max(numbers) <= bounds.high:
                return np.array(numbers, dtype=np.float64)
        return _convert(name, values, datatype, bounds, nullable=nullable)
    array = _pack(values, bounds)
    if array is None:
        return _convert(name, values, datatype, bounds, nullable=nullable)
    return _checked(name, array, datatype)


def _checked(
    name: str, array: npt.NDArray[np.float64], datatype: Datatype
) -> npt.NDArray[np.float64]:
    """The array, if all its numbers (NaN is none) are in the datatype's range."""
    bounds = NUMBERS[datatype]
    if bool(((array < bounds.low) | (array > bounds.high)).any()):
        raise _out_of_range(name, datatype)
    return array


def _out_of_range(name: str, datatype: Datatype) -> RequestRefused:
    bounds = NUMBERS[datatype]
    return RequestRefused(
        f"input {name!r}: a value is out of range of {datatype}, {bounds.low:g} to {bounds.high:g}"
    )


def _pack(values: list[object], bounds: NumberRange) -> npt.NDArray[np.float64] | None:
    """Many values at C speed; None when one of them is not a plain number, or might not be."""
    numbers = cast("list[float]", values)  # what is something else is refused by `packed`
    try:
        packed = packed_array("q" if bounds.integer else "d", numbers)
    except (TypeError, OverflowError):
        return None
    array = np.frombuffer(packed, dtype=np.int64 if bounds.integer else np.float64)
    # true and false pass for 1 and 0: where there are such values, look at their types.
    if bool(((array == 0) | (array == 1)).any()) and bool in set(map(type, values)):
        return None
    return array.astype(np.float64, copy=False)


def _convert(
    name: str, values: list[object], datatype: Datatype, bounds: NumberRange, *, nullable: bool
) -> npt.NDArray[np.float64]:
    """Any values, one by one; names the first that is wrong."""
    kinds = set(map(type, values))
    if _NONE in kinds:
        if not nullable:
            raise RequestRefused(f"input {name!r}: null is not accepted, the feature is required")
        values = [math.nan if value is None else value for value in values]
        kinds.discard(_NONE)
    wanted = _INTEGERS if bounds.integer else _NUMBERS
    if not kinds <= wanted:
        raise RequestRefused(_describe_kinds(name, values, datatype, integer=bounds.integer))
    # In Python's numbers: the ends of the 64-bit datatypes are no doubles, nor is 10^400.
    known = [value for value in values if value == value]
    if known:
        numbers = cast("list[float]", known)
        if not (bounds.low <= min(numbers) and max(numbers) <= bounds.high):
            raise _out_of_range(name, datatype)
    return np.array(values, dtype=np.float64)


def build_texts(
    name: str, values: list[object], datatype: Datatype, *, nullable: bool, limits: TensorLimits
) -> npt.NDArray[np.object_]:
    """An object array of str, None for null where the feature is nullable."""
    if datatype is not Datatype.BYTES:
        raise RequestRefused(f"input {name!r}: datatype {datatype} given, BYTES (text) is needed")
    kinds = set(map(type, values))
    if _NONE in kinds and not nullable:
        raise RequestRefused(f"input {name!r}: null is not accepted, the feature is required")
    if not kinds <= {str, _NONE}:
        raise RequestRefused(f"input {name!r}: every value of a BYTES tensor must be a string")
    if any(isinstance(value, str) and len(value) > limits.text_bytes for value in values):
        raise RequestRefused(
            f"input {name!r}: a string is longer than {limits.text_bytes} characters",
            reason=Refusal.TEXT_TOO_LONG,
        )
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array


def build_booleans(
    name: str, values: list[object], datatype: Datatype, *, nullable: bool
) -> Column:
    """A bool array, or an object array of bool and None where the feature is nullable."""
    if datatype is not Datatype.BOOL:
        raise RequestRefused(f"input {name!r}: datatype {datatype} given, BOOL is needed")
    kinds = set(map(type, values))
    if _NONE in kinds and not nullable:
        raise RequestRefused(f"input {name!r}: null is not accepted, the feature is required")
    if not kinds <= {bool, _NONE}:
        raise RequestRefused(f"input {name!r}: every value of a BOOL tensor must be true or false")
    return np.array(values, dtype=np.object_ if _NONE in kinds else np.bool_)


def _describe_kinds(name: str, values: list[object], datatype: Datatype, *, integer: bool) -> str:
    wanted = _INTEGERS if integer else _NUMBERS
    at = next(
        index
        for index, value in enumerate(values)
        if type(value) not in wanted and not (isinstance(value, float) and math.isnan(value))
    )
    need = "an integer" if integer else "a number"
    return f"input {name!r}: value {at} is {_shown(values[at])}, {datatype} needs {need}"


def _shown(value: object) -> str:
    """A value as a message may show it: short, and never a whole body."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
