"""Why a package is refused, or a store is unavailable. Errors carry their handling.

PackageError
├── PackageRefused     terminal: the same package is refused again (exit code 10)
└── StoreUnavailable   transient: worth trying again (exit code 11)
"""

from enum import StrEnum

MAX_MESSAGE = 1000
"""Characters."""


class RefusalReason(StrEnum):
    """Terminal reasons; contract §3."""

    URI_INVALID = "UriInvalid"
    SCHEME_REFUSED = "SchemeRefused"
    PACKAGE_NOT_FOUND = "PackageNotFound"
    MANIFEST_INVALID = "ManifestInvalid"
    DIGEST_MISMATCH = "DigestMismatch"
    FILE_MISSING = "FileMissing"
    FILE_CORRUPT = "FileCorrupt"
    EXTRA_FILE = "ExtraFile"
    LINK_REFUSED = "LinkRefused"
    FORMAT_MISMATCH = "FormatMismatch"
    PICKLE_REFUSED = "PickleRefused"
    CODE_NOT_ALLOWED = "CodeNotAllowed"
    CODE_INVALID = "CodeInvalid"
    LOCK_INVALID = "LockInvalid"
    GRAPH_REFUSED = "GraphRefused"
    SCHEMA_INVALID = "SchemaInvalid"
    GRAPH_INVALID = "GraphInvalid"
    LOAD_FAILED = "LoadFailed"
    REPLAY_MISMATCH = "ReplayMismatch"


class UnavailableReason(StrEnum):
    """Transient reasons; contract §3."""

    STORE_UNREACHABLE = "StoreUnreachable"
    STORE_DENIED = "StoreDenied"


class PackageError(Exception):
    """A package cannot be used. `message` names the object, `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message = _one_line(message)
        self.remedy = remedy
        super().__init__(f"{self.message}; {remedy}")


class PackageRefused(PackageError):
    """The package itself is at fault. Do not retry."""

    def __init__(self, reason: RefusalReason, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.reason = reason


class StoreUnavailable(PackageError):
    """The store did not give the package this time. Retry."""

    def __init__(self, reason: UnavailableReason, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.reason = reason


def _one_line(text: str) -> str:
    """One line without control characters: names come from packages, messages go to terminals."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(plain.split())
    return line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 1]}…"
