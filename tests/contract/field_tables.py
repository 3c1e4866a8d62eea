"""The reference of a kind's spec as rows: path, default and bounds, from its schema.

The pages in `operator/docs/spec/` hold these rows word for word, with a meaning that a person
wrote; `python -m tests.contract.field_tables KIND` prints them for a new field.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mooring_operator.api.group import Kind
from mooring_operator.api.schema import TYPES, structural

Node = dict[str, Any]

WORDS = {
    "write a duration": "duration",
    "use lower-case letters": "DNS label",
    "write five fields": "five fields",
    "write the package digest": "`sha256:` and 64 hex digits",
    "write a Kubernetes quantity": "quantity",
    "write s3://BUCKET/PREFIX, https": "`s3://`, `https://` or `pvc://`",
    "write s3://BUCKET/PREFIX, without": "`s3://`",
    "name a Secret": "begins with `mooring-`, not `mooring-sync-key`",
    "write a segment size": "`1Mi` to `99Mi`",
    "write http://HOST": "`http://` or `https://`",
    "write the name of an HTTP header": "header name",
    "write a hostname": "hostname",
    "write a path": "URL path",
}
"""How the sentence of a refused value begins, and what the page says instead."""


@dataclass(frozen=True)
class Field:
    """One field of a spec."""

    path: str
    default: str
    bounds: str
    description: str

    @property
    def cells(self) -> str:
        """The part of the row that the schema decides."""
        return f"| `{self.path}` | {self.default} | {self.bounds} |"


def fields_of(kind: Kind) -> list[Field]:
    """The fields of a kind's spec, parents before children."""
    return list(_fields(structural(TYPES[kind], "spec"), ""))


def _fields(schema: Node, prefix: str) -> Iterator[Field]:
    children: Node = schema.get("properties", {})
    required: list[str] = schema.get("required", [])
    for name, child in children.items():
        path = f"{prefix}{name}"
        yield Field(
            path=path,
            default=_default(child, needed=name in required),
            bounds=_bounds(child),
            description=str(child.get("description", "")),
        )
        yield from _fields(child, f"{path}.")
        if child.get("type") == "array":
            yield from _fields(child["items"], f"{path}[].")


def _default(node: Node, *, needed: bool) -> str:
    if "default" not in node:
        return "required" if needed else "none"
    if node["type"] == "object" and node["default"] == _implied(node):
        return "as below"
    return f"`{json.dumps(node['default'], separators=(', ', ': '))}`"


def _implied(node: Node) -> Node:
    """The default of an object that only gathers those of its fields."""
    children: Node = node.get("properties", {})
    return {name: child["default"] for name, child in children.items() if "default" in child}


def _bounds(node: Node) -> str:
    match node["type"]:
        case "string":
            return _text_bounds(node)
        case "integer" | "number":
            return f"{node['minimum']} to {node['maximum']}"
        case "boolean":
            return "`true`, `false`"
        case "array":
            return _list_bounds(node)
        case _:
            return "object"


def _text_bounds(node: Node) -> str:
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    for rule in node.get("x-kubernetes-validations", ()):
        for beginning, words in WORDS.items():
            if rule["message"].startswith(beginning):
                return f"{words}, at most {node['maxLength']}"
    return f"{node.get('minLength', 0)} to {node['maxLength']} characters"


def _list_bounds(node: Node) -> str:
    items: Node = node["items"]
    what = ", ".join(f"`{value}`" for value in items["enum"]) if "enum" in items else ""
    size = f"{node.get('minItems', 0)} to {node['maxItems']}"
    keys: list[str] = node.get("x-kubernetes-list-map-keys", [])
    key = f", by `{keys[0]}`" if keys else ""
    return f"{size}{key}{' of ' + what if what else ''}"


if __name__ == "__main__":
    for field in fields_of(Kind(sys.argv[1])):
        sys.stdout.write(f"{field.cells} {field.description} |\n")
