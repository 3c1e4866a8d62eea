"""Fetching over HTTPS from a real TLS server on loopback."""

import shutil
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from mooring_model.errors import (
    PackageRefused,
    RefusalReason,
    StoreUnavailable,
    UnavailableReason,
)
from mooring_model.manifest import package_digest, read_manifest, verify_files
from mooring_model.storage import Access, fetch, upload
from tests.serving.packaged_models import packaged
from tests.serving.stores import HttpsServer, https_server

LOOPBACK = Access(loopback=True)
DIGEST = package_digest(read_manifest(packaged("binary")))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[HttpsServer]:
    """A server with a package at `/models/v1`, whose authority is trusted."""
    shutil.copytree(packaged("binary"), tmp_path / "www" / "models" / "v1")
    with https_server(tmp_path / "www", tmp_path / "pki") as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.authority))
        yield running


def test_package_is_fetched_and_verified(server: HttpsServer, tmp_path: Path) -> None:
    fetch(f"{server.url}/models/v1/", DIGEST, tmp_path / "out", access=LOOPBACK)
    assert verify_files(tmp_path / "out", DIGEST)
    assert server.answers.asked[0] == "/models/v1/manifest.json"


def refusal(uri: str, out: Path, access: Access = LOOPBACK) -> PackageRefused:
    with pytest.raises(PackageRefused) as refused:
        fetch(uri, DIGEST, out, access=access)
    assert not out.exists()
    return refused.value


def unavailable(uri: str, out: Path) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as failed:
        fetch(uri, DIGEST, out, access=LOOPBACK)
    assert not out.exists()
    return failed.value


def test_absent_package_and_file_are_refused(server: HttpsServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert refusal(f"{server.url}/absent", out).reason is RefusalReason.PACKAGE_NOT_FOUND
    (tmp_path / "www" / "models" / "v1" / "card.md").unlink()
    found = refusal(f"{server.url}/models/v1", out)
    assert found.reason is RefusalReason.FILE_MISSING
    assert "card.md" in found.message


def test_bigger_file_than_listed_is_cut_off_and_refused(
    server: HttpsServer, tmp_path: Path
) -> None:
    (tmp_path / "www" / "models" / "v1" / "card.md").write_bytes(b"x" * 50_000_000)
    found = refusal(f"{server.url}/models/v1", tmp_path / "out")
    assert found.reason is RefusalReason.FILE_CORRUPT


@pytest.mark.parametrize("status", [401, 403])
def test_denial_is_transient_and_names_the_secret(
    server: HttpsServer, tmp_path: Path, status: int
) -> None:
    server.answers.statuses["manifest.json"] = status
    failed = unavailable(f"{server.url}/models/v1", tmp_path / "out")
    assert failed.reason is UnavailableReason.STORE_DENIED
    assert "Secret" in failed.remedy


@pytest.mark.parametrize("status", [500, 503, 429, 204])
def test_trouble_of_the_server_is_transient(
    server: HttpsServer, tmp_path: Path, status: int
) -> None:
    server.answers.statuses["manifest.json"] = status
    failed = unavailable(f"{server.url}/models/v1", tmp_path / "out")
    assert failed.reason is UnavailableReason.STORE_UNREACHABLE


def test_answer_that_breaks_off_is_transient(server: HttpsServer, tmp_path: Path) -> None:
    server.answers.cut_short.add("model.onnx")
    failed = unavailable(f"{server.url}/models/v1", tmp_path / "out")
    assert failed.reason is UnavailableReason.STORE_UNREACHABLE


def test_closed_port_is_transient(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        failed = unavailable(f"https://127.0.0.1:{port}/models", tmp_path / "out")
    assert failed.reason is UnavailableReason.STORE_UNREACHABLE


def test_redirect_within_the_host_is_followed(server: HttpsServer, tmp_path: Path) -> None:
    shutil.move(tmp_path / "www/models/v1/model.onnx", tmp_path / "www/moved.bin")
    server.answers.redirects["model.onnx"] = "/moved.bin"
    fetch(f"{server.url}/models/v1", DIGEST, tmp_path / "out", access=LOOPBACK)
    assert verify_files(tmp_path / "out", DIGEST)


@pytest.mark.parametrize(
    "to",
    [
        "https://example.org/model.onnx",
        "https://169.254.169.254/latest/meta-data",
        "http://localhost/model.onnx",
        "file:///etc/passwd",
        "//example.org/x",
    ],
)
def test_redirect_to_another_host_is_refused(server: HttpsServer, tmp_path: Path, to: str) -> None:
    server.answers.redirects["model.onnx"] = to
    found = refusal(f"{server.url}/models/v1", tmp_path / "out")
    assert found.reason is RefusalReason.URI_INVALID
    assert "another host" in found.message


def test_endless_redirects_are_refused(server: HttpsServer, tmp_path: Path) -> None:
    server.answers.redirects["manifest.json"] = "/models/v1/manifest.json"
    found = refusal(f"{server.url}/models/v1", tmp_path / "out")
    assert "redirects more than" in found.message
    assert len(server.answers.asked) == 4


def test_server_with_an_unknown_authority_is_not_trusted(
    server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    failed = unavailable(f"{server.url}/models/v1", tmp_path / "out")
    assert "certificate" in failed.message.lower()
    assert server.answers.asked == []


def test_server_with_a_certificate_for_another_name_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "www").mkdir()
    with https_server(tmp_path / "www", tmp_path / "pki", names=("store.test",)) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.authority))
        failed = unavailable(f"{running.url}/models/v1", tmp_path / "out")
    assert "certificate" in failed.message.lower()


def test_this_machine_is_no_store_for_a_pod(server: HttpsServer, tmp_path: Path) -> None:
    for uri in (f"{server.url}/models/v1", f"https://127.0.0.1:{server.port}/models/v1"):
        found = refusal(uri, tmp_path / "out", Access())
        assert found.reason is RefusalReason.URI_INVALID
    assert server.answers.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "0.0.0.0",  # noqa: S104 - as a destination
        "224.0.0.1",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
    ],
)
def test_address_of_no_store_is_refused_however_it_is_written(tmp_path: Path, host: str) -> None:
    found = refusal(f"https://{host}/models", tmp_path / "out")
    assert found.reason is RefusalReason.URI_INVALID


def test_name_that_means_a_metadata_server_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "models.test"
        addresses = ("198.51.100.7", "169.254.169.254")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (to, port)) for to in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = refusal("https://models.test/v1", tmp_path / "out")
    assert "which no store has" in found.message


def test_host_is_resolved_once_for_all_files(
    server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    genuine = socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return genuine(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    fetch(f"{server.url}/models/v1", DIGEST, tmp_path / "out", access=LOOPBACK)
    assert [host for host in asked if host == "localhost"] == ["localhost"]


def test_plain_http_reaches_this_machine_only_and_only_where_allowed(tmp_path: Path) -> None:
    shutil.copytree(packaged("binary"), tmp_path / "www" / "v1")
    with https_server(tmp_path / "www", tmp_path / "pki", tls=False) as running:
        uri = f"http://127.0.0.1:{running.port}/v1"
        assert refusal(uri, tmp_path / "out", Access()).reason is RefusalReason.SCHEME_REFUSED
        fetch(uri, DIGEST, tmp_path / "out", access=LOOPBACK)
    found = refusal("http://198.51.100.7/v1", tmp_path / "other")
    assert found.reason is RefusalReason.URI_INVALID


@pytest.mark.parametrize(
    "uri",
    [
        "https://user:hunter2@localhost/v1",
        "https://hunter2@localhost/v1",
        "https://localhost/v1?X-Amz-Signature=hunter2",
        "https://localhost/v1#hunter2",
    ],
)
def test_secret_in_a_uri_is_refused_and_never_shown(tmp_path: Path, uri: str) -> None:
    found = refusal(uri, tmp_path / "out")
    assert found.reason is RefusalReason.URI_INVALID
    assert "hunter2" not in str(found)


def test_https_cannot_be_written_to(server: HttpsServer) -> None:
    with pytest.raises(PackageRefused, match="cannot be written to") as refused:
        upload(packaged("binary"), f"{server.url}/models/v2", access=LOOPBACK)
    assert refused.value.reason is RefusalReason.SCHEME_REFUSED
