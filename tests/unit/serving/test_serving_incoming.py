"""Requests come out of a connection's bytes as they went in, however these are cut."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_serving.http.incoming import BodyMemory, Incoming
from mooring_serving.http.message import HttpRequest
from mooring_serving.limits import HttpLimits
from mooring_serving.refusals import Refusal


@dataclass
class Heard:
    """What a connection was told."""

    deaf: bool = False
    requests: list[tuple[str, str, bytes, bool]] = field(
        default_factory=list["tuple[str, str, bytes, bool]"]
    )
    headers: list[dict[bytes, bytes]] = field(default_factory=list["dict[bytes, bytes]"])
    refusals: list[int] = field(default_factory=list[int])

    def received(self, request: HttpRequest, *, keep: bool, header: bytes, held: int) -> None:
        del header, held
        self.requests.append((request.method, request.path, request.body, keep))
        self.headers.append(dict(request.headers))

    def refuse(self, status: int, message: str, reason: Refusal) -> None:
        del message, reason
        self.deaf = True
        self.refusals.append(status)

    def go_on(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class Sent:
    """A request of a client."""

    path: str
    body: bytes
    more: bytes
    chunked: bool
    keep: bool

    def raw(self) -> bytes:
        head = f"POST {self.path} HTTP/1.1\r\nhost: x\r\n".encode() + self.more
        if not self.keep:
            head += b"connection: close\r\n"
        if self.chunked:
            size = b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b""
            return head + b"transfer-encoding: chunked\r\n\r\n" + size + b"0\r\n\r\n"
        return head + b"content-length: %d\r\n\r\n%b" % (len(self.body), self.body)


def hear(pieces: Sequence[bytes]) -> Heard:
    loop = asyncio.new_event_loop()
    try:
        heard = Heard()
        incoming = Incoming(heard, HttpLimits(), BodyMemory(1 << 20), loop)
        for piece in pieces:
            incoming.feed(piece)
        return heard
    finally:
        loop.close()


REQUESTS = st.builds(
    Sent,
    path=st.sampled_from(["/a", "/b?x=1"]),
    body=st.binary(max_size=6) | st.sampled_from([b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]),
    more=st.sampled_from([b"", b"X-One: 1\r\n", b"accept-encoding: gzip\r\n"]),
    chunked=st.sampled_from([False, False, False, True]),
    keep=st.just(True),
)


@settings(max_examples=400, deadline=None)
@given(
    requests=st.lists(REQUESTS, min_size=1, max_size=8),
    between=st.lists(st.sampled_from([b"", b"", b"\r\n"]), min_size=8, max_size=8),
    cuts=st.lists(st.integers(0, 1200), max_size=5),
    whole=st.booleans(),
    behind=st.booleans(),
)
def test_requests_are_heard_as_they_were_sent_however_they_are_cut(
    requests: list[Sent], between: list[bytes], cuts: list[int], whole: bool, behind: bool
) -> None:
    raws = [
        request.raw() + gap if behind else gap + request.raw()
        for gap, request in zip(between, requests, strict=False)
    ]
    pieces = raws
    if not whole:
        data = b"".join(raws)
        ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
        pieces = [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    heard = hear([piece for piece in pieces if piece])
    assert heard.refusals == []
    assert heard.requests == [
        ("POST", request.path.partition("?")[0], request.body, True) for request in requests
    ]


SAME = Sent("/a", b"12345678", b"X-One: 1\r\n", chunked=False, keep=True)


@pytest.mark.parametrize(
    "others",
    [
        [b"POST /a HTTP/1.1\r\nhost: x\r\nX-One: 1\r\ncontent-length: 9\r\n\r\n123456789"],
        [SAME.raw()[:-1], b"8"],
        [SAME.raw() + SAME.raw()],
        [b"\r\n" + SAME.raw()],
        [SAME.raw() + b"\r\n", SAME.raw() + b"\r\n"],
    ],
    ids=["other length", "in two pieces", "two in one piece", "line before", "line behind"],
)
def test_head_that_was_remembered_answers_for_nothing_else(others: list[bytes]) -> None:
    heard = hear([SAME.raw(), SAME.raw(), *others, SAME.raw()])
    bodies = [body for _, _, body, _ in heard.requests]
    odd = [body for body in bodies if body != SAME.body]
    assert odd in ([], [b"123456789"])
    assert len(bodies) == 3 + b"".join(others).count(b"POST")
    assert heard.headers[0] == heard.headers[1] == heard.headers[-1]


@pytest.mark.parametrize("bad", [b"BROKEN\r\n\r\n", b"POST /a HTTP/1.1\r\nhost x\r\n\r\n"])
def test_broken_request_is_refused_after_ones_that_were_remembered(bad: bytes) -> None:
    heard = hear([SAME.raw(), SAME.raw(), bad])
    assert (len(heard.requests), heard.refusals) == (2, [400])


def test_request_that_ends_the_connection_is_never_remembered() -> None:
    last = Sent("/a", b"1", b"", chunked=False, keep=False)
    heard = hear([last.raw()])
    assert heard.requests == [("POST", "/a", b"1", False)]
