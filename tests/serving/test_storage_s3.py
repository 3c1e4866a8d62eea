"""Fetching and uploading through a real S3 server (versitygw) on loopback."""

import os
import shutil
import socket
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from mooring_model.errors import (
    PackageRefused,
    RefusalReason,
    StoreUnavailable,
    UnavailableReason,
)
from mooring_model.manifest import (
    Format,
    package_digest,
    read_manifest,
    verify_files,
    write_manifest,
)
from mooring_model.storage import fetch, upload
from mooring_model.stores import s3
from mooring_model.stores.s3 import filesystem
from tests.serving.packaged_models import CREATED, packaged
from tests.serving.stores import S3Server, s3_server

pytestmark = pytest.mark.s3

DIGEST = package_digest(read_manifest(packaged("binary")))
URI = "s3://models/cancer/v1"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    """One server for all tests."""
    with s3_server(tmp_path_factory.mktemp("s3") / "data") as server:
        yield server


@pytest.fixture
def store(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server with an empty bucket `models`, reached through the standard environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    bucket = running.root / "models"
    if not bucket.exists():
        filesystem().mkdir("models")
    for left in bucket.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return running


def test_pushed_package_is_fetched_whole(store: S3Server, tmp_path: Path) -> None:
    upload(packaged("binary"), URI)
    fetch(URI, DIGEST, tmp_path / "out")
    assert verify_files(tmp_path / "out", DIGEST)
    assert (store.root / "models/cancer/v1/model.onnx").is_file()


def test_push_is_idempotent_and_never_replaces(store: S3Server) -> None:
    upload(packaged("binary"), URI)
    stamp = (store.root / "models/cancer/v1/model.onnx").stat().st_mtime_ns
    upload(packaged("binary"), URI)
    assert (store.root / "models/cancer/v1/model.onnx").stat().st_mtime_ns == stamp
    with pytest.raises(PackageRefused, match="already holds"):
        upload(packaged("regression"), URI)


def test_half_a_push_is_no_package_and_is_completed(store: S3Server, tmp_path: Path) -> None:
    upload(packaged("binary"), URI)
    (store.root / "models/cancer/v1/manifest.json").unlink()
    with pytest.raises(PackageRefused) as refused:
        fetch(URI, DIGEST, tmp_path / "out")
    assert refused.value.reason is RefusalReason.PACKAGE_NOT_FOUND
    upload(packaged("binary"), URI)
    fetch(URI, DIGEST, tmp_path / "out")


def test_changed_object_is_refused(store: S3Server, tmp_path: Path) -> None:
    upload(packaged("binary"), URI)
    path = store.root / "models/cancer/v1/model.onnx"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(PackageRefused, match=r"model\.onnx") as refused:
        fetch(URI, DIGEST, tmp_path / "out")
    assert refused.value.reason is RefusalReason.FILE_CORRUPT
    assert not (tmp_path / "out").exists()


def test_missing_object_is_refused_by_its_name(store: S3Server, tmp_path: Path) -> None:
    upload(packaged("binary"), URI)
    (store.root / "models/cancer/v1/card.md").unlink()
    with pytest.raises(PackageRefused, match=r"card\.md") as refused:
        fetch(URI, DIGEST, tmp_path / "out")
    assert refused.value.reason is RefusalReason.FILE_MISSING


@pytest.mark.parametrize("uri", ["s3://models/absent", "s3://no-such-bucket/x"])
def test_absent_package_is_refused(store: S3Server, tmp_path: Path, uri: str) -> None:
    with pytest.raises(PackageRefused) as refused:
        fetch(uri, DIGEST, tmp_path / "out")
    assert refused.value.reason is RefusalReason.PACKAGE_NOT_FOUND


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "nobody")],
)
def test_wrong_credentials_are_transient_and_never_shown(
    store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    upload(packaged("binary"), URI)
    monkeypatch.setenv(name, value)
    with pytest.raises(StoreUnavailable) as denied:
        fetch(URI, DIGEST, tmp_path / "out")
    assert denied.value.reason is UnavailableReason.STORE_DENIED
    assert store.secret not in str(denied.value)
    assert "Secret" in denied.value.remedy


def test_closed_endpoint_is_transient_within_seconds(
    store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable) as unavailable:
            fetch(URI, DIGEST, tmp_path / "out")
    assert unavailable.value.reason is UnavailableReason.STORE_UNREACHABLE
    assert time.monotonic() - begun < 30


def test_server_that_never_answers_is_given_up_after_few_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "READ_SECONDS", 0.05)
    for name, value in S3Server("", tmp_path).environment().items():
        monkeypatch.setenv(name, value)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StoreUnavailable) as unavailable:
            fetch(URI, DIGEST, tmp_path / "out")
        assert unavailable.value.reason is UnavailableReason.STORE_UNREACHABLE
        assert _waiting(silent) <= s3.ATTEMPTS * s3.READS
    assert not (tmp_path / "out").exists()


def _waiting(server: socket.socket) -> int:
    """How many connections were made to a server that accepted none."""
    server.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_endpoint_by_name_is_addressed_by_path(
    store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(packaged("binary"), URI)
    named = store.endpoint.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("AWS_ENDPOINT_URL", named)
    fetch(URI, DIGEST, tmp_path / "out")


def test_large_package_is_fetched_in_bounded_memory(store: S3Server, tmp_path: Path) -> None:
    package = Path(shutil.copytree(packaged("binary"), tmp_path / "package"))
    (package / "notes.bin").write_bytes(os.urandom(1 << 20) * 40)
    (package / "manifest.json").unlink()
    manifest = write_manifest(package, model="m", format_=Format.ONNX, created_at=CREATED)
    upload(package, "s3://models/large")
    fetch("s3://models/large", package_digest(manifest), tmp_path / "out")
    assert (tmp_path / "out" / "notes.bin").stat().st_size == 40 << 20
