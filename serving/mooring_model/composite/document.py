"""composite.json: the nodes, what feeds them, and who answers."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from mooring_model.documents import document_invalid, read_bounded
from mooring_model.manifest import Format, canonical, first_fault

MAX_NODES = 16
NODES = "nodes"
"""The folder that holds a folder for each node."""
NAME = r"[a-z][a-z0-9_]{0,31}"

NodeName = Annotated[str, Field(pattern=rf"^{NAME}$")]
Reference = Annotated[str, Field(min_length=1, max_length=300)]
"""A feature, `node.output`, or `node.probability.CLASS`."""


class Combination(StrEnum):
    """How the nodes that answer become one answer."""

    LAST = "last"
    """For each row, the last of them that ran."""
    MEAN = "mean"
    """For each row, the weighted mean of those that ran."""


class _Document(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class NodeSpec(_Document):
    """One package, and what feeds it."""

    name: NodeName
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    inputs: Annotated[dict[str, Reference], Field(max_length=4096)] = {}
    """Input of the node → where its values come from; others are features of the same name."""
    condition: Annotated[str | None, Field(alias="if", max_length=10_000)] = None
    """A boolean expression, as in rules; the node runs on the rows where it is true."""


class AnswerSpec(_Document):
    """Who answers."""

    take: Combination = Combination.LAST
    of: Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=MAX_NODES)]
    weights: (
        Annotated[
            tuple[Annotated[float, Field(gt=0, allow_inf_nan=False, le=1e9)], ...],
            Field(max_length=MAX_NODES),
        ]
        | None
    ) = None
    """Of a mean, in the order of `of`; None: all alike."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.of)) != len(self.of):
            raise ValueError("of: a node is listed twice")
        if self.weights is not None and (
            self.take is not Combination.MEAN or len(self.weights) != len(self.of)
        ):
            raise ValueError("weights: one for each node of a mean")
        return self


class CompositeDocument(_Document):
    """The whole document."""

    kind: Literal[Format.COMPOSITE] = Format.COMPOSITE
    format_version: Literal[1] = 1
    nodes: Annotated[tuple[NodeSpec, ...], Field(min_length=1, max_length=MAX_NODES)]
    answer: AnswerSpec
    outputs: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")], Reference],
        Field(max_length=31),
    ] = {}
    """Extra outputs: their names, and the node's output that each is."""

    def to_bytes(self) -> bytes:
        """The document as a package stores it."""
        return canonical(self.model_dump(mode="json", by_alias=True, exclude_none=True))


def read_composite(path: Path) -> CompositeDocument:
    """The document of a package.

    Raises:
        PackageRefused: SchemaInvalid, naming the field.
    """
    data = read_bounded(path)
    try:
        document = CompositeDocument.model_validate(json.loads(data))
    except ValidationError as error:
        raise document_invalid(path, first_fault(error)) from error
    except (ValueError, RecursionError) as error:
        raise document_invalid(path, f"{type(error).__name__}: {str(error)[:200]}") from error
    if document.to_bytes() != data:
        raise document_invalid(path, "is not canonical: keys sorted, once each, no spaces")
    return document
