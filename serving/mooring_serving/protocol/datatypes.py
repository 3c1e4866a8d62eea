"""The protocol's datatypes: which JSON values each takes, and their ranges."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Datatype(StrEnum):
    """Datatypes of the Open Inference Protocol that this server speaks over JSON."""

    BOOL = "BOOL"
    """true or false."""
    UINT8 = "UINT8"
    """0 to 255."""
    UINT16 = "UINT16"
    """0 to 65,535."""
    UINT32 = "UINT32"
    """0 to 2^32 - 1."""
    UINT64 = "UINT64"
    """0 to 2^64 - 1."""
    INT8 = "INT8"
    """-128 to 127."""
    INT16 = "INT16"
    """-32,768 to 32,767."""
    INT32 = "INT32"
    """-2^31 to 2^31 - 1."""
    INT64 = "INT64"
    """-2^63 to 2^63 - 1."""
    FP16 = "FP16"
    """Up to 65,504 in size."""
    BF16 = "BF16"
    """The upper half of a single-precision number; as bytes it is read exactly."""
    FP32 = "FP32"
    """Up to 3.4e38 in size."""
    FP64 = "FP64"
    """A double, up to 3.4e38 in size: models compute in single precision."""
    BYTES = "BYTES"
    """Text."""


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Closed range of a numeric datatype, and whether only integers belong to it."""

    low: float
    high: float
    integer: bool


def _integers(kind: type[np.integer]) -> NumberRange:
    info = np.iinfo(kind)
    return NumberRange(int(info.min), int(info.max), integer=True)


def _floats(kind: type[np.floating]) -> NumberRange:
    info = np.finfo(kind)
    return NumberRange(float(info.min), float(info.max), integer=False)


NUMBERS = {
    Datatype.UINT8: _integers(np.uint8),
    Datatype.UINT16: _integers(np.uint16),
    Datatype.UINT32: _integers(np.uint32),
    Datatype.UINT64: _integers(np.uint64),
    Datatype.INT8: _integers(np.int8),
    Datatype.INT16: _integers(np.int16),
    Datatype.INT32: _integers(np.int32),
    Datatype.INT64: _integers(np.int64),
    Datatype.FP16: _floats(np.float16),
    # The largest number whose upper half is a bfloat16: 2^127 * (2 - 2^-7).
    Datatype.BF16: NumberRange(-3.3895313892515355e38, 3.3895313892515355e38, integer=False),
    Datatype.FP32: _floats(np.float32),
    # A larger number would be infinite to the model, which is no fault of the model.
    Datatype.FP64: _floats(np.float32),
}

DATATYPES = {member.value: member for member in Datatype}

FLOATS = frozenset({Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64})

NUMPY_TYPES: dict[Datatype, np.dtype[np.generic]] = {
    Datatype.BOOL: np.dtype("u1"),
    Datatype.UINT8: np.dtype("u1"),
    Datatype.UINT16: np.dtype("<u2"),
    Datatype.UINT32: np.dtype("<u4"),
    Datatype.UINT64: np.dtype("<u8"),
    Datatype.INT8: np.dtype("i1"),
    Datatype.INT16: np.dtype("<i2"),
    Datatype.INT32: np.dtype("<i4"),
    Datatype.INT64: np.dtype("<i8"),
    Datatype.FP16: np.dtype("<f2"),
    Datatype.BF16: np.dtype("<u2"),
    Datatype.FP32: np.dtype("<f4"),
    Datatype.FP64: np.dtype("<f8"),
}
"""How a datatype lies in bytes; a BF16 is the upper half of an FP32."""
