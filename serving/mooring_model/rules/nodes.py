"""The tree of an expression: every node knows what kind of value it has."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Kind(StrEnum):
    """What a value is."""

    NUMBER = "number"
    TEXT = "text"
    FLAG = "boolean"


class Operation(StrEnum):
    """Everything that an expression can do, by the name that its author writes."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    MODULO = "%"
    POWER = "**"
    NEGATE = "unary -"
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    EQUAL = "=="
    NOT_EQUAL = "!="
    AND = "and"
    OR = "or"
    NOT = "not"
    MIN = "min"
    MAX = "max"
    ABS = "abs"
    SQRT = "sqrt"
    LOG = "log"
    LOG1P = "log1p"
    EXP = "exp"
    FLOOR = "floor"
    CEIL = "ceil"
    LOGISTIC = "logistic"
    WHERE = "where"
    MISSING = "missing"
    FILL = "fill"


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a text, true or false."""

    value: float | str | bool
    kind: Kind
    at: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Name:
    """The values of a feature."""

    name: str
    kind: Kind
    at: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Call:
    """An operation on some operands."""

    operation: Operation
    operands: "tuple[Node, ...]"
    kind: Kind
    at: int
    depth: int


@dataclass(frozen=True, slots=True)
class Member:
    """Whether a value is among constants of its kind."""

    operand: "Node"
    values: tuple[float | str, ...]
    negated: bool
    at: int
    depth: int
    kind: Kind = Kind.FLAG


Node: TypeAlias = Constant | Name | Call | Member


def names_of(node: Node) -> set[str]:
    """The features that an expression reads."""
    found: set[str] = set()
    waiting: list[Node] = [node]
    while waiting:
        match waiting.pop():
            case Name(name=name):
                found.add(name)
            case Call(operands=operands):
                waiting.extend(operands)
            case Member(operand=operand):
                waiting.append(operand)
            case Constant():
                pass
    return found
