"""A composite answers like its nodes asked by hand, row by row, whatever graph, rows and gaps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_model.composite.document import CompositeDocument
from mooring_model.composite.faults import GraphFault, GraphInvalid
from mooring_model.composite.graph import build_graph
from mooring_model.prediction import Answerer, Columns
from mooring_model.rules.document import parse_rules
from mooring_model.runtimes.composite import CompositeRuntime, load_node
from mooring_model.runtimes.rules import RULE, RulesRuntime
from mooring_model.schema import Datatype, Inference, InputKind, InputSpec, ModelSchema, schema_of

DIGEST = "sha256:" + "0" * 64
A, B = (
    InputSpec(name=name, datatype=Datatype.FP64, kind=InputKind.NUMERIC, nullable=nullable)
    for name, nullable in (("a", True), ("b", False))
)
VALUES = st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1.0, 3.0])
ROWS = st.lists(
    st.fixed_dictionaries({"a": VALUES | st.just(math.nan), "b": VALUES}), min_size=1, max_size=20
)


@dataclass(frozen=True)
class Part:
    """A node: c0 + c1 * x (+ y), from a feature or an earlier node, where a number is above t."""

    source: str
    takes_missing: bool
    weight: float
    constant: float
    condition: tuple[str, float] | None

    def schema(self) -> ModelSchema:
        spec = InputSpec(
            name="x",
            datatype=Datatype.FP64,
            kind=InputKind.NUMERIC,
            nullable=self.takes_missing,
        )
        return schema_of([spec], target="t", classes=None, extras=(RULE,))

    def rules(self) -> dict[str, Any]:
        value = f"{self.constant!r} + {self.weight!r} * x"
        return {
            "rules": [{"id": "r", "then": {"value": value}}],
            "default": {"value": self.constant},
        }

    def by_hand(self, known: Mapping[str, float]) -> float | None:
        """The node's value; None where it does not run."""
        if self.condition is not None:
            name, above = self.condition
            if not known.get(name, math.nan) > above:
                return None
        x = known.get(self.source)
        if x is None or (math.isnan(x) and not self.takes_missing):
            return None
        return self.constant if math.isnan(x) else self.constant + self.weight * x


@st.composite
def graphs(draw: st.DrawFn) -> list[Part]:
    """Up to five nodes, each reading what is before it; the first always runs."""
    parts: list[Part] = [Part("b", False, draw(VALUES), draw(VALUES), None)]
    for place in range(draw(st.integers(0, 4))):
        known = ["a", "b", *(f"n{at}.prediction" for at in range(place + 1))]
        condition = draw(st.none() | st.tuples(st.sampled_from(known), VALUES))
        parts.append(
            Part(
                draw(st.sampled_from(known)),
                draw(st.booleans()),
                draw(VALUES),
                draw(VALUES),
                condition,
            )
        )
    return parts


def document_of(parts: Sequence[Part], take: str) -> CompositeDocument:
    nodes: list[dict[str, Any]] = []
    for place, part in enumerate(parts):
        node: dict[str, Any] = {
            "name": f"n{place}",
            "digest": DIGEST,
            "inputs": {"x": part.source},
        }
        if part.condition is not None:
            node["if"] = f"{part.condition[0]} > {part.condition[1]!r}"
        nodes.append(node)
    answer = {"take": take, "of": [node["name"] for node in nodes]}
    # The order of the document must not matter.
    return CompositeDocument.model_validate({"nodes": nodes[::-1], "answer": answer})


def composed(parts: Sequence[Part], take: str) -> CompositeRuntime:
    document = document_of(parts, take)
    schemas = {f"n{place}": part.schema() for place, part in enumerate(parts)}
    used = {name for part in parts for name in (part.source, (part.condition or ("",))[0])}
    inputs = [spec for spec in (A, B) if spec.name in used]
    graph = build_graph(document, schemas, inputs)
    answerers = {
        name: Answerer.of(
            RulesRuntime(parse_rules(parts[int(name[1:])].rules()), schema), schema, Inference()
        )
        for name, schema in schemas.items()
    }
    nodes = {
        step.name: load_node(step, graph, schemas[step.name], answerers[step.name])
        for step in graph.steps
    }
    return CompositeRuntime(graph, document, nodes)


def columns_of(rows: Sequence[Mapping[str, float]]) -> Columns:
    return {name: np.array([row[name] for row in rows]) for name in ("a", "b")}


@given(graphs(), ROWS, st.sampled_from(["last", "mean"]))
@settings(deadline=None)
def test_composite_answers_like_its_nodes_by_hand(
    parts: list[Part], rows: list[dict[str, float]], take: str
) -> None:
    told = composed(parts, take).explain(columns_of(rows))
    for place, row in enumerate(rows):
        known = dict(row)
        ran: dict[str, float] = {}
        for at, part in enumerate(parts):
            value = part.by_hand(known)
            if value is not None:
                ran[f"n{at}"] = known[f"n{at}.prediction"] = value
        if take == "last":
            wanted, names = list(ran.values())[-1], list(ran)[-1]
        else:
            wanted, names = sum(ran.values()) / len(ran), "+".join(ran)
        assert told.extras["node"][place] == names
        assert told.values[place] == pytest.approx(wanted)


@given(graphs(), st.data())
@settings(deadline=None)
def test_graph_with_a_way_back_is_a_cycle(parts: list[Part], data: st.DataObject) -> None:
    last = len(parts) - 1
    first = data.draw(st.integers(0, last))
    changed = parts.copy()
    changed[first] = Part(f"n{last}.prediction", True, 1.0, 0.0, None)
    for place in range(first + 1, last + 1):
        changed[place] = Part(f"n{place - 1}.prediction", True, 1.0, 0.0, None)
    schemas = {f"n{place}": part.schema() for place, part in enumerate(changed)}
    with pytest.raises(GraphInvalid) as refused:
        build_graph(document_of(changed, "last"), schemas, [A, B])
    assert refused.value.fault is GraphFault.CYCLE


def test_way_of_more_than_eight_nodes_is_too_deep() -> None:
    parts = [Part("b", False, 1.0, 0.0, None)]
    parts += [Part(f"n{place}.prediction", True, 1.0, 0.0, None) for place in range(8)]
    schemas = {f"n{place}": part.schema() for place, part in enumerate(parts)}
    with pytest.raises(GraphInvalid) as refused:
        build_graph(document_of(parts, "last"), schemas, [B])
    assert refused.value.fault is GraphFault.TOO_DEEP
