"""Expressions compiled to numpy: once into nested functions, then over whole columns.

A missing value (NaN, or None of a text) makes a number missing and every comparison false.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mooring_model.prediction import Array, Columns, FloatArray
from mooring_model.rules.nodes import Call, Constant, Kind, Member, Name, Node, Operation

_NONE: Any = np.array(None, np.object_)
_choose: Callable[[Any, Any, Any], Any] = np.where
Evaluate = Callable[[Columns], Any]
"""An array [n], or one value for all rows."""


def compile_number(node: Node) -> Callable[[Columns, int], FloatArray]:
    """A function of the columns and their n rows that gives numbers [n]; missing is NaN."""
    evaluate = _compile(node)

    def numbers(columns: Columns, rows: int) -> FloatArray:
        with np.errstate(all="ignore"):
            values = np.asarray(evaluate(columns), np.float64)
        return values if values.ndim else np.full(rows, values)

    return numbers


def compile_flag(node: Node) -> Callable[[Columns, int], Array]:
    """A function of the columns and their n rows that gives booleans [n]."""
    evaluate = _compile(node)

    def flags(columns: Columns, rows: int) -> Array:
        with np.errstate(all="ignore"):
            values = np.asarray(evaluate(columns), np.bool_)
        return values if values.ndim else np.full(rows, values)

    return flags


def _compile(node: Node) -> Evaluate:
    match node:
        case Constant(value=value):
            return lambda _: value
        case Name(name=name):
            return lambda columns: columns[name]
        case Member():
            return _membership(node)
        case Call(operation=operation, operands=operands):
            function = _function(operation, operands)
            inner = [_compile(operand) for operand in operands]
            if len(inner) == 1:
                return _unary(function, inner[0])
            if len(inner) == 2:
                return _binary(function, inner[0], inner[1])
            return lambda columns: function(*(evaluate(columns) for evaluate in inner))


def _unary(function: Callable[..., Any], inner: Evaluate) -> Evaluate:
    return lambda columns: function(inner(columns))


def _binary(function: Callable[..., Any], left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda columns: function(left(columns), right(columns))


def _membership(node: Member) -> Evaluate:
    evaluate = _compile(node.operand)
    if node.operand.kind is Kind.NUMBER:
        wanted = np.array(node.values, np.float64)
        if node.negated:
            return lambda columns: _outside(np.asarray(evaluate(columns)), wanted)
        return lambda columns: np.isin(evaluate(columns), wanted)
    texts = frozenset(node.values)
    negated = node.negated

    def is_member(columns: Columns) -> Any:
        values: Array = np.asarray(evaluate(columns), np.object_)
        given: list[Any] = values.reshape(-1).tolist()
        found = [(value in texts) is not negated and value is not None for value in given]
        return np.array(found, np.bool_).reshape(values.shape)

    return is_member


def _outside(values: Array, wanted: FloatArray) -> Any:
    return ~np.isin(values, wanted) & ~np.isnan(values)


def _function(operation: Operation, operands: Sequence[Node]) -> Callable[..., Any]:
    if operation is Operation.NOT_EQUAL:
        return _BY_KIND[operands[0].kind]
    if operation is Operation.MISSING or operation is Operation.FILL:
        text = operands[0].kind is Kind.TEXT
        if operation is Operation.MISSING:
            return _is_none if text else np.isnan
        return _fill_text if text else _fill
    return _FUNCTIONS[operation]


def _fold(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def folded(first: Any, *others: Any) -> Any:
        for other in others:
            first = function(first, other)
        return first

    return folded


def _unlike(left: Any, right: Any) -> Any:
    return np.less(left, right) | np.greater(left, right)


def _other_text(left: Any, right: Any) -> Any:
    return np.not_equal(_object(left), _object(right)) & ~_is_none(left) & ~_is_none(right)


def _equal(left: Any, right: Any) -> Any:
    if isinstance(left, str) or isinstance(right, str):
        return np.equal(_object(left), _object(right))
    return np.equal(left, right) & ~_is_none(left) if _is_object(left) else np.equal(left, right)


def _object(value: Any) -> Any:
    return np.asarray(value, np.object_)


def _is_object(value: Any) -> bool:
    return getattr(value, "dtype", None) == np.object_


def _is_none(value: Any) -> Any:
    return np.equal(_object(value), _NONE)


def _fill(value: Any, other: Any) -> Any:
    return _choose(np.isnan(value), other, value)


def _fill_text(value: Any, other: Any) -> Any:
    return _choose(_is_none(value), _object(other), _object(value))


def _where(condition: Any, one: Any, other: Any) -> Any:
    if isinstance(one, str) or isinstance(other, str):
        one, other = _object(one), _object(other)
    return _choose(condition, one, other)


def _logistic(value: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.asarray(value, np.float64)))


_BY_KIND: Mapping[Kind, Callable[..., Any]] = {
    Kind.NUMBER: _unlike,
    Kind.TEXT: _other_text,
    Kind.FLAG: np.not_equal,
}
_FUNCTIONS: Mapping[Operation, Callable[..., Any]] = {
    Operation.ADD: np.add,
    Operation.SUBTRACT: np.subtract,
    Operation.MULTIPLY: np.multiply,
    Operation.DIVIDE: np.divide,
    Operation.MODULO: np.mod,
    Operation.POWER: np.power,
    Operation.NEGATE: np.negative,
    Operation.LESS: np.less,
    Operation.LESS_OR_EQUAL: np.less_equal,
    Operation.GREATER: np.greater,
    Operation.GREATER_OR_EQUAL: np.greater_equal,
    Operation.EQUAL: _equal,
    Operation.AND: np.logical_and,
    Operation.OR: np.logical_or,
    Operation.NOT: np.logical_not,
    Operation.MIN: _fold(np.minimum),
    Operation.MAX: _fold(np.maximum),
    Operation.ABS: np.abs,
    Operation.SQRT: np.sqrt,
    Operation.LOG: np.log,
    Operation.LOG1P: np.log1p,
    Operation.EXP: np.exp,
    Operation.FLOOR: np.floor,
    Operation.CEIL: np.ceil,
    Operation.LOGISTIC: _logistic,
    Operation.WHERE: _where,
}
