"""Every sample says only what the types know, with values that they accept."""

from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.group import API_VERSION, Kind
from mooring_operator.api.model import Model
from mooring_operator.api.retrain import RetrainPolicy
from mooring_operator.api.schema import structural

SAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "samples"
TYPES: dict[str, type[Model] | type[ModelDeployment] | type[RetrainPolicy]] = {
    Kind.MODEL.value: Model,
    Kind.MODEL_DEPLOYMENT.value: ModelDeployment,
    Kind.RETRAIN_POLICY.value: RetrainPolicy,
}
Node = dict[str, Any]


def documents() -> list[tuple[str, Node]]:
    """Every document of every sample, with the file that it stands in."""
    return [
        (path.name, document)
        for path in sorted(SAMPLES.glob("*.yaml"))
        for document in cast("list[Node]", list(yaml.safe_load_all(path.read_text())))
    ]


OURS = [pytest.param(d, id=f) for f, d in documents() if d["apiVersion"] == API_VERSION]


def unknown(value: Any, schema: Node, path: str) -> list[str]:
    """Paths that the schema does not have: what strict validation refuses."""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [p for item in items for p in unknown(item, schema["items"], f"{path}[]")]
    if not isinstance(value, dict):
        return []
    fields = cast("Node", value)
    known: Node = schema.get("properties", {})
    found = [f"{path}.{name}" for name in fields if name not in known]
    for name, child in fields.items():
        if name in known:
            found += unknown(child, known[name], f"{path}.{name}")
    return found


def named(value: Any, schema: Node, path: str) -> set[str]:
    """Paths of the schema that a value uses."""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return {path}.union(*(named(item, schema["items"], f"{path}[]") for item in items))
    if not isinstance(value, dict):
        return {path}
    fields = cast("Node", value)
    below = (
        named(child, schema["properties"][name], f"{path}.{name}") for name, child in fields.items()
    )
    return {path}.union(*below)


def leaves(schema: Node, path: str) -> set[str]:
    """Paths of all fields of a schema."""
    if "items" in schema:
        return leaves(schema["items"], f"{path}[]") | {path}
    children: Node = schema.get("properties", {})
    return {path}.union(*(leaves(child, f"{path}.{name}") for name, child in children.items()))


@pytest.mark.parametrize("document", OURS)
def test_sample_has_no_unknown_field_and_no_refused_value(document: Node) -> None:
    kind = TYPES[document["kind"]]
    assert unknown(document["spec"], structural(kind, "spec"), "spec") == []
    metadata = document["metadata"] | {"namespace": "n", "uid": "u"}
    kind.model_validate({"metadata": metadata, "spec": document["spec"]})
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
    assert "namespace" not in document["metadata"], "samples go where kubectl -n says"


@pytest.mark.parametrize("kind", list(Kind))
def test_samples_show_every_field(kind: Kind) -> None:
    schema = structural(TYPES[kind.value], "spec")
    shown: set[str] = set()
    for _, document in documents():
        if document["kind"] == kind.value and document["apiVersion"] == API_VERSION:
            shown |= named(document["spec"], schema, "spec")
    missing = {path for path in leaves(schema, "spec") if not path.endswith("limits.cpu")}
    assert missing - shown == set()


def test_sample_names_are_told_apart() -> None:
    names = [(d["kind"], d["metadata"]["name"]) for _, d in documents()]
    assert len(set(names)) == len(names)


def test_environments_are_labelled_namespaces_with_restricted_pods() -> None:
    spaces = [d["metadata"]["labels"] for _, d in documents() if d["kind"] == "Namespace"]
    environments = [labels["mooring.dev/environment"] for labels in spaces]
    assert environments == ["dev", "preprod", "prod"]
    assert {labels["pod-security.kubernetes.io/enforce"] for labels in spaces} == {"restricted"}
