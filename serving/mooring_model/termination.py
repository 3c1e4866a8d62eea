"""How a container of ours ends: exit codes, and the message that the operator reads.

Contract §3: a Job's answer is its exit code and one JSON object of at most 4,096 bytes.
"""

import json
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

MESSAGE_BYTES = 4096
"""The kubelet keeps no more of a termination message."""
DEFAULT_LOG = Path("/dev/termination-log")
SENTENCES = ("message", "remedy")
"""What may be cut; verdict, reason and digests are read by the operator."""


class ExitCode(IntEnum):
    """Besides 0; anything else is a crash."""

    REFUSED = 10
    """Terminal: the same again would be refused again."""
    UNAVAILABLE = 11
    """Transient: worth another try."""


def write_termination(document: Mapping[str, object], path: Path | None) -> None:
    """Writes the result where Kubernetes reads it, when there is such a place.

    Args:
        document: the result; its sentences are cut until it fits 4,096 bytes.
        path: the file; None: /dev/termination-log where that exists.
    """
    target = path or (DEFAULT_LOG if DEFAULT_LOG.is_file() else None)
    if target is None:
        return
    target.write_bytes(fitted(document))


def fitted(document: Mapping[str, object]) -> bytes:
    """The document as JSON of at most `MESSAGE_BYTES`; its sentences are cut for it.

    A document that is too long without its sentences stays too long: cutting ends.
    """
    longest = MESSAGE_BYTES
    data = _encoded(document)
    while len(data) > MESSAGE_BYTES and longest:
        longest //= 2
        cut = {name: str(document[name])[:longest] for name in SENTENCES if name in document}
        data = _encoded({**document, **cut})
    return data


def _encoded(document: Mapping[str, object]) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()
