"""The manifest of a package: every file with its size and sha256, and the digest over it.

A package is exactly what its manifest lists. Extra files, links and odd paths are refused.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from mooring_model.errors import PackageRefused, RefusalReason

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 64
CHUNK = 1 << 20
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_REPACKAGE = "package the model again with `mooring package`"


class Format(StrEnum):
    """Model formats, each with its one file."""

    ONNX = "onnx"
    SKOPS = "skops"
    RULES = "rules"
    COMPOSITE = "composite"

    @property
    def file(self) -> str:
        """The model's file in the package."""
        return _MODEL_FILES[self]


_MODEL_FILES = {
    Format.ONNX: "model.onnx",
    Format.SKOPS: "model.skops",
    Format.RULES: "model.rules.json",
    Format.COMPOSITE: "composite.json",
}


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() != timedelta(0):
        raise ValueError("must be in UTC, written with a Z")
    return moment


class FileEntry(BaseModel):
    """One file of a package."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: Annotated[str, Field(pattern=rf"^{_FILE_NAME}$")]
    size: Annotated[int, Field(ge=0, le=1 << 36)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """The canonical list of what a package is."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
    )

    format_version: Literal[1] = 1
    model: Annotated[str, Field(min_length=1, max_length=63)]
    format: Format
    created_at: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    files: Annotated[tuple[FileEntry, ...], Field(min_length=1, max_length=MAX_FILES)]

    def to_json(self) -> dict[str, object]:
        """The document on disk."""
        return self.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True)
class _Hashed:
    size: int
    sha256: str


def canonical(document: object) -> bytes:
    """Canonical JSON (contracts): sorted keys, no spaces, no NaN."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def package_digest(manifest: Manifest) -> str:
    """`sha256:` and the hash of the canonical manifest: the identity of a package."""
    return "sha256:" + hashlib.sha256(canonical(manifest.to_json())).hexdigest()


def write_manifest(
    directory: Path, *, model: str, format_: Format, created_at: datetime
) -> Manifest:
    """Lists every file of `directory` in a new manifest.json, and returns it.

    The document on disk is canonical, so `sha256sum manifest.json` shows the package digest.

    Raises:
        PackageRefused: a link, a folder or an odd file name is there.
        ValueError: `created_at` is not in UTC.
    """
    entries: list[FileEntry] = []
    for path in _files(directory):
        if path != MANIFEST:
            hashed = hash_file(directory / path)
            entries.append(FileEntry(path=path, size=hashed.size, sha256=hashed.sha256))
    manifest = Manifest(model=model, format=format_, created_at=created_at, files=tuple(entries))
    (directory / MANIFEST).write_bytes(canonical(manifest.to_json()))
    return manifest


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """The manifest in `data`.

    Raises:
        PackageRefused: ManifestInvalid; it is no manifest of this format version, or lists a path
            twice, unsorted, or lacks the model's file.
    """

    def refuse(what: str) -> PackageRefused:
        return PackageRefused(
            RefusalReason.MANIFEST_INVALID, f"{where}/{MANIFEST}: {what}", _REPACKAGE
        )

    if len(data) > MAX_MANIFEST_BYTES:
        raise refuse(f"larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise refuse(first_fault(error)) from error
    paths = [entry.path for entry in manifest.files]
    if paths != sorted(set(paths)):
        raise refuse("files are not sorted by path, or one is listed twice")
    if MANIFEST in paths or manifest.format.file not in paths:
        raise refuse(f"must list {manifest.format.file} and not itself")
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """The manifest of the package in `directory`.

    Raises:
        PackageRefused: PackageNotFound or ManifestInvalid.
    """
    path = directory / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise PackageRefused(
            RefusalReason.PACKAGE_NOT_FOUND,
            f"{directory}: no {MANIFEST}",
            "give the directory that `mooring package --out` wrote",
        )
    with path.open("rb") as stream:
        return parse_manifest(stream.read(MAX_MANIFEST_BYTES + 1), where=str(directory))


def first_fault(error: ValidationError) -> str:
    """The first field at fault and what is wrong with it, for a message."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'document'}: {first['msg']}"


def check_digest(manifest: Manifest, expected: str, *, where: str) -> None:
    """Raises PackageRefused(DigestMismatch) unless the manifest has the expected digest."""
    actual = package_digest(manifest)
    if actual != expected:
        raise PackageRefused(
            RefusalReason.DIGEST_MISMATCH,
            f"{where}: digest is {actual}, expected {expected}",
            "declare the digest that `mooring digest` prints, or restore the package",
        )


def verify_files(directory: Path, expected_digest: str | None = None) -> Manifest:
    """Checks that `directory` is exactly what its manifest lists.

    Args:
        directory: the package.
        expected_digest: when given, the manifest must have it.

    Raises:
        PackageRefused: naming the file and what is wrong with it.
    """
    manifest = read_manifest(directory)
    if expected_digest is not None:
        check_digest(manifest, expected_digest, where=str(directory))
    listed = {entry.path for entry in manifest.files} | {MANIFEST}
    for path in _files(directory):
        if path not in listed:
            raise PackageRefused(
                RefusalReason.EXTRA_FILE,
                f"{directory}: {path} is not in the manifest",
                f"remove it, or {_REPACKAGE}",
            )
    for entry in manifest.files:
        _verify_entry(directory, entry)
    return manifest


def hash_file(path: Path) -> _Hashed:
    """Size and sha256 of a file, read once."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return _Hashed(size, digest.hexdigest())


def _verify_entry(directory: Path, entry: FileEntry) -> None:
    path = directory / entry.path
    if not path.is_file():
        raise PackageRefused(
            RefusalReason.FILE_MISSING, f"{directory}: {entry.path} is missing", _REPACKAGE
        )
    size = path.stat().st_size
    hashed = hash_file(path) if size == entry.size else _Hashed(size, "")
    if hashed != _Hashed(entry.size, entry.sha256):
        raise PackageRefused(
            RefusalReason.FILE_CORRUPT,
            f"{directory}: {entry.path} is not what the manifest lists"
            f" ({hashed.size} of {entry.size} bytes, sha256 {hashed.sha256[:12] or 'not read'})",
            "fetch or package it again",
        )


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _files(directory: Path) -> Iterator[str]:
    """Sorted names of the directory's entries; a link, a hard link or a directory is refused."""
    with os.scandir(directory) as found:
        entries = sorted(found, key=_name)
    for entry in entries:
        if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
            raise PackageRefused(
                RefusalReason.LINK_REFUSED,
                f"{directory}: {entry.name} is a link or not a plain file",
                "replace it by the file itself; a package is flat",
            )
        if entry.stat(follow_symlinks=False).st_nlink > 1:
            raise PackageRefused(
                RefusalReason.LINK_REFUSED,
                f"{directory}: {entry.name} is a hard link",
                "copy the file instead",
            )
        if not re.fullmatch(_FILE_NAME, entry.name):
            raise PackageRefused(
                RefusalReason.EXTRA_FILE,
                f"{directory}: {entry.name!r} is no name for a file of a package",
                "use letters, digits, dots, dashes and underscores",
            )
        yield entry.name
