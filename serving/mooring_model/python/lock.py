"""requirements.lock: pip's format with hashes, and the wheels in the package that it names.

Every requirement is pinned and hashed, every one has its wheel in `wheels/`, and there is no wheel
that it does not name. No index is ever asked: what is not in the package is not installed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import sys_tags
from packaging.utils import (
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import FileEntry
from mooring_model.python.declaration import LOCK, WHEELS

MAX_LOCK_BYTES = 1 << 20
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!_-]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_REMEDY = "write the lock with `uv pip compile --generate-hashes`, and put its wheels in wheels/"


@dataclass(frozen=True)
class Requirement:
    """One line of a lock."""

    name: NormalizedName
    version: Version
    hashes: frozenset[str]
    """Hex sha256 of the files that may be installed for it."""


def read_lock(directory: Path) -> tuple[Requirement, ...]:
    """The package's locked requirements.

    Raises:
        PackageRefused: LockInvalid, naming the line.
    """
    with (directory / LOCK).open("rb") as stream:
        data = stream.read(MAX_LOCK_BYTES + 1)
    if len(data) > MAX_LOCK_BYTES:
        raise _refuse(directory, f"larger than {MAX_LOCK_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _refuse(directory, "is not UTF-8") from error
    found = [_requirement(directory, line) for line in _lines(text)]
    names = [requirement.name for requirement in found]
    if len(set(names)) != len(names):
        raise _refuse(directory, "names a requirement twice")
    return tuple(found)


def check_wheels(directory: Path, lock: Sequence[Requirement], files: Sequence[FileEntry]) -> None:
    """Each requirement has one wheel of the locked hash that this Python takes; no wheel is over.

    Raises:
        PackageRefused: LockInvalid, naming requirement or wheel.
    """
    wheels = {entry.path: entry for entry in files if entry.path.startswith(f"{WHEELS}/")}
    by_name = {requirement.name: requirement for requirement in lock}
    met: set[NormalizedName] = set()
    for path, entry in wheels.items():
        name, version, usable = _parsed(directory, path)
        requirement = by_name.get(name)
        if requirement is None or version != requirement.version:
            raise _refuse(directory, f"{path} is not among its requirements")
        if entry.sha256 not in requirement.hashes:
            raise _refuse(directory, f"{path} has a hash that it does not list")
        if not usable:
            raise _refuse(directory, f"{path} is for another Python or platform than this server's")
        if name in met:
            raise _refuse(directory, f"{path} is a second wheel for {name}")
        met.add(name)
    missing = sorted(set(by_name) - met)
    if missing:
        raise _refuse(directory, f"{missing[0]} has no wheel in {WHEELS}/")


def _lines(text: str) -> Iterator[str]:
    """Logical lines: continued ones joined, comments and blanks left out."""
    joined = re.sub(r"\\\r?\n", " ", text)
    for line in joined.splitlines():
        bare = re.sub(r"(^|\s)#.*$", "", line).strip()
        if bare:
            yield bare


def _requirement(directory: Path, line: str) -> Requirement:
    pin, *options = line.split()
    matched = _PIN.fullmatch(pin)
    if matched is None:
        raise _refuse(directory, f"{line[:100]!r} is no pinned requirement, name==version")
    hashes = [_HASH.fullmatch(option) for option in options]
    if not hashes or not all(hashes):
        raise _refuse(directory, f"{pin} has no sha256, or something else beside it")
    try:
        version = Version(matched[2])
    except InvalidVersion as error:
        raise _refuse(directory, f"{pin} has no version of Python's kind") from error
    found = frozenset(match[1] for match in hashes if match is not None)
    return Requirement(canonicalize_name(matched[1]), version, found)


def _parsed(directory: Path, path: str) -> tuple[NormalizedName, Version, bool]:
    try:
        name, version, _, tags = parse_wheel_filename(path.rpartition("/")[2])
    except InvalidWheelFilename as error:
        raise _refuse(directory, f"{path} is no wheel") from error
    return name, version, not tags.isdisjoint(sys_tags())


def _refuse(directory: Path, what: str) -> PackageRefused:
    return PackageRefused(RefusalReason.LOCK_INVALID, f"{directory}: {LOCK}: {what}", _REMEDY)
