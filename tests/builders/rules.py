"""A second reading of rules: row by row, in plain Python, and trees of random expressions."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from mooring_model.rules.nodes import Kind
from mooring_model.schema import Datatype, InputKind, InputSpec

Row = Mapping[str, Any]
Ask = Callable[[Row], Any]
NAN = float("nan")
INPUTS = (
    InputSpec(name="a", datatype=Datatype.FP64, kind=InputKind.NUMERIC, nullable=True),
    InputSpec(name="b", datatype=Datatype.FP64, kind=InputKind.NUMERIC, nullable=True),
    InputSpec(name="n", datatype=Datatype.INT64, kind=InputKind.NUMERIC),
    InputSpec(
        name="c c",
        datatype=Datatype.BYTES,
        kind=InputKind.CATEGORICAL,
        categories=("x", "y", "z"),
        nullable=True,
    ),
    InputSpec(
        name="f", datatype=Datatype.BOOL, kind=InputKind.CATEGORICAL, categories=("false", "true")
    ),
)
NUMBERS = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 3.5])
TEXTS = st.sampled_from(["x", "y", "z", "ü", ""])
ROWS = st.fixed_dictionaries(
    {
        "a": NUMBERS | st.just(NAN),
        "b": NUMBERS | st.just(NAN),
        "n": st.integers(-2, 3).map(float),
        "c c": TEXTS | st.none(),
        "f": st.booleans(),
    }
)


def is_missing(value: object) -> bool:
    """NaN of a number, None of a text."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def cell_holds(cell: Mapping[str, Any], value: Any) -> bool:
    """Whether a value fulfils a condition as it is stored."""
    if is_missing(value):
        return bool(cell.get("missing") is True or cell.get("orMissing"))
    if cell.get("missing") is True:
        return False
    tests: dict[str, Callable[[Any], bool]] = {
        "eq": lambda wanted: value == wanted,
        "ne": lambda wanted: value != wanted,
        "lt": lambda wanted: value < wanted,
        "le": lambda wanted: value <= wanted,
        "gt": lambda wanted: value > wanted,
        "ge": lambda wanted: value >= wanted,
        "in": lambda wanted: value in wanted,
        "notIn": lambda wanted: value not in wanted,
    }
    return all(tests[name](wanted) for name, wanted in cell.items() if name in tests)


def fires(rule: Mapping[str, Any], row: Row) -> bool:
    """Whether all conditions of a rule hold."""
    return all(cell_holds(cell, row[name]) for name, cell in rule["when"].items())


@dataclass(frozen=True)
class Written:
    """An expression as text, and the function that it must be."""

    text: str
    kind: Kind
    ask: Ask

    def __call__(self, row: Row) -> Any:
        return self.ask(row)


Cells = st.SearchStrategy[dict[str, Any]]


def _named(name: str, values: st.SearchStrategy[Any]) -> Cells:
    return st.fixed_dictionaries({name: values})


def _with_missing(some: Cells) -> Cells:
    either = st.tuples(some, st.booleans()).map(lambda pair: pair[0] | {"orMissing": pair[1]})
    return either | _named("missing", st.booleans())


def number_cells() -> Cells:
    """Conditions on a number that can be missing."""
    bounds: dict[str, st.SearchStrategy[float]] = dict.fromkeys(
        ("lt", "le", "gt", "ge", "ne"), NUMBERS
    )
    bound: Cells = st.fixed_dictionaries({}, optional=bounds).filter(bool)
    listed = st.lists(NUMBERS, min_size=1, max_size=3)
    return _with_missing(
        bound | _named("eq", NUMBERS) | _named("in", listed) | _named("notIn", listed)
    )


def text_cells() -> Cells:
    """Conditions on a text that can be missing."""
    listed = st.lists(TEXTS, min_size=1, max_size=3)
    return _with_missing(_named("ne", TEXTS) | _named("in", listed) | _named("notIn", listed))


def flag_cells() -> Cells:
    """Conditions on a boolean."""
    return _named("eq", st.booleans()) | _named("ne", st.booleans())


CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "a": number_cells(),
        "b": number_cells(),
        "n": number_cells(),
        "c c": text_cells(),
        "f": flag_cells(),
    },
)


def _ieee(function: Any, *values: float) -> float:
    """What IEEE arithmetic gives where Python raises."""
    try:
        return float(function(*values))
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        return NAN


def _divide(left: float, right: float) -> float:
    if right == 0 and not math.isnan(left) and left != 0:
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    return NAN if right == 0 else _ieee(lambda: left / right)


def _least(values: Sequence[float]) -> float:
    return NAN if any(map(math.isnan, values)) else min(values)


def _most(values: Sequence[float]) -> float:
    return NAN if any(map(math.isnan, values)) else max(values)


def _log(value: float) -> float:
    return -math.inf if value == 0 else _ieee(math.log, value)


def _compared(sign: str, left: Any, right: Any) -> bool:
    if is_missing(left) or is_missing(right):
        return False
    return {
        "<": lambda: left < right,
        "<=": lambda: left <= right,
        ">": lambda: left > right,
        ">=": lambda: left >= right,
        "==": lambda: left == right,
        "!=": lambda: left != right,
    }[sign]()


def _number(kind: str, parts: tuple[Written, ...]) -> Written:
    one, two, three = (*parts, parts[0], parts[0])[:3]
    made: dict[str, tuple[str, Ask]] = {
        "+": (f"({one.text} + {two.text})", lambda r: one(r) + two(r)),
        "-": (f"({one.text} - {two.text})", lambda r: one(r) - two(r)),
        "*": (f"({one.text} * {two.text})", lambda r: one(r) * two(r)),
        "/": (f"({one.text} / {two.text})", lambda r: _divide(one(r), two(r))),
        "neg": (f"-({one.text})", lambda r: -one(r)),
        "abs": (f"abs({one.text})", lambda r: abs(one(r))),
        "min": (f"min({one.text}, {two.text})", lambda r: _least([one(r), two(r)])),
        "max": (
            f"max({one.text}, {two.text}, {three.text})",
            lambda r: _most([one(r), two(r), three(r)]),
        ),
        "log": (f"log(abs({one.text}))", lambda r: _log(abs(one(r)))),
        "exp": (f"exp(min({one.text}, 3))", lambda r: _ieee(math.exp, _least([one(r), 3.0]))),
        "fill": (f"fill({one.text}, 0.25)", lambda r: 0.25 if is_missing(one(r)) else one(r)),
    }
    text, ask = made[kind]
    return Written(text, Kind.NUMBER, ask)


def _flag(kind: str, parts: tuple[Written, ...]) -> Written:
    one, two = parts[0], parts[-1]
    made: dict[str, tuple[str, Ask]] = {
        "and": (f"({one.text} and {two.text})", lambda r: one(r) and two(r)),
        "or": (f"({one.text} or {two.text})", lambda r: one(r) or two(r)),
        "not": (f"(not {one.text})", lambda r: not one(r)),
    }
    text, ask = made[kind]
    return Written(text, Kind.FLAG, ask)


def _comparison(sign: str, one: Written, two: Written) -> Written:
    return Written(
        f"({one.text} {sign} {two.text})", Kind.FLAG, lambda r: _compared(sign, one(r), two(r))
    )


@st.composite
def numbers(draw: st.DrawFn, depth: int = 3) -> Written:
    """A random expression that is a number."""
    if depth == 0 or draw(st.booleans()):
        name = draw(st.sampled_from(["a", "b", "n", ""]))
        if name:
            return Written(name, Kind.NUMBER, lambda r: r[name])
        value = draw(NUMBERS)
        return Written(f"({value!r})", Kind.NUMBER, lambda _: value)
    kind = draw(st.sampled_from(_NUMBER_KINDS))
    parts = tuple(draw(numbers(depth - 1)) for _ in range(3))
    if kind != "where":
        return _number(kind, parts)
    condition = draw(flags(depth - 1))
    return Written(
        f"where({condition.text}, {parts[0].text}, {parts[1].text})",
        Kind.NUMBER,
        lambda r: parts[0](r) if condition(r) else parts[1](r),
    )


@st.composite
def flags(draw: st.DrawFn, depth: int = 3) -> Written:
    """A random expression that is a boolean."""
    if depth and draw(st.booleans()):
        kind = draw(st.sampled_from(["and", "or", "not"]))
        return _flag(kind, (draw(flags(depth - 1)), draw(flags(depth - 1))))
    place = draw(st.integers(0, len(_FACTS) + 1))
    if place < len(_FACTS):
        return _FACTS[place]
    if place == len(_FACTS):
        text = draw(TEXTS)
        return _comparison(
            draw(st.sampled_from(["==", "!="])),
            Written("`c c`", Kind.TEXT, lambda r: r["c c"]),
            Written(repr(text), Kind.TEXT, lambda _: text),
        )
    inner = max(0, depth - 1)
    sign = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
    return _comparison(sign, draw(numbers(inner)), draw(numbers(inner)))


_NUMBER_KINDS = [
    "+", "-", "*", "/", "neg", "abs", "min", "max", "log", "exp", "fill", "where",
]  # fmt: skip
_FACTS = (
    Written("f", Kind.FLAG, lambda r: r["f"]),
    Written("missing(`c c`)", Kind.FLAG, lambda r: r["c c"] is None),
    Written("missing(a)", Kind.FLAG, lambda r: is_missing(r["a"])),
    Written("(`c c` not in ['x', 'ü'])", Kind.FLAG, lambda r: r["c c"] in ("y", "z", "")),
    Written("(n in [1, -2])", Kind.FLAG, lambda r: r["n"] in (1, -2)),
)
