"""JSON as the wire has it. The only importer of `orjson`."""

from typing import Any

import orjson


def to_bytes(document: object) -> bytes:
    """The document as compact JSON; enumerations are their values, tuples are lists."""
    return orjson.dumps(document)


def from_bytes(content: bytes) -> Any:
    """What the JSON says.

    Raises:
        ValueError: it is no JSON.
    """
    return orjson.loads(content)
