"""model.rules.json: rules as their author writes them (YAML too) and as a package stores them.

The author may write a cell as one value (equal) or a list (one of); stored, it is always an object.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from mooring_model.documents import is_object, read_bounded
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import Format, canonical, first_fault
from mooring_model.rules.errors import RulesInvalid

MAX_RULES = 1000
MAX_VALUES = 4096
DEFAULT = "default"
"""What a row's `rule` says where no rule fired."""

_Finite = Annotated[StrictFloat, Field(allow_inf_nan=False)]
_Whole = Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]
_Text = Annotated[StrictStr, Field(max_length=10_000)]
Scalar = StrictBool | _Whole | _Finite | _Text
Number = _Whole | _Finite
Amount = _Whole | _Finite | _Text
"""A number, or an expression that gives one."""
ClassName = _Whole | _Text


class HitPolicy(StrEnum):
    """Which of the rules whose conditions hold decide."""

    FIRST = "first"
    PRIORITY = "priority"
    SUM = "sum"


class Link(StrEnum):
    """What a sum of points is."""

    IDENTITY = "identity"
    """The predicted value itself."""
    LOGISTIC = "logistic"
    """The log-odds of the positive class."""


class _Document(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class Cell(_Document):
    """What a rule asks of one feature; all that is given must hold.

    A missing value fulfils `missing: true` and `orMissing: true`, nothing else.
    """

    eq: Scalar | None = None
    ne: Scalar | None = None
    lt: Number | None = None
    le: Number | None = None
    gt: Number | None = None
    ge: Number | None = None
    within: Annotated[
        tuple[Scalar, ...] | None, Field(alias="in", min_length=1, max_length=MAX_VALUES)
    ] = None
    without: Annotated[
        tuple[Scalar, ...] | None, Field(alias="notIn", min_length=1, max_length=MAX_VALUES)
    ] = None
    missing: StrictBool | None = None
    or_missing: StrictBool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        given = self.model_fields_set - {"or_missing"}
        if not given:
            raise ValueError("an empty condition; leave the feature out where any value fits")
        if self.missing is not None and (given != {"missing"} or self.or_missing):
            raise ValueError("missing stands alone; write orMissing beside other conditions")
        return self


def _as_cell(value: object) -> object:
    if isinstance(value, list):
        return {"in": cast("list[object]", value)}
    return value if is_object(value) or isinstance(value, Cell) else {"eq": value}


class Outcome(_Document):
    """What is answered; exactly one of the five."""

    class_name: Annotated[ClassName | None, Field(alias="class")] = None
    probability: Amount | None = None
    """Of the positive class."""
    probabilities: Annotated[dict[str, Amount] | None, Field(min_length=1, max_length=1000)] = None
    """By class; the others have 0."""
    value: Amount | None = None
    points: Amount | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        given = [name for name in _OUTCOMES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give one of class, probability, probabilities, value, points")
        return self


_OUTCOMES = ("class_name", "probability", "probabilities", "value", "points")


class Rule(_Document):
    """One row of a decision table."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    priority: Annotated[StrictInt, Field(ge=-(10**6), le=10**6)] = 0
    when: dict[str, Annotated[Cell, BeforeValidator(_as_cell)]] = {}
    condition: Annotated[_Text | None, Field(alias="if")] = None
    """A boolean expression that must hold too."""
    then: Outcome
    reason: Annotated[str | None, Field(max_length=1000)] = None
    """For people."""


class Checks(_Document):
    """What the author wants refused, beside what always is."""

    gaps: Literal["allow", "refuse"] = "allow"
    """Rows that no rule speaks of, so that the default answers."""
    overlaps: Literal["allow", "refuse"] = "allow"
    """Rows that two rules of different outcomes speak of."""


class RulesDocument(_Document):
    """The whole document."""

    kind: Literal[Format.RULES] = Format.RULES
    format_version: Literal[1] = 1
    hit_policy: HitPolicy = HitPolicy.FIRST
    link: Link = Link.IDENTITY
    classes: Annotated[tuple[ClassName, ...] | None, Field(min_length=2, max_length=1000)] = None
    """Of a classifier, when the training table's labels should not tell; of two, the second is
    the positive one."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)]
    default: Outcome
    checks: Checks = Checks()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [rule.id for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or DEFAULT in names:
            raise ValueError(f"rule {twice[0] if twice else DEFAULT}: the id is taken")
        if self.link is not Link.IDENTITY and self.hit_policy is not HitPolicy.SUM:
            raise ValueError("link: only a sum of points has one")
        return self

    def to_bytes(self) -> bytes:
        """The document as a package stores it."""
        return canonical(self.model_dump(mode="json", by_alias=True, exclude_none=True))


def parse_rules(document: object) -> RulesDocument:
    """Rules that an author wrote.

    Raises:
        RulesInvalid: naming the field.
    """
    try:
        return RulesDocument.model_validate(document)
    except ValidationError as error:
        raise RulesInvalid(_fault(document, error)) from error


def read_rules(path: Path) -> RulesDocument:
    """The rules of a package.

    Raises:
        PackageRefused: SchemaInvalid; not such a document, or not stored as one is.
    """
    data = read_bounded(path)
    try:
        document: object = json.loads(data)
        rules = parse_rules(document)
    except (ValueError, RecursionError) as error:
        raise refuse_rules(path, str(error) or type(error).__name__) from error
    if rules.to_bytes() != data:
        raise refuse_rules(path, "is not canonical: keys sorted, once each, no spaces")
    return rules


def refuse_rules(path: Path, what: str) -> PackageRefused:
    """The refusal of rules."""
    return PackageRefused(
        RefusalReason.SCHEMA_INVALID,
        f"{path.parent}: {path.name}: {what}",
        "correct the rules and package them again with `mooring package --rules`",
    )


def _fault(document: object, error: ValidationError) -> str:
    """The first fault; a place in the list of rules also names the rule."""
    fault = first_fault(error)
    place = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
    if len(place) > 1 and place[0] == "rules" and isinstance(place[1], int):
        name = _rule_id(document, place[1])
        if name is not None:
            return f"rule {name}: {fault}"
    return fault


def _rule_id(document: object, place: int) -> str | None:
    rules: Any = document.get("rules") if is_object(document) else None
    try:
        rule: Any = rules[place]
    except (TypeError, KeyError, IndexError):
        return None
    name: object = cast("Mapping[str, object]", rule).get("id") if isinstance(rule, dict) else None
    return name[:64] if isinstance(name, str) else None
