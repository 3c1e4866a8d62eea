"""How a container of ours ends: exit codes, and the message that the operator reads.

Contract §3: a Job's answer is its exit code and one JSON object of at most 4,096 bytes.
"""

import json
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

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
        document: the result; texts are shortened until it fits 4,096 bytes.
        path: the file; None: /dev/termination-log where that exists.
    """
    target = path or (DEFAULT_LOG if DEFAULT_LOG.is_file() else None)
    if target is None:
        return
    longest = MESSAGE_BYTES
    data = json.dumps(document).encode()
    while len(data) > MESSAGE_BYTES:
        longest //= 2
        short = {k: v[:longest] if isinstance(v, str) else v for k, v in document.items()}
        data = json.dumps(short).encode()
    target.write_bytes(data)
