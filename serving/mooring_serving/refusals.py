"""Why requests are refused: a closed vocabulary, the label `reason` of the metrics."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Refusal(StrEnum):
    """Why a request was answered with a 4xx, 503 or 504, or its connection was ended."""

    INVALID_REQUEST = "InvalidRequest"
    """400: the body is not a request of this model."""
    MALFORMED_HTTP = "MalformedHttp"
    """400: the bytes are not an HTTP/1.1 request."""
    MALFORMED_BODY = "MalformedBody"
    """400: the body is not JSON, or not what its content-encoding or its lengths say."""
    TENSOR_TOO_LARGE = "TensorTooLarge"
    """400: more tensors, outputs, dimensions, elements or rows than accepted."""
    TEXT_TOO_LONG = "TextTooLong"
    """400: a text value is longer than accepted."""
    TOO_DEEP = "TooDeep"
    """400: the body nests too deeply."""
    NOT_FOUND = "NotFound"
    """404: no such path, model or version. Between pods 421: not this revision, or not any more."""
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    """405: the path is served, by other methods; `allow` lists them."""
    TOO_SLOW = "TooSlow"
    """408: the request did not arrive in time."""
    NOT_READ = "NotRead"
    """The client does not read its answer; the connection is dropped."""
    BODY_TOO_LARGE = "BodyTooLarge"
    """413: the body exceeds its limit, as sent or decompressed."""
    UNSUPPORTED_MEDIA = "UnsupportedMedia"
    """415: a content-type or content-encoding that is not read."""
    RATE_LIMITED = "RateLimited"
    """429: too many labels at once."""
    HEADERS_TOO_LARGE = "HeadersTooLarge"
    """431: too many header bytes or headers."""
    INTERNAL = "Internal"
    """500: a defect of ours; the server's log has the cause."""
    OVERLOADED = "Overloaded"
    """503: too much work in hand."""
    TOO_MANY_CONNECTIONS = "TooManyConnections"
    """503: too many open connections."""
    MEMORY = "Memory"
    """503: large bodies hold too much memory."""
    NOT_READY = "NotReady"
    """503: the model is loading or the server stops."""
    DEADLINE = "Deadline"
    """504: the answer would have come too late."""


_BY_STATUS: Mapping[int, Refusal] = MappingProxyType(
    {
        400: Refusal.INVALID_REQUEST,
        404: Refusal.NOT_FOUND,
        405: Refusal.METHOD_NOT_ALLOWED,
        408: Refusal.TOO_SLOW,
        413: Refusal.BODY_TOO_LARGE,
        415: Refusal.UNSUPPORTED_MEDIA,
        421: Refusal.NOT_FOUND,
        429: Refusal.RATE_LIMITED,
        431: Refusal.HEADERS_TOO_LARGE,
        500: Refusal.INTERNAL,
        501: Refusal.UNSUPPORTED_MEDIA,
        503: Refusal.OVERLOADED,
        504: Refusal.DEADLINE,
    }
)


def reason_of(status: int) -> Refusal:
    """The usual reason of a status, where nothing more exact is known."""
    return _BY_STATUS.get(status, Refusal.INVALID_REQUEST)
