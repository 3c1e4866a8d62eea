"""What goes between the server and the model's process: length-prefixed frames, never pickle.

A frame is two little-endian uint32 (bytes of the head, bytes of the body), a JSON head, and a body
of raw arrays, each padded to 8 bytes. Columns are float64, bool, or texts (int32 lengths, -1 for
missing, then UTF-8). Answers are float64. Both ends import this module; the server believes
nothing that the other end says: sizes are checked before anything is allocated.
"""

import json
import math
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
PREFIX = struct.Struct("<II")
MAX_HEAD_BYTES = 4 << 20
"""4,096 features of long names."""
MAX_BODY_BYTES = 1 << 30
MAX_OUTPUTS = 16
_FLOAT, _FLAG, _TEXT = "f", "b", "s"


class WireError(ValueError):
    """The other end does not speak as this module says."""


class Closed(Exception):
    """The other end is gone."""


def send(connection: socket.socket, head: object, parts: Sequence[bytes] = ()) -> None:
    """Sends one frame.

    Raises:
        WireError: it is larger than a frame may be.
        OSError: the connection fails; TimeoutError: it takes too long.
    """
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays behind it are aligned
    size = sum(map(len, parts))
    if len(text) > MAX_HEAD_BYTES or size > MAX_BODY_BYTES:
        raise WireError(f"a frame of {len(text)} + {size} bytes is too large; send fewer rows")
    connection.sendall(b"".join((PREFIX.pack(len(text), size), text, *parts)))


def receive(connection: socket.socket, *, body_limit: int) -> tuple[dict[str, Any], memoryview]:
    """Receives one frame: its head and its writable body.

    Raises:
        Closed: the other end is gone.
        WireError: this is no frame, or its body exceeds the limit.
        OSError: the connection fails; TimeoutError: it takes too long.
    """
    head_size, body_size = PREFIX.unpack(_exactly(connection, PREFIX.size))
    if head_size > MAX_HEAD_BYTES or body_size > body_limit:
        raise WireError(f"a frame of {head_size} + {body_size} bytes exceeds the limit")
    data = memoryview(_exactly(connection, head_size + body_size))
    try:
        head: object = json.loads(bytes(data[:head_size]))
    except (ValueError, RecursionError) as error:
        raise WireError("a frame's head is no JSON") from error
    if not isinstance(head, dict):
        raise WireError("a frame's head is no JSON object")
    return cast("dict[str, Any]", head), data[head_size:]


def _exactly(connection: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view, read = memoryview(data), 0
    while read < size:
        count = connection.recv_into(view[read:])
        if not count:
            raise Closed
        read += count
    return data


def encode_columns(columns: Mapping[str, Array]) -> tuple[list[list[Any]], list[bytes]]:
    """Columns of equal length as head entries [name, kind, bytes] and body parts."""
    entries: list[list[Any]] = []
    parts: list[bytes] = []
    for name, values in columns.items():
        if values.dtype.kind == "O":
            kind, data = _TEXT, _texts(values)
        elif values.dtype.kind == "b":
            kind, data = _FLAG, values.tobytes()
        else:
            kind, data = _FLOAT, values.astype(np.float64, copy=False).tobytes()
        entries.append([name, kind, len(data)])
        parts.append(_padded(data))
    return entries, parts


def decode_columns(entries: Sequence[Sequence[Any]], rows: int, body: memoryview) -> dict[str, Any]:
    """What `encode_columns` was given. Only the model's process calls this."""
    columns: dict[str, Any] = {}
    start = 0
    for name, kind, size in entries:
        data = body[start : start + size]
        start += size + -size % 8
        if kind == _TEXT:
            columns[name] = _from_texts(data, rows)
        else:
            columns[name] = np.frombuffer(data, np.float64 if kind == _FLOAT else np.bool_)
    return columns


def encode_answers(answers: Mapping[str, FloatArray]) -> tuple[list[list[Any]], list[bytes]]:
    """Float64 arrays as head entries [name, shape] and body parts."""
    entries = [[name, list(values.shape)] for name, values in answers.items()]
    return entries, [values.tobytes() for values in answers.values()]


def decode_answers(entries: object, body: memoryview) -> dict[str, FloatArray]:
    """The answers of a process that is not believed.

    Raises:
        WireError: shapes and bytes do not fit, or there are too many outputs.
    """
    if not isinstance(entries, list) or len(cast("list[object]", entries)) > MAX_OUTPUTS:
        raise WireError("answers are no list, or too many")
    answers: dict[str, FloatArray] = {}
    start = 0
    for entry in cast("list[object]", entries):
        name, shape = _answer_entry(entry)
        end = start + 8 * math.prod(shape)
        if end > len(body) or name in answers:
            raise WireError("answers are shorter than their shapes, or named twice")
        answers[name] = np.frombuffer(body[start:end], np.float64).reshape(shape)
        start = end
    if start != len(body):
        raise WireError("answers are longer than their shapes")
    return answers


def _answer_entry(entry: object) -> tuple[str, tuple[int, ...]]:
    items = cast("list[object]", entry) if isinstance(entry, list) else []
    if len(items) == 2 and isinstance(items[0], str) and isinstance(items[1], list):
        extents = cast("list[object]", items[1])
        sizes = tuple(size for size in extents if type(size) is int and 0 <= size < 1 << 32)
        if len(sizes) == len(extents) <= 2:
            return items[0], sizes
    raise WireError("an answer has no name and shape")


def _texts(values: Array) -> bytes:
    texts = [None if value is None else str(value).encode() for value in values.ravel().tolist()]
    lengths = np.array([-1 if text is None else len(text) for text in texts], np.int32)
    return lengths.tobytes() + b"".join(text for text in texts if text is not None)


def _from_texts(data: memoryview, rows: int) -> Array:
    lengths = np.frombuffer(data[: 4 * rows], np.int32).tolist()
    values = np.empty(rows, dtype=object)
    start = 4 * rows
    for row, length in enumerate(lengths):
        if length >= 0:
            values[row] = str(data[start : start + length], "utf-8")
            start += length
    return values


def _padded(data: bytes) -> bytes:
    return data if len(data) % 8 == 0 else data + bytes(-len(data) % 8)
