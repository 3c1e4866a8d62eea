"""What can be said of rules without running them: rules that never fire, gaps, overlaps.

A rule's conditions are a box: for each feature a set of regions. Boxes are subtracted from one
another, which is exact; where that takes too many pieces, nothing is claimed. A rule with an
expression as a condition covers less than its box, so it is never said to cover another.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mooring_model.rules.document import HitPolicy, Rule, RulesDocument
from mooring_model.rules.regions import Regions
from mooring_model.rules.table import in_order, regions_of
from mooring_model.schema import ModelSchema

MAX_PIECES = 4000
"""Pieces of a box that are looked at before a question stays open."""
MAX_PAIRS = 100_000
"""Pairs of rules that are compared for overlaps."""
_SHOWN = 5
"""Overlaps and gaps that are worded, each."""

Box = tuple[int, ...]
"""For each feature the bits of its regions."""


class Severity(StrEnum):
    """Whether a finding refuses the package."""

    ERROR = "error"
    NOTE = "note"


class Topic(StrEnum):
    """What a finding is about."""

    UNREACHABLE = "unreachable"
    GAP = "gap"
    OVERLAP = "overlap"
    UNDECIDED = "undecided"
    UNKNOWN_CATEGORY = "unknownCategory"


@dataclass(frozen=True)
class Finding:
    """One thing that the author should know."""

    topic: Topic
    severity: Severity
    message: str


@dataclass(frozen=True)
class _Space:
    """The features that conditions ask about, and what can occur."""

    names: tuple[str, ...]
    regions: tuple[Regions, ...]
    possible: Box

    def box(self, rule: Rule) -> Box:
        """Where a rule's conditions hold."""
        return tuple(
            possible & regions.accepted(rule.when[name]) if name in rule.when else possible
            for name, regions, possible in zip(self.names, self.regions, self.possible, strict=True)
        )

    def describe(self, box: Box) -> str:
        """One point of a box in words."""
        parts = [
            f"{name} {regions.describe((bits & -bits).bit_length() - 1)}"
            for name, regions, bits, possible in zip(
                self.names, self.regions, box, self.possible, strict=True
            )
            if bits != possible
        ]
        return " and ".join(parts) or "every row"


def analyse(document: RulesDocument, schema: ModelSchema) -> list[Finding]:
    """All findings, errors first.

    Raises:
        RulesInvalid: conditions do not fit the schema's features.
    """
    regions = regions_of(document, schema)
    specs = {spec.name: spec for spec in schema.inputs}
    space = _Space(
        tuple(regions),
        tuple(regions.values()),
        tuple(cuts.possible(specs[name]) for name, cuts in regions.items()),
    )
    rules = in_order(document)
    boxes = [space.box(rule) for rule in rules]
    summed = document.hit_policy is HitPolicy.SUM
    found = _unreachable(space, rules, boxes, summed=summed)
    found += _gaps(space, rules, boxes, refused=document.checks.gaps == "refuse")
    if not summed:
        found += _overlaps(space, rules, boxes, refused=document.checks.overlaps == "refuse")
    found += _unknown_categories(rules, {spec.name: spec.categories for spec in schema.inputs})
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _unreachable(
    space: _Space, rules: Sequence[Rule], boxes: Sequence[Box], *, summed: bool
) -> list[Finding]:
    found: list[Finding] = []
    for place, (rule, box) in enumerate(zip(rules, boxes, strict=True)):
        empty = [name for name, bits in zip(space.names, box, strict=True) if not bits]
        if empty:
            found.append(
                Finding(
                    Topic.UNREACHABLE,
                    Severity.ERROR,
                    f"rule {rule.id} can never fire: no value of {empty[0]} fulfils its conditions",
                )
            )
            continue
        if summed:
            continue
        earlier = [
            (other.id, theirs)
            for other, theirs in zip(rules[:place], boxes[:place], strict=True)
            if other.condition is None and _meet(box, theirs)
        ]
        left = _subtract(box, [theirs for _, theirs in earlier])
        if left is not None and not left:
            names = ", ".join(name for name, _ in earlier[:_SHOWN])
            found.append(
                Finding(
                    Topic.UNREACHABLE,
                    Severity.ERROR,
                    f"rule {rule.id} can never fire: rules before it take all its rows ({names})",
                )
            )
        elif left is None:
            found.append(_undecided(f"whether rule {rule.id} can fire"))
    return found


def _gaps(
    space: _Space, rules: Sequence[Rule], boxes: Sequence[Box], *, refused: bool
) -> list[Finding]:
    severity = Severity.ERROR if refused else Severity.NOTE
    certain = [box for rule, box in zip(rules, boxes, strict=True) if rule.condition is None]
    left = _subtract(space.possible, certain)
    if left is None:
        return [_undecided("whether rules cover every row", severity)]
    return [
        Finding(Topic.GAP, severity, f"no rule covers {space.describe(box)}: the default answers")
        for box in left[:_SHOWN]
    ]


def _overlaps(
    space: _Space, rules: Sequence[Rule], boxes: Sequence[Box], *, refused: bool
) -> list[Finding]:
    severity = Severity.ERROR if refused else Severity.NOTE
    found: list[Finding] = []
    pairs = count = 0
    for place, (rule, box) in enumerate(zip(rules, boxes, strict=True)):
        for other, theirs in zip(rules[:place], boxes[:place], strict=True):
            pairs += 1
            if pairs > MAX_PAIRS:
                return [*found, _undecided("all overlaps", severity)]
            if rule.then != other.then and _meet(box, theirs):
                count += 1
                if count <= _SHOWN:
                    both = tuple(a & b for a, b in zip(box, theirs, strict=True))
                    found.append(
                        Finding(
                            Topic.OVERLAP,
                            severity,
                            f"rules {other.id} and {rule.id} both cover {space.describe(both)}: "
                            f"{other.id} decides",
                        )
                    )
    if count > _SHOWN:
        found.append(Finding(Topic.OVERLAP, severity, f"{count} pairs of rules overlap in all"))
    return found


def _unknown_categories(
    rules: Sequence[Rule], categories: Mapping[str, tuple[str, ...] | None]
) -> list[Finding]:
    found: list[Finding] = []
    for rule in rules:
        for name, cell in rule.when.items():
            known = categories.get(name)
            listed = [cell.eq, cell.ne, *(cell.within or ()), *(cell.without or ())]
            for value in listed:
                if known is not None and isinstance(value, str) and value not in known:
                    found.append(
                        Finding(
                            Topic.UNKNOWN_CATEGORY,
                            Severity.NOTE,
                            f"rule {rule.id}: the training table knows no {name} {value[:64]!r}",
                        )
                    )
    return found


def _undecided(what: str, severity: Severity = Severity.NOTE) -> Finding:
    return Finding(
        Topic.UNDECIDED, severity, f"{what} takes too long to tell: the rules are too entangled"
    )


def _meet(one: Box, other: Box) -> bool:
    return all(a & b for a, b in zip(one, other, strict=True))


def _subtract(box: Box, others: Iterable[Box]) -> list[Box] | None:
    """Disjoint boxes that are left of one when others are taken away; None: too many pieces."""
    pieces = [box]
    seen = 1
    for other in others:
        left: list[Box] = []
        for piece in pieces:
            if not _meet(piece, other):
                left.append(piece)
                continue
            rest = list(piece)
            for place, theirs in enumerate(other):
                outside = rest[place] & ~theirs
                if outside:
                    left.append((*rest[:place], outside, *rest[place + 1 :]))
                    rest[place] &= theirs
        seen += len(left)
        if seen > MAX_PIECES:
            return None
        pieces = left
    return pieces
