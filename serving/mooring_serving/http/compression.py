"""Bodies in gzip and deflate, both ways, never larger than the limit that they are read under.

Called by the router only when the header is there, so that plain requests pay one look-up.
Everything here is pure and releases the interpreter's lock while it works on a large body; the
router moves such bodies to a thread.
"""

import functools
import zlib
from collections.abc import Mapping
from typing import Final

from mooring_serving.errors import RequestRefused
from mooring_serving.http.message import HttpResponse
from mooring_serving.refusals import Refusal

CONTENT_ENCODING: Final = b"content-encoding"
ACCEPT_ENCODING: Final = b"accept-encoding"
ENCODINGS: Final = "gzip, deflate, identity"
"""What is read; the answer to anything else says so."""

LARGE: Final = 64 * 1024
"""Bytes from which on a body is (de)compressed on a thread: below, it takes less than handing it
over and back does."""

_LEVEL: Final = 1
"""Of an answer: numbers hardly compress better at higher levels, which take three times as long."""
_MEMBERS: Final = 16
"""Parts of one gzip body; each costs a copy of what follows it."""
_SMALL_WINDOW: Final = 13
"""Bits of the window for answers that are compressed on the event loop: making a full window of 15
takes 150 µs, as long as predicting and answering does, and gains nothing on so short a text."""
_GZIP: Final = zlib.MAX_WBITS | 16
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


def decode_body(headers: Mapping[bytes, bytes], body: bytes, limit: int) -> bytes:
    """The body as it was before its content-encoding.

    Args:
        headers: Of the request, with a content-encoding.
        body: As it came.
        limit: Most bytes of the result; one more byte at most is ever held.

    Raises:
        RequestRefused: 400 when the data are broken, cut short or followed by others; 413 when
            they are larger than the limit; 415 for another encoding.
    """
    encoding = headers[CONTENT_ENCODING].strip().lower()
    match encoding:
        case b"" | b"identity":
            return body
        case b"gzip" | b"x-gzip":
            return _inflate(body, _GZIP, limit, "gzip")
        case b"deflate":
            return _inflate(body, _ZLIB if _has_zlib_header(body) else _RAW, limit, "deflate")
        case _:
            raise RequestRefused(
                f"content-encoding {encoding[:64].decode('latin-1')!r} is not read, "
                f"send one of {ENCODINGS}",
                status=415,
            )


def _inflate(body: bytes, bits: int, limit: int, name: str) -> bytes:
    pieces: list[bytes] = []
    room = limit
    rest = body
    for _ in range(_MEMBERS):
        stream = zlib.decompressobj(bits)
        try:
            piece = stream.decompress(rest, room + 1)
        except zlib.error as error:
            raise _broken(f"content-encoding {name}: the body is broken: {error}") from error
        if len(piece) > room:
            raise RequestRefused(
                f"the request body exceeds {limit} bytes after its content-encoding {name}",
                status=413,
            )
        if not stream.eof:
            raise _broken(f"content-encoding {name}: the body is cut short")
        pieces.append(piece)
        room -= len(piece)
        rest = stream.unused_data
        if not rest:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if bits != _GZIP:
            break
    raise _broken(f"content-encoding {name}: {len(rest)} bytes follow the compressed body")


def _broken(message: str) -> RequestRefused:
    return RequestRefused(message, reason=Refusal.MALFORMED_BODY)


def _has_zlib_header(body: bytes) -> bool:
    """`deflate` means zlib's format (RFC 9110 §8.4.1.2); some senders leave its header away."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def encode_body(accepted: bytes, response: HttpResponse, threshold: int) -> HttpResponse:
    """The response, compressed when the client accepts it and it is worth it.

    Args:
        accepted: The request's accept-encoding.
        response: The answer; it is not changed, since some are kept and sent again.
        threshold: Bytes that a body must exceed.
    """
    body = response.body
    if len(body) <= threshold:
        return response
    encoding = choose_encoding(accepted)
    if encoding is None:
        return _with_headers(response, body, (("vary", "accept-encoding"),))
    window = _SMALL_WINDOW if len(body) <= LARGE else zlib.MAX_WBITS
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, window + (16 if encoding == "gzip" else 0))
    packed = packer.compress(body) + packer.flush()
    headers = (("content-encoding", encoding), ("vary", "accept-encoding"))
    return _with_headers(response, packed, headers)


def _with_headers(
    response: HttpResponse, body: bytes, headers: tuple[tuple[str, str], ...]
) -> HttpResponse:
    return HttpResponse(
        response.status,
        body,
        (*response.headers, *headers),
        response.content_type,
        close=response.close,
        block=response.block,
    )


@functools.lru_cache(maxsize=64)
def choose_encoding(accepted: bytes) -> str | None:
    """`gzip` or `deflate`, as an accept-encoding header prefers it, or None for neither."""
    weights: dict[str, float] = {}
    for item in accepted[:1024].decode("latin-1").lower().split(","):
        name, _, parameters = item.partition(";")
        weights[name.strip()] = _read_weight(parameters)
    rest = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", rest))
    deflate = weights.get("deflate", rest)
    if max(gzip, deflate) <= 0:
        return None
    return "gzip" if gzip >= deflate else "deflate"


def _read_weight(parameters: str) -> float:
    """The `q` of an encoding: 1 when it has none, 0 when it cannot be read."""
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    value = value.strip()
    return float(value) if value.replace(".", "", 1).isdigit() and value.isascii() else 0.0
