"""A directory as a store: file: on the command line, and mounted claims."""

import shutil
from pathlib import Path
from typing import BinaryIO

from mooring_model.errors import PackageRefused, RefusalReason


class DirectoryStore:
    """Files under `root`; a path that leaves it is refused."""

    def __init__(self, root: Path, path: str) -> None:
        self._directory = root / path.lstrip("/")
        if ".." in Path(path).parts:
            raise PackageRefused(
                RefusalReason.URI_INVALID, f"{path} climbs out of its store", "name a path below it"
            )

    def open(self, name: str) -> BinaryIO:
        """The file's bytes; a link is refused."""
        path = self._directory / name
        if path.is_symlink():
            raise PackageRefused(
                RefusalReason.LINK_REFUSED, f"{path} is a link", "put the file itself there"
            )
        return path.open("rb")

    def write(self, name: str, source: Path) -> None:
        """Copies a local file into the store."""
        self._directory.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, self._directory / name)
