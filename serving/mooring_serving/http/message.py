"""HTTP messages as plain values, and how an answer becomes bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

import orjson

JSON = "application/json"

_REASONS: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus}
_EMPTY: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(slots=True)
class HttpRequest:
    """One complete request. Not frozen: one is made for each request, and freezing costs 1 µs.

    Attributes:
        method: Upper case, e.g. `POST`.
        path: Path without the query, percent-encoding untouched.
        headers: Lower-case names; of a repeated header the last value.
        body: The whole body, already bounded by the listener's limit.
        received_at: Loop time (monotonic seconds) at which the last byte was read.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes
    received_at: float


@dataclass(slots=True)
class HttpResponse:
    """One answer; `Content-Length`, `Connection` and `Date` are the listener's."""

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = JSON
    close: bool = False


def json_response(
    status: int,
    document: object,
    *,
    headers: Sequence[tuple[str, str]] = (),
) -> HttpResponse:
    """An answer whose body is the document as JSON."""
    return HttpResponse(status, orjson.dumps(document), headers)


def error_response(
    status: int,
    message: str,
    *,
    retry_after: int | None = None,
    close: bool = False,
) -> HttpResponse:
    """The protocol's error answer: `{"error": message}`; `retry_after` in seconds."""
    headers = [("retry-after", str(retry_after))] if retry_after is not None else []
    return HttpResponse(status, orjson.dumps({"error": message}), headers, close=close)


def render_response(response: HttpResponse, *, connection: bytes, date: bytes) -> bytes:
    """The answer's bytes on an HTTP/1.1 connection.

    Args:
        response: The answer.
        connection: A whole `connection: …` header line with its line end, or nothing.
        date: The whole `date: …` line with its line end.
    """
    extra = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
    head = (
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}\r\n"
        f"content-type: {response.content_type}\r\ncontent-length: {len(response.body)}\r\n{extra}"
    )
    return b"".join((head.encode("latin-1"), connection, date, b"\r\n", response.body))


def empty_headers() -> Mapping[bytes, bytes]:
    """The headers of a request that has none."""
    return _EMPTY
