"""Stores: fetching a package by digest, and uploading one.

A fetch trusts nothing but the digest: the manifest is read first and must have it, then each
listed file is read with its size as the cap and its sha256 checked while it is written. A failed
fetch leaves nothing behind.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

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
    check_digest,
    parse_manifest,
    verify_files,
)

MAX_PACKAGE_BYTES = 16 << 30
PVC_ROOT = Path("/mnt/pvc")


class Store(Protocol):
    """One place that holds a package, by the names of its files."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of one file, in order. Raises FileNotFoundError when there is none."""
        ...


def fetch(uri: str, digest: str, out: Path, *, allow_file: bool = False) -> Manifest:
    """Fetches the package with this digest into a new directory.

    Args:
        uri: s3://, https://, pvc://, or file:// where `allow_file`.
        digest: the package digest that the manifest must have.
        out: the directory to make; empty or absent.
        allow_file: whether file: may be used (the command line only).

    Raises:
        PackageRefused: the package or the URI is at fault.
        StoreUnavailable: the store is; worth another try.
    """
    store = open_store(uri, allow_file=allow_file)
    shown = redacted(uri)
    _must_be_fresh(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(out) as scratch:
        manifest = _fetch_manifest(store, shown, scratch)
        check_digest(manifest, digest, where=shown)
        _check_total(manifest, shown)
        for entry in manifest.files:
            _fetch_file(store, shown, entry, scratch / entry.path)
        _move_into(scratch, out)
    return manifest


def upload(directory: Path, uri: str, *, allow_file: bool = False) -> Manifest:
    """Uploads a package, the manifest last, so that a reader never sees half of one.

    Raises:
        PackageRefused: the directory is no intact package, or the store cannot be written to.
        StoreUnavailable: the store is unreachable or refuses.
    """
    manifest = verify_files(directory)
    store = open_store(uri, allow_file=allow_file)
    write = getattr(store, "write", None)
    if write is None:
        raise PackageRefused(
            RefusalReason.SCHEME_REFUSED,
            f"{redacted(uri)} cannot be written to",
            "push to s3://BUCKET/PREFIX",
        )
    for name in [*(entry.path for entry in manifest.files), MANIFEST]:
        with _mapped(redacted(uri), name):
            write(name, directory / name)
    return manifest


def open_store(uri: str, *, allow_file: bool = False) -> Store:
    """The store that a URI names.

    Raises:
        PackageRefused: UriInvalid or SchemeRefused, with the schemes that there are.
    """
    parts = urlsplit(uri)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise PackageRefused(
            RefusalReason.URI_INVALID,
            f"{redacted(uri)} carries credentials, a query or a fragment",
            "name the Secret with the credentials in secretName instead",
        )
    match parts.scheme:
        case "s3":
            from mooring_model.stores.s3 import S3Store

            return S3Store(_required(parts.netloc, uri), parts.path.strip("/"))
        case "https":
            from mooring_model.stores.https import HttpsStore

            return HttpsStore(f"https://{_required(parts.netloc, uri)}{parts.path.rstrip('/')}")
        case "pvc":
            from mooring_model.stores.directory import DirectoryStore

            return DirectoryStore(PVC_ROOT / _required(parts.netloc, uri), parts.path)
        case "file" if allow_file:
            from mooring_model.stores.directory import DirectoryStore

            return DirectoryStore(Path("/"), parts.path)
        case _:
            raise PackageRefused(
                RefusalReason.SCHEME_REFUSED,
                f"{redacted(uri)}: scheme {parts.scheme or 'none'} is not allowed here",
                "use s3:, https: or pvc: (file: works on the command line only)",
            )


def redacted(uri: str) -> str:
    """The URI without what may be secret: user, password, query, fragment."""
    parts = urlsplit(uri)
    host = parts.netloc.rsplit("@", 1)[-1]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else uri.split("?")[0]


def _required(host: str, uri: str) -> str:
    if host:
        return host
    raise PackageRefused(
        RefusalReason.URI_INVALID,
        f"{redacted(uri)} names no bucket, host or claim",
        "write s3://BUCKET/PREFIX, https://HOST/DIRECTORY or pvc://CLAIM/PATH",
    )


def _must_be_fresh(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise PackageRefused(
            RefusalReason.EXTRA_FILE, f"{out} is not empty", "fetch into a new directory"
        )


@contextmanager
def _scratch(out: Path) -> Generator[Path]:
    """A directory beside `out`, or inside it when the parent is not ours to write."""
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=out.parent))
    except PermissionError:
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=out))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move_into(scratch: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    for path in scratch.iterdir():
        shutil.move(path, out / path.name)


def _fetch_manifest(store: Store, shown: str, scratch: Path) -> Manifest:
    data = b""
    with _mapped(shown, MANIFEST):
        for chunk in store.chunks(MANIFEST):
            data += chunk
            if len(data) > MAX_MANIFEST_BYTES:
                break
    manifest = parse_manifest(data, where=shown)
    (scratch / MANIFEST).write_bytes(data)
    return manifest


def _check_total(manifest: Manifest, shown: str) -> None:
    total = sum(entry.size for entry in manifest.files)
    if total > MAX_PACKAGE_BYTES:
        raise PackageRefused(
            RefusalReason.MANIFEST_INVALID,
            f"{shown}: {total} bytes, at most {MAX_PACKAGE_BYTES} are fetched",
            "make the model smaller",
        )


def _fetch_file(store: Store, shown: str, entry: FileEntry, path: Path) -> None:
    hashed, size = hashlib.sha256(), 0
    with _mapped(shown, entry.path), path.open("wb") as target:
        for chunk in store.chunks(entry.path):
            size += len(chunk)
            if size > entry.size:
                break
            hashed.update(chunk)
            target.write(chunk)
    if size != entry.size or hashed.hexdigest() != entry.sha256:
        raise PackageRefused(
            RefusalReason.FILE_CORRUPT,
            f"{shown}: {entry.path} is not what the manifest lists ({size} bytes read)",
            "upload the package again with `mooring push`",
        )


@contextmanager
def _mapped(shown: str, name: str) -> Generator[None]:
    """Absence of a file becomes a refusal; any other trouble of the store is transient."""
    try:
        yield
    except PackageError:
        raise
    except FileNotFoundError as error:
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
