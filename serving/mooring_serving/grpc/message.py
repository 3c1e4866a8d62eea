"""Length-prefixed messages of gRPC: how large, how compressed. Pure."""

import zlib
from collections.abc import Sequence

from mooring_serving.errors import RequestRefused
from mooring_serving.grpc.call import PREFIX_BYTES
from mooring_serving.refusals import Refusal

_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def check_prefix(chunks: Sequence[bytes], size: int, limit: int) -> RequestRefused | None:
    """Why a message that is still coming is too large, or None."""
    if size < PREFIX_BYTES:
        return None
    head = chunks[0] if len(chunks[0]) >= PREFIX_BYTES else b"".join(chunks)
    length = int.from_bytes(head[1:PREFIX_BYTES], "big")
    if length > limit:
        return _too_large(f"the message has {length} bytes", limit)
    if size > PREFIX_BYTES + limit:
        return _too_large("the call has more", limit)
    return None


def unwrap(data: bytes, encoding: str, limit: int) -> bytes:
    """The one message of a call, decompressed.

    Raises:
        RequestRefused: Not exactly one message, too large, or compressed in a way that is not read.
    """
    if len(data) < PREFIX_BYTES:
        raise RequestRefused(
            "the call has no message, one is needed", reason=Refusal.MALFORMED_BODY
        )
    length = int.from_bytes(data[1:PREFIX_BYTES], "big")
    if length != len(data) - PREFIX_BYTES:
        raise RequestRefused(
            f"the message is announced with {length} bytes, the call has "
            f"{len(data) - PREFIX_BYTES}; send exactly one message",
            reason=Refusal.MALFORMED_BODY,
        )
    message = data[PREFIX_BYTES:]
    match data[0]:
        case 0:
            return message
        case 1:
            return _inflate(message, encoding, limit)
        case flag:
            raise RequestRefused(
                f"a message's first byte is {flag}, 0 or 1 is needed", reason=Refusal.MALFORMED_BODY
            )


def _inflate(message: bytes, encoding: str, limit: int) -> bytes:
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise RequestRefused(
            f"grpc-encoding {encoding[:64]!r} is not read, use gzip, deflate or identity",
            status=501,
            reason=Refusal.UNSUPPORTED_MEDIA,
        )
    decompressor = zlib.decompressobj(bits)
    try:
        plain = decompressor.decompress(message, limit + 1)
    except zlib.error as error:
        raise RequestRefused(
            f"the message is not {encoding}: {error}", reason=Refusal.MALFORMED_BODY
        ) from error
    if len(plain) > limit:
        raise _too_large("the decompressed message has more", limit)
    if not decompressor.eof or decompressor.unused_data:
        raise RequestRefused(
            f"the message is not one whole {encoding} stream", reason=Refusal.MALFORMED_BODY
        )
    return plain


def _too_large(what: str, limit: int) -> RequestRefused:
    return RequestRefused(
        f"{what}, at most {limit} are accepted; send fewer rows a call", status=413
    )
