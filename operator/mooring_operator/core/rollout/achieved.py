"""The share of the requests that a candidate really answers, from counters and not from intent.

Pods count on all the time. The number in the status is replaced only when it says something else,
so that steady traffic does not write a status at each look.
"""

from math import sqrt

from mooring_operator.api.deployment_status import CandidateStage, CandidateStatus
from mooring_operator.core.observation import PhaseCounts
from mooring_operator.core.rollout.steps import phase_key, shares
from mooring_operator.core.rollout.turn import Situation

LEAST_REQUESTS = 20
"""Before so many a share is noise."""
DIGITS = 1
"""Decimal places of a percentage."""
_WITHOUT_SHARE = (CandidateStage.INITIALIZING, CandidateStage.REVERTING)
NEVER_MIND = 0.2
"""Change of the achieved weight, relative to the asked-for one, that is not worth a write."""


def with_weight(situation: Situation) -> CandidateStatus | None:
    """The candidate with the weight that is asked for and the one that is achieved."""
    candidate = situation.status.candidate
    if candidate is None:
        return None
    weight, _ = shares(situation.status, situation.spec)
    achieved = _kept(situation, candidate, weight) if weight else None
    return candidate.model_copy(update={"weight_requested": weight, "weight_achieved": achieved})


def achieved_percent(counts: PhaseCounts | None) -> tuple[float, int] | None:
    """Percent of the answered requests that the candidate answered, and how many were answered.

    A forward that fell back was answered by stable. None before the first `LEAST_REQUESTS`.
    """
    if counts is None:
        return None
    arms = (counts.stable, counts.candidate)
    theirs = max(0, counts.candidate.requests - counts.candidate.errors)
    answered = sum(arm.requests for arm in arms) - min(counts.stable.errors, counts.stable.requests)
    if answered < LEAST_REQUESTS:
        return None
    return 100 * min(theirs, answered) / answered, answered


def weight_column(situation: Situation) -> str:
    """For people: achieved/asked-for weight, or the share that is shadowed."""
    candidate = situation.status.candidate
    if candidate is None or candidate.stage in _WITHOUT_SHARE:
        return ""
    weight, shadow = shares(situation.status, situation.spec)
    if shadow:
        return f"shadow {shadow}%"
    if not weight:
        return "0%"
    achieved = candidate.weight_achieved
    shown = "-" if achieved is None else f"{achieved:g}"
    return f"{shown}/{weight}%"


def _kept(situation: Situation, candidate: CandidateStatus, weight: int) -> float | None:
    """The number that stands, unless the counters say something else by now."""
    known = _known(situation.before.candidate, candidate, weight)
    telemetry = situation.observation.telemetry
    key = phase_key(situation.spec.rollout.steps, candidate)
    counts = None if telemetry is None else telemetry.phases.get(key)
    found = achieved_percent(counts)
    if found is None:
        return known
    percent, answered = found
    if known is None or abs(percent - known) > _noise(weight, answered):
        return round(percent, DIGITS)
    return known


def _noise(weight: int, answered: int) -> float:
    """Percentage points by which an achieved weight may move without anybody caring.

    Three standard errors of a kept weight, or `NEVER_MIND` of it where that is more.
    """
    share = weight / 100
    return max(300 * sqrt(share * (1 - share) / answered), NEVER_MIND * weight)


def _known(before: CandidateStatus | None, candidate: CandidateStatus, weight: int) -> float | None:
    """What stood in the status, if it speaks of the same weight in the same step and rollout."""
    asked = (candidate.revision, candidate.seq, candidate.step, weight)
    if before is not None and asked == (
        before.revision,
        before.seq,
        before.step,
        before.weight_requested,
    ):
        return before.weight_achieved
    return None
