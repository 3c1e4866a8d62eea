"""Fields of protocol buffers, written by hand where a message of the library costs too much."""


def field(number: int, payload: bytes) -> bytes:
    """A field of protocol buffers with a length before it; `number` is below 16."""
    size = len(payload)
    if size < 0x80:
        return bytes((number << 3 | 2, size)) + payload
    return bytes((number << 3 | 2,)) + varint(size) + payload


def varint(value: int) -> bytes:
    """A number as protocol buffers write it: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
