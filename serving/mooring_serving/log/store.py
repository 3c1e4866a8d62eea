"""Where segments go: a directory (`file:`, `pvc:`) or an object store through fsspec.

The only module of the log that knows fsspec; its loose types stop here.
"""

import importlib
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from mooring_serving.log.errors import LogUriInvalid

_CLAIMS = Path("/mnt/pvc")
"""Where the operator mounts volume claims, by their names."""


class SegmentStore(Protocol):
    """Where segments go. Paths are relative, with `/` between the parts."""

    def put(self, path: str, source: Path) -> None:
        """Copy a local file; it appears whole, and instead of one of the same path.

        Raises:
            OSError: It could not be written.
        """
        ...

    def folders(self, path: str) -> Sequence[str]:
        """Names of the folders in a folder; empty when there is no such folder.

        Raises:
            OSError: It could not be read.
        """
        ...

    def files(self, path: str) -> Sequence[str]:
        """Names of the files in a folder; empty when there is no such folder.

        Raises:
            OSError: It could not be read.
        """
        ...

    def delete(self, path: str, names: Sequence[str]) -> None:
        """Delete files of a folder, and the folder when it is empty then.

        Raises:
            OSError: Not all could be deleted.
        """
        ...


class DirectoryStore:
    """Segments in a directory: written beside their name, then renamed, so that all are whole."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, path: str, source: Path) -> None:
        """See `SegmentStore`."""
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)

    def folders(self, path: str) -> list[str]:
        """See `SegmentStore`."""
        folder = self._root / path
        return [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []

    def files(self, path: str) -> list[str]:
        """See `SegmentStore`."""
        folder = self._root / path
        return [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []

    def delete(self, path: str, names: Sequence[str]) -> None:
        """See `SegmentStore`."""
        folder = self._root / path
        for name in names:
            (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


class ObjectStore:
    """Segments as objects; an object appears when its upload is complete."""

    def __init__(self, bucket: str, prefix: str) -> None:
        # Imported only where there is such a log: these libraries take half a second.
        errors: Any = importlib.import_module("botocore.exceptions")
        s3: Any = importlib.import_module("mooring_model.stores.s3")
        self._failures: tuple[type[Exception], ...] = (errors.BotoCoreError, errors.ClientError)
        self._files: Any = s3.filesystem()
        self._root = f"{bucket}/{prefix}".rstrip("/")

    def put(self, path: str, source: Path) -> None:
        """See `SegmentStore`."""
        with self._as_os_errors():
            self._files.put_file(str(source), f"{self._root}/{path}")

    def folders(self, path: str) -> list[str]:
        """See `SegmentStore`."""
        return self._list(path, "directory")

    def files(self, path: str) -> list[str]:
        """See `SegmentStore`."""
        return self._list(path, "file")

    def delete(self, path: str, names: Sequence[str]) -> None:
        """See `SegmentStore`."""
        if not names:
            return
        with self._as_os_errors():
            self._files.rm([f"{self._root}/{path}/{name}" for name in names])

    def _list(self, path: str, kind: str) -> list[str]:
        with self._as_os_errors():
            try:
                found: list[dict[str, Any]] = self._files.ls(f"{self._root}/{path}", detail=True)
            except FileNotFoundError:
                return []
        names = (str(item["name"]).rstrip("/") for item in found if item["type"] == kind)
        return [name.rsplit("/", 1)[-1] for name in names]

    @contextmanager
    def _as_os_errors(self) -> Generator[None]:
        try:
            yield
        except self._failures as error:
            raise ConnectionError(str(error)) from error


def open_store(uri: str) -> SegmentStore:
    """The store that a prediction log URI names.

    Raises:
        LogUriInvalid: Another scheme than `pvc:`, `s3:` or `file:`, or no claim or bucket.
    """
    parts = urlsplit(uri)
    match parts.scheme:
        case "file":
            return DirectoryStore(Path(parts.path))
        case "pvc" if parts.netloc and ".." not in Path(parts.path).parts:
            return DirectoryStore(_CLAIMS / parts.netloc / parts.path.lstrip("/"))
        case "s3" if parts.netloc:
            return ObjectStore(parts.netloc, parts.path.strip("/"))
        case _:
            raise LogUriInvalid(
                f"the prediction log {uri!r} cannot be written: give pvc://CLAIM/PATH, "
                "s3://BUCKET/PREFIX or, on a laptop, file:///PATH"
            )
