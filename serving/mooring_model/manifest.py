"""The manifest of a package: every file with its size and sha256, and the digest over it.

A package is exactly what its manifest lists. Extra files, links and odd paths are refused.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Generator, Iterator
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
MAX_FILES = 512
MAX_FILE_BYTES = 8 << 30
MAX_DOCUMENT_BYTES = 64 << 20
"""Of a JSON document."""
CHUNK = 1 << 20
_FOLDERS = ("code", "data", "wheels", "nodes")
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_INNER_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,149}"
_PATH = rf"(?:(?:{'|'.join(_FOLDERS)})(?:/{_INNER_NAME}){{1,6}}|{_FILE_NAME})"
_REPACKAGE = "package the model again with `mooring package`"


class Format(StrEnum):
    """Model formats, each with its one file."""

    ONNX = "onnx"
    SKOPS = "skops"
    RULES = "rules"
    COMPOSITE = "composite"
    PYTHON = "python"

    @property
    def file(self) -> str:
        """The model's file in the package; of format python its declaration."""
        return _MODEL_FILES[self]

    @property
    def folders(self) -> tuple[str, ...]:
        """Where a package of this format may have files besides those of every package."""
        match self:
            case Format.PYTHON:
                return ("code", "data", "wheels")
            case Format.COMPOSITE:
                return ("nodes",)
            case _:
                return ()


_MODEL_FILES = {
    Format.ONNX: "model.onnx",
    Format.SKOPS: "model.skops",
    Format.RULES: "model.rules.json",
    Format.COMPOSITE: "composite.json",
    Format.PYTHON: "python.json",
}


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() != timedelta(0):
        raise ValueError("must be in UTC, written with a Z")
    return moment


class FileEntry(BaseModel):
    """One file of a package."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: Annotated[str, Field(pattern=rf"^{_PATH}$")]
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
    files = list_files(directory, format_)
    manifest = Manifest(model=model, format=format_, created_at=created_at, files=files)
    (directory / MANIFEST).write_bytes(canonical(manifest.to_json()))
    return manifest


def list_files(directory: Path, format_: Format) -> tuple[FileEntry, ...]:
    """Every file of a directory but the manifest, sorted by path.

    Raises:
        PackageRefused: a link, a folder that the format has not, or an odd file name is there.
    """
    folders = format_.folders
    entries: list[FileEntry] = []
    for path in _files(directory, lambda folder: folder.split("/")[0] in folders):
        if path != MANIFEST:
            hashed = hash_file(directory / path)
            entries.append(FileEntry(path=path, size=hashed.size, sha256=hashed.sha256))
    return tuple(sorted(entries, key=lambda entry: entry.path))


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """The manifest in `data`.

    Raises:
        PackageRefused: ManifestInvalid; it is no manifest of this format version, or lists a path
            twice, unsorted, in a folder that its format has not, or lacks the model's file.
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
    fault = _fault(manifest)
    if fault is not None:
        raise refuse(fault)
    return manifest


def _fault(manifest: Manifest) -> str | None:
    """What is wrong with the list of files; None when nothing is."""
    for entry in manifest.files:
        if entry.size > (MAX_DOCUMENT_BYTES if entry.path.endswith(".json") else MAX_FILE_BYTES):
            return f"{entry.path} has {entry.size} bytes, more than is ever read"
    paths = [entry.path for entry in manifest.files]
    if paths != sorted(set(paths)):
        return "files are not sorted by path, or one is listed twice"
    if len({path.casefold() for path in paths}) != len(paths):
        return "two files differ in upper and lower case alone"
    inner = {parent for path in paths for parent in _parents(path)}
    if inner & set(paths):
        return f"{min(inner & set(paths))} is listed as a file and as a folder"
    odd = {parent for parent in inner if parent.split("/")[0] not in manifest.format.folders}
    if odd:
        return f"a package of format {manifest.format} has no {min(odd)}/"
    if MANIFEST in paths or manifest.format.file not in paths:
        return f"must list {manifest.format.file} and not itself"
    return None


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


def check_code_allowed(manifest: Manifest, *, where: str, allowed: bool) -> None:
    """Raises PackageRefused(CodeNotAllowed) for a package of code, unless code is allowed here."""
    if manifest.format is Format.PYTHON and not allowed:
        raise PackageRefused(
            RefusalReason.CODE_NOT_ALLOWED,
            f"{where}: format python runs the package's own code, which is not allowed here",
            "let an administrator label the namespace mooring.dev/allow-code=true and declare the "
            "version under a new name, set MOORING_ALLOW_CODE=true where there is no operator, or "
            "package the model as ONNX, skops or rules",
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
    folders = {parent for path in listed for parent in _parents(path)}
    for path in _files(directory, folders.__contains__):
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


def _parents(path: str) -> Iterator[str]:
    """The folders that a path of a package goes through."""
    parts = path.split("/")
    for length in range(1, len(parts)):
        yield "/".join(parts[:length])


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _files(directory: Path, is_folder: Callable[[str], bool], inside: str = "") -> Generator[str]:
    """Paths of the files in a directory, sorted within each folder.

    Args:
        directory: the package.
        is_folder: whether a folder of this path belongs to the package.
        inside: the folder that is looked at.

    Raises:
        PackageRefused: a link, a hard link, another folder, anything but a plain file, a name that
            no package has, or more entries than a package has.
    """
    entries: list[os.DirEntry[str]] = []
    with os.scandir(directory / inside) as found:
        for entry in found:
            entries.append(entry)
            if len(entries) > MAX_FILES + 1:  # a package and its manifest
                raise PackageRefused(
                    RefusalReason.EXTRA_FILE,
                    f"{directory / inside}: more than {MAX_FILES} entries",
                    "remove what is not in the manifest",
                )
    for entry in sorted(entries, key=_name):
        path = f"{inside}/{entry.name}" if inside else entry.name
        if entry.is_dir(follow_symlinks=False) and is_folder(path):
            yield from _files(directory, is_folder, path)
            continue
        _check_entry(directory, entry, path)
        yield path


def _check_entry(directory: Path, entry: os.DirEntry[str], path: str) -> None:
    if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
        raise PackageRefused(
            RefusalReason.LINK_REFUSED,
            f"{directory}: {path} is a link or not a plain file",
            "replace it by the file itself; only formats python and composite have folders",
        )
    if entry.stat(follow_symlinks=False).st_nlink > 1:
        raise PackageRefused(
            RefusalReason.LINK_REFUSED,
            f"{directory}: {path} is a hard link",
            "copy the file instead",
        )
    if not re.fullmatch(_PATH, path):
        raise PackageRefused(
            RefusalReason.EXTRA_FILE,
            f"{directory}: {path!r} is no name for a file of a package",
            "use letters, digits, dots, dashes and underscores",
        )
