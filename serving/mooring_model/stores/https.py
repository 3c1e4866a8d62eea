"""A directory served over HTTPS, read only.

The host is resolved once and the connection goes to that very address, so that no name can change
its meaning between check and use. Link-local (cloud metadata), multicast and reserved addresses are
never reached, this machine only where allowed. Redirects are followed within the same host only.
"""

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus

import certifi
import httpx

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import CHUNK
from mooring_model.uri import Scheme, StoreUri

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
MAX_REDIRECTS = 3
_TRANSIENT = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
)
_METADATA = (ipaddress.ip_address("169.254.169.254"), ipaddress.ip_address("fd00:ec2::254"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class HttpsStore:
    """The files below one URL."""

    def __init__(self, uri: StoreUri, *, loopback: bool) -> None:
        self._uri = uri
        self._port = uri.port or (443 if uri.scheme is Scheme.HTTPS else 80)
        self._loopback = loopback
        self._address: Address | None = None

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file's bytes, streamed from one GET."""
        path = f"/{self._uri.path}/{name}".replace("//", "/")
        verify = _context() if self._uri.scheme is Scheme.HTTPS else False
        with httpx.Client(timeout=TIMEOUT, verify=verify, trust_env=False) as client:
            try:
                for _ in range(MAX_REDIRECTS + 1):
                    answer = client.send(self._request(client, path), stream=True)
                    with closing(answer):
                        if not answer.is_redirect:
                            _check(answer.status_code, path)
                            yield from answer.iter_raw(CHUNK)
                            return
                        path = self._redirected(answer, path)
            except httpx.HTTPError as error:
                raise ConnectionError(f"{type(error).__name__}: {error}") from error
        raise self._refuse(f"redirects more than {MAX_REDIRECTS} times")

    def _request(self, client: httpx.Client, path: str) -> httpx.Request:
        """A request to the resolved address, in the name of the host."""
        address = self._resolve()
        host = f"[{address}]" if address.version == 6 else str(address)
        named = f"[{self._uri.host}]" if ":" in self._uri.host else self._uri.host
        return client.build_request(
            "GET",
            f"{self._uri.scheme}://{host}:{self._port}{path}",
            headers={
                "host": named if self._uri.port is None else f"{named}:{self._port}",
                "accept-encoding": "identity",
            },
            extensions={"sni_hostname": self._uri.host},
        )

    def _resolve(self) -> Address:
        """The host's address, looked up once.

        Raises:
            PackageRefused: UriInvalid; one of its addresses may not be reached.
            OSError: there is no such host, for now.
        """
        if self._address is None:
            found = socket.getaddrinfo(self._uri.host, self._port, type=socket.SOCK_STREAM)
            addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]
            for address in addresses:
                self._check_address(address)
            self._address = addresses[0]
        return self._address

    def _check_address(self, address: Address) -> None:
        plain = getattr(address, "ipv4_mapped", None) or address
        if plain.is_loopback:
            if not self._loopback:
                raise self._refuse(f"resolves to {plain}, this machine")
            return
        if self._uri.scheme is Scheme.HTTP:
            raise self._refuse("is plain http: with another machine")
        odd = plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain.is_reserved
        if odd or plain in _METADATA:
            raise self._refuse(f"resolves to {plain}, which no store has")

    def _redirected(self, answer: httpx.Response, path: str) -> str:
        """The path of a redirect within the same host.

        Raises:
            PackageRefused: UriInvalid; it leads elsewhere.
        """
        port = "" if self._uri.port is None else f":{self._port}"
        origin = httpx.URL(f"{self._uri.scheme}://{self._uri.host}{port}{path}")
        to = origin.join(answer.headers.get("location", ""))
        if (to.scheme, to.host, to.port) != (origin.scheme, origin.host, origin.port):
            raise self._refuse(f"redirects to another host, {to.host}")
        return to.raw_path.decode("ascii")

    def _refuse(self, what: str) -> PackageRefused:
        return PackageRefused(
            RefusalReason.URI_INVALID,
            f"{self._uri.shown} {what}",
            "name the store's own https: address",
        )


def _context() -> ssl.SSLContext:
    """Certificates: those of SSL_CERT_FILE and SSL_CERT_DIR, else certifi's."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        return ssl.create_default_context(cafile=file, capath=folder)
    return ssl.create_default_context(cafile=certifi.where())


def _check(status: int, path: str) -> None:
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise FileNotFoundError(path)
    if status in _TRANSIENT:
        raise PermissionError(path)
    if status != HTTPStatus.OK:
        raise ConnectionError(f"answered {status}")
