"""Where segments go: a directory (`file:`, `pvc:`) or an object store through fsspec.

The only module that knows fsspec; its loose types stop here.
"""

import importlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mooring_serving.log.segments import SegmentStore

_CLAIMS = Path("/mnt/pvc")
"""Where the operator mounts volume claims, by their names."""


class LogUriInvalid(ValueError):
    """A prediction log URI that cannot be written; the message says which are possible."""


class DirectoryStore:
    """Segments in a directory: written beside their name, then renamed, so that all are whole."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, path: str, data: bytes) -> None:
        """Write one segment.

        Raises:
            OSError: It could not be written.
        """
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.write_bytes(data)
        partial.replace(target)


class ObjectStore:
    """Segments as objects; an object appears when its upload is complete."""

    def __init__(self, bucket: str, prefix: str) -> None:
        # Imported only where there is such a log: these libraries take half a second.
        errors: Any = importlib.import_module("botocore.exceptions")
        s3: Any = importlib.import_module("mooring_model.stores.s3")
        self._failures: tuple[type[Exception], ...] = (errors.BotoCoreError, errors.ClientError)
        self._files: Any = s3.filesystem()
        self._root = f"{bucket}/{prefix}".rstrip("/")

    def write(self, path: str, data: bytes) -> None:
        """Write one segment.

        Raises:
            OSError: It could not be written.
        """
        try:
            self._files.pipe_file(f"{self._root}/{path}", data)
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
