"""Columns as the buffers of Arrow's memory layout: validity bits, offsets, data. Pure numpy.

Arrow's own converters give the interpreter's lock up for each column. Under load, when the event
loop always wants it, each return costs a turn of waiting: thirty features made a flush take a
second. They also import pandas. Here, a batch's numbers are one copy of one matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mooring_serving.protocol.messages import Column

Bytes = bytes | npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Buffers:
    """One column of `rows` values; the order of `parts` is Arrow's.

    Attributes:
        rows: Values.
        nulls: How many of them are missing.
        parts: Validity bits (None when nothing is missing), then offsets of texts, then data.
    """

    rows: int
    nulls: int
    parts: tuple[Bytes | None, ...]


def number_columns(block: npt.NDArray[np.float64]) -> list[Buffers]:
    """Each row of `block` [columns, rows] as a column; NaN is how a missing number is held."""
    missing = np.isnan(block)
    nulls = missing.sum(axis=1).tolist() if missing.any() else [0] * len(block)
    valid = np.packbits(~missing, axis=1, bitorder="little") if any(nulls) else None
    rows = block.shape[1]
    return [
        Buffers(rows, count, (None if valid is None or not count else valid[at], block[at]))
        for at, count in enumerate(nulls)
    ]


def plain_column(values: Column) -> Buffers:
    """Integers, none missing."""
    return Buffers(len(values), 0, (None, values))


def flag_column(values: Sequence[object]) -> Buffers:
    """true, false or None.

    Raises:
        ValueError: A value is something else.
    """
    strange = next((v for v in values if v is not None and not isinstance(v, bool)), None)
    if strange is not None:
        raise ValueError(f"{strange!r:.60} is neither true nor false")
    bits = np.packbits([bool(value) for value in values], bitorder="little")
    valid, nulls = _validity(values)
    return Buffers(len(values), nulls, (valid, bits))


def text_column(values: Sequence[object]) -> Buffers:
    """UTF-8 texts or None.

    Raises:
        ValueError: A text cannot be encoded.
        TypeError: A value is no text.
    """
    encoded = [_encoded(value) for value in values]
    valid, nulls = _validity(values)
    return Buffers(len(values), nulls, (valid, _offsets(encoded), b"".join(encoded)))


def repeated_column(texts: Sequence[str], sizes: Sequence[int]) -> Buffers:
    """Each text as often as its size says."""
    encoded = [text.encode() for text in texts]
    lengths = np.repeat(np.array([len(text) for text in encoded], np.int32), sizes)
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = b"".join([text * size for text, size in zip(encoded, sizes, strict=True)])
    return Buffers(len(lengths), 0, (None, offsets, data))


def missing_texts(rows: int) -> Buffers:
    """A text column of which every value is missing."""
    return Buffers(rows, rows, (bytes(rows // 8 + 1), bytes(4 * rows + 4), b""))


def _encoded(text: object) -> bytes:
    match text:
        case None:
            return b""
        case str():
            return text.encode()
        case _:
            raise TypeError(f"a {type(text).__name__} is no text")


def _offsets(encoded: Sequence[bytes]) -> npt.NDArray[np.int32]:
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return offsets


def _validity(values: Sequence[object]) -> tuple[npt.NDArray[np.uint8] | None, int]:
    present = [value is not None for value in values]
    nulls = len(present) - sum(present)
    return (np.packbits(present, bitorder="little") if nulls else None), nulls
