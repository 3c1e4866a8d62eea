"""A request that differs from an earlier one in its numbers alone is read around them.

A client says the same again and again: names, shapes, datatypes, options. What stands around the
numbers of one matrix is remembered with what the ordinary decoder made of it; when it comes again
byte by byte, only the numbers are read. What is not certain, or wrong, is left to the ordinary
decoder, which also has the words for it.
"""

import math
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import orjson

from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.binary import decode_binary_request
from mooring_serving.protocol.codec import decode_request
from mooring_serving.protocol.datatypes import NUMBERS, NUMPY_TYPES, Datatype
from mooring_serving.protocol.large import LARGE_BODY, read_number_lists
from mooring_serving.protocol.messages import InferenceRequest, MatrixColumns, Scalar
from mooring_serving.protocol.signature import MATRIX_NAME, Signature
from mooring_serving.protocol.tensors import is_list, is_object

_KEY: Final = b'"data"'
_DATA: Final = re.compile(rb'"data"([ \t\r\n]*:[ \t\r\n]*)(\[[-+0-9.eE,\[\] \t\r\n]*\])')
_OF_NUMBERS: Final = b"0123456789-+.eE,[] \t\r\n"
_REMEMBERED: Final = 64
"""Surroundings that are remembered; remembering one more forgets them all."""
_PATIENCE: Final = 64
"""Requests in a row that are looked at for what repeats, until one does."""

_FEW: Final = 128
"""For so few numbers Python's own arithmetic is quicker than a call of numpy."""
_REACH: Final = {
    datatype: NUMBERS[datatype].high * (1 - 1e-9)
    for datatype in (Datatype.FP16, Datatype.FP32, Datatype.FP64)
}
"""While the root of the sum of squares stays below this, no number is out of the datatype's range,
whose ends are each other's negative; the last digits are left to rounding."""

_Numbers: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MatrixFrame:
    """What a request with one matrix says beside its numbers.

    Attributes:
        id: As in the request.
        outputs: As in the request.
        parameters: As in the request.
        binary: As in the request.
        datatype: Of the matrix, a floating-point one.
        shape: Rows and features.
        positions: The place of each feature in the matrix.
    """

    id: str | None
    outputs: tuple[str, ...] | None
    parameters: Mapping[str, Scalar]
    binary: Collection[str]
    datatype: Datatype
    shape: tuple[int, int]
    positions: Mapping[str, int]

    @classmethod
    def of(
        cls, request: InferenceRequest, datatype: object, signature: Signature
    ) -> "MatrixFrame | None":
        """The frame of a decoded request; None where its numbers need a closer look each time."""
        if not isinstance(request.columns, MatrixColumns) or not isinstance(datatype, str):
            return None
        if datatype not in _REACH:
            return None
        return cls(
            id=request.id,
            outputs=request.outputs,
            parameters=request.parameters,
            binary=request.binary,
            datatype=Datatype(datatype),
            shape=(request.rows, len(signature.features)),
            positions=signature.positions,
        )

    @property
    def size(self) -> int:
        """Numbers of the matrix."""
        return self.shape[0] * self.shape[1]

    def fill(self, values: _Numbers) -> InferenceRequest:
        """The request with these numbers, as many as its shape says and all in range."""
        return InferenceRequest(
            self.id,
            MatrixColumns(values.reshape(self.shape), self.positions),
            self.shape[0],
            self.outputs,
            self.parameters,
            self.binary,
        )

    def fill_raw(self, data: bytes, offset: int) -> InferenceRequest | None:
        """The request with numbers from bytes, None when they need a closer look."""
        kind = NUMPY_TYPES[self.datatype]
        if len(data) - offset != self.size * kind.itemsize:
            return None
        if self.datatype is Datatype.FP64:
            values = np.frombuffer(data, np.float64, offset=offset)
        else:
            # A signalling NaN in the client's bytes is a NaN as any other, and no warning.
            with np.errstate(invalid="ignore"):
                values = np.frombuffer(data, kind, offset=offset).astype(np.float64)
        return self.fill(values) if _in_range(values, self.datatype) else None


def _in_range(values: _Numbers, datatype: Datatype) -> bool:
    """Whether all are finite and in the datatype's range, for certain."""
    if values.size <= _FEW:
        return math.hypot(*values.tolist()) < _REACH[datatype]  # NaN is not below anything
    high = NUMBERS[datatype].high
    return bool(-high <= values.min() and values.max() <= high)


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What stands around the numbers of a JSON body, from the key on."""

    between: bytes
    after: bytes
    frame: MatrixFrame
    pack: struct.Struct


class Memory:
    """Bounds what is spent on remembering where nothing repeats."""

    def __init__(self) -> None:
        self._patience = _PATIENCE

    @property
    def learns(self) -> bool:
        """Whether another request is worth a look; each look is counted."""
        if self._patience > 0:
            self._patience -= 1
            return True
        return False

    def repeated(self) -> None:
        """Something came again."""
        self._patience = _PATIENCE


class BodyReader:
    """Decodes the bodies of inference requests; owned by the event loop.

    Args:
        signature: Of the model.
        limits: Limits of bodies.
    """

    def __init__(self, signature: Signature, limits: TensorLimits) -> None:
        self._signature = signature
        self._limits = limits
        self._memory = Memory()
        self._known: dict[bytes, _Surroundings] = {}
        self._heads: dict[bytes, MatrixFrame] = {}

    def read(self, body: bytes) -> InferenceRequest:
        """Decode a JSON body.

        Raises:
            RequestRefused: As `decode_request`.
        """
        at = body.find(_KEY) + len(_KEY)
        known = self._known.get(body[:at])
        if known is not None:
            request = _read_around(body, at, known)
            if request is not None:
                self._memory.repeated()
                return request
        request = decode_request(body, self._signature, self._limits)
        if isinstance(request.columns, MatrixColumns) and self._memory.learns:
            found = _look_around(body, request, self._signature)
            if found is not None:
                _remember(self._known, body[:at], found)
        return request

    def read_binary(self, body: bytes, header: bytes) -> InferenceRequest:
        """Decode a body with tensors as bytes.

        Raises:
            RequestRefused: As `decode_binary_request`.
        """
        length = int(header) if header.isdigit() and len(header) <= 9 else 0
        head = body[:length]
        frame = self._heads.get(head)
        if frame is not None:
            request = frame.fill_raw(body, length)
            if request is not None:
                self._memory.repeated()
                return request
        request = decode_binary_request(body, header, self._signature, self._limits)
        if isinstance(request.columns, MatrixColumns) and self._memory.learns:
            frame = _frame_of_head(head, len(body) - length, request, self._signature)
            if frame is not None:
                _remember(self._heads, head, frame)
        return request


def _remember(known: dict[bytes, Any], key: bytes, value: object) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value


def _look_around(
    body: bytes, request: InferenceRequest, signature: Signature
) -> _Surroundings | None:
    """What stands around the numbers of a body that was decoded; None when that is not certain."""
    found = _DATA.search(body)
    if found is None:
        return None
    before, after = body[: found.start(2)], body[found.end(2) :]
    if b"\\" in before or b"\\" in after:
        return None  # without one, every quotation mark begins or ends a text: this is the key
    inputs = orjson.loads(b"%b[]%b" % (before, after))["inputs"]
    # Without its numbers the matrix is empty: so these were its numbers, and all of them.
    if len(inputs) != 1 or inputs[0]["name"] != MATRIX_NAME or inputs[0]["data"] != []:
        return None
    frame = MatrixFrame.of(request, inputs[0]["datatype"], signature)
    if frame is None:
        return None
    return _Surroundings(found[1], after, frame, struct.Struct(f"{frame.size}d"))


def _read_around(body: bytes, at: int, known: _Surroundings) -> InferenceRequest | None:
    """The request whose surroundings are known; None when they are others, or its data is odd.

    Args:
        body: The body.
        at: Where its key of the data ends; what stands before is known.
        known: What should follow.
    """
    start, end = at + len(known.between), len(body) - len(known.after)
    if start >= end or not body.startswith(known.between, at) or not body.endswith(known.after):
        return None
    text, frame = body[start:end], known.frame
    if len(text) < LARGE_BODY:
        values = _read_few(text, known)
    else:
        values = read_number_lists(text, frame.shape)
        if values is not None and not _in_range(values, frame.datatype):
            return None
    return None if values is None else frame.fill(values)


def _read_few(text: bytes, known: _Surroundings) -> _Numbers | None:
    """Numbers in range, in flat or nested lists of exactly the frame's shape; None for else."""
    if text.translate(None, _OF_NUMBERS):
        return None  # true would pass for 1
    rows, width = known.frame.shape
    try:
        values: list[Any] = orjson.loads(text)
        if isinstance(values[0], list):
            lists = cast("list[list[Any]]", values)
            if len(lists) != rows or set(map(len, lists)) != {width}:
                return None
            values = lists[0] if rows == 1 else list(chain.from_iterable(lists))
        if not math.hypot(*values) < _REACH[known.frame.datatype]:
            return None
        return np.frombuffer(known.pack.pack(*values))
    except (ValueError, TypeError, IndexError, OverflowError, struct.error):
        return None


def _frame_of_head(
    head: bytes, size: int, request: InferenceRequest, signature: Signature
) -> MatrixFrame | None:
    """The frame of a binary request whose bytes are one matrix and nothing else."""
    document: object = orjson.loads(head) if head else None
    inputs = document.get("inputs") if is_object(document) else None
    if not is_list(inputs) or len(inputs) != 1 or not is_object(inputs[0]):
        return None
    tensor = inputs[0]
    parameters = cast("dict[str, object]", tensor.get("parameters") or {})
    if tensor["name"] != MATRIX_NAME or parameters.get("binary_data_size") != size or not size:
        return None
    return MatrixFrame.of(request, tensor["datatype"], signature)
