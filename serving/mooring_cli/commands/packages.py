"""package, verify, fetch, push, digest."""

import json
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from mooring_cli.outcome import record, reported

if TYPE_CHECKING:
    from mooring_model.manifest import Manifest


class FormatOption(StrEnum):
    """How `mooring package` stores an estimator."""

    ONNX = "onnx"
    SKOPS = "skops"


class TaskOption(StrEnum):
    """What a model of code predicts."""

    REGRESSION = "regression"
    CLASSIFICATION = "classification"


@dataclass(frozen=True)
class CodeOptions:
    """A model of code: where it is, and which class it is."""

    directory: Path
    entrypoint: str
    task: TaskOption | None


@dataclass(frozen=True)
class PackageOptions:
    """What `mooring package` was asked for: a model file, or code."""

    model: Path | None
    code: CodeOptions | None
    data: Path
    target: str
    out: Path
    name: str
    time_column: str | None
    segments: tuple[str, ...]
    format: FormatOption
    test: Path | None


@dataclass(frozen=True)
class FetchOptions:
    """What `mooring fetch` was asked for.

    Attributes:
        uri: the package's place.
        digest: the digest that it must have.
        out: the new directory; None with `check_only`.
        check_only: whether the package is thrown away after the checks.
        allow_loopback: whether this machine may be the store.
        allow_code: whether a package of format python is taken.
    """

    uri: str
    digest: str
    out: Path | None
    check_only: bool
    allow_loopback: bool
    allow_code: bool


def build(options: PackageOptions) -> None:
    """Builds a package and prints its digest."""
    from mooring_model.build import package
    from mooring_model.manifest import Format, package_digest
    from mooring_model.python.source import CodeModel

    code = options.code
    with reported(None):
        manifest = package(
            options.model,
            options.data,
            code=None
            if code is None
            else CodeModel(
                code.directory,
                code.entrypoint,
                None if code.task is None else code.task is TaskOption.REGRESSION,
            ),
            target=options.target,
            out=options.out,
            name=options.name,
            time_column=options.time_column,
            segments=options.segments,
            format=options.format.value,
            test=options.test,
        )
    _say(f"{options.out}: {len(manifest.files)} files, {package_digest(manifest)}")
    lineage = json.loads((options.out / "parameters.json").read_bytes())
    if (conversion := lineage["conversion"]) is not None:
        _say(
            f"answers {conversion['rows']} training rows like the estimator within "
            f"{conversion['maxAbsoluteDifference']:.2g}"
        )
    profile = json.loads((options.out / "profile.json").read_bytes())
    for note in profile.get("notes", ()):
        _say(f"note: {note}")
    for stream in profile.get("selfTest", {}).get("streams", ()):
        if not stream["armed"]:
            _say(f"note: {stream['stream']} ({stream['signal']}) is not armed: {stream['reason']}")
    if manifest.format is Format.RULES:
        from mooring_model.rules.source import notes

        for finding in notes(options.out):
            _say(f"note: {finding.message}")


@dataclass(frozen=True)
class VerifyOptions:
    """What `mooring verify` was asked for.

    Attributes:
        directory: the package.
        digest: the digest that it must have; None accepts any.
        allow_code: whether a package of format python is run.
        seconds: until the model must have loaded and answered; None: the default.
        memory_bytes: that it may allocate; None: a share of what there is.
    """

    directory: Path
    digest: str | None
    allow_code: bool
    seconds: float | None
    memory_bytes: int | None


def verify(options: VerifyOptions, log: Path | None) -> None:
    """Checks, loads and replays in a process of its own; prints the report."""
    from mooring_model.trial import TrialLimits, default_limits, run_trial
    from mooring_model.verify import check

    usual = default_limits()
    limits = TrialLimits(
        options.seconds or usual.seconds, options.memory_bytes or usual.memory_bytes
    )
    with reported(log):
        check(options.directory, options.digest, allow_code=options.allow_code)
        report = run_trial(options.directory, limits, allow_code=options.allow_code)
    record(report, log)
    _say(json.dumps(report, indent=1))


def fetch(options: FetchOptions, log: Path | None) -> None:
    """Fetches by digest and checks without loading."""
    with reported(log):
        if options.out is not None and not options.check_only:
            manifest = _fetch_into(options, options.out)
        else:
            with tempfile.TemporaryDirectory(prefix="mooring-check-") as scratch:
                manifest = _fetch_into(options, Path(scratch) / "package")
    size = sum(entry.size for entry in manifest.files)
    result = {
        "verdict": "Fetched",
        "digest": options.digest,
        "format": manifest.format.value,
        "bytes": size,
    }
    record(result, log)
    _say(f"{options.out or options.uri}: {size} bytes, {options.digest}")


def _fetch_into(options: FetchOptions, out: Path) -> "Manifest":
    from mooring_model.errors import PackageRefused
    from mooring_model.storage import Access, discard
    from mooring_model.storage import fetch as fetch_package
    from mooring_model.verify import check

    access = Access(file=True, loopback=options.allow_loopback, code=options.allow_code)
    before = set(out.iterdir()) if out.is_dir() else None
    fetch_package(options.uri, options.digest, out, access=access)
    try:
        return check(out, options.digest, allow_code=options.allow_code)
    except PackageRefused:
        if not before:  # what was there before is not ours to remove
            discard(out, keep=before is not None)
        raise


def push(directory: Path, uri: str) -> None:
    """Uploads and prints the YAML of spec.versions."""
    from mooring_model.manifest import package_digest
    from mooring_model.storage import upload

    with reported(None):
        manifest = upload(directory, uri, allow_file=True)
    name = uri.rstrip("/").rsplit("/", 1)[-1]
    _say(f"  versions:\n  - name: {name}\n    uri: {uri}\n    digest: {package_digest(manifest)}")


def digest(directory: Path) -> None:
    """Prints the digest of an intact package."""
    from mooring_model.manifest import package_digest, verify_files

    with reported(None):
        _say(package_digest(verify_files(directory)))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
