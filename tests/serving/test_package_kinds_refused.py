"""Broken rules and composites: each refused before anything runs, with the right reason."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mooring_model.build import package
from mooring_model.composite.faults import GraphFault
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import Format, canonical, package_digest, write_manifest
from mooring_model.rules.document import parse_rules
from mooring_model.rules.errors import RulesInvalid
from mooring_model.verify import check
from tests.serving.kind_packages import (
    cancer_composite_package,
    cancer_gate_package,
    cancer_rules_package,
)
from tests.serving.packaged_models import CREATED
from tests.serving.served_packages import (
    cancer_package,
    cancer_table,
    mixed_package,
    regression_package,
)

Document = dict[str, Any]
Edit = Callable[[Document], object]


def stored(directory: Path, name: str, edit: Edit) -> None:
    """Changes a document as an author of bad packages would: canonical, and listed again."""
    document = json.loads((directory / name).read_text())
    edit(document)
    data = canonical(document)
    if name == Format.RULES.file:
        with contextlib.suppress(RulesInvalid):
            data = parse_rules(document).to_bytes()
    (directory / name).write_bytes(data)


def relist(directory: Path, format_: Format) -> None:
    (directory / "manifest.json").unlink()
    write_manifest(directory, model="m", format_=format_, created_at=CREATED)


def refusal(directory: Path) -> PackageRefused:
    with pytest.raises(PackageRefused) as refused:
        check(directory, None)
    assert refused.value.remedy
    return refused.value


def first(document: Document) -> Document:
    return document["rules"][0]


RULES: dict[str, tuple[Edit, str]] = {
    "an unknown feature": (lambda d: first(d)["when"].update(nobody={"eq": 1}), "nobody"),
    "a text for a number": (
        lambda d: first(d)["when"].update(worst_radius={"eq": "large"}),
        "'large' is no number",
    ),
    "an empty interval": (
        lambda d: first(d)["when"].update(worst_radius={"lt": 1, "gt": 2}),
        "can never fire",
    ),
    "missing values of a feature that has none": (
        lambda d: first(d)["when"].update(worst_radius={"missing": True}),
        "can never fire",
    ),
    "a rule that takes all rows first": (
        lambda d: first(d).update(when={}),
        "rules before it take all its rows",
    ),
    "the same rule twice": (
        lambda d: d["rules"].insert(1, first(d) | {"id": "again"}),
        "rule again can never fire",
    ),
    "two rules of one id": (lambda d: d["rules"].append(first(d)), "the id is taken"),
    "a gap where gaps are refused": (lambda d: d["rules"].pop(), "no rule covers"),
    "a probability beyond 1": (lambda d: first(d).update(then={"probability": 1.5}), "0 and 1"),
    "an outcome of another task": (lambda d: first(d).update(then={"value": 3}), "outcome of a"),
    "two outcomes": (
        lambda d: first(d)["then"].update({"class": 1}),
        "give one of class, probability",
    ),
    "an unknown class": (lambda d: first(d).update(then={"class": "odd"}), "none of the classes"),
    "a default that is computed": (
        lambda d: d.update(default={"probability": "worst_radius / 40"}),
        "must be a constant",
    ),
    "an expression with a misspelt feature": (
        lambda d: first(d).update({"if": "worst_radios > 3"}),
        "line 1, column 1: no feature is called 'worst_radios'; did you mean 'worst_radius'",
    ),
    "an expression of Python": (
        lambda d: first(d).update({"if": "__import__('os').system('true') == 0"}),
        "line 1, column 17: found '.'",
    ),
    "an expression that is no condition": (
        lambda d: first(d).update({"if": "worst_radius + 1"}),
        "expected a boolean, this is a number",
    ),
    "an expression nested without end": (
        lambda d: first(d).update({"if": "(" * 3000 + "true" + ")" * 3000}),
        "deeper than",
    ),
    "an expression without end": (
        lambda d: first(d).update({"if": " and ".join(["true"] * 3000)}),
        "at most 10000 characters",
    ),
    "an expression on top of itself": (
        lambda d: first(d).update({"if": " or ".join(["true"] * 1200)}),
        "on top of each other",
    ),
    "points without a sum": (lambda d: d.update(link="logistic"), "only a sum of points"),
    "another hit policy": (lambda d: d.update(hitPolicy="any"), "hitPolicy"),
    "an unknown field": (lambda d: first(d).update(than=1), "than"),
    "too many rules": (
        lambda d: d["rules"].extend(first(d) | {"id": f"x{n}"} for n in range(1001)),
        "rules",
    ),
}


@pytest.mark.parametrize(("edit", "words"), RULES.values(), ids=RULES)
def test_broken_rules_are_refused_with_their_cause(tmp_path: Path, edit: Edit, words: str) -> None:
    directory = Path(shutil.copytree(cancer_rules_package(), tmp_path / "package"))
    stored(directory, "model.rules.json", edit)
    relist(directory, Format.RULES)
    found = refusal(directory)
    assert found.reason is RefusalReason.SCHEMA_INVALID
    assert words in found.message


@pytest.mark.parametrize(
    "data",
    [
        b'{"kind": "rules"}',
        b'{"kind":"rules","rules":[],"rules":[]}',
        b'{"kind":"rules","default":{"value":NaN},"rules":[]}',
    ],
)
def test_rules_that_are_not_stored_as_rules_are_refused(tmp_path: Path, data: bytes) -> None:
    directory = Path(shutil.copytree(cancer_rules_package(), tmp_path / "package"))
    (directory / "model.rules.json").write_bytes(data)
    relist(directory, Format.RULES)
    assert refusal(directory).reason is RefusalReason.SCHEMA_INVALID


def test_schema_with_an_output_that_rules_do_not_give_is_refused(tmp_path: Path) -> None:
    directory = Path(shutil.copytree(cancer_rules_package(), tmp_path / "package"))
    stored(directory, "schema.json", lambda d: d["outputs"][2].update(name="reason"))
    stored(directory, "samples.json", lambda d: d["outputs"].update(reason=d["outputs"]["rule"]))
    relist(directory, Format.RULES)
    found = refusal(directory)
    assert found.reason is RefusalReason.SCHEMA_INVALID
    assert "outputs" in found.message


def node(document: Document, name: str) -> Document:
    return next(item for item in document["nodes"] if item["name"] == name)


GRAPHS: dict[str, tuple[Edit, GraphFault]] = {
    "nodes that wait for one another": (
        lambda d: node(d, "gate").update({"if": "forest.probability > 0"}),
        GraphFault.CYCLE,
    ),
    "a node that waits for itself": (
        lambda d: node(d, "gate")["inputs"].update(worst_radius="gate.probability"),
        GraphFault.CYCLE,
    ),
    "an input that the node has not": (
        lambda d: node(d, "gate")["inputs"].update(nobody="worst_radius"),
        GraphFault.UNKNOWN_INPUT,
    ),
    "an edge from nowhere": (
        lambda d: node(d, "gate")["inputs"].update(worst_radius="nobody.probability"),
        GraphFault.UNKNOWN_SOURCE,
    ),
    "a text for a number": (
        lambda d: node(d, "linear")["inputs"].update(worst_radius="gate.rule"),
        GraphFault.TYPE_MISMATCH,
    ),
    "a condition that is none": (
        lambda d: node(d, "forest").update({"if": "linear.probability"}),
        GraphFault.CONDITION_INVALID,
    ),
    "a condition on an output that there is not": (
        lambda d: node(d, "forest").update({"if": "linear.rule == 'a'"}),
        GraphFault.CONDITION_INVALID,
    ),
    "an answer of a node that there is not": (
        lambda d: d["answer"].update(of=["gate", "nobody"]),
        GraphFault.UNKNOWN_NODE,
    ),
    "rows that nobody answers": (
        lambda d: d["answer"].update(of=["linear", "forest"]),
        GraphFault.UNDECIDED_ROWS,
    ),
    "a node that nobody reads": (
        lambda d: d["answer"].update(of=["gate", "linear"]),
        GraphFault.UNUSED_NODE,
    ),
    "a node twice": (
        lambda d: d["nodes"].append(node(d, "gate")),
        GraphFault.DUPLICATE_NODE,
    ),
    "a node without a folder": (
        lambda d: d["nodes"].append(node(d, "gate") | {"name": "other"}),
        GraphFault.UNKNOWN_NODE,
    ),
    "an extra output of nobody": (
        lambda d: d["outputs"].update(rule="worst_radius"),
        GraphFault.OUTPUT_INVALID,
    ),
    "a number that is not there for every row": (
        lambda d: d["outputs"].update(second="forest.probability"),
        GraphFault.OUTPUT_INVALID,
    ),
    "an extra output that schema.json does not list": (
        lambda d: d.update(outputs={}),
        GraphFault.OUTPUT_INVALID,
    ),
}


@pytest.fixture
def composite(tmp_path: Path) -> Path:
    """A copy of a good composite."""
    return Path(shutil.copytree(cancer_composite_package(), tmp_path / "package"))


@pytest.mark.parametrize(("edit", "fault"), GRAPHS.values(), ids=GRAPHS)
def test_broken_graph_is_refused_with_its_fault(
    composite: Path, edit: Edit, fault: GraphFault
) -> None:
    stored(composite, "composite.json", edit)
    relist(composite, Format.COMPOSITE)
    found = refusal(composite)
    assert found.reason is RefusalReason.GRAPH_INVALID
    assert f"composite.json: {fault}: " in found.message


def test_node_that_is_another_package_than_the_one_named_is_refused(composite: Path) -> None:
    shutil.rmtree(composite / "nodes/gate")
    shutil.copytree(cancer_rules_package(), composite / "nodes/gate")
    relist(composite, Format.COMPOSITE)
    assert refusal(composite).reason is RefusalReason.DIGEST_MISMATCH


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "profile.json"])
def test_flipped_byte_in_a_node_is_refused(composite: Path, name: str) -> None:
    path = composite / "nodes/linear" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert refusal(composite).reason is RefusalReason.FILE_CORRUPT


def test_file_of_a_node_that_its_own_manifest_does_not_list_is_refused(composite: Path) -> None:
    (composite / "nodes/linear/more.txt").write_text("x")
    assert refusal(composite).reason is RefusalReason.EXTRA_FILE
    relist(composite, Format.COMPOSITE)
    found = refusal(composite)
    assert found.reason is RefusalReason.GRAPH_INVALID
    assert "differ on more.txt" in found.message


def test_link_in_place_of_a_node_is_refused(composite: Path, tmp_path: Path) -> None:
    shutil.move(composite / "nodes/linear", tmp_path / "elsewhere")
    (composite / "nodes/linear").symlink_to(tmp_path / "elsewhere")
    assert refusal(composite).reason is RefusalReason.LINK_REFUSED


def test_pickle_in_a_node_is_refused(composite: Path) -> None:
    path = composite / "nodes/linear"
    (path / "model.onnx").write_bytes(b"\x80\x04K\x01.")
    relist(path, Format.ONNX)
    digest = package_digest(write_again(path))
    stored(composite, "composite.json", lambda d: node(d, "linear").update(digest=digest))
    relist(composite, Format.COMPOSITE)
    assert refusal(composite).reason is RefusalReason.PICKLE_REFUSED


def write_again(path: Path) -> Any:
    (path / "manifest.json").unlink()
    return write_manifest(path, model="m", format_=Format.ONNX, created_at=CREATED)


def composed(tmp_path: Path, document: Document, table: Any, target: str) -> PackageRefused:
    """The refusal of what an author wrote."""
    file = tmp_path / "composite.yaml"
    file.write_text(json.dumps(document))
    with pytest.raises(PackageRefused) as refused:
        package(file, table, target=target, out=tmp_path / "out", name="m")
    assert not (tmp_path / "out").exists()
    return refused.value


def test_composite_as_a_node_is_refused(tmp_path: Path) -> None:
    document = {
        "nodes": [{"name": "inner", "package": str(cancer_composite_package())}],
        "answer": {"of": ["inner"]},
    }
    found = composed(tmp_path, document, cancer_table(), "benign")
    assert (found.reason, "Nested" in found.message) == (RefusalReason.GRAPH_INVALID, True)


def test_nodes_of_different_tasks_cannot_answer_together(tmp_path: Path) -> None:
    document = {
        "nodes": [
            {"name": "one", "package": str(cancer_package())},
            {"name": "two", "package": str(mixed_package())},
        ],
        "answer": {"take": "mean", "of": ["one", "two"]},
    }
    table = cancer_table().assign(carrier="AA", distance=1.0, hour=2, weekend=True)
    found = composed(tmp_path, document, table, "benign")
    assert (found.reason, "TaskMismatch" in found.message) == (RefusalReason.GRAPH_INVALID, True)


def test_column_that_the_table_lacks_is_named(tmp_path: Path) -> None:
    document = {
        "nodes": [{"name": "one", "package": str(regression_package())}],
        "answer": {"of": ["one"]},
    }
    found = composed(tmp_path, document, cancer_table(), "benign")
    assert (found.reason, "MissingInput" in found.message) == (RefusalReason.GRAPH_INVALID, True)


def test_stated_digest_that_is_another_is_refused(tmp_path: Path) -> None:
    document = {
        "nodes": [
            {
                "name": "gate",
                "package": str(cancer_gate_package()),
                "digest": "sha256:" + "0" * 64,
            }
        ],
        "answer": {"of": ["gate"]},
    }
    found = composed(tmp_path, document, cancer_table(), "benign")
    assert found.reason is RefusalReason.DIGEST_MISMATCH


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: []\ndefault: {value: 1}\nrules: []\n", "line 3, column 1: 'rules' is given twice"),
        ("rules: &a []\ndefault: *a\n", "references are not read"),
        ("rules: [", "line 1, column"),
        ("- 1\n- 2\n", "is no object"),
        ("rules: []\ndefault: {value: 1}\n", "name no column"),
        ("rules: []\n", "default"),
    ],
)
def test_file_of_an_author_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(PackageRefused) as refused:
        package(path, cancer_table(), target="benign", out=tmp_path / "out", name="m")
    assert words in refused.value.message
