"""A directory as a store: file: on the command line, and mounted claims."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import CHUNK


class DirectoryStore:
    """Files under `root`; a path that leaves it is refused."""

    def __init__(self, root: Path, path: str) -> None:
        self._directory = root / path.lstrip("/")
        if ".." in Path(path).parts:
            raise PackageRefused(
                RefusalReason.URI_INVALID, f"{path} climbs out of its store", "name a path below it"
            )

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file's bytes; a link is refused."""
        path = self._directory / name
        if path.is_symlink():
            raise PackageRefused(
                RefusalReason.LINK_REFUSED, f"{path} is a link", "put the file itself there"
            )
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def write(self, name: str, source: Path) -> None:
        """Copies a local file into the store."""
        self._directory.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, self._directory / name)
