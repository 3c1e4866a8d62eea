"""The grammar of expressions, with types: text in, a typed tree or an error with its place out.

By precedence, loosest first: `or`, `and`, `not`, comparisons and `in`, `+ -`, `* / %`, unary `-`,
`**`. A comparison cannot be chained. Names with other characters than letters, digits and
underscores stand in backticks.
"""

import difflib
from collections.abc import Mapping

from mooring_model.rules.errors import ExpressionInvalid
from mooring_model.rules.lexer import Token, TokenKind, place, tokenize
from mooring_model.rules.nodes import Call, Constant, Kind, Member, Name, Node, Operation

MAX_NODES = 2000
MAX_NESTING = 40
"""Brackets within brackets."""
MAX_DEPTH = 200
"""Levels of the tree: so many terms may one sum have."""

_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _MINUS, _POWER = range(1, 9)
_BINARY: dict[str, int] = {
    Operation.OR: _OR, Operation.AND: _AND,
    Operation.LESS: _COMPARE, Operation.LESS_OR_EQUAL: _COMPARE, Operation.GREATER: _COMPARE,
    Operation.GREATER_OR_EQUAL: _COMPARE, Operation.EQUAL: _COMPARE, Operation.NOT_EQUAL: _COMPARE,
    Operation.ADD: _SUM, Operation.SUBTRACT: _SUM,
    Operation.MULTIPLY: _PRODUCT, Operation.DIVIDE: _PRODUCT, Operation.MODULO: _PRODUCT,
    Operation.POWER: _POWER,
}  # fmt: skip
_FUNCTIONS = {
    "min": (2, 64), "max": (2, 64), "abs": (1, 1), "sqrt": (1, 1), "log": (1, 1), "log1p": (1, 1),
    "exp": (1, 1), "floor": (1, 1), "ceil": (1, 1), "logistic": (1, 1), "where": (3, 3),
    "missing": (1, 1), "fill": (2, 2),
}  # fmt: skip
"""Fewest and most arguments."""
_WORDS = {"and", "or", "not", "in", "true", "false"}


def parse(text: str, kinds: Mapping[str, Kind], wanted: Kind) -> Node:
    """The tree of an expression.

    Args:
        text: the expression.
        kinds: of every feature that it may name.
        wanted: what its value must be.

    Raises:
        ExpressionInvalid: with line and column: not of the grammar, of another kind, an unknown
            name, or beyond the bounds.
    """
    parser = _Parser(text, kinds)
    node = parser.expression(_OR)
    if parser.token.kind is not TokenKind.END:
        raise parser.fault(parser.token.at, f"expected an operator, found {parser.token}")
    if node.kind is not wanted:
        raise parser.fault(node.at, f"expected a {wanted}, this is a {node.kind}")
    return node


class _Parser:
    def __init__(self, text: str, kinds: Mapping[str, Kind]) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._place = 0
        self._kinds = kinds
        self._nesting = 0
        self._nodes = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._place]

    def fault(self, at: int, what: str) -> ExpressionInvalid:
        """What is wrong at a character of the text."""
        line, column = place(self._text, at)
        return ExpressionInvalid(line, column, what)

    def expression(self, loosest: int) -> Node:
        """An expression of operators that bind at least so tightly."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise self.fault(self.token.at, f"nested deeper than {MAX_NESTING} levels")
        left = self._prefix()
        while (binding := self._binding()) >= loosest:
            token = self._advance()
            if token.text in ("in", "not"):
                left = self._membership(left, token)
            else:
                right = self.expression(binding if binding == _POWER else binding + 1)
                left = self._call(Operation(token.text), (left, right), token.at)
            if binding == _COMPARE and self._binding() == _COMPARE:
                raise self.fault(self.token.at, "comparisons cannot be chained; join two with and")
        self._nesting -= 1
        return left

    def _binding(self) -> int:
        """How tightly the operator binds that comes next; 0 when none does."""
        token = self.token
        if token.kind not in (TokenKind.SYMBOL, TokenKind.NAME):
            return 0
        if token.text in ("in", "not"):
            return _COMPARE
        return _BINARY.get(token.text, 0)

    def _prefix(self) -> Node:
        token = self._advance()
        match token.kind:
            case TokenKind.NUMBER:
                return self._number(token)
            case TokenKind.TEXT:
                return self._made(Constant(token.text, Kind.TEXT, token.at))
            case TokenKind.QUOTED:
                return self._feature(token)
            case TokenKind.NAME:
                return self._word(token)
            case TokenKind.SYMBOL if token.text == "(":
                inner = self.expression(_OR)
                self._expect(")")
                return inner
            case TokenKind.SYMBOL if token.text == "-":
                return self._call(Operation.NEGATE, (self.expression(_MINUS),), token.at)
            case _:
                raise self.fault(
                    token.at, f"expected a number, a text, a feature or (, found {token}"
                )

    def _word(self, token: Token) -> Node:
        if token.text in ("true", "false"):
            return self._made(Constant(token.text == "true", Kind.FLAG, token.at))
        if token.text == "not":
            return self._call(Operation.NOT, (self.expression(_NOT),), token.at)
        if token.text in _WORDS:
            raise self.fault(token.at, f"expected a value, found {token}")
        if self._at("("):
            return self._function(token)
        return self._feature(token)

    def _number(self, token: Token) -> Node:
        value = float(token.text)
        if value in (float("inf"), float("-inf")):
            raise self.fault(token.at, f"{token.text} is beyond what a float holds")
        return self._made(Constant(value, Kind.NUMBER, token.at))

    def _feature(self, token: Token) -> Node:
        kind = self._kinds.get(token.text)
        if kind is None:
            raise self.fault(
                token.at, f"no feature is called {token.text!r}{self._alike(token.text)}"
            )
        return self._made(Name(token.text, kind, token.at))

    def _function(self, token: Token) -> Node:
        if token.text not in _FUNCTIONS:
            known = ", ".join(sorted(_FUNCTIONS))
            raise self.fault(token.at, f"no function is called {token.text!r}; there are {known}")
        self._expect("(")
        operands: list[Node] = []
        while not self._at(")"):
            if operands:
                self._expect(",")
            operands.append(self.expression(_OR))
        self._expect(")")
        fewest, most = _FUNCTIONS[token.text]
        if not fewest <= len(operands) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise self.fault(
                token.at, f"{token.text} takes {wanted} arguments, not {len(operands)}"
            )
        return self._call(Operation(token.text), tuple(operands), token.at)

    def _membership(self, operand: Node, token: Token) -> Node:
        negated = token.text == "not"
        if negated and self._advance().text != "in":
            raise self.fault(
                token.at, "expected an operator; not stands before a condition, or before in"
            )
        if operand.kind is Kind.FLAG:
            raise self.fault(operand.at, "expected a number or a text before in, this is a boolean")
        self._expect("[")
        values: list[float | str] = []
        while not self._at("]"):
            if values:
                self._expect(",")
            values.append(self._literal(operand.kind))
        self._expect("]")
        if not values:
            raise self.fault(token.at, "nothing is in an empty list")
        return self._made(Member(operand, tuple(values), negated, token.at, operand.depth + 1))

    def _literal(self, kind: Kind) -> float | str:
        token = self._advance()
        sign = 1.0
        if kind is Kind.NUMBER and token.kind is TokenKind.SYMBOL and token.text == "-":
            sign, token = -1.0, self._advance()
        if token.kind.value != kind.value:
            raise self.fault(token.at, f"expected a {kind} in this list, found {token}")
        self._count(token.at)
        return sign * float(token.text) if kind is Kind.NUMBER else token.text

    def _call(self, operation: Operation, operands: tuple[Node, ...], at: int) -> Node:
        kind = self._result(operation, operands, at)
        depth = 1 + max(operand.depth for operand in operands)
        return self._made(Call(operation, operands, kind, at, depth))

    def _result(self, operation: Operation, operands: tuple[Node, ...], at: int) -> Kind:
        """What an operation gives, once its operands are of the kinds that it takes."""
        match operation:
            case Operation.AND | Operation.OR | Operation.NOT:
                self._demand(operation, operands, Kind.FLAG)
                return Kind.FLAG
            case Operation.EQUAL | Operation.NOT_EQUAL:
                self._demand(operation, operands[1:], operands[0].kind)
                return Kind.FLAG
            case (
                Operation.LESS
                | Operation.LESS_OR_EQUAL
                | Operation.GREATER
                | Operation.GREATER_OR_EQUAL
            ):
                self._demand(operation, operands, Kind.NUMBER)
                return Kind.FLAG
            case Operation.WHERE:
                self._demand(operation, operands[:1], Kind.FLAG)
                self._demand(operation, operands[2:], operands[1].kind)
                return operands[1].kind
            case Operation.MISSING:
                if operands[0].kind is Kind.FLAG:
                    raise self.fault(at, "a boolean is never missing")
                return Kind.FLAG
            case Operation.FILL:
                self._demand(operation, operands[1:], operands[0].kind)
                return operands[0].kind
            case _:
                self._demand(operation, operands, Kind.NUMBER)
                return Kind.NUMBER

    def _demand(self, operation: Operation, operands: tuple[Node, ...], kind: Kind) -> None:
        for operand in operands:
            if operand.kind is not kind:
                raise self.fault(
                    operand.at, f"{operation} takes a {kind} here, this is a {operand.kind}"
                )

    def _made(self, node: Node) -> Node:
        self._count(node.at)
        if node.depth > MAX_DEPTH:
            raise self.fault(node.at, f"more than {MAX_DEPTH} operations on top of each other")
        return node

    def _count(self, at: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self.fault(at, f"more than {MAX_NODES} operations, names and values")

    def _at(self, symbol: str) -> bool:
        return self.token.kind is TokenKind.SYMBOL and self.token.text == symbol

    def _expect(self, symbol: str) -> None:
        if not self._at(symbol):
            raise self.fault(self.token.at, f"expected {symbol!r}, found {self.token}")
        self._advance()

    def _advance(self) -> Token:
        token = self.token
        if token.kind is not TokenKind.END:
            self._place += 1
        return token

    def _alike(self, name: str) -> str:
        near = difflib.get_close_matches(name[:128], list(self._kinds), n=1)
        return f"; did you mean {near[0]!r}?" if near else ""
