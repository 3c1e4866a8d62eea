"""package, verify, fetch, push, digest."""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from mooring_cli.outcome import CommandFailed, ExitCode, write_termination
from mooring_model.errors import PackageRefused, StoreUnavailable
from mooring_model.manifest import package_digest, read_manifest, verify_files


@dataclass(frozen=True)
class PackageOptions:
    """What `mooring package` was asked for."""

    model: Path
    data: Path
    target: str
    out: Path
    name: str
    time_column: str | None
    format: str
    test: Path | None


def build(options: PackageOptions) -> None:
    """Builds a package and prints its digest."""
    from mooring_model.build import package

    with reported(None):
        manifest = package(
            options.model,
            options.data,
            target=options.target,
            out=options.out,
            name=options.name,
            time_column=options.time_column,
            format=cast("Literal['onnx', 'skops']", options.format),
            test=options.test,
        )
    _say(f"{options.out}: {len(manifest.files)} files, {package_digest(manifest)}")


def verify(directory: Path, digest_: str | None, log: Path | None) -> None:
    """Checks, loads, replays; prints the report."""
    from mooring_model.verify import check, replay

    with reported(log):
        check(directory, digest_)
        report = replay(directory).to_json()
    write_termination(report, log)
    _say(json.dumps(report, indent=1))


def fetch(uri: str, digest_: str, out: Path, log: Path | None) -> None:
    """Fetches by digest and checks without loading."""
    from mooring_model.storage import fetch as fetch_package
    from mooring_model.verify import check

    with reported(log):
        manifest = fetch_package(uri, digest_, out, allow_file=True)
        check(out, digest_)
    size = sum(entry.size for entry in manifest.files)
    result = {
        "verdict": "Fetched",
        "digest": digest_,
        "format": manifest.format.value,
        "bytes": size,
    }
    write_termination(result, log)
    _say(f"{out}: {size} bytes, {digest_}")


def push(directory: Path, uri: str) -> None:
    """Uploads and prints the YAML of spec.versions."""
    from mooring_model.storage import upload

    with reported(None):
        manifest = upload(directory, uri, allow_file=True)
    name = uri.rstrip("/").rsplit("/", 1)[-1]
    _say(f"  versions:\n  - name: {name}\n    uri: {uri}\n    digest: {package_digest(manifest)}")


def digest(directory: Path) -> None:
    """Prints the digest of an intact package."""
    with reported(None):
        verify_files(directory)
        _say(package_digest(read_manifest(directory)))


@contextmanager
def reported(log: Path | None) -> Generator[None]:
    """Turns the package's errors into an exit code, a sentence and a termination message."""
    try:
        yield
    except PackageRefused as error:
        _fail("Refused", error, log)
        raise CommandFailed(
            ExitCode.REFUSED, f"{error.reason}: {error.message}", error.remedy
        ) from error
    except StoreUnavailable as error:
        _fail("Unavailable", error, log)
        text = f"{error.reason}: {error.message}"
        raise CommandFailed(ExitCode.UNAVAILABLE, text, error.remedy) from error


def _fail(verdict: str, error: PackageRefused | StoreUnavailable, log: Path | None) -> None:
    document = {
        "verdict": verdict,
        "reason": error.reason.value,
        "message": error.message,
        "remedy": error.remedy,
    }
    write_termination(document, log)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
