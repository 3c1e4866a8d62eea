"""Reading and writing small files of a run in the place that a URI names. The fsspec edge.

Packages travel through `mooring_model.storage`; logs, snapshots and results through here. Every
error of the store's library becomes `StoreUnavailable`; absence is None or an empty list.
"""

import importlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

from mooring_model.errors import StoreUnavailable, UnavailableReason
from mooring_model.storage import PVC_ROOT, redacted
from mooring_training.errors import RefusalReason, Refused


class Place(Protocol):
    """A folder of a store. Names are relative, with `/` between the parts."""

    def names(self, folder: str, suffix: str) -> list[str]:
        """Names of the files below `folder` that end in `suffix`, sorted; empty when absent."""
        ...

    def read(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """The bytes of the files among `names` that exist."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write one file, which appears whole."""
        ...


def open_place(uri: str) -> Place:
    """The place that a URI names.

    Raises:
        Refused: SettingsInvalid; a scheme other than `s3:`, `pvc:` and `file:`.
    """
    parts = urlsplit(uri)
    climbs = ".." in PurePosixPath(parts.path).parts
    match parts.scheme:
        case "s3" if parts.netloc and not climbs:
            return ObjectPlace(f"{parts.netloc}/{parts.path.strip('/')}".rstrip("/"), redacted(uri))
        case "pvc" if parts.netloc and not climbs:
            return DirectoryPlace(PVC_ROOT / parts.netloc / parts.path.lstrip("/"))
        case "file" if not climbs:
            return DirectoryPlace(Path(parts.path))
        case _:
            raise Refused(
                RefusalReason.SETTINGS_INVALID,
                f"{redacted(uri)} cannot be read and written here",
                remedy="use s3://BUCKET/PREFIX or pvc://CLAIM/PATH",
            )


class DirectoryPlace:
    """A folder of a mounted claim or, on a laptop, of the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str, suffix: str) -> list[str]:
        """See `Place`."""
        with _mapped(str(self._root)):
            found = (self._root / folder).rglob(f"*{suffix}")
            return sorted(
                path.relative_to(self._root).as_posix()
                for path in found
                if path.is_file() and not path.name.startswith(".")
            )

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """See `Place`."""
        with _mapped(str(self._root)):
            return {
                name: (self._root / name).read_bytes()
                for name in names
                if (self._root / name).is_file()
            }

    def write(self, name: str, data: bytes) -> None:
        """See `Place`: written beside its name, then renamed."""
        with _mapped(str(self._root)):
            path = self._root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_bytes(data)
            partial.replace(path)


class ObjectPlace:
    """A prefix of a bucket. Credentials and endpoint come from the standard AWS environment."""

    def __init__(self, prefix: str, shown: str) -> None:
        s3: Any = importlib.import_module("mooring_model.stores.s3")
        self._filesystem: Any = s3.filesystem()
        self._prefix = prefix
        self._shown = shown

    def names(self, folder: str, suffix: str) -> list[str]:
        """See `Place`."""
        with _mapped(self._shown):
            try:
                found: list[str] = self._filesystem.find(f"{self._prefix}/{folder}")
            except FileNotFoundError:
                return []
            start = len(self._prefix) + 1
            return sorted(path[start:] for path in found if path.endswith(suffix))

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """See `Place`; the files are read concurrently."""
        if not names:
            return {}
        paths = {f"{self._prefix}/{name}": name for name in names}
        with _mapped(self._shown):
            found: dict[str, object] = self._filesystem.cat(list(paths), on_error="return")
            read: dict[str, bytes] = {}
            for path, data in found.items():
                if isinstance(data, bytes):
                    read[paths[path]] = data
                elif isinstance(data, Exception) and not isinstance(data, FileNotFoundError):
                    raise data
            return read

    def write(self, name: str, data: bytes) -> None:
        """See `Place`; an object appears when its upload is complete."""
        with _mapped(self._shown):
            self._filesystem.pipe_file(f"{self._prefix}/{name}", data)


@contextmanager
def _mapped(shown: str) -> Generator[None]:
    """Trouble of the store becomes StoreUnavailable."""
    library: Any = importlib.import_module("botocore.exceptions")
    try:
        yield
    except PermissionError as error:
        raise StoreUnavailable(
            UnavailableReason.STORE_DENIED,
            f"{shown}: access denied",
            "check the Secrets named by the deployment's predictionLog and the policy's output",
        ) from error
    except (OSError, library.BotoCoreError, library.ClientError) as error:
        raise StoreUnavailable(
            UnavailableReason.STORE_UNREACHABLE,
            f"{shown}: {type(error).__name__}: {str(error)[:200]}",
            "check that the store answers; this is tried again",
        ) from error
