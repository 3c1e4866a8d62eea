"""Whether a package of code is one, found without running or importing any of it."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import FileEntry
from mooring_model.python.declaration import (
    CODE,
    DATA,
    LOCK,
    WHEELS,
    Declaration,
    read_declaration,
)
from mooring_model.python.lock import check_wheels, read_lock
from mooring_model.python.wheels import check_wheel

MAX_SOURCE_BYTES = 1 << 20
"""Of one module."""
TEXTS = frozenset((".csv", ".edges", ".json", ".tsv", ".txt"))
ARRAY, PARQUET = ".npy", ".parquet"
_HEAD_BYTES = 1 << 16
_NPY_HEADER_BYTES = 10_000
_REMEDY = "put modules in code/, data files (.npy, .parquet, .json, .csv, .txt) in data/"


def check_python(directory: Path, files: Sequence[FileEntry]) -> None:
    """Declaration, sources, data files, lock and wheels.

    Raises:
        PackageRefused: SchemaInvalid, CodeInvalid, PickleRefused or LockInvalid, naming the file.
    """
    declaration = read_declaration(directory)
    listed = {entry.path: entry for entry in files}
    if LOCK not in listed:
        raise PackageRefused(
            RefusalReason.LOCK_INVALID,
            f"{directory}: there is no {LOCK}",
            "add one; it is empty when the code needs nothing but the server's own libraries",
        )
    for entry in files:
        _check_file(directory, entry)
    _check_entrypoint(directory, declaration, set(listed))
    check_wheels(directory, read_lock(directory), files)
    for path in listed:
        if path.startswith(f"{WHEELS}/"):
            check_wheel(directory, path)


def _check_file(directory: Path, entry: FileEntry) -> None:
    folder, _, rest = entry.path.partition("/")
    if not rest:
        return
    if folder == CODE:
        _check_source(directory, entry)
    elif folder == DATA:
        _check_data(directory, entry)
    # The lock answers for wheels.


def _check_source(directory: Path, entry: FileEntry) -> None:
    """Python source and nothing else: no compiled module, no library, no archive."""
    if not entry.path.endswith(".py"):
        raise _invalid(directory, f"{entry.path} is no Python source")
    if entry.size > MAX_SOURCE_BYTES:
        raise _invalid(directory, f"{entry.path} is larger than {MAX_SOURCE_BYTES} bytes")
    if not _is_text((directory / entry.path).read_bytes()):
        raise _invalid(directory, f"{entry.path} is not UTF-8 text")


def _check_data(directory: Path, entry: FileEntry) -> None:
    path = directory / entry.path
    suffix = PurePosixPath(entry.path).suffix.lower()
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if suffix == ARRAY:
        check_array(path, entry.path)
    elif suffix == PARQUET:
        if not head.startswith(b"PAR1"):
            raise _invalid(directory, f"{entry.path} is no Parquet file")
    elif suffix not in TEXTS:
        raise _invalid(directory, f"{entry.path} is no kind of data file that a package may hold")
    elif not _is_text(head, cut=len(head) == _HEAD_BYTES):
        raise _invalid(directory, f"{entry.path} is not UTF-8 text")


def check_array(path: Path, shown: str) -> None:
    """A .npy file of numbers or texts, as long as its header says.

    Raises:
        PackageRefused: PickleRefused for object arrays; CodeInvalid for anything else.
    """
    with path.open("rb") as stream:
        try:
            shape, dtype = _array_header(stream)
        except (ValueError, EOFError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise _invalid(path.parent, f"{shown} is no .npy file: {str(error)[:100]}") from error
        start, size = stream.tell(), path.stat().st_size
    if dtype.hasobject:
        raise PackageRefused(
            RefusalReason.PICKLE_REFUSED,
            f"{path.parent}: {shown} holds Python objects, which are pickled",
            "save arrays of numbers or fixed-width texts",
        )
    count = 1
    for extent in shape:
        count *= extent
    if min(shape, default=0) < 0 or count * dtype.itemsize != size - start:
        raise _invalid(path.parent, f"{shown} is not as long as its header says")


def _array_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read: Any = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(stream, max_header_size=_NPY_HEADER_BYTES)
    return shape, dtype


def _check_entrypoint(directory: Path, declaration: Declaration, listed: set[str]) -> None:
    """The class is in the package: found by its text, since nothing may be imported here."""
    places = [path for path in declaration.files if path in listed]
    if len(places) != 1:
        raise _invalid(
            directory,
            f"entrypoint {declaration.entrypoint} is in none, or in both, of "
            f"{' and '.join(declaration.files)}",
        )
    source = (directory / places[0]).read_text(encoding="utf-8")
    if not re.search(rf"^class {re.escape(declaration.class_name)}\b", source, re.MULTILINE):
        raise _invalid(directory, f"{places[0]} defines no class {declaration.class_name}")


def _is_text(data: bytes, *, cut: bool = False) -> bool:
    """Whether the bytes are UTF-8 without NUL; when `cut`, the last character may be half."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if not cut or error.start < len(data) - 3:
            return False
    return b"\0" not in data


def _invalid(directory: Path, what: str) -> PackageRefused:
    return PackageRefused(RefusalReason.CODE_INVALID, f"{directory}: {what}", _REMEDY)
