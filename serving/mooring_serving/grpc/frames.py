"""HTTP/2 frames (RFC 9113 §4 to §7): names, numbers and bytes. Pure."""

import struct
from enum import IntEnum, IntFlag
from typing import Final

from mooring_serving.limits import GrpcLimits

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first."""

HEAD_BYTES: Final = 9
"""Length of a frame's head."""

DEFAULT_WINDOW: Final = 65_535
MAX_WINDOW: Final = (1 << 31) - 1
DEFAULT_FRAME: Final = 16_384
MAX_FRAME: Final = (1 << 24) - 1


class Kind(IntEnum):
    """Kinds of frames."""

    DATA = 0
    """A part of a message."""
    HEADERS = 1
    """The start of a call, or its trailers."""
    PRIORITY = 2
    """Deprecated; read and passed over."""
    RST_STREAM = 3
    """A call is given up."""
    SETTINGS = 4
    """What the other side can do."""
    PUSH_PROMISE = 5
    """Only servers send it, and ours does not."""
    PING = 6
    """To be sent back."""
    GOAWAY = 7
    """No new calls on this connection."""
    WINDOW_UPDATE = 8
    """More may be sent."""
    CONTINUATION = 9
    """More of a block of headers."""


DATA: Final = int(Kind.DATA)
HEADERS: Final = int(Kind.HEADERS)


class Flag(IntFlag):
    """Flags of frames."""

    END_STREAM = 0x1
    """DATA, HEADERS: the sender is done with the stream."""
    ACK = 0x1
    """SETTINGS, PING."""
    END_HEADERS = 0x4
    """HEADERS, CONTINUATION."""
    PADDED = 0x8
    """DATA, HEADERS."""
    PRIORITY = 0x20
    """HEADERS."""


END_STREAM: Final = int(Flag.END_STREAM)
ACK: Final = int(Flag.ACK)
END_HEADERS: Final = int(Flag.END_HEADERS)
PADDED: Final = int(Flag.PADDED)
HAS_PRIORITY: Final = int(Flag.PRIORITY)


class ErrorCode(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0x0
    """Nothing is wrong."""
    PROTOCOL_ERROR = 0x1
    """What came is not HTTP/2."""
    INTERNAL_ERROR = 0x2
    """Our own defect."""
    FLOW_CONTROL_ERROR = 0x3
    """A window is too large."""
    STREAM_CLOSED = 0x5
    """A frame for a stream that has ended."""
    FRAME_SIZE_ERROR = 0x6
    """A frame of a wrong length."""
    REFUSED_STREAM = 0x7
    """Not begun: the client may try again."""
    CANCEL = 0x8
    """No longer wanted."""
    COMPRESSION_ERROR = 0x9
    """Header compression is out of step."""
    ENHANCE_YOUR_CALM = 0xB
    """Too much of something that costs us and brings nobody anything."""


class Setting(IntEnum):
    """Settings that are sent or read; others are passed over."""

    HEADER_TABLE_SIZE = 0x1
    """Bytes of the header compression's table."""
    ENABLE_PUSH = 0x2
    """Whether the server may push; ours never does."""
    MAX_CONCURRENT_STREAMS = 0x3
    """Streams open at once."""
    INITIAL_WINDOW_SIZE = 0x4
    """Bytes that may be sent on a new stream."""
    MAX_FRAME_SIZE = 0x5
    """Largest frame."""
    MAX_HEADER_LIST_SIZE = 0x6
    """Bytes of all headers of a request."""


class ConnectionFault(Exception):
    """The client broke the protocol: the connection ends with a GOAWAY of this code."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamFault(Exception):
    """The client broke the protocol on one stream: it ends with an RST_STREAM of this code."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


_HEAD = struct.Struct(">HBBBI")
_PAIR = struct.Struct(">II")
_WORD = struct.Struct(">I")
_SETTING = struct.Struct(">HI")


def read_head(buffer: bytes, at: int) -> tuple[int, int, int, int]:
    """Length, kind, flags and stream of the frame that starts at `at`."""
    high, low, kind, flags, stream = _HEAD.unpack_from(buffer, at)
    return high << 8 | low, kind, flags, stream & MAX_WINDOW


def build_head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """A frame's head."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def build_settings(settings: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    body = b"".join(_SETTING.pack(name, value) for name, value in settings.items())
    return build_head(len(body), Kind.SETTINGS, 0, 0) + body


SETTINGS_ACK: Final = build_head(0, Kind.SETTINGS, ACK, 0)


def build_window_update(stream: int, size: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return build_head(4, Kind.WINDOW_UPDATE, 0, stream) + _WORD.pack(size)


def build_reset(stream: int, code: ErrorCode) -> bytes:
    """An RST_STREAM frame."""
    return build_head(4, Kind.RST_STREAM, 0, stream) + _WORD.pack(code)


def build_ping(payload: bytes, *, ack: bool) -> bytes:
    """A PING frame of 8 bytes."""
    return build_head(8, Kind.PING, ACK if ack else 0, 0) + payload


def build_greeting(limits: GrpcLimits, window: int) -> bytes:
    """A server's preface, the first that a client may read of it (RFC 9113 §3.4).

    Args:
        limits: The settings that the client must keep to.
        window: Bytes that the connection may hold unread.
    """
    settings = {
        Setting.MAX_CONCURRENT_STREAMS: limits.grpc_streams,
        # A whole message fits: only the connection's window is ever given back.
        Setting.INITIAL_WINDOW_SIZE: limits.grpc_message_bytes + 1024,
        Setting.MAX_FRAME_SIZE: limits.grpc_frame_bytes,
        Setting.MAX_HEADER_LIST_SIZE: limits.grpc_header_bytes,
    }
    return build_settings(settings) + build_window_update(0, window - DEFAULT_WINDOW)


def build_goaway(last_stream: int, code: ErrorCode, message: str = "") -> bytes:
    """A GOAWAY frame: streams above `last_stream` were not begun."""
    body = _PAIR.pack(last_stream, code) + message.encode()[:256]
    return build_head(len(body), Kind.GOAWAY, 0, 0) + body


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a SETTINGS frame.

    Raises:
        ConnectionFault: Its length or a value is impossible.
    """
    if len(payload) % 6:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    settings = list(_SETTING.iter_unpack(payload))
    for name, value in settings:
        if name == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH must be 0 or 1")
        if name == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE too large")
        if name == Setting.MAX_FRAME_SIZE and not DEFAULT_FRAME <= value <= MAX_FRAME:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of range")
    return settings


def read_word(payload: bytes) -> int:
    """The 31 bits of a WINDOW_UPDATE, an RST_STREAM or a PRIORITY.

    Raises:
        ConnectionFault: Not four bytes.
    """
    if len(payload) != 4:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame of a wrong length")
    return int.from_bytes(payload, "big") & MAX_WINDOW


def strip_padding(payload: bytes, flags: int, *, priority: bool, stream: int) -> bytes:
    """A DATA's or HEADERS' content without padding and priority.

    Raises:
        ConnectionFault: More padding than frame, or a stream that depends on itself.
    """
    start, padding = 0, 0
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without a length")
        padding, start = payload[0], 1
    if priority and flags & HAS_PRIORITY:
        if len(payload) < start + 5:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS of a wrong length")
        if int.from_bytes(payload[start : start + 4], "big") & MAX_WINDOW == stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
        start += 5
    if start + padding > len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[start : len(payload) - padding]
