"""Compressed bodies: what every client sends is read, what lies is refused within the limit."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_serving.errors import RequestRefused
from mooring_serving.http.compression import choose_encoding, decode_body, encode_body
from mooring_serving.http.message import HttpResponse, render_headers, render_response
from mooring_serving.refusals import Refusal

LIMIT = 100_000
BODY = b'{"inputs":[]}' * 50


def raw(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def decode(encoding: bytes, body: bytes, limit: int = LIMIT) -> bytes:
    return decode_body({b"content-encoding": encoding}, body, limit)


def outcome(encoding: bytes, body: bytes) -> int:
    """200, or the status of the refusal."""
    try:
        return 200 if len(decode(encoding, body)) <= LIMIT else 500
    except RequestRefused as refusal:
        return refusal.status


def refused(encoding: bytes, body: bytes, limit: int = LIMIT) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        decode(encoding, body, limit)
    return caught.value


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param(b"gzip", gzip.compress(BODY), id="gzip"),
        pytest.param(b"x-gzip", gzip.compress(BODY), id="x-gzip"),
        pytest.param(b" GZip ", gzip.compress(BODY), id="gzip in other letters"),
        pytest.param(
            b"gzip", gzip.compress(BODY[:300]) + gzip.compress(BODY[300:]), id="two parts"
        ),
        pytest.param(b"deflate", zlib.compress(BODY), id="deflate in zlib's format"),
        pytest.param(b"deflate", raw(BODY), id="deflate without a header"),
        pytest.param(b"identity", BODY, id="identity"),
        pytest.param(b"", BODY, id="empty"),
    ],
)
def test_body_is_what_was_compressed(encoding: bytes, body: bytes) -> None:
    assert decode(encoding, body) == BODY


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        pytest.param(b"gzip", gzip.compress(BODY)[:-1], "cut short", id="last byte missing"),
        pytest.param(b"gzip", gzip.compress(BODY)[:15], "cut short", id="half"),
        pytest.param(b"gzip", b"", "cut short", id="nothing"),
        pytest.param(b"gzip", BODY, "broken", id="not compressed"),
        pytest.param(b"gzip", gzip.compress(BODY)[:-5] + b"00000", "broken", id="wrong checksum"),
        pytest.param(b"gzip", gzip.compress(BODY) + b"more", "broken", id="gzip and more"),
        pytest.param(
            b"deflate", zlib.compress(BODY) + b"more", "4 bytes follow", id="zlib and more"
        ),
        pytest.param(b"deflate", raw(BODY) + b"more", "4 bytes follow", id="raw and more"),
        pytest.param(b"deflate", zlib.compress(BODY)[:-2], "cut short", id="zlib cut"),
        pytest.param(b"gzip", gzip.compress(b"") * 17, "follow", id="seventeen parts"),
    ],
)
def test_broken_body_is_refused_by_naming_its_encoding(
    encoding: bytes, body: bytes, words: str
) -> None:
    refusal = refused(encoding, body)
    assert (refusal.status, refusal.reason) == (400, Refusal.MALFORMED_BODY)
    assert f"content-encoding {encoding.decode()}" in str(refusal)
    assert words in str(refusal)


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"gzip;q=1", b"\xff"])
def test_other_encoding_is_415_and_says_what_is_read(encoding: bytes) -> None:
    refusal = refused(encoding, BODY)
    assert refusal.status == 415
    assert "gzip, deflate, identity" in str(refusal)


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        (b"gzip", gzip.compress(b" " * 200_000_000, 9)),
        (b"deflate", raw(b" " * 200_000_000)),
        (b"gzip", gzip.compress(b" " * 60_000) * 2),
    ],
    ids=["gzip", "deflate", "two parts within the limit each"],
)
def test_bomb_is_413_and_never_held(encoding: bytes, bomb: bytes) -> None:
    tracemalloc.start()
    refusal = refused(encoding, bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (refusal.status, refusal.reason) == (413, Refusal.BODY_TOO_LARGE)
    assert peak < 2 * LIMIT + 2 * len(bomb)  # the rest of the input is copied once


def test_body_of_exactly_the_limit_is_read() -> None:
    assert len(decode(b"gzip", gzip.compress(b"x" * LIMIT))) == LIMIT
    assert refused(b"gzip", gzip.compress(b"x" * (LIMIT + 1))).status == 413


@given(st.sampled_from([b"gzip", b"deflate"]), st.binary(max_size=300))
def test_any_bytes_give_a_body_or_a_refusal(encoding: bytes, body: bytes) -> None:
    assert outcome(encoding, body) in (200, 400, 413)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"gzip, deflate, br", "gzip"),
        (b"gzip;q=0.2, deflate;q=0.8", "deflate"),
        (b"GZIP ; q = 1", "gzip"),
        (b"*", "gzip"),
        (b"*;q=0", None),
        (b"gzip;q=0, *", "deflate"),
        (b"gzip;q=0", None),
        (b"br, zstd", None),
        (b"identity", None),
        (b"", None),
        (b"gzip;q=nan", None),
        (b"\xff;q=\xb2", None),
    ],
)
def test_encoding_is_the_one_that_the_client_prefers(accepted: bytes, chosen: str | None) -> None:
    assert choose_encoding(accepted) == chosen


def test_answer_is_compressed_when_it_is_long_and_the_kept_one_stays_as_it_is() -> None:
    kept = HttpResponse(200, b"1" * 5000, (("a", "b"),), block=b"c: d\r\n", close=True)
    packed = encode_body(b"gzip", kept, 1024)
    assert gzip.decompress(packed.body) == kept.body == b"1" * 5000
    assert dict(packed.headers) == {
        "a": "b",
        "content-encoding": "gzip",
        "vary": "accept-encoding",
    }
    assert (packed.block, packed.close) == (b"c: d\r\n", True)
    assert zlib.decompress(encode_body(b"deflate", kept, 1024).body) == kept.body


def test_answer_stays_plain_when_it_is_short_or_the_client_does_not_want_it() -> None:
    short = HttpResponse(200, b"1" * 1024)
    assert encode_body(b"gzip", short, 1024) is short
    plain = encode_body(b"br", HttpResponse(200, b"1" * 1025), 1024)
    assert (plain.body, dict(plain.headers)) == (b"1" * 1025, {"vary": "accept-encoding"})


def test_answer_is_rendered_with_its_block_and_headers_before_the_body() -> None:
    response = HttpResponse(200, b"{}", (("x", "1"),), block=render_headers([("y", "2")]))
    sent = render_response(response, connection=b"connection: close\r\n", date=b"date: now\r\n")
    assert sent == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"y: 2\r\nx: 1\r\nconnection: close\r\ndate: now\r\n\r\n{}"
    )


def test_answer_without_content_has_no_length() -> None:
    sent = render_response(HttpResponse(204, b""), connection=b"", date=b"")
    assert sent == b"HTTP/1.1 204 No Content\r\n\r\n"
