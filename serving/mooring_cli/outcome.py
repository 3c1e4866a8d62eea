"""How a command of `mooring` ends when it cannot do what was asked."""

import os
import sys
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from mooring_model.termination import ExitCode, write_termination

if TYPE_CHECKING:
    from mooring_model.errors import PackageRefused, StoreUnavailable

DEBUG = "MOORING_DEBUG"
"""Environment variable: when set, an unexpected error also prints its traceback."""


class CommandFailed(Exception):
    """A command ends with a sentence for a person and a code for the operator."""

    def __init__(self, code: ExitCode, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy


@contextmanager
def reported(log: Path | None) -> Generator[None]:
    """Turns the package's errors into an exit code, a sentence and a termination message."""
    from mooring_model.errors import PackageRefused, StoreUnavailable

    try:
        yield
    except PackageRefused as error:
        raise _failure("Refused", ExitCode.REFUSED, error, log) from error
    except StoreUnavailable as error:
        raise _failure("Unavailable", ExitCode.UNAVAILABLE, error, log) from error


def record(document: Mapping[str, object], log: Path | None) -> None:
    """Writes a good result as the termination message.

    Raises:
        CommandFailed: it cannot be written; the operator would wait for it in vain.
    """
    try:
        write_termination(document, log)
    except OSError as error:
        raise CommandFailed(
            ExitCode.UNAVAILABLE,
            f"{log} cannot be written: {error.strerror}",
            "give --termination-log a file in a directory that may be written",
        ) from error


def write_result(path: Path, text: str) -> None:
    """Writes a result where the user wants it.

    Raises:
        CommandFailed: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(
            ExitCode.REFUSED,
            f"{path} cannot be written: {error.strerror}",
            "name a file in a directory that exists and may be written",
        ) from error


def report_unexpected(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """The hook for errors that nobody expected: one line and what to do, no traceback."""
    if os.environ.get(DEBUG):
        traceback.print_exception(kind, error, trace)
    text = " ".join(str(error).split()) or "no message"
    sys.stderr.write(
        f"mooring: {kind.__name__}: {text[:500]}\n"
        f"  remedy: this is not expected; run again with {DEBUG}=1 and report what it prints\n"
    )


def _failure(
    verdict: str, code: ExitCode, error: "PackageRefused | StoreUnavailable", log: Path | None
) -> CommandFailed:
    document = {
        "verdict": verdict,
        "reason": error.reason.value,
        "message": error.message,
        "remedy": error.remedy,
    }
    message = f"{error.reason}: {error.message}"
    try:
        write_termination(document, log)
    except OSError as trouble:  # the code still tells the operator whether to retry
        message += f" (and {log} cannot be written: {trouble.strerror})"
    return CommandFailed(code, message, error.remedy)
