"""`spec.runtime` tells the server only what it knows, within the bounds that it accepts."""

import dataclasses
import typing
from typing import Any

import pytest

from mooring_operator.api.base import parse_duration
from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.runtime import Runtime
from mooring_operator.api.schema import structural
from mooring_operator.core.manifests.runtime import (
    LIMIT_PREFIX,
    NUMBERS,
    SPANS,
    Span,
    runtime_environment,
)
from mooring_serving.limits import HttpLimits, TensorLimits, WorkLimits, read_limits
from mooring_serving.settings import ServerSettings, read_settings

Bounds = dict[str, float]
KINDS = (HttpLimits, TensorLimits, WorkLimits)


def _bounds(metadata: tuple[Any, ...]) -> Bounds:
    flat = [part for item in metadata for part in getattr(item, "metadata", [item])]
    return {
        name: getattr(part, name)
        for part in flat
        for name in ("ge", "gt", "le")
        if getattr(part, name, None) is not None
    }


def server_bounds() -> dict[str, Bounds]:
    """The bounds of each variable of the server that `spec.runtime` may set."""
    known = {
        field.alias: _bounds(tuple(field.metadata))
        for field in ServerSettings.model_fields.values()
        if field.alias is not None
    }
    for kind in KINDS:
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            metadata = hints[field.name].__metadata__
            known[f"{LIMIT_PREFIX}{field.name.upper()}"] = _bounds(metadata)
    return known


def schema_at(path: str) -> dict[str, Any]:
    node: dict[str, Any] = structural(ModelDeployment, "spec")["properties"]["runtime"]
    for name in path.split("."):
        node = node["properties"][name]
    return node


@pytest.mark.parametrize(("path", "variable"), NUMBERS.items(), ids=NUMBERS.keys())
def test_number_has_the_bounds_of_its_variable(path: str, variable: str) -> None:
    node = schema_at(path)
    assert server_bounds()[variable] == {"ge": node["minimum"], "le": node["maximum"]}


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.path)
def test_duration_has_the_bounds_of_its_variable(span: Span) -> None:
    bounds = server_bounds()[span.variable]
    assert parse_duration(span.most) / span.unit == bounds["le"]
    assert ("ge" if span.zero else "gt") in bounds
    assert schema_at(span.path)["type"] == "string"


def test_every_limit_of_messages_and_tensors_is_a_field() -> None:
    told = set(NUMBERS.values()) | {span.variable for span in SPANS}
    names = [f.name for kind in (HttpLimits, TensorLimits) for f in dataclasses.fields(kind)]
    assert {f"{LIMIT_PREFIX}{name.upper()}" for name in names} <= told


def test_server_starts_with_the_extremes_of_every_field() -> None:
    for bound in ("minimum", "maximum"):
        wire: dict[str, Any] = {}
        for path in NUMBERS:
            node = wire
            *parents, last = path.split(".")
            for name in parents:
                node = node.setdefault(name, {})
            node[last] = schema_at(path)[bound]
        for span in SPANS:
            *parents, last = span.path.split(".")
            node = wire
            for name in parents:
                node = node.setdefault(name, {})
            node[last] = "1ms" if bound == "minimum" else span.most
        told = runtime_environment(Runtime.model_validate(wire))
        expected = len(NUMBERS) + len(SPANS) + (bound == "maximum")
        assert len(told) == expected, "and how long a drain may take"
        read_settings(told)
        read_limits(told)
