"""The journal: the open segment as an append-only file of checksummed batches.

Layout: 8 bytes of magic, then frames. A frame is three little-endian 32-bit numbers (payload bytes,
rows, CRC-32 of these two and the payload) and the payload. The first frame is the schema and has 0
rows. A killed writer leaves at most one torn frame at the end, which readers leave out.
"""

import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Payload = bytes | memoryview
MAGIC: Final = b"mooring1"
_FRAME = struct.Struct("<III")
_CHECKED = struct.Struct("<II")


class Journal:
    """A journal being written by one thread.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: Path, schema: Payload) -> None:
        self.path = path
        self.rows = 0
        self.bytes = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            self._write([MAGIC])
            self._append(schema, 0)
        except OSError:
            self.close()
            path.unlink()
            raise

    def append(self, payload: Payload, rows: int) -> None:
        """Append a batch; it survives this process as soon as this returns.

        Raises:
            OSError: It does not fit, or the disk failed; the journal is as it was before.
        """
        self._append(payload, rows)
        self.rows += rows

    def close(self) -> None:
        """End it; the file stays."""
        os.close(self._file)

    def _append(self, payload: Payload, rows: int) -> None:
        view = memoryview(payload)
        checked = _CHECKED.pack(view.nbytes, rows)
        self._write([_FRAME.pack(view.nbytes, rows, zlib.crc32(view, zlib.crc32(checked))), view])

    def _write(self, parts: list[Payload]) -> None:
        wanted = sum(memoryview(part).nbytes for part in parts)
        try:
            done = os.writev(self._file, parts)
        except OSError:
            os.ftruncate(self._file, self.bytes)
            raise
        if done != wanted:
            os.ftruncate(self._file, self.bytes)
            raise OSError(f"wrote {done} of {wanted} bytes to {self.path.name}: the disk is full")
        self.bytes += wanted


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What a journal holds. The buffers are views of the mapped file.

    Attributes:
        schema: The schema's frame.
        batches: The payloads in order.
        rows: Rows of all batches.
        torn_bytes: Bytes at the end that are no whole frame.
    """

    schema: memoryview
    batches: list[memoryview]
    rows: int
    torn_bytes: int


def read_journal(path: Path) -> JournalContent | None:
    """The whole frames of a journal; None when not even its schema is whole.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= len(MAGIC):
            return None
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if bytes(data[: len(MAGIC)]) != MAGIC:
        return None
    frames: list[memoryview] = []
    rows = 0
    at = len(MAGIC)
    while at + _FRAME.size <= len(data):
        size, count, checksum = _FRAME.unpack_from(data, at)
        payload = data[at + _FRAME.size : at + _FRAME.size + size]
        if len(payload) < size or not _is_whole(payload, count, checksum):
            break
        frames.append(payload)
        rows += count
        at += _FRAME.size + size
    if not frames:
        return None
    return JournalContent(frames[0], frames[1:], rows, len(data) - at)


def _is_whole(payload: memoryview, rows: int, checksum: int) -> bool:
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(len(payload), rows))) == checksum
