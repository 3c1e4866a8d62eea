"""A directory as a store: file: on the command line, and mounted claims."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import CHUNK


class DirectoryStore:
    """Files under `root`; a link anywhere on the way below it is refused."""

    def __init__(self, root: Path, path: str) -> None:
        self._root = root
        self._directory = root / path.lstrip("/")

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file's bytes; a link or anything but a plain file is refused."""
        path = self._directory / name
        if path.is_symlink() or not self._contains(path):
            raise _refuse(path, "is a link, or lies behind one that leaves the store")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _refuse(path, "is not a plain file")
            while chunk := stream.read(CHUNK):
                yield chunk

    def write(self, name: str, source: Path) -> None:
        """Copies a local file into the store, where it appears whole."""
        self._directory.mkdir(parents=True, exist_ok=True)
        partial = self._directory / f".{name}.partial"
        shutil.copyfile(source, partial)
        partial.replace(self._directory / name)

    def _contains(self, path: Path) -> bool:
        """Whether the path, links followed, is still below the root."""
        return path.resolve().is_relative_to(self._root.resolve())


def _refuse(path: Path, what: str) -> PackageRefused:
    return PackageRefused(RefusalReason.LINK_REFUSED, f"{path} {what}", "put the file itself there")
