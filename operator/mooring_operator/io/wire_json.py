"""JSON as the wire has it. The only importer of `orjson`."""

from typing import Any

import orjson


def to_bytes(document: object) -> bytes:
    """The document as compact JSON; enumerations are their values, tuples are lists."""
    return orjson.dumps(document)


def to_kept_bytes(document: object) -> bytes:
    """As `to_bytes`, in as much memory as it needs: for what is kept for long.

    What the library returns occupies the buffer that it was written to, three times its length.
    """
    return memoryview(orjson.dumps(document)).tobytes()


def to_sorted_bytes(document: object) -> bytes:
    """As `to_bytes`, the same for equal documents: for hashes."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def from_bytes(content: bytes) -> Any:
    """What the JSON says.

    Raises:
        ValueError: it is no JSON.
    """
    return orjson.loads(content)
