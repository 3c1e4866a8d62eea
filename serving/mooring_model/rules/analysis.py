"""What can be said of rules without running them: rules that never fire, gaps, overlaps.

A rule's conditions are a box: for each feature a set of regions. Boxes are subtracted from one
another, which is exact; where that takes too many pieces, nothing is claimed. A rule with an
expression as a condition covers less than its box, so it is never said to cover another. Most rules
that can fire are recognised by a few points of their box instead, which is quicker.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mooring_model.rules.document import HitPolicy, Rule, RulesDocument
from mooring_model.rules.regions import Regions, pack, unpack
from mooring_model.rules.table import in_order, regions_of
from mooring_model.schema import ModelSchema

MAX_WORK = 40_000
"""Comparisons of two boxes for one question, before it stays open."""
MAX_TOTAL_WORK = 100_000
"""The same for all questions of a document: about a second."""
MAX_PAIRS = 30_000
"""Pairs of rules that are compared for overlaps."""
_POINTS = 64
"""Points of a box that are tried before it is cut up."""
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
    work = _Work(MAX_TOTAL_WORK)
    found = _unreachable(space, rules, boxes, None if summed else work)
    found += _gaps(space, rules, boxes, work, refused=document.checks.gaps == "refuse")
    if not summed:
        found += _overlaps(space, rules, boxes, refused=document.checks.overlaps == "refuse")
    found += _unknown_categories(rules, {spec.name: spec.categories for spec in schema.inputs})
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _unreachable(
    space: _Space, rules: Sequence[Rule], boxes: Sequence[Box], work: "_Work | None"
) -> list[Finding]:
    """Rules that never fire; without `work` each rule is looked at alone, as for a sum."""
    found: list[Finding] = []
    open_questions: list[str] = []
    points = _Points(
        [box if rule.condition is None else None for rule, box in zip(rules, boxes, strict=True)],
        space,
    )
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
        if work is None or points.is_free(box, place):
            continue
        earlier = [
            (other.id, theirs)
            for other, theirs in zip(rules[:place], boxes[:place], strict=True)
            if other.condition is None
        ]
        left = work.subtract(box, [theirs for _, theirs in earlier])
        if left is not None and not left:
            meeting = [name for name, theirs in earlier if _meet(box, theirs)]
            names = ", ".join(meeting[:_SHOWN])
            found.append(
                Finding(
                    Topic.UNREACHABLE,
                    Severity.ERROR,
                    f"rule {rule.id} can never fire: rules before it take all its rows ({names})",
                )
            )
        elif left is None:
            open_questions.append(rule.id)
    if open_questions:
        shown = ", ".join(open_questions[:_SHOWN])
        more = len(open_questions) - _SHOWN
        found.append(
            _undecided(f"whether {shown}{f' and {more} more' if more > 0 else ''} can fire")
        )
    return found


def _gaps(
    space: _Space, rules: Sequence[Rule], boxes: Sequence[Box], work: "_Work", *, refused: bool
) -> list[Finding]:
    severity = Severity.ERROR if refused else Severity.NOTE
    certain = [box for rule, box in zip(rules, boxes, strict=True) if rule.condition is None]
    left = work.subtract(space.possible, certain)
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


class _Points:
    """Finds, among a few points of a box, one that lies in no earlier box.

    Args:
        boxes: in order; None for one that takes no row for certain.
        space: the features.
    """

    def __init__(self, boxes: Sequence[Box | None], space: _Space) -> None:
        self._generator = np.random.default_rng(0)
        self._masks = [
            pack(
                np.array(
                    [unpack(0 if box is None else box[feature], regions.size) for box in boxes]
                ).T.reshape(regions.size, len(boxes))
            )
            for feature, regions in enumerate(space.regions)
        ]

    def is_free(self, box: Box, place: int) -> bool:
        """Whether a point of `box` was found in none of the first `place` boxes."""
        drawn: list[list[int]] = [
            self._generator.choice(np.flatnonzero(unpack(bits, len(masks))), _POINTS).tolist()
            for bits, masks in zip(box, self._masks, strict=True)
        ]
        for point in range(_POINTS):
            taken: int = (1 << place) - 1
            for regions, masks in zip(drawn, self._masks, strict=True):
                taken &= masks[regions[point]]
                if not taken:
                    return True
        return not place


class _Work:
    """Cuts boxes up, as long as that takes a bounded number of comparisons."""

    def __init__(self, total: int) -> None:
        self._total = total

    def subtract(self, box: Box, others: Iterable[Box]) -> list[Box] | None:
        """Disjoint boxes that are left when others are taken away; None: too much work."""
        pieces = [box]
        limit = min(MAX_WORK, self._total)
        done = 0
        for other in others:
            done += len(pieces)
            if done > limit:
                self._total -= done
                return None
            pieces = [part for piece in pieces for part in _outside(piece, other)]
        self._total -= done
        return pieces


def _outside(piece: Box, other: Box) -> list[Box]:
    """What is left of a box without another, as disjoint boxes."""
    if not _meet(piece, other):
        return [piece]
    left: list[Box] = []
    rest = list(piece)
    for place, theirs in enumerate(other):
        beyond = rest[place] & ~theirs
        if beyond:
            left.append((*rest[:place], beyond, *rest[place + 1 :]))
            rest[place] &= theirs
    return left
