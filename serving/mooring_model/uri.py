"""Store URIs: which there are, and how one is shown without what may be secret."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from mooring_model.errors import PackageRefused, RefusalReason

MAX_LENGTH = 2048
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")
_SHOWN_LENGTH = 300


class Scheme(StrEnum):
    """Kinds of store."""

    FILE = "file"
    """A directory of this machine; the command line only."""
    HTTP = "http"
    """Plain HTTP, with this machine only."""
    HTTPS = "https"
    """A directory served over HTTPS."""
    PVC = "pvc"
    """A mounted claim."""
    S3 = "s3"
    """A prefix of a bucket."""


@dataclass(frozen=True)
class StoreUri:
    """A URI that may be used.

    Attributes:
        scheme: the kind of store.
        host: bucket, claim or host name; empty for `file:`.
        port: of `https:` and `http:`; None: the scheme's own.
        path: without slashes at its ends, except for `file:`, where it is absolute.
        shown: the URI for messages.
    """

    scheme: Scheme
    host: str
    port: int | None
    path: str
    shown: str


def parse_uri(uri: str) -> StoreUri:
    """Takes a URI apart.

    Raises:
        PackageRefused: UriInvalid or SchemeRefused, saying what is wrong.
    """
    shown = redacted(uri)
    if len(uri) > MAX_LENGTH or _CONTROL.search(uri):
        raise _invalid(shown, "is too long, or holds a space, backslash or control character")
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise _invalid(shown, f"is no URI: {error}") from error
    if "@" in parts.netloc or "?" in uri or "#" in uri:
        raise PackageRefused(
            RefusalReason.URI_INVALID,
            f"{shown} carries credentials, a query or a fragment",
            "name the Secret with the credentials in secretName instead",
        )
    if parts.scheme not in list(Scheme):
        raise PackageRefused(
            RefusalReason.SCHEME_REFUSED,
            f"{shown}: there is no scheme {parts.scheme or '(none given)'!r}",
            "use s3:, https: or pvc: (file: works on the command line only)",
        )
    scheme = Scheme(parts.scheme)
    _check_place(scheme, parts.netloc, port, shown)
    if ".." in PurePosixPath(parts.path).parts or "//" in parts.path.strip("/"):
        raise _invalid(shown, "climbs out of its store, or has an empty part")
    path = parts.path if scheme is Scheme.FILE else parts.path.strip("/")
    return StoreUri(scheme, parts.hostname or "", port, path, shown)


def redacted(uri: str) -> str:
    """The URI without what may be secret: user, password, query, fragment."""
    bare = re.split(r"[?#]", _CONTROL.sub("", uri), maxsplit=1)[0]
    scheme, mark, rest = bare.partition("://")
    if not mark:
        return bare.rsplit("@", 1)[-1][:_SHOWN_LENGTH]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rsplit('@', 1)[-1]}{slash}{path}"[:_SHOWN_LENGTH]


def _check_place(scheme: Scheme, place: str, port: int | None, shown: str) -> None:
    if scheme is Scheme.FILE:
        if place:
            raise _invalid(shown, "names a host")
        return
    if not place:
        raise _invalid(shown, "names no bucket, host or claim")
    if scheme in (Scheme.S3, Scheme.PVC) and (
        port is not None or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", place)
    ):
        raise _invalid(shown, f"has {place!r} where a {scheme} name belongs")


def _invalid(shown: str, what: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.URI_INVALID,
        f"{shown} {what}",
        "write s3://BUCKET/PREFIX, https://HOST/DIRECTORY, pvc://CLAIM/PATH or file:///DIRECTORY",
    )
