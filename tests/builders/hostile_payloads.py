"""Hostile packages: each does one thing that no package may, and would leave a mark if it worked.

A case changes a sound package in place and makes its manifest agree, so that nothing but the one
thing is wrong. `canary` is a path that its payload would create, outside of the package.
"""

import contextlib
import hashlib
import importlib
import io
import json
import os
import pickle
import shutil
import socket
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.manifest import canonical

_joblib: Any = importlib.import_module("joblib")
_onnx: Any = importlib.import_module("onnx")


@dataclass(frozen=True)
class Case:
    """One hostile package.

    Attributes:
        base: The sound package that it is made from: onnx, skops or python.
        make: Changes the package in the directory; gets the canary's path.
        reasons: Any of which says what is wrong.
        cause: What the message must hold.
        loads: Whether the fault shows only when the model is tried (still before it serves).
        travels: Whether the fault survives a store that gives bytes by name.
    """

    base: str
    make: Callable[[Path, Path], None]
    reasons: frozenset[str]
    cause: str
    loads: bool = False
    travels: bool = True
    seconds: int = 20
    """That the trial may take."""


class Payload:
    """Unpickling it creates the canary."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._canary,)


def relist(package: Path, **changes: object) -> None:
    """Makes the manifest list what is there, canonical; `changes` are fields of it."""
    document = json.loads((package / "manifest.json").read_bytes())
    files = [
        {"path": name, "size": path.stat().st_size, "sha256": sha256(path)}
        for path in package.rglob("*")
        if path.is_file() and (name := str(path.relative_to(package))) != "manifest.json"
    ]
    files.sort(key=lambda entry: str(entry["path"]))
    document |= {"files": files} | changes
    (package / "manifest.json").write_bytes(canonical(document))


def digest_of(package: Path) -> str:
    """The digest that the manifest in the directory has, whatever it is."""
    path = package / "manifest.json"
    data = path.read_bytes() if path.is_file() else b""
    with contextlib.suppress(ValueError, RecursionError):
        data = canonical(json.loads(data))
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def replaced(name: str, data: Callable[[Path], bytes]) -> Callable[[Path, Path], None]:
    """The file has these bytes, and the manifest says so."""

    def make(package: Path, canary: Path) -> None:
        path = package / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data(canary))
        relist(package)

    return make


def joblibbed(canary: Path, compress: int | tuple[str, int]) -> bytes:
    sink = io.BytesIO()
    _joblib.dump(Payload(canary), sink, compress=compress)
    return sink.getvalue()


def object_array(canary: Path) -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.array([Payload(canary)], dtype=object), allow_pickle=True)
    return sink.getvalue()


def object_archive(canary: Path) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, weights=np.array([Payload(canary)], dtype=object), allow_pickle=True)
    return sink.getvalue()


def zipped(*members: tuple[str, bytes], compressed: bool = False) -> bytes:
    """A zip archive."""
    sink = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(sink, "w", kind) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, kind)
    return sink.getvalue()


def added_members(*members: tuple[str, Callable[[Path], bytes]]) -> Callable[[Path, Path], None]:
    """The skops file has more members."""

    def make(package: Path, canary: Path) -> None:
        with zipfile.ZipFile(package / "model.skops", "a") as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data(canary))
        relist(package)

    return make


def changed_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Path], None]:
    """The manifest is changed, without listing the files again."""

    def make(package: Path, canary: Path) -> None:
        path = package / "manifest.json"
        document = json.loads(path.read_bytes())
        change(document)
        path.write_bytes(json.dumps(document, sort_keys=True).encode())

    return make


def listed_path(text: str) -> Callable[[Path, Path], None]:
    return changed_manifest(lambda document: document["files"][0].update(path=text))


def raw_manifest(data: bytes) -> Callable[[Path, Path], None]:
    def make(package: Path, canary: Path) -> None:
        (package / "manifest.json").write_bytes(data)

    return make


def cut_file(name: str, keep: Callable[[bytes], bytes]) -> Callable[[Path, Path], None]:
    def make(package: Path, canary: Path) -> None:
        (package / name).write_bytes(keep((package / name).read_bytes()))
        relist(package)

    return make


def outside_file(package: Path, canary: Path) -> Path:
    """A file outside of the package, that nothing may change."""
    outside = package.parent / "outside.bin"
    outside.write_bytes(b"secret" * 10)
    return outside


def symlinked(package: Path, canary: Path) -> None:
    outside = outside_file(package, canary)
    shutil.move(package / "card.md", outside)
    (package / "card.md").symlink_to(outside)


def hard_linked(package: Path, canary: Path) -> None:
    os.link(package / "card.md", package.parent / "outside.bin")


def link_chain(package: Path, canary: Path) -> None:
    (package.parent / "step").symlink_to(package.parent)
    outside_file(package, canary)
    (package / "card.md").unlink()
    (package / "card.md").symlink_to(package.parent / "step" / "outside.bin")


def linked_to_itself(package: Path, canary: Path) -> None:
    (package / "card.md").unlink()
    (package / "card.md").symlink_to("card.md")


def linked_folder(package: Path, canary: Path) -> None:
    shutil.move(package / "code", package.parent / "elsewhere")
    (package / "code").symlink_to(package.parent / "elsewhere")


def linked_manifest(package: Path, canary: Path) -> None:
    shutil.move(package / "manifest.json", package.parent / "outside.bin")
    (package / "manifest.json").symlink_to(package.parent / "outside.bin")


def fifo(package: Path, canary: Path) -> None:
    (package / "card.md").unlink()
    os.mkfifo(package / "card.md")


def device(package: Path, canary: Path) -> None:
    (package / "card.md").unlink()
    (package / "card.md").symlink_to("/dev/zero")


def bound_socket(package: Path, canary: Path) -> None:
    (package / "card.md").unlink()
    here = Path.cwd()
    try:
        os.chdir(package)  # a socket's path is at most 107 bytes
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("card.md")
    finally:
        os.chdir(here)


def inner_folder(package: Path, canary: Path) -> None:
    (package / "inner").mkdir()


def deep_folders(package: Path, canary: Path) -> None:
    package.joinpath(*(["code"] + ["a"] * 40)).mkdir(parents=True)


def extra_file(name: bytes) -> Callable[[Path, Path], None]:
    def make(package: Path, canary: Path) -> None:
        Path(os.fsdecode(os.fsencode(package) + b"/" + name)).write_bytes(b"import os")

    return make


def many_files(package: Path, canary: Path) -> None:
    for number in range(1000):
        (package / f"more-{number}").touch()


def terabyte(package: Path, canary: Path) -> None:
    """A terabyte that takes no room; the manifest is honest about it."""
    with (package / "card.md").open("wb") as stream:
        stream.truncate(1 << 40)
    changed_manifest(lambda document: entry(document, "card.md").update(size=1 << 35))(
        package, canary
    )


def grown_file(package: Path, canary: Path) -> None:
    with (package / "model.onnx").open("ab") as stream:
        stream.truncate(1 << 36)


def entry(document: dict[str, Any], path: str) -> dict[str, Any]:
    return next(entry for entry in document["files"] if entry["path"] == path)


def central_directory(package: Path, canary: Path) -> None:
    """A table of contents of a million entries, which zipfile would read at once."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *[0] * 9, 1, *[0] * 6) + b"a"
    table = entry * 1_000_000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65535, 65535, len(table), 30, 0)
    head = b"PK\x03\x04" + bytes(26)
    (package / "model.skops").write_bytes(head + table + end)
    relist(package)


def both_formats(package: Path, canary: Path) -> None:
    (package / "model.skops").write_bytes(pickle.dumps(Payload(canary)))
    relist(package)


def without_pickle_start(canary: Path) -> bytes:
    return pickle.dumps(Payload(canary), protocol=0)


HASH = "0" * 64
ELF = b"\x7fELF" + bytes(200)
DEEP = b'{"a":' * 200_000
PICKLE = frozenset(("PickleRefused",))
FORMAT = frozenset(("FormatMismatch",))
LIST = frozenset(("ManifestInvalid",))
LINK = frozenset(("LinkRefused",))
CODE = frozenset(("CodeInvalid",))
LOCK = frozenset(("LockInvalid",))
GRAPH = frozenset(("GraphRefused",))
SCHEMA = frozenset(("SchemaInvalid",))
LOAD = frozenset(("LoadFailed",))
CORRUPT = frozenset(("FileCorrupt",))
EXTRA = frozenset(("ExtraFile",))
