"""Header blocks: a call's head from one, an answer's head and trailers to one.

The only importer of `hpack`. A client sends the same block again and again once its names and
values are in the compression's table, so that decoded heads are remembered by their bytes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import hpack

from mooring_serving.grpc.frames import ConnectionFault, ErrorCode, StreamFault

_REMEMBERED: Final = 64
"""Heads remembered on a connection."""

_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_FORBIDDEN: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)


@dataclass(frozen=True, slots=True)
class CallHead:
    """What the headers of a call say.

    Attributes:
        path: `/package.Service/Method`.
        method: The HTTP method; gRPC's is POST.
        is_grpc: Whether the content type is gRPC's.
        encoding: How messages with the compressed flag are compressed.
        timeout: The client's deadline in seconds from now; None without one.
        content_length: Bytes that the client announced; None when it did not.
        headers: All of them but the pseudo-headers, names in lower case.
    """

    path: str
    method: str
    is_grpc: bool
    encoding: str
    timeout: float | None
    content_length: int | None
    headers: Mapping[bytes, bytes]


class HeadReader:
    """Decodes the header blocks of one connection, in their order.

    Args:
        limit: Bytes of all names and values of a head, each with 32 on top (RFC 9113 §6.5.2).
    """

    def __init__(self, limit: int) -> None:
        self._decoder = hpack.Decoder(limit)
        self._heads: dict[bytes, CallHead] = {}

    def read(self, block: bytes) -> CallHead:
        """Decode a block.

        Raises:
            StreamFault: Its headers are not those of a request.
            ConnectionFault: It cannot be decoded, so that later ones could not be either.
        """
        known = self._heads.get(block)
        if known is not None:
            return known
        headers = self._decode(block)
        changed = changes_table(block)
        if changed:  # each block may mean something else from now on, this one too
            self._heads.clear()
        head = parse_head(headers)
        if not changed:
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            self._heads[block] = head
        return head

    def _decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The names and values of a block.

        Raises:
            ConnectionFault: It cannot be decoded or is too large.
        """
        try:
            return [(field[0], field[1]) for field in self._decoder.decode(block, raw=True)]
        except hpack.OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from error
        except hpack.HPACKError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from error

    def decode_apart(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Decode a block that is no call's head: trailers, or one that nobody needs.

        Raises:
            ConnectionFault: It cannot be decoded.
        """
        headers = self._decode(block)
        if changes_table(block):
            self._heads.clear()
        return headers


def changes_table(block: bytes) -> bool:
    """Whether a valid block adds to the compression's table or resizes it (RFC 7541 §6)."""
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:  # an indexed field
            _, at = _read_integer(block, at, 0x7F)
        elif first & 0xE0:  # 01: a literal that is added; 001: another size
            return True
        else:  # a literal that is not added: an index or a name, then a value
            index, at = _read_integer(block, at, 0x0F)
            for _ in range(1 if index else 2):
                length, at = _read_integer(block, at, 0x7F)
                at += length
    return False


def _read_integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer in the low bits of a byte (RFC 7541 §5.1), and where the next thing starts."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def parse_head(headers: Iterable[tuple[bytes, bytes]]) -> CallHead:
    """A call's head from its headers.

    Raises:
        StreamFault: They are not a request's (RFC 9113 §8.2, §8.3).
    """
    pseudo: dict[bytes, bytes] = {}
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name.startswith(b":"):
            if name not in _PSEUDO or name in pseudo or found:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"unexpected {_text(name)}")
            pseudo[name] = value
            continue
        if name in _FORBIDDEN or not _NAME.fullmatch(name) or b"\0" in value:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"header {_text(name)} is not allowed")
        if name == b"te" and value != b"trailers":
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "te must be trailers")
        found[name] = value
    if not (pseudo.get(b":path") and b":method" in pseudo and b":scheme" in pseudo):
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, ":method, :scheme or :path is missing")
    length = found.get(b"content-length")
    if length is not None and not length.isdigit():
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, "content-length is not a number")
    return CallHead(
        path=_text(pseudo[b":path"]),
        method=_text(pseudo[b":method"]),
        is_grpc=found.get(b"content-type", b"").startswith(b"application/grpc"),
        encoding=_text(found.get(b"grpc-encoding", b"identity")),
        timeout=_parse_timeout(found.get(b"grpc-timeout")),
        content_length=None if length is None else int(length[:18]),
        headers=found,
    )


def _parse_timeout(value: bytes | None) -> float | None:
    if value is None:
        return None
    match = _TIMEOUT.fullmatch(_text(value))
    if match is None:
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, "grpc-timeout is not digits and a unit")
    return int(match[1]) * _UNITS[match[2]]


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def encode_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A block of literals that touches no table, so that it may be sent in any order."""
    parts: list[bytes] = []
    for name, value in headers:
        parts += (b"\0", _length(len(name)), name, _length(len(value)), value)
    return b"".join(parts)


def _length(value: int) -> bytes:
    """A string's length, not Huffman-coded (RFC 7541 §5.1 with a prefix of 7 bits)."""
    if value < 0x7F:
        return bytes([value])
    encoded = bytearray([0x7F])
    value -= 0x7F
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


OK_HEAD: Final = b"\x88" + encode_headers(((b"content-type", b"application/grpc"),))
"""`:status: 200` from the static table, and gRPC's content type."""
