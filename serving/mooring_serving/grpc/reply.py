"""ModelInfer responses with raw tensors, written field by field.

One is made for each call, mostly of what the one before said too; building a message of protocol
buffers and serializing it takes three times as long.
"""

import functools
from collections.abc import Sequence

from mooring_serving.conversation import Reply
from mooring_serving.grpc.fields import field, varint
from mooring_serving.protocol.binary import encode_raw
from mooring_serving.protocol.encode import shape_of
from mooring_serving.protocol.signature import Output

_PREDICTION_ID = b"\x0a\x0dprediction_id"
"""The key of an entry of the parameters."""


def encode_raw_reply(reply: Reply, outputs: Sequence[Output], *, model: str) -> bytes:
    """A `ModelInferResponse`, its fields in the order of their numbers.

    Args:
        reply: The answer.
        outputs: Those that are sent.
        model: The model's name.
    """
    request = reply.request
    parts = [_start(model, reply.version)]
    if request.id:
        parts.append(field(3, request.id.encode()))
    value = field(2, field(3, reply.prediction_id.encode()))
    parts.append(field(4, _PREDICTION_ID + value))
    for output in outputs:
        shape = shape_of(output, request.rows)
        parts.append(_tensor(output.name, output.datatype.value, tuple(shape)))
    for output in outputs:
        parts.append(field(6, encode_raw(reply.values[output.name].ravel(), output.datatype)))
    return b"".join(parts)


@functools.lru_cache(maxsize=64)
def _start(model: str, version: str) -> bytes:
    """The name and version; an empty text is not written."""
    names = ((1, model), (2, version))
    return b"".join([field(number, text.encode()) for number, text in names if text])


@functools.lru_cache(maxsize=1024)
def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    """One of the outputs: what it is called and how large it is."""
    lengths = b"".join(map(varint, shape))
    body = field(1, name.encode()) + field(2, datatype.encode()) + field(3, lengths)
    return field(5, body)
