"""The CRDs in `crds/` are what the pydantic types say, in the form that the API server takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from mooring_operator.api.base import SecretName
from mooring_operator.api.group import Kind
from mooring_operator.api.schema import render, structural

CRDS = Path(__file__).resolve().parents[2] / "crds"
FORBIDDEN = ("$ref", "anyOf", "oneOf", "const", "prefixItems", "additionalProperties", "title")


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema node with its path."""
    if isinstance(value, dict):
        node = cast("dict[str, Any]", value)
        yield path, node
        for key, child in node.items():
            yield from nodes(child, f"{path}.{key}")
    elif isinstance(value, list):
        for child in cast("list[Any]", value):
            yield from nodes(child, f"{path}[]")


@pytest.mark.parametrize("kind", list(Kind))
def test_generated_file_equals_the_types(kind: Kind) -> None:
    assert (CRDS / f"{kind.plural}.yaml").read_text() == render(kind)


@pytest.mark.parametrize("kind", list(Kind))
def test_schema_is_structural_and_bounded(kind: Kind) -> None:
    document = yaml.safe_load(render(kind))
    root = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node in nodes(root["properties"]["spec"], "spec"):
        if path.endswith((".default", ".properties")) or ".default" in path:
            continue
        assert not set(FORBIDDEN) & set(node), path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if node.get("type") == "string" and "enum" not in node:
            assert "maxLength" in node, path


def test_no_pod_is_given_the_key_that_commands_pods() -> None:
    """In the operator's namespace it would be there to be named, with the prefix of consent."""
    rule = {
        "rule": "self != 'mooring-sync-key'",
        "message": "mooring-sync-key is the operator's own Secret: name one of yours",
    }
    for kind in Kind:
        document = yaml.safe_load(render(kind))
        root = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        spec = nodes(root["properties"]["spec"], "spec")
        names = [node for path, node in spec if path.lower().endswith("secretname")]
        assert names, kind
        assert all(rule in node["x-kubernetes-validations"] for node in names), kind
    judge = TypeAdapter[str](SecretName)
    assert judge.validate_python("mooring-store") == "mooring-store"
    with pytest.raises(ValidationError, match="is the operator's own Secret"):
        judge.validate_python("mooring-sync-key")


@pytest.mark.parametrize("kind", list(Kind))
def test_status_is_never_filled_in_by_the_api_server(kind: Kind) -> None:
    document = yaml.safe_load(render(kind))
    root = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    status = root["properties"]["status"]
    assert status.pop("default") == {"observedGeneration": -1}
    assert all("default" not in node for _, node in nodes(status, "status"))


def test_every_field_is_explained_to_kubectl_explain() -> None:
    for kind in Kind:
        document = yaml.safe_load(render(kind))
        root = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for name, field in root["properties"]["spec"]["properties"].items():
            described = field.get("description") or field.get("items", {}).get("description")
            assert described or field["type"] in ("boolean", "integer"), f"{kind}.{name}"


class _Union(BaseModel):
    field: int | str


def test_union_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"_Union\.field: a union has no structural form"):
        structural(_Union, "field")
