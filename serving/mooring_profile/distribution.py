"""Do candidate and stable give the same distribution of answers?

Both arms' histograms (score bins in their order, or classes) over the same requests. Each event
"below edge j" (for classes: "is class j") is a proportion in both arms, judged by betting
(`betting`) against every difference of at most the margin in either direction. The average over
events and directions is an e-process against "no event differs by more than the margin", however
events depend on each other. Neither is blamed: a new model may be meant to answer differently.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mooring_profile.betting import Moments, log_better, log_worse
from mooring_profile.bisection import largest_excluded
from mooring_profile.conditional import log_sum
from mooring_profile.disagreement import Agreement
from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import FloatArray

BISECTIONS = 12
"""Limits are exact to 2^-12: they are read by people."""


@dataclass(frozen=True)
class HistogramStratum:
    """Counts by bin of both arms in one step of a rollout, and the candidate's announced share."""

    stable: tuple[int, ...]
    candidate: tuple[int, ...]
    weight: float | None = None


@dataclass(frozen=True)
class DistributionComparison:
    """A verdict with what it rests on.

    Attributes:
        verdict: `DIFFERS` if and only if `lower` > margin, `SAME` if and only if `upper` < margin.
        estimate: largest difference of an event's share between the arms, 0 to 1; None while no
            step has rows of both arms.
        event: the event with that difference: an edge's or a class's number from 0.
        stable_share: stable's share of that event, over the steps as the estimate weighs them;
            None as `estimate`.
        candidate_share: the candidate's.
        lower: lower limit of the largest difference; holds at all looks with 1 - alpha.
        upper: upper limit, likewise by itself.
        n_stable: rows of the stable arm.
        n_candidate: rows of the candidate.
        log_evidence: natural logarithm of the evidence that some event differs by more.
    """

    verdict: Agreement
    estimate: float | None
    event: int | None
    stable_share: float | None
    candidate_share: float | None
    lower: float
    upper: float
    n_stable: int
    n_candidate: int
    log_evidence: float


def compare_distributions(
    strata: Sequence[HistogramStratum], *, ordered: bool, alpha: float, margin: float
) -> DistributionComparison:
    """Compares the arms' histograms.

    Args:
        strata: totals since the beginning of each step, all with the same bins, at least 2.
        ordered: whether bins stand in an order (of scores); False for classes.
        alpha: limit, 0 to 1 exclusive, on the chance of ever giving a wrong verdict.
        margin: largest difference of a share that nobody cares about, 0 to 1 exclusive.

    Raises:
        CountsInvalid: bins of different number, a negative count, or a number out of its range.
    """
    if not 0 < alpha < 1:
        raise CountsInvalid(f"alpha is {alpha}; it must lie between 0 and 1")
    if not 0 <= margin < 1:
        raise CountsInvalid(f"margin is {margin}; it must be within [0, 1)")
    bins = {len(arm) for item in strata for arm in (item.stable, item.candidate)}
    if len(bins) > 1 or any(count < 2 for count in bins):
        raise CountsInvalid(f"arms have {sorted(bins)} bins; all must have the same, at least 2")
    for index, item in enumerate(strata):
        if min(*item.stable, *item.candidate) < 0:
            raise CountsInvalid(f"strata[{index}] has a count below 0; counts are at least 0")
        if item.weight is not None and not 0 < item.weight < 1:
            raise CountsInvalid(
                f"strata[{index}].weight is {item.weight}; it must lie between 0 and 1"
            )
    events = _Events.of(strata, ordered=ordered)
    threshold = -math.log(alpha)
    evidence = events.differs(margin)
    differs = evidence >= threshold
    same = not differs and events.same(margin) >= threshold
    lower = largest_excluded(
        lambda delta: events.differs(delta) >= threshold, 0.0, 1.0, steps=BISECTIONS
    )
    upper = 1 - largest_excluded(
        lambda delta: events.same(1 - delta) >= threshold, 0.0, 1.0, steps=BISECTIONS
    )
    lower = max(lower, math.nextafter(margin, 2)) if differs else min(lower, margin)
    upper = min(upper, math.nextafter(margin, -1)) if same else max(upper, margin)
    found = events.largest()
    return DistributionComparison(
        Agreement.DIFFERS if differs else Agreement.SAME if same else Agreement.UNDECIDED,
        None if found is None else abs(found.candidate - found.stable),
        None if found is None else found.event,
        None if found is None else found.stable,
        None if found is None else found.candidate,
        min(lower, upper) if same else lower,
        max(lower, upper),
        sum(sum(item.stable) for item in strata),
        sum(sum(item.candidate) for item in strata),
        evidence,
    )


def log_differs(strata: Sequence[HistogramStratum], *, ordered: bool, margin: float) -> float:
    """Returns the log evidence alone that some event differs by more than the margin."""
    return _Events.of(strata, ordered=ordered).differs(margin)


@dataclass(frozen=True)
class _Largest:
    """The event whose share differs most, and the arms' shares of it."""

    event: int
    stable: float
    candidate: float


@dataclass(frozen=True)
class _Events:
    """Totals of each arm and the announced shares (NaN: none), all [events, strata]."""

    stable: Moments
    candidate: Moments
    weight: FloatArray

    @classmethod
    def of(cls, strata: Sequence[HistogramStratum], *, ordered: bool) -> "_Events":
        both = [item for item in strata if sum(item.stable) and sum(item.candidate)]
        weight = [math.nan if item.weight is None else item.weight for item in both]
        stable = _hits([item.stable for item in both], ordered=ordered)
        candidate = _hits([item.candidate for item in both], ordered=ordered)
        return cls(stable, candidate, np.broadcast_to(np.array(weight), stable.n.shape))

    def differs(self, delta: float) -> float:
        """Log evidence that an event differs by more than delta."""
        if self.weight.size == 0:
            return 0.0
        more = log_worse(self.stable, self.candidate, self.weight, delta)
        less = log_better(self.stable, self.candidate, self.weight, -delta)
        logs = np.concatenate([more, less])
        return float(log_sum(logs)) - math.log(logs.size)

    def same(self, delta: float) -> float:
        """Log evidence that every event differs by less than delta: the least of them."""
        if self.weight.size == 0:
            return 0.0
        less = log_better(self.stable, self.candidate, self.weight, delta)
        more = log_worse(self.stable, self.candidate, self.weight, -delta)
        return float(np.minimum(less, more).min())

    def largest(self) -> _Largest | None:
        """The largest difference (Mantel-Haenszel over steps)."""
        if self.weight.size == 0:
            return None
        weight = self.stable.n * self.candidate.n / (self.stable.n + self.candidate.n)
        weight = weight / weight.sum(axis=-1, keepdims=True)
        stable = (weight * self.stable.total / self.stable.n).sum(axis=-1)
        candidate = (weight * self.candidate.total / self.candidate.n).sum(axis=-1)
        event = int(np.abs(candidate - stable).argmax())
        return _Largest(event, float(stable[event]), float(candidate[event]))


def _hits(arms: Sequence[tuple[int, ...]], *, ordered: bool) -> Moments:
    if not arms:
        nothing = np.zeros((1, 0))
        return Moments(nothing, nothing, nothing)
    counts = np.array(arms, dtype=np.float64)
    # The last edge is above everything; of two classes one says all.
    events = np.cumsum(counts, axis=1)[:, :-1] if ordered else counts
    if not ordered and counts.shape[1] == 2:
        events = counts[:, :1]
    hits = np.ascontiguousarray(events.T)
    return Moments(np.broadcast_to(counts.sum(axis=1), hits.shape), hits, hits)
