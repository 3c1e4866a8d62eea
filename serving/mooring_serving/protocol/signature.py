"""What the served model takes and gives, prepared for decoding requests quickly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mooring_serving.protocol.datatypes import DATATYPES, FLOATS, Datatype

MATRIX_NAME = "input"
"""The one tensor [n, features] that stands for all features, when each is numeric."""


class SchemaInput(Protocol):
    """One feature, as the package's schema has it."""

    @property
    def name(self) -> str:
        """The tensor's name."""
        ...

    @property
    def datatype(self) -> str:
        """The protocol's datatype."""
        ...

    @property
    def nullable(self) -> bool:
        """Whether null is accepted."""
        ...

    @property
    def categories(self) -> tuple[str, ...] | None:
        """The categories of the training table; None for a number."""
        ...


class SchemaOutput(Protocol):
    """One output, as the package's schema has it."""

    @property
    def name(self) -> str:
        """The tensor's name."""
        ...

    @property
    def datatype(self) -> str:
        """The protocol's datatype."""
        ...

    @property
    def width(self) -> int:
        """Values a row."""
        ...


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the model."""

    name: str
    datatype: Datatype
    nullable: bool
    categories: tuple[str, ...] | None = None
    """What training knew; others are answered and counted as unseen, since they are evidence."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output: `width` values a row."""

    name: str
    datatype: Datatype
    width: int


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a model.

    Attributes:
        features: In the model's order.
        by_name: The same, by name.
        positions: The place of each in the matrix.
        outputs: In the order of the answer.
        accepts_matrix: Whether one numeric matrix named `input` is accepted.
        nullable: For each feature, whether null is accepted.
        max_rows: Most rows of a request.
        output_names: Names of the outputs.
        any_nullable: Whether null is accepted anywhere.
        plain: Whether every feature is a floating-point number that may not be null.
    """

    features: tuple[Feature, ...]
    by_name: Mapping[str, Feature]
    positions: Mapping[str, int]
    outputs: tuple[Output, ...]
    accepts_matrix: bool
    nullable: tuple[bool, ...]
    max_rows: int
    output_names: frozenset[str]
    any_nullable: bool
    plain: bool


def build_signature(
    inputs: Sequence[SchemaInput], outputs: Sequence[SchemaOutput], *, max_rows: int
) -> Signature:
    """Prepare a package's schema for the codec.

    Raises:
        ValueError: A datatype is not one of the protocol's.
    """
    features = tuple(
        Feature(item.name, Datatype(item.datatype), item.nullable, item.categories)
        for item in inputs
    )
    numeric = all(item.datatype not in (Datatype.BYTES, Datatype.BOOL) for item in features)
    by_name = {item.name: item for item in features}
    return Signature(
        features=features,
        by_name=by_name,
        positions={item.name: at for at, item in enumerate(features)},
        outputs=tuple(Output(item.name, DATATYPES[item.datatype], item.width) for item in outputs),
        accepts_matrix=numeric and (MATRIX_NAME not in by_name or len(features) == 1),
        nullable=tuple(item.nullable for item in features),
        max_rows=max_rows,
        output_names=frozenset(item.name for item in outputs),
        any_nullable=any(item.nullable for item in features),
        plain=all(item.datatype in FLOATS and not item.nullable for item in features),
    )
