"""Every reason of refusal, shown by a package that is really broken that way."""

import importlib
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.load import load_package
from mooring_model.manifest import Format, package_digest, read_manifest
from mooring_model.verify import check, replay
from tests.serving.packaged_models import cancer, packaged
from tests.serving.tampered_packages import Canary, edit, refusal, relist

_joblib: Any = importlib.import_module("joblib")
_onnx: Any = importlib.import_module("onnx")
_skops: Any = importlib.import_module("skops.io")
_neighbors: Any = importlib.import_module("sklearn.neighbors")
_tree: Any = importlib.import_module("sklearn.tree")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of a good ONNX package."""
    return Path(shutil.copytree(packaged("binary"), tmp_path / "package"))


@pytest.fixture
def skops_package(tmp_path: Path) -> Path:
    """A copy of a good skops package."""
    return Path(shutil.copytree(packaged("multiclass", "skops"), tmp_path / "package"))


@pytest.mark.parametrize("name", sorted(path.name for path in packaged("binary").iterdir()))
def test_flipped_byte_is_refused_in_every_file(package: Path, name: str) -> None:
    digest = package_digest(read_manifest(package))
    data = bytearray((package / name).read_bytes())
    data[len(data) // 2] ^= 1
    (package / name).write_bytes(data)
    reasons = {RefusalReason.FILE_CORRUPT}
    if name == "manifest.json":
        reasons = {RefusalReason.MANIFEST_INVALID, RefusalReason.DIGEST_MISMATCH}
    found = refusal(package, digest)
    assert found.reason in reasons
    assert name in found.message or found.reason is RefusalReason.DIGEST_MISMATCH


def test_extra_file_is_refused(package: Path) -> None:
    (package / "more.txt").write_text("x")
    assert refusal(package).reason is RefusalReason.EXTRA_FILE


def test_file_with_an_odd_name_is_refused(package: Path) -> None:
    (package / "..hidden").write_text("x")
    assert refusal(package).reason is RefusalReason.EXTRA_FILE


@pytest.mark.parametrize("name", ["model.onnx", "card.md", "profile.json"])
def test_missing_file_is_refused(package: Path, name: str) -> None:
    (package / name).unlink()
    found = refusal(package)
    assert found.reason is RefusalReason.FILE_MISSING
    assert name in found.message


def test_package_without_one_of_its_documents_is_refused_when_the_manifest_agrees(
    package: Path,
) -> None:
    (package / "card.md").unlink()
    relist(package)
    assert refusal(package).reason is RefusalReason.FILE_MISSING


def test_symlink_is_refused(package: Path, tmp_path: Path) -> None:
    shutil.move(package / "card.md", tmp_path / "card.md")
    (package / "card.md").symlink_to(tmp_path / "card.md")
    assert refusal(package).reason is RefusalReason.LINK_REFUSED


def test_hard_link_is_refused(package: Path, tmp_path: Path) -> None:
    os.link(package / "model.onnx", tmp_path / "elsewhere")
    assert refusal(package).reason is RefusalReason.LINK_REFUSED


def test_folder_and_fifo_are_refused(package: Path) -> None:
    (package / "folder").mkdir()
    assert refusal(package).reason is RefusalReason.LINK_REFUSED
    (package / "folder").rmdir()
    os.mkfifo(package / "pipe")
    assert refusal(package).reason is RefusalReason.LINK_REFUSED


def test_manifest_that_is_a_link_or_a_fifo_is_no_package(package: Path, tmp_path: Path) -> None:
    shutil.move(package / "manifest.json", tmp_path / "manifest.json")
    (package / "manifest.json").symlink_to(tmp_path / "manifest.json")
    assert refusal(package).reason is RefusalReason.PACKAGE_NOT_FOUND
    (package / "manifest.json").unlink()
    os.mkfifo(package / "manifest.json")
    assert refusal(package).reason is RefusalReason.PACKAGE_NOT_FOUND


def test_directory_without_a_manifest_is_no_package(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent").reason is RefusalReason.PACKAGE_NOT_FOUND


def test_wrong_digest_is_refused_with_both_digests(package: Path) -> None:
    wanted = "sha256:" + "0" * 64
    found = refusal(package, wanted)
    assert found.reason is RefusalReason.DIGEST_MISMATCH
    assert wanted in found.message
    assert package_digest(read_manifest(package)) in found.message


@pytest.mark.parametrize(
    "path", ["../model.onnx", "/etc/passwd", "a/b", "a\\b", "..", "model.onnx\n", "%2e%2e", ""]
)
def test_path_that_leaves_the_package_is_refused(package: Path, path: str) -> None:
    document = json.loads((package / "manifest.json").read_text())
    document["files"][0]["path"] = path
    (package / "manifest.json").write_text(json.dumps(document))
    assert refusal(package).reason is RefusalReason.MANIFEST_INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"formatVersion": 2},
        {"format": "pickle"},
        {"createdAt": "2026-11-24T12:00:00"},
        {"createdAt": "2026-11-24T12:00:00+01:00"},
        {"files": []},
        {"model": ""},
        {"more": 1},
    ],
    ids=lambda changes: json.dumps(changes),
)
def test_manifest_with_a_bad_field_is_refused(package: Path, changes: dict[str, object]) -> None:
    edit(package / "manifest.json", **changes)
    assert refusal(package).reason is RefusalReason.MANIFEST_INVALID


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff", "x" * 1_100_000])
def test_manifest_that_is_none_is_refused(package: Path, text: str) -> None:
    (package / "manifest.json").write_bytes(text.encode("latin-1"))
    assert refusal(package).reason is RefusalReason.MANIFEST_INVALID


@pytest.mark.parametrize("format_", [f for f in Format if f is not Format.PYTHON])
@pytest.mark.parametrize("protocol", range(6))
def test_pickle_in_disguise_is_refused_before_it_can_run(
    tmp_path: Path, format_: Format, protocol: int
) -> None:
    stored = "onnx" if format_ is Format.ONNX else "skops"
    package = Path(shutil.copytree(packaged("binary", stored), tmp_path / "package"))
    (package / format_.file).write_bytes(pickle.dumps(Canary(tmp_path / "mark"), protocol=protocol))
    relist(package, format_)
    assert refusal(package).reason is RefusalReason.PICKLE_REFUSED
    with pytest.raises(PackageRefused):
        load_package(package)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_compressed_joblib_in_disguise_is_refused(package: Path, compression: str) -> None:
    _joblib.dump({"weights": np.zeros(9)}, package / "model.onnx", compress=(compression, 3))
    relist(package)
    assert refusal(package).reason is RefusalReason.PICKLE_REFUSED


def test_pickle_inside_a_skops_archive_is_refused(skops_package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(skops_package / "model.skops", "a") as archive:
        archive.writestr("data.pkl", pickle.dumps(Canary(tmp_path / "mark")))
    relist(skops_package, Format.SKOPS)
    assert refusal(skops_package).reason is RefusalReason.PICKLE_REFUSED
    assert not (tmp_path / "mark").exists()


def test_pickle_with_a_skops_archive_behind_it_is_refused(skops_package: Path) -> None:
    path = skops_package / "model.skops"
    path.write_bytes(pickle.dumps({"a": 1}) + path.read_bytes())
    relist(skops_package, Format.SKOPS)
    assert refusal(skops_package).reason is RefusalReason.PICKLE_REFUSED


def test_file_of_the_other_format_is_refused(package: Path) -> None:
    shutil.copyfile(packaged("binary", "skops") / "model.skops", package / "model.onnx")
    relist(package)
    assert refusal(package).reason is RefusalReason.FORMAT_MISMATCH


def test_package_with_models_of_both_formats_is_refused(package: Path) -> None:
    shutil.copyfile(packaged("binary", "skops") / "model.skops", package / "model.skops")
    relist(package)
    found = refusal(package)
    assert found.reason is RefusalReason.FORMAT_MISMATCH
    assert "model.skops" in found.message


@pytest.mark.parametrize("data", [b"", b"\x08", b"text", b"\x08\x0a" + b"\xff" * 40])
def test_file_that_is_no_model_is_refused(package: Path, data: bytes) -> None:
    (package / "model.onnx").write_bytes(data)
    relist(package)
    assert refusal(package).reason is RefusalReason.FORMAT_MISMATCH


def test_archive_that_grows_beyond_reason_is_refused(skops_package: Path) -> None:
    path = skops_package / "model.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}" + " " * 50_000_000)
    relist(skops_package, Format.SKOPS)
    assert refusal(skops_package).reason is RefusalReason.FORMAT_MISMATCH


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("schema.json", {"task": "clustering"}),
        ("schema.json", {"classes": ["a", "b"]}),
        ("schema.json", {"classes": None}),
        ("schema.json", {"positiveClass": 7}),
        ("schema.json", {"inputs": []}),
        ("schema.json", {"outputs": []}),
        ("schema.json", {"surprise": 1}),
        ("inference.json", {"threshold": 2}),
        ("inference.json", {"maxBatchRows": 0}),
        ("samples.json", {"inputs": {}}),
        ("samples.json", {"outputs": {"label": [1]}}),
        ("samples.json", {"tolerance": "much"}),
        ("profile.json", {"features": []}),
        ("profile.json", {"formatVersion": 9}),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value),
)
def test_document_with_a_bad_field_is_refused(
    package: Path, name: str, changes: dict[str, object]
) -> None:
    edit(package / name, **changes)
    relist(package)
    found = refusal(package)
    assert found.reason is RefusalReason.SCHEMA_INVALID
    assert name in found.message


def test_graph_of_other_inputs_than_the_schema_is_refused(package: Path) -> None:
    shutil.copyfile(packaged("mixed") / "model.onnx", package / "model.onnx")
    relist(package)
    with pytest.raises(PackageRefused, match="the graph takes") as refused:
        load_package(package)
    assert refused.value.reason is RefusalReason.SCHEMA_INVALID


def test_broken_graph_is_refused_when_it_is_loaded(package: Path) -> None:
    model = _onnx.load(str(package / "model.onnx"))
    model.graph.node[0].op_type = "NoSuchOperator"
    (package / "model.onnx").write_bytes(model.SerializeToString())
    relist(package)
    check(package, None)
    with pytest.raises(PackageRefused, match="does not load") as refused:
        replay(package)
    assert refused.value.reason is RefusalReason.LOAD_FAILED


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/hostname", "/proc/self/environ"])
def test_graph_with_data_outside_the_package_is_refused(tmp_path: Path, place: str) -> None:
    package = Path(shutil.copytree(packaged("regression"), tmp_path / "package"))
    (tmp_path / "secret.bin").write_bytes(b"\0" * 4096)
    helper, floats = _onnx.helper, _onnx.TensorProto.FLOAT
    weights = _onnx.TensorProto(name="weights", data_type=floats, dims=[10, 1])
    weights.data_location = _onnx.TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", place
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weights"], ["y"])],
        "thief",
        [helper.make_tensor_value_info("input", floats, [None, 10])],
        [helper.make_tensor_value_info("y", floats, [None, 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (package / "model.onnx").write_bytes(model.SerializeToString())
    relist(package)
    with pytest.raises(PackageRefused, match="outside of the file") as refused:
        load_package(package)
    assert refused.value.reason is RefusalReason.GRAPH_REFUSED


def test_estimator_of_an_untrusted_type_is_refused_by_its_name(skops_package: Path) -> None:
    fitted = cancer()
    model = _neighbors.KNeighborsClassifier(algorithm="kd_tree").fit(
        fitted.features, fitted.table["target"]
    )
    _skops.dump(model, skops_package / "model.skops")
    relist(skops_package, Format.SKOPS)
    check(skops_package, None)
    with pytest.raises(PackageRefused, match="KDTree") as refused:
        load_package(skops_package)
    assert refused.value.reason is RefusalReason.LOAD_FAILED


def test_tree_that_points_outside_itself_is_refused(skops_package: Path) -> None:
    fitted = cancer()
    model = _tree.DecisionTreeClassifier(max_depth=3, random_state=0)
    model.fit(fitted.features, fitted.table["target"])
    state = model.tree_.__getstate__()
    state["nodes"]["left_child"][0] = 2**40
    model.tree_.__setstate__(state)
    _skops.dump(model, skops_package / "model.skops")
    relist(skops_package, Format.SKOPS)
    with pytest.raises(PackageRefused, match="outside the tree") as refused:
        load_package(skops_package)
    assert refused.value.reason is RefusalReason.LOAD_FAILED


def test_damaged_skops_schema_is_refused(skops_package: Path) -> None:
    with zipfile.ZipFile(skops_package / "model.skops", "w") as archive:
        archive.writestr("schema.json", '{"protocol": 2, "__loader__": "ObjectNode"}')
    relist(skops_package, Format.SKOPS)
    with pytest.raises(PackageRefused, match="does not load") as refused:
        load_package(skops_package)
    assert refused.value.reason is RefusalReason.LOAD_FAILED


@pytest.mark.parametrize("name", ["\x1b[2J\x1b]0;owned\x07", "two\nlines", "\u202eesrever"])
def test_names_from_a_package_cannot_steer_the_terminal_of_its_reader(
    package: Path, name: str
) -> None:
    edit(package / "schema.json", **{name: 1})
    relist(package)
    found = refusal(package)
    assert found.reason is RefusalReason.SCHEMA_INVALID
    assert str(found).isprintable()
    assert name not in str(found)


def test_long_names_from_a_package_are_cut(package: Path) -> None:
    edit(package / "schema.json", **{"x" * 100_000: 1})
    relist(package)
    assert len(refusal(package).message) <= 1000


def test_other_answers_than_promised_are_refused_with_the_row(package: Path) -> None:
    samples = json.loads((package / "samples.json").read_text())
    samples["outputs"]["probability"][3] += 0.01
    (package / "samples.json").write_text(json.dumps(samples))
    relist(package)
    check(package, None)
    with pytest.raises(PackageRefused, match="row 3: output probability") as refused:
        replay(package)
    assert refused.value.reason is RefusalReason.REPLAY_MISMATCH


def test_another_label_than_promised_is_refused(package: Path) -> None:
    samples = json.loads((package / "samples.json").read_text())
    samples["outputs"]["label"][0] = 1 - samples["outputs"]["label"][0]
    (package / "samples.json").write_text(json.dumps(samples))
    relist(package)
    with pytest.raises(PackageRefused, match="row 0: output label") as refused:
        replay(package)
    assert refused.value.reason is RefusalReason.REPLAY_MISMATCH


@pytest.mark.parametrize("stored", ["onnx", "skops"])
def test_no_mutated_model_file_gets_past_without_a_named_refusal(
    tmp_path: Path, stored: Any
) -> None:
    """200 mutants: each loads and replays, or is refused by name; nothing else is raised."""
    package = Path(shutil.copytree(packaged("binary", stored), tmp_path / "package"))
    format_ = Format(stored)
    original = (package / format_.file).read_bytes()
    generator = np.random.default_rng(11)
    refused = 0
    for _ in range(200):
        data = bytearray(original)
        for place in generator.integers(0, len(data), size=int(generator.integers(1, 4))):
            data[place] = int(generator.integers(0, 256))
        (package / format_.file).write_bytes(data)
        relist(package, format_)
        try:
            check(package, None)
            replay(package)
        except PackageRefused:
            refused += 1
    assert refused > 20
