"""How a command ends: exit codes, and the termination message that the operator reads."""

import json
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

MESSAGE_BYTES = 4096
DEFAULT_LOG = Path("/dev/termination-log")


class ExitCode(IntEnum):
    """Contract §3."""

    REFUSED = 10
    UNAVAILABLE = 11


class CommandFailed(Exception):
    """A command ends with a sentence for a person and a code for the operator."""

    def __init__(self, code: ExitCode, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy


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
