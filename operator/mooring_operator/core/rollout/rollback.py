"""The ways back: rollback of a candidate that failed, withdrawal of one that nobody wants.

Both take the traffic away first and the pods only when no stable pod can forward to them: every
ready stable pod acknowledged weight 0, or the time-to-live of the last message has passed.
"""

from collections.abc import Mapping
from datetime import timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import (
    CandidateStage,
    CandidateStatus,
    LastRollback,
    ModelDeploymentStatus,
    Outcome,
    QuarantineEntry,
    RevisionRef,
    Trigger,
)
from mooring_operator.core.conditions import reconciling, stalled, trimmed
from mooring_operator.core.revision import with_history, with_quarantine
from mooring_operator.core.rollout.budget import counted
from mooring_operator.core.rollout.gateway import gateway_has_let_go
from mooring_operator.core.rollout.quarantine import kept_after
from mooring_operator.core.rollout.turn import (
    Situation,
    Turn,
    Unresolved,
    changed,
    named,
    normal,
    warning,
    with_candidate,
)
from mooring_operator.ids import Revision

_TRIGGERS: Mapping[str, Trigger] = {
    Reason.STARTUP_FAILED: Trigger.STARTUP,
    Reason.MANUAL: Trigger.MANUAL,
}
"""What took a candidate back, where it was not its analysis."""
LOOK_AGAIN = timedelta(seconds=1)
"""How soon acknowledgements are looked at again."""


def begin_rollback(situation: Situation, reason: Reason, evidence: str) -> Turn:
    """From any stage of a candidate: its weight and shadow go to 0."""
    candidate, stable = situation.candidate, situation.stable
    message = f"{named(candidate)} is rolled back, {named(stable)} serves on: {evidence}"
    return Turn(
        with_candidate(
            situation,
            stage=CandidateStage.ROLLING_BACK,
            step_started_at=situation.now,
            held_since=None,
            rollback_reason=reason.value,
            rollback_evidence=trimmed(evidence),
        ),
        events=(warning(Reason.ROLLING_BACK, message),),
    )


def roll_back(situation: Situation) -> Turn:
    """RollingBack: once no traffic can reach the candidate, it is dropped and quarantined."""
    candidate, stable = situation.candidate, situation.stable
    if not traffic_is_away(situation):
        message = (
            f"Taking the traffic from {named(candidate)}"
            f" ({candidate.rollback_reason}: {candidate.rollback_evidence})"
        )
        return Turn(
            situation.status, reconciling(Reason.ROLLING_BACK, message), requeue_after=LOOK_AGAIN
        )
    if not _target_serves(situation):
        return _await_target(situation)
    rollback = LastRollback(
        id=f"r-{candidate.seq}",
        trigger=_TRIGGERS.get(candidate.rollback_reason, Trigger.CANDIDATE),
        from_revision=candidate.revision,
        from_version=candidate.version,
        to_revision=stable.revision,
        to_version=stable.version,
        at=situation.now,
        reason=candidate.rollback_reason,
        evidence=candidate.rollback_evidence,
        seconds=_seconds_of_traffic(situation),
    )
    cause = f"{candidate.rollback_reason}: {candidate.rollback_evidence}"
    message = f"Rolled back from {named(candidate)} to {named(stable)} ({rollback.id}): {cause}"
    status = changed(
        rolled_back(situation, candidate, rollback),
        candidate=None,
        history=with_history(
            situation.status, candidate, _outcome(candidate), trimmed(cause), situation.now
        ),
    )
    return Turn(status, events=(warning(Reason.ROLLED_BACK, message),))


def _target_serves(situation: Situation) -> bool:
    """Whether stable has a pod that serves; once the spec asks for something else it is not asked.

    Otherwise a dead stable revision would keep out what should replace it.
    """
    pods = situation.pods(situation.stable)
    if pods is not None and pods.ready:
        return True
    unresolved = isinstance(situation.resolution, Unresolved)
    return unresolved or situation.desired.revision != situation.candidate.revision


def _await_target(situation: Situation) -> Turn:
    """The candidate has no traffic any more, and its pods stay until stable has one that serves."""
    candidate, stable = situation.candidate, situation.stable
    message = (
        f"{named(candidate)} has no traffic any more ({candidate.rollback_reason}), but no pod of"
        f" {named(stable)} is ready"
    )
    deadline = situation.spec.rollout.progress_deadline
    left = candidate.step_started_at + parse_duration(deadline) - situation.now
    if left > timedelta():
        return Turn(situation.status, reconciling(Reason.ROLLING_BACK, message), requeue_after=left)
    told = f"{message}, longer than progressDeadline {deadline}: correct the cause, or ask for"
    return Turn(situation.status, stalled(Reason.NO_HEALTHY_REVISION, f"{told} another version"))


def rolled_back(
    situation: Situation, left: RevisionRef, rollback: LastRollback
) -> ModelDeploymentStatus:
    """The status with a rollback that ended: every one does so here.

    Args:
        situation: the look that ends it.
        left: the revision that is in quarantine from now on.
        rollback: what happened.
    """
    entry = QuarantineEntry(
        revision=left.revision,
        version=left.version,
        digest=left.digest,
        image=left.image,
        reason=rollback.reason,
        evidence=rollback.evidence,
        at=situation.now,
        rollback_id=rollback.id,
        trigger=rollback.trigger,
    )
    return changed(
        situation.status,
        last_rollback=rollback,
        budget=counted(situation.status, rollback),
        kept=kept_after(left, rollback, situation.spec.rollback, situation.now)
        or situation.status.kept,
        quarantine=with_quarantine(situation.status, entry),
    )


def begin_withdrawal(situation: Situation) -> Turn:
    """Outdated: the spec asks for something else; stable stays the fallback."""
    reverting = situation.status.revert is not None
    why = "gives way to a rollback" if reverting else "is not asked for any more"
    message = f"{named(situation.candidate)} {why}: taking its traffic away"
    return Turn(
        with_candidate(
            situation,
            stage=CandidateStage.WITHDRAWING,
            step_started_at=situation.now,
            held_since=None,
        ),
        events=(normal(Reason.WITHDRAWING, message),),
    )


def withdraw(situation: Situation) -> Turn:
    """Withdrawing: once no traffic can reach the candidate, it is dropped without blame."""
    candidate = situation.candidate
    if not traffic_is_away(situation):
        reverting = situation.status.revert is not None
        why = "stable is left" if reverting else "the spec asks for another revision"
        message = f"Taking the traffic from {named(candidate)}: {why}"
        return Turn(
            situation.status, reconciling(Reason.WITHDRAWING, message), requeue_after=LOOK_AGAIN
        )
    reverting = situation.status.revert is not None
    cause = "the stable revision is left" if reverting else "the spec asked for another revision"
    history = with_history(situation.status, candidate, Outcome.SUPERSEDED, cause, situation.now)
    return Turn(changed(situation.status, candidate=None, history=history))


def traffic_is_away(situation: Situation) -> bool:
    """Whether no stable pod can forward to the candidate any more, and no Gateway leads to it.

    A Gateway that does not answer is not waited for: the candidate's Service leads to stable.
    """
    candidate = situation.candidate
    if candidate.analysis_started_at is None:
        return True
    if situation.now - candidate.step_started_at >= situation.config.sync_ttl:
        return True
    telemetry = situation.observation.telemetry
    if telemetry is None or telemetry.at <= candidate.step_started_at:
        return False
    if not gateway_has_let_go(situation):
        return False
    routes = telemetry.routes.get(Revision(situation.stable.revision), ())
    pods = situation.pods(situation.stable)
    if pods is not None and len(routes) < pods.replicas:
        # One that is not ready is not asked, and follows its last message while that lives.
        return False
    return bool(routes) and all(
        route is not None and route.weight_percent == 0 and route.shadow_percent == 0
        for route in routes
    )


def _outcome(candidate: CandidateStatus) -> Outcome:
    by_hand = candidate.rollback_reason == Reason.MANUAL
    return Outcome.ABORTED if by_hand else Outcome.ROLLED_BACK


def _seconds_of_traffic(situation: Situation) -> float:
    began = situation.candidate.analysis_started_at
    return 0.0 if began is None else round((situation.now - began).total_seconds(), 3)
