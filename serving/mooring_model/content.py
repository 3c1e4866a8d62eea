"""What a model file is by its bytes: one of our formats, or something that must never be opened.

Nothing here loads a model or runs anything of it: the bytes are only looked at, within bounds. The
format found here must be the declared one; there is no second guess and no fallback.
"""

import io
import json
import lzma
import pickletools
import re
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from mooring_model.archive import BAD_ARCHIVE, ArchiveRefused, read_members
from mooring_model.documents import is_object
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.graph import check_graph
from mooring_model.manifest import Format, Manifest

HEAD_BYTES = 1 << 16
"""Looked at to recognise a pickle."""
MAX_JSON_BYTES = 4 << 20
"""Of a model that is a JSON document: rules, a composite."""

_ZIP_START = b"PK\x03\x04"
_GZIP, _ZLIB, _BZ2, _XZ, _LZ4 = b"\x1f\x8b", b"\x78", b"BZh", b"\xfd7zXZ", b"\x04\x22\x4d\x18"
_COMPRESSED = (_GZIP, _ZLIB, _BZ2, _XZ, _LZ4, b"\x5d\x00")
"""What joblib writes around a pickle when it compresses."""
_MANY_OPCODES = 100
"""So many valid opcodes in a row, without the end in sight, are no accident."""
_DOCUMENT_FORMATS = (Format.RULES, Format.COMPOSITE)
_GRAPH_FIELD, _OPSET_FIELD = 7, 8
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MEMBER_HEAD_BYTES = 4096
_NPY_START = b"\x93NUMPY"
_OBJECT_TYPE = re.compile(rb"'\|?O\d*'")


def check_format(directory: Path, manifest: Manifest) -> None:
    """The format by content must be the declared one.

    Raises:
        PackageRefused: PickleRefused or FormatMismatch.
    """
    if manifest.format is Format.PYTHON:
        from mooring_model.python.check import check_python

        check_python(directory, manifest.files)
        return
    path = directory / manifest.format.file
    found = format_of(path)
    strangers = [
        other.file
        for other in Format
        if other is not manifest.format and any(f.path == other.file for f in manifest.files)
    ]
    if found is manifest.format and not strangers:
        if found is Format.ONNX:
            check_graph(path)
        elif found is Format.COMPOSITE:
            from mooring_model.composite.check import check_composite

            check_composite(directory, manifest.files)
        return
    content = f"its content is {found}" if found else _why_unknown(path)
    raise PackageRefused(
        RefusalReason.FORMAT_MISMATCH,
        f"{directory}: {path.name} is declared {manifest.format} but "
        + (f"{strangers[0]} is there too" if strangers else content),
        "package the model again with `mooring package`",
    )


def _why_unknown(path: Path) -> str:
    """What keeps a file from having a format: an archive's fault, where it is one."""
    with path.open("rb") as stream:
        if stream.read(len(_ZIP_START)) != _ZIP_START:
            return "its content is of no known format"
    try:
        read_members(path)
    except ArchiveRefused as refused:
        return f"it {refused}"
    return "it is an archive of no known format"


def format_of(path: Path) -> Format | None:
    """The format that the bytes of a file show; None when none.

    Raises:
        PackageRefused: PickleRefused; the file, or an archive's member, is a pickle.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        if is_pickle(head):
            raise _pickle(path, path.name)
        if head.startswith(_ZIP_START):
            return _format_of_archive(path)
        if head.startswith(b"{"):
            return _format_of_document(path)
        return Format.ONNX if _is_model_proto(stream, path.stat().st_size) else None


def is_pickle(head: bytes) -> bool:
    """Whether these first bytes of a file are a pickle's, of any protocol, compressed or not.

    `pickletools` decodes opcodes without executing one.
    """
    if head.startswith(_COMPRESSED):
        head = _decompressed(head)
    if head[:1] == b"\x80" and head[1:2] <= b"\x05" and len(head) > 1:
        return True
    seen = 0
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(head)):
            seen += 1
            if opcode.name == "STOP":
                return seen > 1
    except (ValueError, IndexError, UnicodeDecodeError):
        return seen >= _MANY_OPCODES
    return False


def _decompressed(head: bytes) -> bytes:
    """The first bytes of a compressed file; what cannot be unpacked stays as it is."""
    attempts = (
        lambda: zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(head, HEAD_BYTES),
        lambda: lzma.LZMADecompressor().decompress(head, HEAD_BYTES),
    )
    for attempt in attempts:
        try:
            return attempt()
        except (zlib.error, lzma.LZMAError, EOFError):
            continue
    # bz2 and lz4 are joblib's rarer choices; no model format of ours starts like them.
    return b"\x80\x04" if head.startswith((_BZ2, _LZ4)) else head


def _format_of_archive(path: Path) -> Format | None:
    """A skops file is a zip with a schema.json, of plain members of a sane size."""
    try:
        members = read_members(path)
        with zipfile.ZipFile(path) as archive:
            for member in members:
                with archive.open(member) as stream:
                    _check_member(path, member.filename, stream.read(_MEMBER_HEAD_BYTES))
            return Format.SKOPS if "schema.json" in archive.namelist() else None
    except (ArchiveRefused, *BAD_ARCHIVE, lzma.LZMAError):
        return None


def _check_member(path: Path, name: str, head: bytes) -> None:
    """Neither a pickle nor an array of objects, which is one."""
    header = head[:_MEMBER_HEAD_BYTES].partition(b"\n")[0]
    objects = head.startswith(_NPY_START) and _OBJECT_TYPE.search(header) is not None
    if is_pickle(head[:512]) or objects:
        raise _pickle(path, f"{path.name}:{name}")


def _format_of_document(path: Path) -> Format | None:
    """A JSON document names what it is in its field `kind`."""
    with path.open("rb") as stream:
        data = stream.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        return None
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    kind = document.get("kind") if is_object(document) else None
    return next((format_ for format_ in _DOCUMENT_FORMATS if format_ == kind), None)


def _is_model_proto(stream: BinaryIO, size: int) -> bool:
    """Whether the file is, from its first to its last byte, the fields of an ONNX ModelProto.

    Only the outermost tags and lengths are read; the graph is skipped over.
    """
    stream.seek(0)
    fields: set[int] = set()
    while stream.tell() < size:
        tag = _varint(stream)
        if tag is None or not _skip(stream, tag & 7, size):
            return False
        fields.add(tag >> 3)
        if max(fields) > 100:
            return False
    return {_GRAPH_FIELD, _OPSET_FIELD} <= fields


def _skip(stream: BinaryIO, wire: int, size: int) -> bool:
    if wire == _VARINT:
        return _varint(stream) is not None
    length = {_FIXED64: 8, _FIXED32: 4}.get(wire)
    if wire == _LENGTH:
        length = _varint(stream)
    if length is None or stream.tell() + length > size:
        return False
    stream.seek(length, io.SEEK_CUR)
    return True


def _varint(stream: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None


def _pickle(path: Path, what: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.PICKLE_REFUSED,
        f"{path.parent}: {what} is a pickle, which runs code when it is loaded",
        "save the model as ONNX or with skops",
    )
