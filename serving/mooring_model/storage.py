"""Stores: fetching a package by digest, and uploading one.

A fetch trusts nothing but the digest: the manifest is read first and must have it, then each
listed file is read with its size as the cap and its sha256 checked while it is written. A failed
fetch leaves nothing behind, and one that was killed is finished by the next.
"""

import errno
import hashlib
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from mooring_model.content import check_format
from mooring_model.errors import (
    PackageError,
    PackageRefused,
    RefusalReason,
    StoreUnavailable,
    UnavailableReason,
)
from mooring_model.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    FileEntry,
    Manifest,
    check_code_allowed,
    check_digest,
    package_digest,
    parse_manifest,
    verify_files,
)
from mooring_model.uri import Scheme, StoreUri, parse_uri, redacted

__all__ = ["PVC_ROOT", "Access", "fetch", "open_store", "redacted", "upload"]

MAX_PACKAGE_BYTES = 16 << 30
PVC_ROOT = Path("/mnt/pvc")
PARTIAL = ".mooring-partial"
"""Where a fetch writes before its files have their names."""
DEADLINE_SECONDS = 3600.0
"""For one file: a store that trickles is as good as none."""


class Store(Protocol):
    """One place that holds a package, by the names of its files."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of one file, in order. Raises FileNotFoundError when there is none."""
        ...


@runtime_checkable
class WritableStore(Store, Protocol):
    """A store that takes packages."""

    def write(self, name: str, source: Path) -> None:
        """Stores a local file under this name."""
        ...


@dataclass(frozen=True)
class Access:
    """What a URI may reach. The defaults are those of a pod.

    Attributes:
        file: whether file: may be used (the command line only).
        loopback: whether https: may reach this machine, and http: may be used for it.
        pvc_root: where claims are mounted.
        code: whether packages of format python are taken.
    """

    file: bool = False
    loopback: bool = False
    pvc_root: Path = PVC_ROOT
    code: bool = False


_POD = Access()


def fetch(
    uri: str,
    digest: str,
    out: Path,
    *,
    allow_file: bool = False,
    access: Access = _POD,
    clock: Callable[[], float] = time.monotonic,
) -> Manifest:
    """Fetches the package with this digest into a directory, and checks its format by content.

    Args:
        uri: s3://, https://, pvc://, or file:// where allowed.
        digest: the package digest that the manifest must have.
        out: the directory; absent, empty (a mount, say), or the left-over of a fetch that was
            killed. When it already holds this very package, nothing is fetched.
        allow_file: the same as `access.file`.
        access: what the URI may reach.
        clock: monotonic seconds.

    Raises:
        PackageRefused: the package or the URI is at fault.
        StoreUnavailable: the store is; worth another try.
    """
    source = parse_uri(uri)
    store = open_store(uri, allow_file=allow_file, access=access)
    here = _existing(out, digest)
    if here is not None:
        return here
    with _staging(out) as staging:
        manifest = _fetch_manifest(store, source.shown, staging, clock)
        check_digest(manifest, digest, where=source.shown)
        check_code_allowed(manifest, where=source.shown, allowed=access.code)
        _check_total(manifest, source.shown)
        for entry in manifest.files:
            _fetch_file(store, source.shown, entry, staging, clock)
        check_format(staging, manifest)
        _settle(staging, out, manifest)
    return manifest


def discard(out: Path, *, keep: bool) -> None:
    """Removes a fetched package that turned out to be unfit.

    Args:
        out: where it is.
        keep: whether the empty directory stays: it was there before, a mount, say.
    """
    for left in list(out.iterdir()):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
    if not keep:
        with suppress(OSError):
            out.rmdir()


def upload(
    directory: Path, uri: str, *, allow_file: bool = False, access: Access = _POD
) -> Manifest:
    """Uploads a package, the manifest last, so that a reader never sees half of one.

    A version is never changed: where the URI already holds this package nothing is written, and
    where it holds another the upload is refused.

    Raises:
        PackageRefused: the directory is no intact package, the URI holds another one, or the store
            cannot be written to.
        StoreUnavailable: the store is unreachable or refuses.
    """
    manifest = verify_files(directory)
    shown = parse_uri(uri).shown
    store = open_store(uri, allow_file=allow_file, access=access)
    if not isinstance(store, WritableStore):
        raise PackageRefused(
            RefusalReason.SCHEME_REFUSED,
            f"{shown} cannot be written to",
            "push to s3://BUCKET/PREFIX",
        )
    if _holds(store, shown, manifest):
        return manifest
    for name in [*(entry.path for entry in manifest.files), MANIFEST]:
        with _mapped(shown, name):
            store.write(name, directory / name)
    return manifest


def open_store(uri: str, *, allow_file: bool = False, access: Access = _POD) -> Store:
    """The store that a URI names; its library is imported only here.

    Raises:
        PackageRefused: UriInvalid or SchemeRefused, with the schemes that there are.
    """
    source = parse_uri(uri)
    match source.scheme:
        case Scheme.S3:
            from mooring_model.stores.s3 import S3Store

            return S3Store(source.host, source.path)
        case Scheme.HTTPS | Scheme.HTTP if source.scheme is Scheme.HTTPS or access.loopback:
            from mooring_model.stores.https import HttpsStore

            return HttpsStore(source, loopback=access.loopback)
        case Scheme.PVC:
            from mooring_model.stores.directory import DirectoryStore

            return DirectoryStore(access.pvc_root / source.host, source.path)
        case Scheme.FILE if allow_file or access.file:
            from mooring_model.stores.directory import DirectoryStore

            return DirectoryStore(Path(source.path), "")
        case _:
            raise _scheme_refused(source)


def _scheme_refused(source: StoreUri) -> PackageRefused:
    return PackageRefused(
        RefusalReason.SCHEME_REFUSED,
        f"{source.shown}: scheme {source.scheme} is not allowed here",
        "use s3:, https: or pvc: (file: works on the command line only, http: with this machine"
        " only)",
    )


def _existing(out: Path, digest: str) -> Manifest | None:
    """The package that is already in `out`, when it is the one asked for.

    Raises:
        PackageRefused: ExtraFile; something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if out.is_dir() and (out / PARTIAL).is_dir():
        return None
    try:
        return verify_files(out, digest)
    except (PackageRefused, OSError) as error:
        raise PackageRefused(
            RefusalReason.EXTRA_FILE,
            f"{out} is not empty, and not the package that was asked for: {error}",
            "fetch into a new directory",
        ) from error


@contextmanager
def _staging(out: Path) -> Generator[Path]:
    """A directory inside `out` for the files; on failure `out` is as empty or absent as before."""
    made = not out.exists()
    staging = out / PARTIAL
    with _written_here(out):
        out.mkdir(parents=True, exist_ok=True)
        for left in list(out.iterdir()):  # of a fetch that was killed: `_existing` saw its mark
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        staging.mkdir(mode=0o755)
    try:
        yield staging
    except BaseException:
        discard(out, keep=not made)
        raise


def _settle(staging: Path, out: Path, manifest: Manifest) -> None:
    """Gives the files their names, the manifest last; then the mark of a partial fetch goes."""
    with _written_here(out):
        for name in [*(entry.path for entry in manifest.files), MANIFEST]:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(out / name)
        shutil.rmtree(staging)


def _fetch_manifest(
    store: Store, shown: str, staging: Path, clock: Callable[[], float]
) -> Manifest:
    data = b""
    for chunk in _read(store, shown, MANIFEST, clock):
        data += chunk
        if len(data) > MAX_MANIFEST_BYTES:
            break
    manifest = parse_manifest(data, where=shown)
    with _written_here(staging):
        (staging / MANIFEST).write_bytes(data)
    return manifest


def _check_total(manifest: Manifest, shown: str) -> None:
    total = sum(entry.size for entry in manifest.files)
    if total > MAX_PACKAGE_BYTES:
        raise PackageRefused(
            RefusalReason.MANIFEST_INVALID,
            f"{shown}: {total} bytes, at most {MAX_PACKAGE_BYTES} are fetched",
            "make the model smaller",
        )


def _fetch_file(
    store: Store, shown: str, entry: FileEntry, staging: Path, clock: Callable[[], float]
) -> None:
    hashed, size = hashlib.sha256(), 0
    with _written_here(staging):
        (staging / entry.path).parent.mkdir(parents=True, exist_ok=True)
    with _written_here(staging), (staging / entry.path).open("wb") as target:
        for chunk in _read(store, shown, entry.path, clock):
            size += len(chunk)
            if size > entry.size:
                break
            hashed.update(chunk)
            target.write(chunk)
    if size != entry.size or hashed.hexdigest() != entry.sha256:
        read = f"more than {entry.size}" if size > entry.size else str(size)
        raise PackageRefused(
            RefusalReason.FILE_CORRUPT,
            f"{shown}: {entry.path} is not what the manifest lists ({read} bytes read,"
            f" {entry.size} listed)",
            "upload the package again with `mooring push`",
        )


def _read(store: Store, shown: str, name: str, clock: Callable[[], float]) -> Generator[bytes]:
    """The chunks of a file, with the store's errors mapped and a deadline."""
    begun = clock()
    with _mapped(shown, name):
        for chunk in store.chunks(name):
            if clock() - begun > DEADLINE_SECONDS:
                raise TimeoutError(f"not read within {DEADLINE_SECONDS:.0f} s")
            yield chunk


def _holds(store: Store, shown: str, manifest: Manifest) -> bool:
    """Whether the store has this package already.

    Raises:
        PackageRefused: ExtraFile; it has another one.
    """
    data = b""
    try:
        for chunk in _read(store, shown, MANIFEST, time.monotonic):
            data += chunk
            if len(data) > MAX_MANIFEST_BYTES:
                break
    except PackageRefused as refused:
        if refused.reason is RefusalReason.PACKAGE_NOT_FOUND:
            return False
        raise
    there = package_digest(parse_manifest(data, where=shown))
    if there == package_digest(manifest):
        return True
    raise PackageRefused(
        RefusalReason.EXTRA_FILE,
        f"{shown} already holds the package {there}",
        "push to a URI of its own: versions are never changed",
    )


@contextmanager
def _written_here(place: Path) -> Generator[None]:
    """Trouble with the local disk is told apart from the store's."""
    try:
        yield
    except PackageError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StoreUnavailable(
            UnavailableReason.STORE_UNREACHABLE,
            f"{place} cannot be written: {error.strerror or error}",
            "make room on the volume" if full else "give --out a directory that may be written",
        ) from error


@contextmanager
def _mapped(shown: str, name: str) -> Generator[None]:
    """Absence of a file becomes a refusal; any other trouble of the store is transient."""
    try:
        yield
    except PackageError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        missing_all = name == MANIFEST
        raise PackageRefused(
            RefusalReason.PACKAGE_NOT_FOUND if missing_all else RefusalReason.FILE_MISSING,
            f"{shown}: {name} does not exist",
            "check the URI, or upload the package with `mooring push`",
        ) from error
    except PermissionError as error:
        raise StoreUnavailable(
            UnavailableReason.STORE_DENIED,
            f"{shown}: the store denied {name}",
            "check the Secret named in secretName",
        ) from error
    except OSError as error:
        raise StoreUnavailable(
            UnavailableReason.STORE_UNREACHABLE,
            f"{shown}: {name}: {type(error).__name__}: {str(error)[:200]}",
            "check that the store answers; this is tried again",
        ) from error
