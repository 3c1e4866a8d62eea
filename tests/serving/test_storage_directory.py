"""Fetching and uploading through directories: file: on the command line, and mounted claims."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
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
from mooring_model.storage import DEADLINE_SECONDS, PARTIAL, Access, fetch, upload
from mooring_model.stores.directory import DirectoryStore
from tests.serving.packaged_models import CREATED, packaged

NOBODY = "sha256:" + "0" * 64


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of a good package, as a store."""
    return Path(shutil.copytree(packaged("binary"), tmp_path / "store"))


def digest_of(directory: Path) -> str:
    return package_digest(read_manifest(directory))


def fetch_file(source: Path, out: Path, digest: str | None = None) -> None:
    fetch(f"file://{source}", digest or digest_of(source), out, allow_file=True)


def refusal(source: Path, out: Path, digest: str | None = None) -> PackageRefused:
    """The refusal of a fetch, which leaves nothing behind."""
    with pytest.raises(PackageRefused) as refused:
        fetch_file(source, out, digest)
    assert not out.exists() or not list(out.iterdir())
    return refused.value


@pytest.mark.parametrize("there", ["absent", "empty", "a deep path"])
def test_fetched_package_is_whole(source: Path, tmp_path: Path, there: str) -> None:
    out = tmp_path / ("a/b/c" if there == "a deep path" else "out")
    if there == "empty":
        out.mkdir()
    fetch_file(source, out)
    assert verify_files(out, digest_of(source)) == read_manifest(source)
    assert {path.name for path in out.iterdir()} == {path.name for path in source.iterdir()}
    assert (out / "model.onnx").stat().st_nlink == 1


def test_file_uri_is_refused_where_it_is_not_allowed(source: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageRefused) as refused:
        fetch(f"file://{source}", digest_of(source), tmp_path / "out")
    assert refused.value.reason is RefusalReason.SCHEME_REFUSED


def test_claim_is_read_where_it_is_mounted(source: Path, tmp_path: Path) -> None:
    mounted = tmp_path / "pvc" / "models" / "team"
    mounted.parent.mkdir(parents=True)
    shutil.move(source, mounted)
    access = Access(pvc_root=tmp_path / "pvc")
    fetch("pvc://models/team", digest_of(mounted), tmp_path / "out", access=access)
    assert verify_files(tmp_path / "out")


def test_path_that_climbs_out_of_a_claim_is_refused(tmp_path: Path) -> None:
    for uri in ("pvc://models/../other", "pvc://models/a/../../b", "pvc://../etc"):
        with pytest.raises(PackageRefused) as refused:
            fetch(uri, NOBODY, tmp_path / "out", access=Access(pvc_root=tmp_path))
        assert refused.value.reason is RefusalReason.URI_INVALID


def test_link_that_leaves_the_claim_is_refused(source: Path, tmp_path: Path) -> None:
    claim = tmp_path / "pvc" / "models"
    claim.mkdir(parents=True)
    (claim / "elsewhere").symlink_to(source)
    access = Access(pvc_root=tmp_path / "pvc")
    with pytest.raises(PackageRefused) as refused:
        fetch("pvc://models/elsewhere", digest_of(source), tmp_path / "out", access=access)
    assert refused.value.reason is RefusalReason.LINK_REFUSED


@pytest.mark.parametrize("to", ["v1", ".", "../models/v1"])
def test_link_within_the_claim_is_refused_too(source: Path, tmp_path: Path, to: str) -> None:
    claim = tmp_path / "pvc" / "models"
    shutil.copytree(source, claim / "v1")
    (claim / "latest").symlink_to(to)
    access = Access(pvc_root=tmp_path / "pvc")
    for path in ("latest", "latest/v1"):
        with pytest.raises(PackageRefused, match="latest is a link") as refused:
            fetch(f"pvc://models/{path}", NOBODY, tmp_path / "out", access=access)
        assert refused.value.reason is RefusalReason.LINK_REFUSED
        assert not (tmp_path / "out").exists()


def test_file_where_a_directory_belongs_is_no_package(source: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageRefused) as refused:
        fetch(f"file://{source}/card.md", NOBODY, tmp_path / "out", allow_file=True)
    assert refused.value.reason is RefusalReason.PACKAGE_NOT_FOUND


def test_linked_way_to_a_directory_of_ones_own_is_followed(source: Path, tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(source.parent)
    fetch_file(tmp_path / "models" / source.name, tmp_path / "out", digest_of(source))
    assert verify_files(tmp_path / "out")


def test_linked_file_in_the_store_is_refused(source: Path, tmp_path: Path) -> None:
    shutil.move(source / "card.md", tmp_path / "card.md")
    (source / "card.md").symlink_to(tmp_path / "card.md")
    assert refusal(source, tmp_path / "out").reason is RefusalReason.LINK_REFUSED


def test_fifo_in_the_store_does_not_hold_the_fetch_up(source: Path, tmp_path: Path) -> None:
    (source / "card.md").unlink()
    os.mkfifo(source / "card.md")
    assert refusal(source, tmp_path / "out").reason is RefusalReason.LINK_REFUSED


def test_absent_package_is_refused_by_its_uri(tmp_path: Path) -> None:
    with pytest.raises(PackageRefused, match="file:///nowhere") as refused:
        fetch("file:///nowhere", NOBODY, tmp_path / "out", allow_file=True)
    assert refused.value.reason is RefusalReason.PACKAGE_NOT_FOUND
    assert not (tmp_path / "out").exists()


def test_wrong_digest_is_refused_before_any_file_is_read(source: Path, tmp_path: Path) -> None:
    (source / "model.onnx").unlink()
    assert refusal(source, tmp_path / "out", NOBODY).reason is RefusalReason.DIGEST_MISMATCH


def test_missing_file_is_refused_by_its_name(source: Path, tmp_path: Path) -> None:
    (source / "card.md").unlink()
    found = refusal(source, tmp_path / "out")
    assert found.reason is RefusalReason.FILE_MISSING
    assert "card.md" in found.message


@pytest.mark.parametrize("change", ["flipped", "shorter", "longer"])
def test_changed_file_is_refused_by_its_name(source: Path, tmp_path: Path, change: str) -> None:
    data = bytearray((source / "model.onnx").read_bytes())
    if change == "flipped":
        data[-1] ^= 1
    elif change == "shorter":
        del data[-1]
    else:
        data += b"x" * 5_000_000
    (source / "model.onnx").write_bytes(data)
    found = refusal(source, tmp_path / "out")
    assert found.reason is RefusalReason.FILE_CORRUPT
    assert "model.onnx" in found.message


def test_file_that_is_not_listed_is_not_fetched(source: Path, tmp_path: Path) -> None:
    (source / "more.txt").write_text("x")
    fetch_file(source, tmp_path / "out")
    assert not (tmp_path / "out" / "more.txt").exists()


def test_disguised_pickle_is_refused_although_its_digest_is_right(
    source: Path, tmp_path: Path
) -> None:
    (source / "model.onnx").write_bytes(b"\x80\x04N.")
    (source / "manifest.json").unlink()
    write_manifest(source, model="m", format_=Format.ONNX, created_at=CREATED)
    assert refusal(source, tmp_path / "out").reason is RefusalReason.PICKLE_REFUSED


def test_package_beyond_the_size_limit_is_refused(source: Path, tmp_path: Path) -> None:
    document = json.loads((source / "manifest.json").read_text())
    document["files"][0]["size"] = 1 << 35
    (source / "manifest.json").write_text(json.dumps(document))
    assert refusal(source, tmp_path / "out").reason is RefusalReason.MANIFEST_INVALID


def test_fetch_into_another_directory_is_refused_and_changes_nothing(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(PackageRefused) as refused:
        fetch_file(source, out)
    assert refused.value.reason is RefusalReason.EXTRA_FILE
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_second_fetch_finds_the_package_and_reads_nothing(source: Path, tmp_path: Path) -> None:
    out, digest = tmp_path / "out", digest_of(source)
    fetch_file(source, out)
    shutil.rmtree(source)
    assert package_digest(fetch(f"file://{source}", digest, out, allow_file=True)) == digest


@pytest.mark.parametrize(
    "moved", [(), ("card.md", "model.onnx")], ids=["while reading", "at the end"]
)
def test_fetch_that_was_killed_is_finished_by_the_next(
    source: Path, tmp_path: Path, moved: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    (out / PARTIAL).mkdir(parents=True)
    (out / PARTIAL / "manifest.json").write_text("half")
    for name in moved:
        shutil.copyfile(source / name, out / name)
    fetch_file(source, out)
    assert verify_files(out, digest_of(source))


def test_full_disk_is_transient_and_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: DirectoryStore, name: str) -> Iterator[bytes]:
        yield b"{"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DirectoryStore, "chunks", full)
    with pytest.raises(StoreUnavailable) as unavailable:
        fetch(f"file://{source}", NOBODY, tmp_path / "out", allow_file=True)
    assert unavailable.value.reason is UnavailableReason.STORE_UNREACHABLE
    assert not (tmp_path / "out").exists()


def test_store_that_trickles_is_given_up(source: Path, tmp_path: Path) -> None:
    ticks = iter(range(0, 10**9, int(2 * DEADLINE_SECONDS)))
    with pytest.raises(StoreUnavailable, match="not read within"):
        fetch(
            f"file://{source}",
            digest_of(source),
            tmp_path / "out",
            allow_file=True,
            clock=lambda: float(next(ticks)),
        )


def test_uploaded_package_can_be_fetched(source: Path, tmp_path: Path) -> None:
    upload(source, f"file://{tmp_path}/models/v1", allow_file=True)
    fetch_file(tmp_path / "models" / "v1", tmp_path / "out", digest_of(source))
    assert verify_files(tmp_path / "out", digest_of(source))


def test_broken_package_is_not_uploaded(source: Path, tmp_path: Path) -> None:
    (source / "card.md").write_text("changed")
    with pytest.raises(PackageRefused) as refused:
        upload(source, f"file://{tmp_path}/models/v1", allow_file=True)
    assert refused.value.reason is RefusalReason.FILE_CORRUPT
    assert not (tmp_path / "models").exists()


def test_upload_never_replaces_another_package(source: Path, tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/models/v1"
    upload(packaged("regression"), uri, allow_file=True)
    upload(packaged("regression"), uri, allow_file=True)
    with pytest.raises(PackageRefused, match="already holds") as refused:
        upload(source, uri, allow_file=True)
    assert refused.value.reason is RefusalReason.EXTRA_FILE
    assert verify_files(tmp_path / "models" / "v1", digest_of(packaged("regression")))
