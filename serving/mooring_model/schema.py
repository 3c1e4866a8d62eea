"""What a model takes and gives: named, typed inputs and outputs, in the protocol's datatypes."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from mooring_model.errors import PackageRefused, RefusalReason

SCHEMA = "schema.json"
INFERENCE = "inference.json"

DocumentT = TypeVar("DocumentT", bound=BaseModel)


class Task(StrEnum):
    """What kind of question the model answers."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Datatype(StrEnum):
    """Datatypes of the Open Inference Protocol that tabular packages use."""

    BOOL = "BOOL"
    INT64 = "INT64"
    FP64 = "FP64"
    BYTES = "BYTES"


class InputKind(StrEnum):
    """Whether a feature has an order."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class _Document(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class InputSpec(_Document):
    """One feature: a tensor of shape [n] or [n, 1]."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    datatype: Datatype
    kind: InputKind
    categories: tuple[str, ...] | None = None
    """The categories of the training table, sorted; others are predicted and counted unseen."""
    nullable: bool = False
    """Whether null (missing) is an answer that the training table knew."""


class OutputSpec(_Document):
    """One output: shape [n] for width 1, else [n, width]."""

    name: str
    datatype: Datatype
    width: Annotated[int, Field(ge=1)] = 1


class ModelSchema(_Document):
    """schema.json."""

    task: Task
    target: str
    classes: tuple[str | int, ...] | None = None
    positive_class: str | int | None = None
    inputs: Annotated[tuple[InputSpec, ...], Field(min_length=1, max_length=4096)]
    outputs: Annotated[tuple[OutputSpec, ...], Field(min_length=1)]

    @property
    def matrix_allowed(self) -> bool:
        """Whether one tensor `input` [n, features] may stand for all features."""
        return all(spec.kind is InputKind.NUMERIC for spec in self.inputs)


class Inference(_Document):
    """inference.json."""

    threshold: float | None = None
    """Positive from this probability on; None: 0.5."""
    max_batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 1000


def read_schema(directory: Path) -> ModelSchema:
    """The package's schema.

    Raises:
        PackageRefused: SchemaInvalid, naming the field.
    """
    return _read(directory / SCHEMA, ModelSchema)


def read_inference(directory: Path) -> Inference:
    """The package's inference configuration.

    Raises:
        PackageRefused: SchemaInvalid, naming the field.
    """
    return _read(directory / INFERENCE, Inference)


def _read(path: Path, document: type[DocumentT]) -> DocumentT:
    try:
        return document.model_validate(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        what = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            what = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise PackageRefused(
            RefusalReason.SCHEMA_INVALID,
            f"{path.parent}: {path.name}: {what}",
            "package the model again with `mooring package`",
        ) from error
