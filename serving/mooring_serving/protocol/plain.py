"""The common request quickly: one tensor a feature, every one a plain list of floats.

What is anything else, or wrong, is left to the ordinary decoder, which has the words for it.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from mooring_serving.protocol.datatypes import FLOATS, NUMBERS, Datatype
from mooring_serving.protocol.signature import Signature
from mooring_serving.protocol.tensors import is_list

_PLAIN: Final = frozenset({int, float})
_LIMIT: Final = NUMBERS[Datatype.FP16].high
"""Within this a value is in range of every floating-point datatype."""


def read_plain_columns(
    tensors: Mapping[str, Mapping[str, object]], signature: Signature
) -> npt.NDArray[np.float64] | None:
    """The features as one matrix [rows, features], or None when it needs a closer look.

    Args:
        tensors: One for each feature, by name.
        signature: Of the model.
    """
    if not signature.plain:
        return None
    first = tensors[signature.features[0].name].get("shape")
    if not is_list(first) or not 1 <= len(first) <= 2:
        return None
    rows = first[0]
    if type(rows) is not int or rows < 1 or first[1:] not in ([], [1]):
        return None
    values: list[object] = []
    for feature in signature.features:
        tensor = tensors[feature.name]
        data, datatype = tensor.get("data"), tensor.get("datatype")
        if (
            tensor.get("shape") != first
            or not isinstance(datatype, str)
            or datatype not in FLOATS
            or not is_list(data)
            or len(data) != rows
        ):
            return None
        values += data
    if not set(map(type, values)) <= _PLAIN:
        return None
    try:
        matrix = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    if not (matrix.max() <= _LIMIT and matrix.min() >= -_LIMIT):
        return None
    return np.ascontiguousarray(matrix.reshape(len(signature.features), rows).T)
