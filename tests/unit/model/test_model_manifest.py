"""The manifest and the digest over it."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import (
    FileEntry,
    Format,
    Manifest,
    canonical,
    package_digest,
    parse_manifest,
    verify_files,
    write_manifest,
)

CREATED = datetime(2026, 11, 24, 12, tzinfo=UTC)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
ENTRIES = st.builds(
    FileEntry,
    path=NAMES.filter(lambda name: name.casefold() not in ("manifest.json", "model.onnx")),
    size=st.integers(0, 1 << 26),
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
)
MODEL_FILE = FileEntry(path="model.onnx", size=1, sha256="0" * 64)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    entries = draw(st.lists(ENTRIES, max_size=5, unique_by=lambda entry: entry.path.casefold()))
    created = draw(st.datetimes(timezones=st.just(UTC), min_value=datetime(1980, 1, 1)))  # noqa: DTZ001 - hypothesis adds the zone
    return Manifest(
        model=draw(st.text(min_size=1, max_size=63).filter(lambda text: text.isprintable())),
        format=Format.ONNX,
        created_at=created,
        files=tuple(sorted([*entries, MODEL_FILE], key=lambda entry: entry.path)),
    )


@settings(max_examples=30)
@given(manifests())
def test_digest_survives_the_way_through_a_file(manifest: Manifest) -> None:
    pretty = json.dumps(manifest.to_json(), indent=3).encode()
    for data in (canonical(manifest.to_json()), pretty):
        assert package_digest(parse_manifest(data, where="x")) == package_digest(manifest)
    digest = hashlib.sha256(canonical(manifest.to_json())).hexdigest()
    assert package_digest(manifest) == f"sha256:{digest}"


@settings(max_examples=30)
@given(manifests(), st.data())
def test_digest_changes_with_every_fact(manifest: Manifest, data: st.DataObject) -> None:
    change = data.draw(
        st.sampled_from(
            [
                {"model": manifest.model + "x" if len(manifest.model) < 63 else "x"},
                {"created_at": manifest.created_at - timedelta(seconds=1)},
                {"files": (MODEL_FILE.model_copy(update={"size": 2}),)},
                {"files": (MODEL_FILE.model_copy(update={"sha256": "1" * 64}),)},
            ]
        )
    )
    assert package_digest(manifest.model_copy(update=change)) != package_digest(manifest)


def test_canonical_json_is_sorted_dense_and_unescaped() -> None:
    assert canonical({"b": 1.5, "a": ["é", None]}) == '{"a":["é",null],"b":1.5}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})


def test_written_manifest_lists_files_sorted_with_sizes_and_hashes(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"bb")
    (tmp_path / "model.onnx").write_bytes(b"m")
    (tmp_path / "a").write_bytes(b"")
    manifest = write_manifest(tmp_path, model="m", format_=Format.ONNX, created_at=CREATED)
    assert [(entry.path, entry.size) for entry in manifest.files] == [
        ("a", 0),
        ("b", 2),
        ("model.onnx", 1),
    ]
    assert manifest.files[1].sha256 == hashlib.sha256(b"bb").hexdigest()
    assert verify_files(tmp_path, package_digest(manifest)) == manifest


@pytest.mark.parametrize(
    "created",
    [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))],  # noqa: DTZ001 - the point
    ids=["naive", "another zone"],
)
def test_time_that_is_not_utc_is_refused(tmp_path: Path, created: datetime) -> None:
    (tmp_path / "model.onnx").write_bytes(b"m")
    with pytest.raises(ValueError, match="created"):
        write_manifest(tmp_path, model="m", format_=Format.ONNX, created_at=created)


@pytest.mark.parametrize(
    "paths",
    [["b", "a", "model.onnx"], ["a", "a", "model.onnx"], ["a"], ["manifest.json", "model.onnx"]],
    ids=["unsorted", "twice", "no model", "itself"],
)
def test_manifest_with_an_odd_list_is_refused(paths: list[str]) -> None:
    document = {
        "formatVersion": 1,
        "model": "m",
        "format": "onnx",
        "createdAt": "2026-11-24T12:00:00Z",
        "files": [{"path": path, "size": 1, "sha256": "0" * 64} for path in paths],
    }
    with pytest.raises(PackageRefused) as refused:
        parse_manifest(json.dumps(document).encode(), where="x")
    assert refused.value.reason is RefusalReason.MANIFEST_INVALID


@pytest.mark.parametrize("size", ["1", 1.0, True, -1, None])
def test_size_of_another_type_is_refused(size: object) -> None:
    entry = {"path": "model.onnx", "size": size, "sha256": "0" * 64}
    document = {
        "formatVersion": 1,
        "model": "m",
        "format": "onnx",
        "createdAt": "2026-11-24T12:00:00Z",
        "files": [entry],
    }
    with pytest.raises(PackageRefused, match=r"files\.0\.size"):
        parse_manifest(json.dumps(document).encode(), where="x")
