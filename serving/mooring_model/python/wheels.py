"""Unpacks the locked wheels: plain files only, within bounds, at load and into a fresh directory.

A wheel is a zip archive whose members go to one directory; nothing of it is run. Scripts and data
files of a wheel are left out: a model imports libraries and starts no commands.
"""

import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from mooring_model.archive import BAD_ARCHIVE, ArchiveRefused, read_members
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import CHUNK
from mooring_model.python.declaration import WHEELS

_LIBRARY_SCHEMES = ("purelib", "platlib")


def check_wheel(directory: Path, path: str) -> None:
    """Looks at a wheel's table of contents.

    Raises:
        PackageRefused: LockInvalid; it is no archive, holds links or paths that leave it, or grows
            beyond reason.
    """
    try:
        members = read_members(directory / path)
    except ArchiveRefused as refused:
        raise _refuse(path, str(refused)) from refused
    for member in members:
        _target(path, member)


def unpack_wheels(directory: Path, target: Path) -> None:
    """Unpacks every wheel of a checked package into an empty directory.

    Raises:
        PackageRefused: LockInvalid; a member is longer than the archive's table says, or broken.
    """
    for file in sorted((directory / WHEELS).glob("*.whl")):
        shown = f"{WHEELS}/{file.name}"
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    _unpack(archive, member, shown, target)
        except BAD_ARCHIVE as error:
            raise _refuse(shown, f"does not unpack: {str(error)[:100]}") from error


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shown: str, target: Path) -> None:
    place = _target(shown, member)
    if place is None:
        return
    path = target.joinpath(*place.parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(member) as source, path.open("xb") as sink:
        for chunk in _chunks(source):
            written += len(chunk)
            if written > member.file_size:
                raise _refuse(shown, f"{member.filename} is longer than it says")
            sink.write(chunk)


def _chunks(source: "IO[bytes]") -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


def _target(shown: str, member: zipfile.ZipInfo) -> PurePosixPath | None:
    """Where a member goes; None for folders, and for what a library does not need."""
    name = member.filename
    path = PurePosixPath(name)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refuse(shown, f"holds {name[:100]!r}, which is a link or a device")
    odd = "\\" in name or "\0" in name or ":" in name or ".." in path.parts or path.is_absolute()
    if odd or not name.isprintable():
        raise _refuse(shown, f"holds {name[:100]!r}, which leads out of it")
    if member.is_dir() or not path.parts:
        return None
    if path.parts[0].endswith(".data"):
        inner = path.parts[1:]
        return PurePosixPath(*inner[1:]) if inner[:1] and inner[0] in _LIBRARY_SCHEMES else None
    return path


def _refuse(shown: str, what: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.LOCK_INVALID, f"{shown} {what}", "build or download the wheel again"
    )
