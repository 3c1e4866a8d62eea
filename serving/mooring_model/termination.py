"""How a container of ours ends: exit codes, and the message that the operator reads.

Contract §3: a Job's answer is its exit code and one JSON object of at most 4,096 bytes.
"""

import json
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import cast

MESSAGE_BYTES = 4096
DEFAULT_LOG = Path("/dev/termination-log")


class ExitCode(IntEnum):
    """Besides 0; anything else is a crash."""

    REFUSED = 10
    """Terminal: the same again would be refused again."""
    UNAVAILABLE = 11
    """Transient: worth another try."""


def write_termination(document: Mapping[str, object], path: Path | None) -> None:
    """Writes the result where Kubernetes reads it, when there is such a place.

    Args:
        document: the result; texts and lists are shortened until it fits 4,096 bytes.
        path: the file; None: /dev/termination-log where that exists.

    Raises:
        OSError: the file cannot be written.
    """
    target = path or (DEFAULT_LOG if DEFAULT_LOG.is_file() else None)
    if target is not None:
        target.write_bytes(message_of(document))


def message_of(document: Mapping[str, object]) -> bytes:
    """The document as JSON of at most 4,096 bytes.

    Raises:
        ValueError: it does not fit although every text and list in it is empty, or holds NaN.
    """
    longest = MESSAGE_BYTES
    data = _encoded(document)
    while len(data) > MESSAGE_BYTES and longest:
        longest //= 2
        data = _encoded(_shortened(document, longest))
    if len(data) > MESSAGE_BYTES:
        raise ValueError(f"a termination message of {len(data)} bytes cannot be shortened")
    return data


def _encoded(document: object) -> bytes:
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8", "backslashreplace")


def _shortened(value: object, longest: int) -> object:
    """The value with texts of at most `longest` characters, and lists of a 256th as many items.

    So lists go before verdicts and digests are cut.
    """
    if isinstance(value, str):
        return value[:longest]
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return {key: _shortened(inner, longest) for key, inner in members.items()}
    if isinstance(value, Sequence):
        items = cast("Sequence[object]", value)
        return [_shortened(inner, longest) for inner in items[: longest // 256]]
    return value
