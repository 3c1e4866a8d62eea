"""What a model takes and gives: named, typed inputs and outputs, in the protocol's datatypes."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    TypeAdapter,
    model_validator,
)
from pydantic.alias_generators import to_camel

from mooring_model.documents import read_typed

SCHEMA = "schema.json"
INFERENCE = "inference.json"
ANSWERS = ("label", "probability", "prediction")
"""Names of outputs that every model's answer has; no extra output may be called so."""
MAX_EXTRAS = 32


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

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        categorical = self.kind is InputKind.CATEGORICAL
        if categorical != (self.datatype in (Datatype.BYTES, Datatype.BOOL)):
            raise ValueError(f"{self.name}: a {self.datatype} feature cannot be {self.kind}")
        if categorical != (self.categories is not None):
            raise ValueError(f"{self.name}: categories belong to categorical features, all of them")
        if self.nullable and self.datatype is Datatype.BOOL:
            raise ValueError(f"{self.name}: a BOOL feature cannot be null")
        return self


class OutputSpec(_Document):
    """One output: shape [n] for width 1, else [n, width]."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    datatype: Datatype
    width: Annotated[int, Field(ge=1)] = 1


class ModelSchema(_Document):
    """schema.json."""

    task: Task
    target: str
    classes: tuple[StrictStr | StrictInt, ...] | None = None
    """Of a classifier, in the order of its probabilities: all integers or all texts."""
    positive_class: StrictStr | StrictInt | None = None
    """The one of the two classes that `probability` speaks of."""
    inputs: Annotated[tuple[InputSpec, ...], Field(min_length=1, max_length=4096)]
    outputs: Annotated[tuple[OutputSpec, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [spec.name for spec in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError("inputs: a feature is listed twice")
        classes = self.classes or ()
        if len({type(name) for name in classes}) > 1 or len(set(classes)) != len(classes):
            raise ValueError("classes: must be distinct, and all integers or all texts")
        numbers = all(isinstance(name, int) for name in classes)
        wanted = _outputs(self.task, len(classes), numbers=numbers)
        if wanted is None or self.outputs[: len(wanted)] != wanted:
            raise ValueError(f"a {self.task} model of {len(classes)} classes has other outputs")
        _check_extras(self.outputs[len(wanted) :])
        if (self.task is Task.BINARY) != (self.positive_class is not None):
            raise ValueError("positiveClass: a binary model has one, no other does")
        if self.positive_class is not None and self.positive_class not in classes:
            raise ValueError(f"positiveClass: {self.positive_class!r} is none of {classes}")
        return self

    @property
    def extras(self) -> tuple[OutputSpec, ...]:
        """What the model says beyond its answer: the rule that fired, say."""
        return self.outputs[1:] if self.task is Task.REGRESSION else self.outputs[2:]

    @property
    def matrix_allowed(self) -> bool:
        """Whether one tensor `input` [n, features] may stand for all features."""
        return all(spec.kind is InputKind.NUMERIC for spec in self.inputs)


def _outputs(task: Task, classes: int, *, numbers: bool) -> tuple[OutputSpec, ...] | None:
    """What a task gives (contracts §1); None when the number of classes does not fit it."""
    if task is Task.REGRESSION:
        single = (OutputSpec(name="prediction", datatype=Datatype.FP64),)
        return single if classes == 0 else None
    if classes < 2 or (task is Task.BINARY) != (classes == 2):
        return None
    return (
        OutputSpec(name="label", datatype=Datatype.INT64 if numbers else Datatype.BYTES),
        OutputSpec(
            name="probability",
            datatype=Datatype.FP64,
            width=1 if task is Task.BINARY else classes,
        ),
    )


def _check_extras(extras: Sequence[OutputSpec]) -> None:
    names = [spec.name for spec in extras]
    if len(names) > MAX_EXTRAS or len({*names, *ANSWERS}) != len(names) + len(ANSWERS):
        raise ValueError(
            f"outputs: beyond the answer at most {MAX_EXTRAS}, each of a name of its own"
        )
    for spec in extras:
        if spec.width > 1 and spec.datatype is not Datatype.FP64:
            raise ValueError(f"outputs: {spec.name}: only FP64 may be wider than 1")


def schema_of(
    inputs: Sequence[InputSpec],
    *,
    target: str,
    classes: Sequence[str | int] | None,
    extras: Sequence[OutputSpec] = (),
) -> ModelSchema:
    """The schema of a model with these inputs; classes None means regression.

    Args:
        inputs: features in the model's order.
        target: name of the label.
        classes: in the order of the model's probabilities; of two, the second is the positive one.
        extras: outputs beyond the answer.

    Raises:
        ValueError: fewer than two classes, a feature twice, or an extra output that cannot be.
    """
    names = tuple(classes or ())
    binary = len(names) == 2
    task = Task.REGRESSION if classes is None else Task.BINARY if binary else Task.MULTICLASS
    numbers = all(isinstance(name, int) for name in names)
    outputs = _outputs(task, len(names), numbers=numbers)
    if outputs is None:
        raise ValueError(f"a classifier needs two classes or more, not {list(names)}")
    return ModelSchema(
        task=task,
        target=target,
        classes=None if classes is None else names,
        positive_class=names[1] if binary else None,
        inputs=tuple(inputs),
        outputs=(*outputs, *extras),
    )


class Inference(_Document):
    """inference.json."""

    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Positive from this probability on; None: 0.5."""
    max_batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 1000


_SCHEMAS = TypeAdapter(ModelSchema)
_INFERENCES = TypeAdapter(Inference)


def read_schema(directory: Path) -> ModelSchema:
    """The package's schema.

    Raises:
        PackageRefused: SchemaInvalid, naming the field.
    """
    return read_typed(directory / SCHEMA, _SCHEMAS)


def read_inference(directory: Path) -> Inference:
    """The package's inference configuration.

    Raises:
        PackageRefused: SchemaInvalid, naming the field.
    """
    return read_typed(directory / INFERENCE, _INFERENCES)
