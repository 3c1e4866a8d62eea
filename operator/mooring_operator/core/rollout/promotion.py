"""Promotion: the candidate takes the stable role. Roles are swapped, nothing is copied."""

from datetime import timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import (
    CandidateStatus,
    Outcome,
    RetiredRevision,
    StableStatus,
)
from mooring_operator.api.group import Annotation
from mooring_operator.core.conditions import reconciling, stalled
from mooring_operator.core.revision import reference_fields, with_history
from mooring_operator.core.rollout.analysing import failure_turn, judge, stable_is_away
from mooring_operator.core.rollout.candidate import (
    all_ready,
    deadline_passed,
    starting_message,
    time_left,
)
from mooring_operator.core.rollout.turn import (
    Situation,
    Turn,
    changed,
    named,
    normal,
    told_before,
)

LEAST_WARM = timedelta(seconds=2)
"""The former pods hand over what the nodes still lead to them: a second or two after the flip."""


def promote(situation: Situation) -> Turn:
    """Promoting: swap once the candidate has all the pods that stable must have.

    A candidate that was analysed is judged until the swap, unless a person promotes it. A return
    to the former stable revision was not, and gets no traffic before the swap.
    """
    candidate = situation.candidate
    pods = situation.pods(candidate)
    judged_still = candidate.analysis_started_at is not None and not candidate.promoted_by
    if judged_still and not stable_is_away(situation):
        told = told_before(situation, (Reason.PROMOTING, Reason.PROGRESS_DEADLINE_EXCEEDED))
        if situation.observation.telemetry is None and told is not None:
            # An operator that has just begun swaps no roles before it has asked the pods.
            interval = parse_duration(situation.spec.monitoring.interval)
            return Turn(situation.status, told, requeue_after=interval)
        judged = judge(situation)
        failure = None if judged is None else failure_turn(judged)
        if failure is not None:
            return failure
        situation = judged or situation
    if situation.spec.paused:
        message = f"spec.paused is true: {named(candidate)} is held before its promotion"
        return Turn(situation.status, reconciling(Reason.USER_PAUSED, message))
    if pods is not None and all_ready(pods, situation.spec.replicas):
        return _swap(situation)
    progress = starting_message(situation)
    if deadline_passed(situation, pods):
        deadline = situation.spec.rollout.progress_deadline
        message = (
            f"{progress}, longer than progressDeadline {deadline}; it is promoted when they are:"
            " free capacity or correct the cause, or ask for another version"
        )
        return Turn(situation.status, stalled(Reason.PROGRESS_DEADLINE_EXCEEDED, message))
    return Turn(
        situation.status,
        reconciling(Reason.PROMOTING, progress),
        requeue_after=time_left(situation, pods),
    )


def _swap(situation: Situation) -> Turn:
    candidate, former = situation.candidate, situation.stable
    stable = StableStatus.model_validate(
        reference_fields(candidate)
        | {"since": situation.now, "seq": candidate.seq, "reason": Reason.PROMOTED}
    )
    asked = situation.spec.rollback.keep_warm
    keep_warm = max(parse_duration(asked), LEAST_WARM)
    told = asked if keep_warm > LEAST_WARM else f"{LEAST_WARM.total_seconds():g}s"
    retired = RetiredRevision.model_validate(
        reference_fields(former) | {"keep_until": situation.now + keep_warm}
    )
    cause = _cause(candidate)
    message = f"{named(stable)} serves now ({cause}); {named(former)} stays warm for {told}"
    status = changed(
        situation.status,
        stable=stable,
        candidate=None,
        retired=retired,
        drift=None,
        history=with_history(situation.status, candidate, Outcome.PROMOTED, cause, situation.now),
    )
    return Turn(status, events=(normal(Reason.PROMOTED, message),))


def _cause(candidate: CandidateStatus) -> str:
    if candidate.promoted_by:
        return f"a person promoted it: {Annotation.PROMOTE}={candidate.promoted_by}"
    if candidate.analysis_started_at is None:
        return "asked for again while its pods were warm, no analysis needed"
    return "passed its analysis"
