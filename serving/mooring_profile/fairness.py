"""Do groups get the same decisions? Differences and ratios of rates that hold at every look.

Selection rates need no labels; true and false positive rates need those of mature cohorts. A
difference between groups is told when its confidence sequence excludes the tolerance. Pure.

The sequence for a pair of groups with k of n and l of m hits is the set of all (p, q) whose
likelihood is not beaten 1 / alpha times by the mixture of likelihoods with Jeffreys' prior
Beta(1/2, 1/2) on both rates (Robbins 1970; two samples: Turner and Gruenwald, arXiv 2302.11401). By
Ville's inequality it holds the true pair at all looks at once with probability 1 - alpha. Limits of
a difference (ratio) are its extremes over that set.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from mooring_profile.confusion import Confusion
from mooring_profile.errors import CountsInvalid

LEAST_ROWS = 200
"""Independent rows that the base of a rate needs in a group."""
BISECTIONS = 24
"""Limits are exact to 2^-23."""
_TINY = 1e-12


class FairnessMetric(StrEnum):
    """Which rate is compared."""

    SELECTION_RATE = "selectionRate"
    """Share of rows predicted positive (demographic parity)."""
    TRUE_POSITIVE_RATE = "truePositiveRate"
    """Share of positive labels that were predicted (equal opportunity)."""
    FALSE_POSITIVE_RATE = "falsePositiveRate"
    """Share of negative labels that were predicted positive."""


class FairnessVerdict(StrEnum):
    """What is said about the groups."""

    FAIR = "Fair"
    """All groups differ by no more than the tolerance."""
    UNFAIR = "Unfair"
    """Two groups differ by more than the tolerance."""
    UNDECIDED = "Undecided"
    """Not enough evidence for either yet."""
    INSUFFICIENT = "Insufficient"
    """Fewer than two groups have enough rows."""


@dataclass(frozen=True)
class Hits:
    """How often something happened to the rows of a group: `hits` of `rows`."""

    rows: float
    hits: float

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.rows:
            raise CountsInvalid(f"{self.hits} hits in {self.rows} rows; count each row once")


@dataclass(frozen=True)
class FairnessPolicy:
    """What is too much, and how sure one must be.

    Attributes:
        alpha: probability of ever being wrong about any pair of groups, 0 to 1 exclusive.
        tolerance: difference of rates that is nobody's concern, 0 to 1.
        least_ratio: smallest ratio of rates that is fine (0.8: the four-fifths rule), 0 to 1; None
            to judge differences only.
        design_effect: rows that weigh as one independent row, >= 1.
    """

    alpha: float = 0.05
    tolerance: float = 0.1
    least_ratio: float | None = None
    design_effect: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise CountsInvalid(f"alpha is {self.alpha}; it must lie between 0 and 1")
        if not 0 <= self.tolerance <= 1:
            raise CountsInvalid(f"tolerance is {self.tolerance}; it must be within [0, 1]")
        if self.least_ratio is not None and not 0 <= self.least_ratio <= 1:
            raise CountsInvalid(f"least_ratio is {self.least_ratio}; it must be within [0, 1]")
        if not self.design_effect >= 1:
            raise CountsInvalid(f"design_effect is {self.design_effect}; it must be 1 or more")


@dataclass(frozen=True)
class GroupDifference:
    """Two groups; limits hold for all pairs at all looks at once with probability 1 - alpha.

    Attributes:
        first: group with the higher observed rate.
        second: the other one.
        difference: rate of the first - rate of the second, observed.
        lower: lower limit of that difference.
        upper: upper limit.
        ratio: rate of the second / rate of the first, observed; None where the first has no hit.
        ratio_lower: lower limit of that ratio.
        ratio_upper: upper limit; infinite limits are None.
    """

    first: str
    second: str
    difference: float
    lower: float
    upper: float
    ratio: float | None
    ratio_lower: float
    ratio_upper: float | None


@dataclass(frozen=True)
class FairnessReport:
    """A verdict with what it rests on.

    Attributes:
        verdict: see `FairnessVerdict`.
        metric: the rate that was compared.
        rates: observed, of the groups with enough rows.
        insufficient: groups with fewer than 200 independent rows, which are not compared.
        widest: the pair with the largest lower limit of the difference; None without a pair.
        message: one sentence for people.
    """

    verdict: FairnessVerdict
    metric: FairnessMetric
    rates: Mapping[str, float]
    insufficient: tuple[str, ...]
    widest: GroupDifference | None
    message: str


def hits_of(metric: FairnessMetric, confusion: Confusion) -> Hits:
    """Returns the hits of a group's counts that a rate is made of."""
    match metric:
        case FairnessMetric.SELECTION_RATE:
            return Hits(confusion.rows, confusion.tp + confusion.fp)
        case FairnessMetric.TRUE_POSITIVE_RATE:
            return Hits(confusion.tp + confusion.fn, confusion.tp)
        case FairnessMetric.FALSE_POSITIVE_RATE:
            return Hits(confusion.fp + confusion.tn, confusion.fp)


def judge_fairness(
    metric: FairnessMetric, groups: Mapping[str, Hits], policy: FairnessPolicy
) -> FairnessReport:
    """Judges all pairs of groups on cumulative counts.

    Args:
        metric: what the hits are.
        groups: counts since the beginning of the revision, by group; of all rows, not of a
            window, since the sequence speaks about growing counts.
        policy: what is too much. For several metrics divide its alpha by their number.

    Raises:
        CountsInvalid: see `Hits` and `FairnessPolicy`.
    """
    effect = policy.design_effect
    enough = {
        name: Hits(item.rows / effect, item.hits / effect)
        for name, item in sorted(groups.items())
        if item.rows / effect >= LEAST_ROWS
    }
    few = tuple(name for name in sorted(groups) if name not in enough)
    rates = {name: item.hits / item.rows for name, item in enough.items()}
    if len(enough) < 2:
        missing = ", ".join(few) or "all"
        message = f"fewer than two groups have {LEAST_ROWS} independent rows; too few: {missing}"
        return FairnessReport(FairnessVerdict.INSUFFICIENT, metric, rates, few, None, message)
    pairs = list(combinations(enough, 2))
    alpha = policy.alpha / len(pairs)
    found = [_pair(one, two, enough, alpha) for one, two in pairs]
    widest = max(found, key=lambda item: (_excess(item, policy), item.difference))
    verdict = _verdict(found, policy)
    return FairnessReport(verdict, metric, rates, few, widest, _message(metric, rates, widest))


def difference_limits(one: Hits, two: Hits, alpha: float) -> tuple[float, float]:
    """Returns the limits of rate(one) - rate(two) that hold at all looks."""

    def inside(difference: float) -> bool:
        return holds_difference(one, two, difference, alpha)

    centre = one.hits / one.rows - two.hits / two.rows
    return _end(inside, centre, -1.0), _end(inside, centre, 1.0)


def holds_rates(one: Hits, two: Hits, rates: tuple[float, float], alpha: float) -> bool:
    """Returns whether the sequence holds a pair of rates."""
    likelihood = _log_likelihood(one, rates[0]) + _log_likelihood(two, rates[1])
    return likelihood >= _least_likelihood(one, two, alpha)


def holds_difference(one: Hits, two: Hits, difference: float, alpha: float) -> bool:
    """Returns whether the sequence holds a pair with rate(one) - rate(two) = difference."""
    return holds_rates(one, two, likeliest_by_difference(one, two, difference), alpha)


def likeliest_by_difference(one: Hits, two: Hits, difference: float) -> tuple[float, float]:
    """Returns the likeliest rates with rate(one) - rate(two) = difference, within [-1, 1].

    The root of a cubic (Miettinen and Nurminen 1985, Statistics in Medicine 4, appendix I).
    """
    rows, hits = one.rows + two.rows, one.hits + two.hits
    square = ((one.rows + 2 * two.rows) * difference - rows - hits) / (3 * rows)
    linear = ((two.rows * difference - rows - 2 * two.hits) * difference + hits) / (3 * rows)
    constant = two.hits * difference * (1 - difference) / rows
    q = square**3 - 1.5 * linear * square + constant / 2
    p = math.copysign(math.sqrt(max(0.0, square**2 - linear)), q)
    cosine = min(1.0, max(-1.0, q / p**3)) if abs(p) > _TINY else 0.0
    rate = 2 * p * math.cos((math.pi + math.acos(cosine)) / 3) - square
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    second = min(high, max(low, rate))
    return min(1.0, max(0.0, second + difference)), second


def likeliest_by_ratio(one: Hits, two: Hits, ratio: float) -> tuple[float, float]:
    """Returns the likeliest rates with rate(one) = ratio * rate(two), for a ratio of at most 1.

    The root of a quadratic (the same source).
    """
    first = (one.rows + two.rows) * ratio
    second = one.rows * ratio + one.hits + two.rows + two.hits * ratio
    hits = one.hits + two.hits
    root = math.sqrt(max(0.0, second**2 - 4 * first * hits))
    rate = min(1.0, 2 * hits / (second + root))
    return ratio * rate, rate


def ratio_limits(one: Hits, two: Hits, alpha: float) -> tuple[float, float]:
    """Returns the limits of rate(one) / rate(two) that hold at all looks; infinite ones as inf."""

    def inside(angle: float) -> bool:
        # As an angle the ratio of any two rates is finite: tan(angle) = rate(one) / rate(two).
        ratio = math.tan(angle)
        if ratio <= 1:
            return holds_rates(one, two, likeliest_by_ratio(one, two, ratio), alpha)
        return holds_rates(two, one, likeliest_by_ratio(two, one, 1 / ratio), alpha)

    centre = math.atan2(one.hits / one.rows, two.hits / two.rows)
    low, high = _end(inside, centre, 0.0), _end(inside, centre, math.pi / 2)
    return math.tan(low), math.inf if high >= math.pi / 2 - 1e-9 else math.tan(high)


def _pair(one: str, two: str, groups: Mapping[str, Hits], alpha: float) -> GroupDifference:
    rate = {name: groups[name].hits / groups[name].rows for name in (one, two)}
    first, second = (one, two) if rate[one] >= rate[two] else (two, one)
    lower, upper = difference_limits(groups[first], groups[second], alpha)
    ratio_lower, ratio_upper = ratio_limits(groups[second], groups[first], alpha)
    return GroupDifference(
        first=first,
        second=second,
        difference=rate[first] - rate[second],
        lower=lower,
        upper=upper,
        ratio=rate[second] / rate[first] if rate[first] > 0 else None,
        ratio_lower=ratio_lower,
        ratio_upper=None if math.isinf(ratio_upper) else ratio_upper,
    )


def _excess(item: GroupDifference, policy: FairnessPolicy) -> float:
    """How far a pair is surely beyond what is fine; not above 0 while it may be fine."""
    excess = item.lower - policy.tolerance
    if policy.least_ratio is not None and item.ratio_upper is not None:
        excess = max(excess, policy.least_ratio - item.ratio_upper)
    return excess


def _verdict(found: list[GroupDifference], policy: FairnessPolicy) -> FairnessVerdict:
    if any(_excess(item, policy) > 0 for item in found):
        return FairnessVerdict.UNFAIR
    least = policy.least_ratio
    fair = all(
        item.upper <= policy.tolerance
        and item.lower >= -policy.tolerance
        and (least is None or _within_ratio(item, least))
        for item in found
    )
    return FairnessVerdict.FAIR if fair else FairnessVerdict.UNDECIDED


def _within_ratio(item: GroupDifference, least: float) -> bool:
    upper = item.ratio_upper
    return item.ratio_lower >= least and upper is not None and upper * least <= 1


def _message(metric: FairnessMetric, rates: Mapping[str, float], widest: GroupDifference) -> str:
    first, second = widest.first, widest.second
    return (
        f"{metric.value} {rates[first]:.3g} for {first} and {rates[second]:.3g} for {second}: "
        f"difference {widest.difference:.3g} ({widest.lower:.3g} to {widest.upper:.3g} at all "
        "looks)"
    )


def _least_likelihood(one: Hits, two: Hits, alpha: float) -> float:
    return _log_mixture(one) + _log_mixture(two) + math.log(alpha)


def _log_likelihood(group: Hits, rate: float) -> float:
    rate = min(1 - _TINY, max(_TINY, rate))
    return group.hits * math.log(rate) + (group.rows - group.hits) * math.log1p(-rate)


def _log_mixture(group: Hits) -> float:
    """Of the Beta(1/2, 1/2) mixture of likelihoods."""
    a, b = group.hits + 0.5, group.rows - group.hits + 0.5
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b) - math.log(math.pi)


def _end(inside: Callable[[float], bool], centre: float, far: float) -> float:
    """The last value on the way from the centre, which is inside, to `far`; rounded outwards."""
    if inside(far):
        return far
    near = centre
    for _ in range(BISECTIONS):
        middle = (near + far) / 2
        if inside(middle):
            near = middle
        else:
            far = middle
    return far
