"""What is said of rules without running them is what running them on every kind of row shows."""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_model.author import read_author_file
from mooring_model.rules.analysis import Topic, analyse
from mooring_model.rules.document import RulesDocument, parse_rules
from mooring_model.rules.errors import ExpressionInvalid, RulesInvalid
from mooring_model.rules.nodes import Kind
from mooring_model.rules.parser import parse
from mooring_model.runtimes.rules import RULE, RulesRuntime
from mooring_model.schema import Datatype, InputKind, InputSpec, schema_of
from tests.builders.rules import fires

PAGE = Path(__file__).parents[3] / "operator" / "docs" / "model-kinds.md"
NUMBERS = [-1.0, 0.0, 1.0, 2.0]
INPUTS = (
    InputSpec(name="a", datatype=Datatype.FP64, kind=InputKind.NUMERIC, nullable=True),
    InputSpec(name="b", datatype=Datatype.FP64, kind=InputKind.NUMERIC),
    InputSpec(
        name="f", datatype=Datatype.BOOL, kind=InputKind.CATEGORICAL, categories=("false", "true")
    ),
)
SCHEMA = schema_of(INPUTS, target="t", classes=None, extras=(RULE,))
_POINTS = sorted({n + d for n in NUMBERS for d in (-0.5, 0.0, 0.5)})
EVERY_ROW: list[dict[str, Any]] = [
    {"a": a, "b": b, "f": f}
    for a, b, f in itertools.product([*_POINTS, math.nan], _POINTS, [False, True])
]
"""One row of each region that conditions over these numbers can tell apart."""

_BOUND = st.sampled_from(NUMBERS)
_INTERVAL: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={"ge": _BOUND, "lt": _BOUND, "le": _BOUND, "ne": _BOUND}
).map(dict[str, Any])
_CELL = (
    _INTERVAL.filter(bool) | st.just({"missing": True}) | st.just({"gt": 0.0, "orMissing": True})
)
WHEN: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "a": _CELL,
        "b": _INTERVAL.filter(bool),
        "f": st.booleans().map(lambda flag: {"eq": flag}),
    },
).map(dict[str, Any])


def document(conditions: list[dict[str, Any]], **more: object) -> RulesDocument:
    rules = [
        {"id": f"r{place}", "when": when, "then": {"value": place}}
        for place, when in enumerate(conditions)
    ]
    return parse_rules({"rules": rules, "default": {"value": -1}, **more})


@given(st.lists(WHEN, min_size=1, max_size=6))
@settings(deadline=None)
def test_rules_called_unreachable_are_those_that_fire_for_no_row(
    conditions: list[dict[str, Any]],
) -> None:
    said = {
        found.message.split()[1]
        for found in analyse(document(conditions), SCHEMA)
        if found.topic is Topic.UNREACHABLE
    }
    rules = [{"when": when} for when in conditions]
    firing = {
        next((place for place, rule in enumerate(rules) if fires(rule, row)), None)
        for row in EVERY_ROW
    }
    assert said == {f"r{place}" for place in range(len(rules)) if place not in firing}


@given(st.lists(WHEN, min_size=1, max_size=6))
@settings(deadline=None)
def test_gaps_and_overlaps_are_told_exactly_where_there_are_any(
    conditions: list[dict[str, Any]],
) -> None:
    topics = {found.topic for found in analyse(document(conditions), SCHEMA)}
    hits = [sum(fires({"when": when}, row) for when in conditions) for row in EVERY_ROW]
    assert (Topic.GAP in topics) == (min(hits) == 0)
    assert (Topic.OVERLAP in topics) == (max(hits) > 1)


def test_entangled_rules_end_and_none_that_fires_is_called_unreachable() -> None:
    generator = np.random.default_rng(1)
    inputs = [
        InputSpec(name=f"x{n}", datatype=Datatype.FP64, kind=InputKind.NUMERIC) for n in range(12)
    ]
    conditions = [
        {f"x{n}": {"ge": float(generator.normal())} for n in generator.choice(12, 3, replace=False)}
        for _ in range(150)
    ]
    found = analyse(
        document(conditions),
        schema_of(inputs, target="t", classes=None, extras=(RULE,)),
    )
    said = {item.message.split()[1] for item in found if item.topic is Topic.UNREACHABLE}
    rows = [
        {f"x{n}": value for n, value in enumerate(row)} for row in generator.normal(size=(2000, 12))
    ]
    rules = [{"when": when} for when in conditions]
    firing = {
        next((f"r{place}" for place, rule in enumerate(rules) if fires(rule, row)), None)
        for row in rows
    }
    assert len(firing) > 10
    assert not said & firing


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 1, 1, "expected a number, a text, a feature or (, found the end of the text"),
        ("a +", 1, 4, "found the end of the text"),
        ("a >\n b +", 2, 5, "found the end of the text"),
        ("a = 1", 1, 3, "compare with =="),
        ("a && b", 1, 3, "write and"),
        ("1 < a < 2", 1, 7, "cannot be chained"),
        ("a in [1, 'x']", 1, 10, "expected a number in this list"),
        ("a in []", 1, 3, "empty list"),
        ("f + 1 > 2", 1, 1, "+ takes a number here, this is a boolean"),
        ("a == 'x'", 1, 6, "== takes a number here, this is a text"),
        ("min(a)", 1, 1, "min takes 2 to 64 arguments, not 1"),
        ("sin(a) > 0", 1, 1, "no function is called 'sin'"),
        ("aa > 0", 1, 1, "did you mean 'a'"),
        ("missing(f)", 1, 1, "never missing"),
        ("a > 1e999", 1, 5, "beyond what a float holds"),
        ("a > 1 b", 1, 7, "expected an operator, found 'b'"),
        ("'open", 1, 1, "a text that is not closed"),
        ("a.__class__", 1, 1, "no feature is called"),
        ("(lambda: 1)", 1, 8, "starts no number, text or name"),
    ],
)
def test_expression_is_refused_with_line_column_and_what_is_expected(
    text: str, line: int, column: int, words: str
) -> None:
    kinds = {"a": Kind.NUMBER, "b": Kind.NUMBER, "f": Kind.FLAG}
    with pytest.raises(ExpressionInvalid) as refused:
        parse(text, kinds, Kind.FLAG)
    assert (refused.value.line, refused.value.column) == (line, column)
    assert words in str(refused.value)


def test_rules_on_the_documents_page_are_rules(tmp_path: Path) -> None:
    text = next(
        block
        for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)
        if "rules:" in block
    )
    (tmp_path / "r.yaml").write_text(text)
    numbers = ("inbound_delay", "hour", "distance")
    inputs = [
        InputSpec(name=name, datatype=Datatype.FP64, kind=InputKind.NUMERIC, nullable=True)
        for name in numbers
    ]
    carrier = InputSpec(
        name="carrier",
        datatype=Datatype.BYTES,
        kind=InputKind.CATEGORICAL,
        categories=("AA", "B6", "EV"),
    )
    rules = parse_rules(read_author_file(tmp_path / "r.yaml"))
    schema = schema_of([*inputs, carrier], target="late", classes=(0, 1), extras=(RULE,))
    row = {
        "inbound_delay": np.array([40.0, np.nan]),
        "hour": np.array([7.0, 12.0]),
        "distance": np.array([500.0, 900.0]),
        "carrier": np.array(["EV", "AA"], object),
    }
    told = RulesRuntime(rules, schema).explain(row)
    assert told.extras["rule"].tolist() == ["late-inbound", "by-distance"]
    assert told.values[0].tolist() == pytest.approx([0.19, 0.81])


def test_rules_without_one_outcome_are_refused_by_rule() -> None:
    empty: dict[str, float] = {}
    with pytest.raises(RulesInvalid, match=r"rule r0: rules.0.then: .*give one of"):
        parse_rules({"rules": [{"id": "r0", "then": empty}], "default": {"value": 1}})
