"""What the bytes of a model file say."""

import bz2
import gzip
import importlib
import lzma
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_model.content import format_of, is_pickle
from mooring_model.errors import PackageRefused
from mooring_model.manifest import Format

_onnx: Any = importlib.import_module("onnx")
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN, st.integers(0, 5))
def test_every_pickle_of_every_protocol_is_recognised(value: object, protocol: int) -> None:
    assert is_pickle(pickle.dumps(value, protocol=protocol))


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_compressed_pickle_is_recognised(pack: Any) -> None:
    assert is_pickle(pack(pickle.dumps({"a": [1, 2]}, protocol=0)))


def test_long_text_pickle_is_recognised_before_its_end() -> None:
    assert is_pickle(pickle.dumps(list(range(100_000)), protocol=0)[: 1 << 16])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b".",
        b"\x80",
        b"\x93NUMPY\x01\x00v\x00{'descr'",
        b"PK\x03\x04",
        b'{"a": 1}',
        b"\x08\x0a",
    ],
)
def test_other_bytes_are_no_pickle(head: bytes) -> None:
    assert not is_pickle(head)


def graph() -> bytes:
    """A small real ONNX model."""
    helper, floats = _onnx.helper, _onnx.TensorProto.FLOAT
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node("Neg", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", floats, [None, 1])],
            [helper.make_tensor_value_info("y", floats, [None, 1])],
        )
    )
    return made.SerializeToString()


def test_model_proto_is_onnx(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(graph())
    assert format_of(tmp_path / "m") is Format.ONNX


@pytest.mark.parametrize("cut", [1, 2, 5, 20])
def test_truncated_or_prolonged_model_proto_is_nothing(tmp_path: Path, cut: int) -> None:
    (tmp_path / "m").write_bytes(graph()[:-cut])
    assert format_of(tmp_path / "m") is None
    (tmp_path / "m").write_bytes(graph() + b"\xff" * cut)
    assert format_of(tmp_path / "m") is None


@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    path = Path(_SCRATCH.name) / "any"
    path.write_bytes(data)
    try:
        assert format_of(path) in (None, Format.ONNX)
    except PackageRefused:
        assert is_pickle(data)


_SCRATCH: Any = importlib.import_module("tempfile").TemporaryDirectory()


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["schema.json"], Format.SKOPS),
        (["schema.json", "1.npy"], Format.SKOPS),
        (["other.json"], None),
        (["schema.json", "../escape"], None),
        (["schema.json", "/absolute"], None),
    ],
)
def test_archive_is_skops_only_with_a_schema_and_plain_members(
    tmp_path: Path, names: list[str], found: Format | None
) -> None:
    with zipfile.ZipFile(tmp_path / "m", "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    assert format_of(tmp_path / "m") is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"kind": "rules"}', Format.RULES),
        ('{"kind": "composite", "nodes": []}', Format.COMPOSITE),
        ('{"kind": "onnx"}', None),
        ('{"kind": 7}', None),
        ("{}", None),
        ("{", None),
        ('{"a":' * 100_000, None),
        ('{"kind": "rules"}' + " " * (5 << 20), None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_json_document_says_itself_what_it_is(
    tmp_path: Path, text: str, found: Format | None
) -> None:
    (tmp_path / "m").write_text(text)
    assert format_of(tmp_path / "m") is found


def test_archive_with_a_member_twice_is_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m", "w") as archive:
        archive.writestr("schema.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("schema.json", "[]")
    assert format_of(tmp_path / "m") is None
