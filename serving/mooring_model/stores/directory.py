"""A directory as a store: file: on the command line, and mounted claims."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import CHUNK


class DirectoryStore:
    """Files below `root`, which may be reached through links; below it none is followed.

    The way is walked one directory at a time, each opened relative to the one before, so that
    nobody can put a link there between check and use.
    """

    def __init__(self, root: Path, path: str) -> None:
        self._root = root
        self._parts = PurePosixPath(path.strip("/")).parts

    @property
    def _directory(self) -> Path:
        return self._root.joinpath(*self._parts)

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file's bytes; a link or anything but a plain file is refused."""
        *folders, file = PurePosixPath(name).parts
        directory = self._open_directory(tuple(folders))
        try:
            descriptor = _open(file, os.O_NONBLOCK, directory, self._directory / name)
        finally:
            os.close(directory)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _refuse(self._directory / name, "is not a plain file")
            while chunk := stream.read(CHUNK):
                yield chunk

    def write(self, name: str, source: Path) -> None:
        """Copies a local file into the store, where it appears whole."""
        target = self._directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.parent / f".{target.name}.partial"
        shutil.copyfile(source, partial)
        partial.replace(target)

    def _open_directory(self, folders: tuple[str, ...]) -> int:
        directory = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        shown = self._root
        for part in (*self._parts, *folders):
            shown /= part
            try:
                inner = _open(part, os.O_DIRECTORY, directory, shown)
            finally:
                os.close(directory)
            directory = inner
        return directory


def _open(name: str, flags: int, directory: int, shown: Path) -> int:
    """Opens an entry of a directory.

    Raises:
        PackageRefused: LinkRefused; it is a link.
        OSError: there is none, or it may not be read.
    """
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=directory)
    except OSError as error:
        if _is_link(name, directory):
            raise _refuse(shown, "is a link") from error
        raise


def _is_link(name: str, directory: int) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=directory).st_mode)
    except OSError:
        return False


def _refuse(path: Path, what: str) -> PackageRefused:
    return PackageRefused(RefusalReason.LINK_REFUSED, f"{path} {what}", "put the file itself there")
