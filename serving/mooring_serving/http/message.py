"""HTTP messages as plain values, and how an answer becomes bytes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeAlias, TypeVar

import orjson

JSON = "application/json"
Outcome = TypeVar("Outcome")

_REASONS: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus}
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


class Pending(Generic[Outcome]):
    """An answer that comes later, on the event loop, without the cost of a task or a future.

    Args:
        render: Makes the answer of whatever this is settled with; what it raises is the server's
            failure, answered by whoever called `response`.
    """

    __slots__ = ("_alter", "_outcome", "_render", "_then", "settled")

    def __init__(self, render: "Callable[[Outcome], HttpResponse]") -> None:
        self._render = render
        self._alter: Callable[[HttpResponse], Answer] | None = None
        self._then: Callable[[Pending[Outcome]], None] | None = None
        self._outcome: Outcome | None = None
        self.settled = False

    def settle(self, outcome: Outcome) -> None:
        """The outcome is known."""
        self._outcome = outcome
        self.settled = True
        if self._then is not None:
            self._then(self)

    def then(self, callback: "Callable[[Pending[Outcome]], None]") -> None:
        """Call back when it is settled."""
        self._then = callback

    def alter(self, alter: "Callable[[HttpResponse], Answer]") -> None:
        """Change the answer once it is there, compress it for instance."""
        self._alter = alter

    def response(self) -> "Answer":
        """The answer, once it is settled."""
        if self._outcome is None:
            raise ValueError("an answer was asked for before it was settled")
        response = self._render(self._outcome)
        return response if self._alter is None else self._alter(response)


Answer: TypeAlias = HttpResponse | Awaitable[HttpResponse]


async def settled(answer: "Answer | Pending[Any]") -> HttpResponse:
    """Any kind of answer, awaited."""
    if isinstance(answer, Pending):
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not answer.settled:
            answer.then(lambda _: waiter.set_result(None))
            await waiter
        answer = answer.response()
    return answer if isinstance(answer, HttpResponse) else await answer


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
