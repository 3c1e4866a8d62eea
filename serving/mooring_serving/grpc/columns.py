"""The common request quickly: one raw tensor a feature, every one of the same numbers.

What is anything else, or wrong, is left to the ordinary decoder, which has the words for it.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from mooring_serving.grpc.proto import open_inference_pb2 as pb
from mooring_serving.protocol.datatypes import NUMBERS, Datatype
from mooring_serving.protocol.signature import Signature

_KINDS: Final = {
    "FP64": np.dtype("<f8"),
    "FP32": np.dtype("<f4"),
    "INT64": np.dtype("<i8"),
    "INT32": np.dtype("<i4"),
}
_LIMIT: Final = NUMBERS[Datatype.FP16].high
"""Within this a value is in range of every one of these."""


def read_raw_columns(
    document: pb.ModelInferRequest, signature: Signature
) -> npt.NDArray[np.float64] | None:
    """The features as one matrix [rows, features], or None when it needs a closer look."""
    inputs, raw = document.inputs, document.raw_input_contents
    width = len(signature.features)
    if not (signature.plain and signature.accepts_matrix and len(inputs) == len(raw) == width):
        return None
    datatype, shape = inputs[0].datatype, inputs[0].shape
    kind = _KINDS.get(datatype)
    rows = shape[0] if shape else 0
    if kind is None or not 0 < rows <= signature.max_rows or shape[1:] not in ([], [1]):
        return None
    names: list[str] = []
    for tensor in inputs:
        if (
            tensor.datatype != datatype
            or tensor.shape != shape
            or tensor.parameters
            or tensor.HasField("contents")
        ):
            return None
        names.append(tensor.name)
    if set(map(len, raw)) != {rows * kind.itemsize}:
        return None
    positions = signature.positions
    if names != list(positions):  # another order, or other names
        if len(set(names)) != width or not positions.keys() >= set(names):
            return None
        given = {name: at for at, name in enumerate(names)}
        columns = [raw[given[name]] for name in positions]
    else:
        columns = list(raw)
    values = np.frombuffer(b"".join(columns), dtype=kind).reshape(width, rows)
    if not (values.max() <= _LIMIT and values.min() >= -_LIMIT):
        return None
    return np.ascontiguousarray(values.T, dtype=np.float64)
