"""Zip archives from packages, looked at within bounds before Python's own reader sees them.

zipfile reads a whole table of contents at once, whatever its size; here the table's size is read
first, from the record at the archive's end.
"""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

MAX_MEMBERS = 20_000
MAX_ARCHIVE_BYTES = 4 << 30
"""Unpacked."""
MAX_RATIO = 100
"""Largest growth when it is unpacked; a trained model stays below 50."""
_TABLE_BYTES_PER_MEMBER = 256
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _COMMENT_BYTES = 22, 20, 1 << 16
BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, OSError)


class ArchiveRefused(ValueError):
    """The archive must not be unpacked; the message says why."""


def read_members(path: Path) -> list[zipfile.ZipInfo]:
    """The members of a sane archive: distinct plain paths, of a bounded number and size.

    Raises:
        ArchiveRefused: it is none.
    """
    _check_table(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except BAD_ARCHIVE as error:
        raise ArchiveRefused(f"is a broken archive: {str(error)[:100]}") from error
    _check_members(members, path.stat().st_size)
    return members


def _check_table(path: Path) -> None:
    """The size of the table of contents, from the end record that zipfile will believe."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _COMMENT_BYTES - _END_BYTES - _LOCATOR_BYTES))
        tail = stream.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise ArchiveRefused("is an archive without an end")
    if tail[max(0, place - _LOCATOR_BYTES) : place].startswith(_END_64):
        raise ArchiveRefused("is an archive in the 64-bit form, which no package needs")
    (table,) = struct.unpack_from("<I", tail, place + 12)
    if table > MAX_MEMBERS * _TABLE_BYTES_PER_MEMBER:
        raise ArchiveRefused(f"has a table of contents of {table} bytes")


def _check_members(members: Sequence[zipfile.ZipInfo], size: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise ArchiveRefused(f"has {len(members)} members, at most {MAX_MEMBERS} are unpacked")
    if len({member.filename.casefold() for member in members}) != len(members):
        raise ArchiveRefused("has a member twice")
    for member in members:
        name = member.filename
        odd = "\\" in name or name.startswith("/") or ".." in PurePosixPath(name).parts
        if odd or not name.isprintable():
            raise ArchiveRefused(f"has a member {name[:100]!r}, which leads out of it")
    total = sum(member.file_size for member in members)
    if total > min(MAX_ARCHIVE_BYTES, MAX_RATIO * max(size, 1)):
        raise ArchiveRefused(f"unpacks from {size} to {total} bytes")
