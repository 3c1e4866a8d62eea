"""Compiled rules answer like a reading of them row by row, whatever the rules and the rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_model.prediction import Columns
from mooring_model.rules.compute import compile_flag, compile_number
from mooring_model.rules.document import parse_rules
from mooring_model.rules.errors import RulesInvalid
from mooring_model.rules.nodes import Kind
from mooring_model.rules.parser import parse
from mooring_model.rules.regions import KINDS
from mooring_model.runtimes.rules import RULE, RulesRuntime
from mooring_model.schema import Datatype, schema_of
from tests.builders.rules import CONDITIONS, INPUTS, ROWS, Written, fires, flags, numbers

CLASSES = ("no", "perhaps", "yes")
TYPES: Mapping[str, Any] = {
    spec.name: object
    if spec.datatype is Datatype.BYTES
    else np.bool_
    if spec.datatype is Datatype.BOOL
    else np.float64
    for spec in INPUTS
}
NAMES = {spec.name: KINDS[spec.datatype] for spec in INPUTS}
MANY_ROWS = st.lists(ROWS, min_size=1, max_size=30)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Rows as a model takes them."""
    return {name: np.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}


def numbered(conditions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rules r0, r1, … with these conditions."""
    return [{"id": f"r{place}", "when": dict(when)} for place, when in enumerate(conditions)]


@given(
    st.lists(st.tuples(CONDITIONS, st.sampled_from(CLASSES), st.integers(-2, 2)), max_size=8),
    MANY_ROWS,
    st.sampled_from(["first", "priority"]),
)
def test_table_answers_like_a_reading_row_by_row_when_one_rule_decides(
    listed: list[tuple[dict[str, Any], str, int]], rows: list[dict[str, Any]], policy: str
) -> None:
    rules: list[dict[str, Any]] = [
        rule | {"then": {"class": name}, "priority": priority}
        for rule, (_, name, priority) in zip(
            numbered([when for when, _, _ in listed]), listed, strict=True
        )
    ]
    document = parse_rules({"hitPolicy": policy, "rules": rules, "default": {"class": "perhaps"}})
    schema = schema_of(INPUTS, target="t", classes=CLASSES, extras=(RULE,))
    told = RulesRuntime(document, schema).explain(columns_of(rows))
    tried = rules if policy == "first" else sorted(rules, key=lambda rule: -rule["priority"])
    for place, row in enumerate(rows):
        rule = next((rule for rule in tried if fires(rule, row)), None)
        assert told.extras["rule"][place] == (rule["id"] if rule else "default")
        wanted = rule["then"]["class"] if rule else "perhaps"
        assert told.values[place].tolist() == [float(name == wanted) for name in CLASSES]


@given(
    st.lists(st.tuples(CONDITIONS, st.integers(-50, 50)), max_size=24),
    MANY_ROWS,
)
def test_score_card_adds_the_points_of_every_rule_that_fires(
    listed: list[tuple[dict[str, Any], int]], rows: list[dict[str, Any]]
) -> None:
    rules: list[dict[str, Any]] = [
        rule | {"then": {"points": points / 8}}
        for rule, (_, points) in zip(numbered([when for when, _ in listed]), listed, strict=True)
    ]
    document = parse_rules({"hitPolicy": "sum", "rules": rules, "default": {"points": 99}})
    schema = schema_of(INPUTS, target="t", classes=None, extras=(RULE,))
    runtime = RulesRuntime(document, schema)
    told = runtime.explain(columns_of(rows))
    for place, row in enumerate(rows):
        fired = [rule for rule in rules if fires(rule, row)]
        names = ",".join(rule["id"] for rule in fired[:16])
        names += f",+{len(fired) - 16}" if len(fired) > 16 else ""
        assert told.extras["rule"][place] == (names or "default")
        assert told.values[place] == (
            sum(rule["then"]["points"] for rule in fired) if fired else 99
        )


@given(
    st.lists(
        st.tuples(CONDITIONS, st.none() | flags(), st.floats(0, 1) | numbers()),
        max_size=4,
    ),
    MANY_ROWS,
)
@settings(deadline=None)
def test_rules_with_expressions_answer_like_a_reading_row_by_row(
    listed: list[tuple[dict[str, Any], Written | None, float | Written]],
    rows: list[dict[str, Any]],
) -> None:
    rules: list[dict[str, Any]] = []
    for rule, (_, guard, value) in zip(
        numbered([when for when, _, _ in listed]), listed, strict=True
    ):
        rule["then"] = {"value": value.text if isinstance(value, Written) else value}
        rules.append(rule if guard is None else rule | {"if": guard.text})
    document = parse_rules({"rules": rules, "default": {"value": -7.5}})
    schema = schema_of(INPUTS, target="t", classes=None, extras=(RULE,))
    told = RulesRuntime(document, schema).explain(columns_of(rows))
    for place, row in enumerate(rows):
        wanted, name = -7.5, "default"
        for rule, (_, guard, value) in zip(rules, listed, strict=True):
            if fires(rule, row) and (guard is None or guard(row)):
                found = value(row) if isinstance(value, Written) else value
                if math.isfinite(found):
                    wanted, name = found, rule["id"]
                break
        assert told.extras["rule"][place] == name
        assert told.values[place] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@given(numbers(), MANY_ROWS)
@settings(deadline=None)
def test_number_is_what_a_reading_of_its_tree_gives(
    written: Written, rows: list[dict[str, Any]]
) -> None:
    compute = compile_number(parse(written.text, NAMES, Kind.NUMBER))
    given_ = compute(columns_of(rows), len(rows))
    wanted = [written(row) for row in rows]
    assert given_.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True)


@given(flags(), MANY_ROWS)
@settings(deadline=None)
def test_condition_is_what_a_reading_of_its_tree_gives(
    written: Written, rows: list[dict[str, Any]]
) -> None:
    compute = compile_flag(parse(written.text, NAMES, Kind.FLAG))
    assert compute(columns_of(rows), len(rows)).tolist() == [bool(written(row)) for row in rows]


@given(st.text(max_size=60) | st.text("()[]'`abnf+-*/<>=!,. 019andornot", max_size=60))
def test_any_text_is_an_expression_or_has_a_place_where_it_is_none(text: str) -> None:
    said = "line "
    try:
        parse(text, NAMES, Kind.NUMBER)
    except RulesInvalid as error:
        said = str(error)
    assert said.startswith("line ")


@given(
    st.lists(st.tuples(CONDITIONS, st.sampled_from(CLASSES)), min_size=1, max_size=6),
    MANY_ROWS,
)
def test_answers_of_many_rows_are_those_of_each_row_alone(
    listed: list[tuple[dict[str, Any], str]], rows: list[dict[str, Any]]
) -> None:
    rules: list[dict[str, Any]] = [
        rule | {"then": {"class": name}}
        for rule, (_, name) in zip(numbered([when for when, _ in listed]), listed, strict=True)
    ]
    document = parse_rules({"rules": rules, "default": {"class": "no"}})
    runtime = RulesRuntime(document, schema_of(INPUTS, target="t", classes=CLASSES))
    rows = rows * 3
    together = runtime.explain(columns_of(rows))
    for place, row in enumerate(rows):
        alone = runtime.explain(columns_of([row]))
        assert alone.values.tolist() == together.values[place : place + 1].tolist()
        assert alone.extras["rule"].tolist() == [together.extras["rule"][place]]
