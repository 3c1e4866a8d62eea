"""The pages in `operator/docs/spec/` say what the types say: fields, conditions, reasons."""

import re
from pathlib import Path

import pytest

from mooring_operator.api.conditions import ConditionType, Reason
from mooring_operator.api.group import Kind
from mooring_operator.api.schema import TYPES, structural
from tests.contract.field_tables import fields_of

SPEC = Path(__file__).resolve().parents[2] / "operator" / "docs" / "spec"
CONTRACTS = SPEC.parent / "contracts.md"
ROW = re.compile(r"^\| `([A-Za-z]+)` \|", re.MULTILINE)


def page(kind: Kind) -> str:
    """The page of a kind."""
    return (SPEC / f"{kind.value.lower()}.md").read_text()


def section(title: str) -> str:
    """One section of the table of conditions."""
    text = (SPEC / "conditions.md").read_text()
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("kind", list(Kind))
def test_page_has_a_row_with_default_and_bounds_for_every_field(kind: Kind) -> None:
    text = page(kind)
    missing = [field.cells for field in fields_of(kind) if f"\n{field.cells} " not in text]
    assert not missing, f"rows of operator/docs/spec/{kind.value.lower()}.md"


@pytest.mark.parametrize("kind", list(Kind))
def test_page_explains_every_field_and_no_other(kind: Kind) -> None:
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| [^|]+ \| (.*) \|$", page(kind), re.MULTILINE)
    known = {field.path for field in fields_of(kind)}
    assert {path for path, _ in rows} == known
    assert [path for path, meaning in rows if len(meaning) < 5] == []


@pytest.mark.parametrize("kind", list(Kind))
def test_page_mentions_every_field_of_the_status(kind: Kind) -> None:
    schema = structural(TYPES[kind], "status")
    text = page(kind)
    missing: list[str] = []
    for name, node in schema["properties"].items():
        if name == "conditions":
            continue
        children = node.get("items", node).get("properties", {})
        missing += [name for name in (name, *children) if f"`{name}" not in text]
    assert not missing


def test_every_condition_has_one_row() -> None:
    rows = ROW.findall(section("Conditions"))
    assert sorted(rows) == sorted(type_.value for type_ in ConditionType)


def test_every_reason_has_a_row_and_no_row_is_stale() -> None:
    assert set(ROW.findall(section("Reasons"))) == {reason.value for reason in Reason}


@pytest.mark.parametrize("kind", list(Kind))
def test_reasons_in_a_page_exist(kind: Kind) -> None:
    conditions = page(kind).split("| condition | True |", 1)[1].split("\n\n", 1)[0]
    names = set(re.findall(r"`([A-Z][A-Za-z]+)`", conditions))
    assert names <= {reason.value for reason in Reason} | {type_.value for type_ in ConditionType}


def test_reasons_of_refusal_are_those_of_the_contract() -> None:
    contract = CONTRACTS.read_text()
    said = contract.split("Reasons of refusal: ", 1)[1].split("\n", 1)[0]
    reasons = set(re.findall(r"`([A-Z][A-Za-z]+)`", said))
    shown = set(re.findall(r"`([A-Z][A-Za-z]+)`", section("Reasons of a version")))
    assert shown == reasons | {"NoVerdict", "VersionConflict"}


@pytest.mark.parametrize("kind", list(Kind))
def test_page_links_lead_somewhere(kind: Kind) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page(kind)):
        assert (SPEC / target).exists(), target
    for sample in re.findall(r"`(manifests/samples/[a-z-]+\.yaml)`", page(kind)):
        assert (SPEC.parents[2] / sample).exists(), sample
