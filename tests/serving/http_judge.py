"""Generated HTTP messages, and a slow judge of them, written from RFC 9110 and 9112.

The judge reads one whole request from some bytes after which the sender ends its side.
"""

import random
import re
from dataclasses import dataclass

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/1\.([01])" % TOKEN)
FIELD = re.compile(rb"(%b):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*" % TOKEN)
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[ \t]*%b(?:=%b)?)*" % (TOKEN, TOKEN))
HEADER_BYTES, HEADER_COUNT = 16 * 1024, 64


class Malformed(Exception):
    """No HTTP request; says why."""


@dataclass(frozen=True)
class Message:
    """A well-formed request."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes
    rest: bytes


def read_message(data: bytes) -> Message:
    """The request at the start of the bytes.

    Raises:
        Malformed: There is none that is whole and well-formed.
    """
    head, found, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    line = REQUEST_LINE.fullmatch(first)
    if not found or line is None:
        raise Malformed("request line, or no end of the headers")
    headers: dict[bytes, bytes] = {}
    size = len(line[2])
    for field in lines:
        match = FIELD.fullmatch(field)
        if match is None:
            raise Malformed("header")
        name, value = match[1].lower(), match[2]
        size += len(match[1]) + len(value)
        if name == b"content-length" and name in headers:
            raise Malformed("repeated length")
        headers[name] = headers[name] + b", " + value if name in headers else value
    if size > HEADER_BYTES or len(lines) > HEADER_COUNT:
        raise Malformed("headers too large")
    body, rest = _read_body(headers, rest)
    return Message(line[1], line[2], headers, body, rest)


def _read_body(headers: dict[bytes, bytes], rest: bytes) -> tuple[bytes, bytes]:
    coding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
    if coding is not None:
        if length is not None or coding.lower() != b"chunked":
            raise Malformed("transfer-encoding")
        return _read_chunks(rest)
    if length is None:
        return b"", rest
    if not re.fullmatch(rb"[0-9]{1,18}", length):
        raise Malformed("content-length")
    if len(rest) < int(length):
        raise Malformed("body cut short")
    return rest[: int(length)], rest[int(length) :]


def _read_chunks(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, found, rest = rest.partition(b"\r\n")
        match = CHUNK.fullmatch(line)
        if not found or match is None:
            raise Malformed("chunk size")
        size = int(match[1], 16)
        if size == 0:
            break
        if rest[size : size + 2] != b"\r\n":
            raise Malformed("chunk")
        body, rest = body + rest[:size], rest[size + 2 :]
    while True:
        line, found, rest = rest.partition(b"\r\n")
        if not found:
            raise Malformed("trailer")
        if not line:
            return body, rest
        if FIELD.fullmatch(line) is None:
            raise Malformed("trailer")


def make_message(draw: random.Random, path: bytes, body: bytes) -> bytes:
    """A request with none to three faults of framing."""
    headers = [b"host: x", b"content-type: application/json"]
    if draw.random() < 0.4:
        headers.append(b"transfer-encoding: chunked")
        payload = _chunks(draw, body)
    else:
        headers.append(b"content-length: %d" % len(body))
        payload = body
    line = b"POST %b HTTP/1.1" % path
    for _ in range(draw.choice((0, 0, 1, 1, 1, 2, 3))):
        line, headers, payload = _break(draw, line, headers, payload)
    data = b"\r\n".join((line, *headers)) + b"\r\n\r\n" + payload
    if draw.random() < 0.25:
        at = draw.randrange(len(data))
        data = draw.choice(
            (
                data[:at],
                data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :],
                data[:at] + draw.choice((b"\n", b"\r", b"\x00", b"\t", b" ", b"\r\n")) + data[at:],
                data[:at] + data[at + 1 :],
            )
        )
    return data


def _chunks(draw: random.Random, body: bytes) -> bytes:
    made = b""
    while body:
        size = draw.randint(1, len(body))
        name = draw.choice((b"%x", b"%X", b"0%x")) % size
        made += name + draw.choice((b"", b"", b";a=b")) + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    return made + b"0\r\n" + draw.choice((b"", b"", b"x: y\r\n")) + b"\r\n"


LINES = (
    *(b"GET /v2 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"BREW /v2 HTTP/1.1", b"GET /nothing HTTP/1.1"),
    *(b"POST /v2 HTTP/2.0", b"POST /v2", b"POST  /v2 HTTP/1.1", b"post /v2 HTTP/1.1", b""),
    *(b"GET /\xff HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /v2 HTTP/1.1 ", b"GET v2 HTTP/1.1"),
    *(b"GET http://x/v2 HTTP/1.1", b"GET /v2 http/1.1", b"GET /v2 HTTP/1.0", b"\x16\x03\x01"),
)
FIELDS = (
    *(b"content-length: 5", b"content-length: -1", b"content-length: +5", b"content-length: 1e3"),
    *(b"content-length: 5, 5", b"content-length:", b"content-length: 0x10", b"content-length: 9 9"),
    *(b"content-length: 99999999999999999999", b"content-length : 5", b"content-length: 9000000"),
    *(
        b"transfer-encoding: chunked",
        b"transfer-encoding: gzip",
        b"transfer-encoding: chunked, gzip",
    ),
    *(
        b"transfer-encoding: identity",
        b"transfer-encoding: xchunked",
        b"transfer-encoding:\x0bchunked",
    ),
    *(
        b" folded: line",
        b"\tfolded",
        b"no colon",
        b": no name",
        b"a b: c",
        b"a\x00: b",
        b"a: b\x00c",
    ),
    *(b"a: b\rc", b"a: b\nc: d", b"x: " + b"y" * 17_000, b"x: y\r\n" * 70 + b"x: y", b"\xff: x"),
    *(b"content-encoding: gzip", b"content-encoding: br", b"content-type: text/plain", b"x: \xff"),
    *(b"expect: 100-continue", b"expect: tea", b"connection: close", b"upgrade: h2c", b"host: y"),
    *(b"inference-header-content-length: 5", b"accept-encoding: gzip", b"x-empty:", b"a: b\t "),
)


def _break(
    draw: random.Random, line: bytes, headers: list[bytes], payload: bytes
) -> tuple[bytes, list[bytes], bytes]:
    match draw.randrange(6):
        case 0:
            return draw.choice(LINES), headers, payload
        case 1 | 2:
            at = draw.randint(0, len(headers))
            return line, [*headers[:at], draw.choice(FIELDS), *headers[at:]], payload
        case 3:
            at = draw.randrange(len(headers)) if headers else 0
            return line, headers[:at] + headers[at + 1 :], payload
        case 4:
            return line, headers, payload[: draw.randint(0, len(payload))]
        case _:
            return line, headers, payload + draw.choice((b"x", b"0\r\n\r\n", b"GET", b"\r\n"))
