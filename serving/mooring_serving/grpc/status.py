"""How a call ends: gRPC's status codes, and which of them an HTTP status means. Pure."""

import base64
from enum import IntEnum

from mooring_serving.grpc.fields import field, varint


class Status(IntEnum):
    """gRPC's status codes, those that this server answers with."""

    OK = 0
    """Answered."""
    INVALID_ARGUMENT = 3
    """The client must change the request."""
    DEADLINE_EXCEEDED = 4
    """The client's deadline passed first."""
    NOT_FOUND = 5
    """Another model or version."""
    RESOURCE_EXHAUSTED = 8
    """The message is too large, or there are too many of something."""
    UNIMPLEMENTED = 12
    """No such method, or a compression that is not read."""
    INTERNAL = 13
    """The model failed, or this server did."""
    UNAVAILABLE = 14
    """Not ready, or too much work in hand: try again."""


_FROM_HTTP = {
    404: Status.NOT_FOUND,
    408: Status.DEADLINE_EXCEEDED,
    413: Status.RESOURCE_EXHAUSTED,
    429: Status.RESOURCE_EXHAUSTED,
    500: Status.INTERNAL,
    501: Status.UNIMPLEMENTED,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}


def from_http(status: int) -> Status:
    """The code for an HTTP status; another 4xx is INVALID_ARGUMENT."""
    return _FROM_HTTP.get(status, Status.INVALID_ARGUMENT)


def encode_message(message: str) -> bytes:
    """A `grpc-message`: percent-encoded UTF-8, at most about 1 KiB."""
    encoded = bytearray()
    for byte in message[:1024].encode("utf-8", "replace"):
        if 0x20 <= byte <= 0x7E and byte != 0x25:
            encoded.append(byte)
        else:
            encoded += b"%%%02X" % byte
    return bytes(encoded[:3072])


def encode_retry_details(status: Status, message: str, seconds: float) -> bytes:
    """A `grpc-status-details-bin`: google.rpc.Status with one google.rpc.RetryInfo.

    Written out by hand, since it is four fields and their package another dependency:
    Status {code=1, message=2, details=3 Any}, Any {type_url=1, value=2},
    RetryInfo {retry_delay=1 Duration}, Duration {seconds=1, nanos=2}.
    """
    whole = int(seconds)
    nanos = int((seconds - whole) * 1e9)
    duration = (b"\x08" + varint(whole) if whole else b"") + (
        b"\x10" + varint(nanos) if nanos else b""
    )
    retry = field(1, duration)
    detail = field(1, b"type.googleapis.com/google.rpc.RetryInfo") + field(2, retry)
    document = b"\x08" + varint(status) + field(2, message[:256].encode()) + field(3, detail)
    return base64.b64encode(document).rstrip(b"=")
