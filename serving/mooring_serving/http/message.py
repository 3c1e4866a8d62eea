"""HTTP messages as plain values, and how an answer becomes bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

import orjson

JSON = "application/json"

_REASONS: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus}
_EMPTY: Mapping[bytes, bytes] = MappingProxyType({})
_BODYLESS = frozenset({204, 304})
"""Statuses whose answers have neither a body nor its length (RFC 9110 §8.6)."""


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
    """One answer; `Content-Length`, `Connection` and `Date` are the listener's.

    Attributes:
        status: The status code.
        body: The whole body.
        headers: Headers of this answer.
        content_type: Of the body.
        close: Whether the connection ends with it.
        block: Header lines that are the same for many answers, from `render_headers`.
    """

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = JSON
    close: bool = False
    block: bytes = b""


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
    # A message may quote a client's text, which may hold half a surrogate pair.
    text = message.encode("utf-8", "replace").decode()
    return HttpResponse(status, orjson.dumps({"error": text}), headers, close=close)


def render_headers(headers: Sequence[tuple[str, str]]) -> bytes:
    """Header lines with their line ends, to be rendered once and sent often."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1")


def _render_start(status: int, content_type: str) -> bytes:
    first = f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n"
    if status in _BODYLESS:
        return first.encode()
    return f"{first}content-type: {content_type}\r\n".encode("latin-1")


_OK_JSON = _render_start(200, JSON)


def render_response(response: HttpResponse, *, connection: bytes, date: bytes) -> bytes:
    """The answer's bytes on an HTTP/1.1 connection.

    Args:
        response: The answer.
        connection: A whole `connection: …` header line with its line end, or nothing.
        date: The whole `date: …` line with its line end.
    """
    status, body = response.status, response.body
    plain = status == 200 and response.content_type is JSON
    return b"".join(
        (
            _OK_JSON if plain else _render_start(status, response.content_type),
            b"" if status in _BODYLESS else b"content-length: %d\r\n" % len(body),
            response.block,
            render_headers(response.headers) if response.headers else b"",
            connection,
            date,
            b"\r\n",
            body,
        )
    )


def empty_headers() -> Mapping[bytes, bytes]:
    """The headers of a request that has none."""
    return _EMPTY
