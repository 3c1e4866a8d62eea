"""The way back from a stable revision: it is left for an older one, whose pods come first.

`status.revert` is written before anything moves. A candidate is withdrawn, the older revision is
brought to full size, then roles are swapped and what was left is in quarantine. Traffic never
moves to a revision with fewer ready pods; one that cannot start ends the attempt for good.
"""

from datetime import timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import (
    CandidateStage,
    CandidateStatus,
    FailedReturn,
    HistoryEntry,
    LastRollback,
    Outcome,
    RetiredRevision,
    RevertStatus,
    RevisionRef,
    StableStatus,
    Trigger,
)
from mooring_operator.core.conditions import reconciling, trimmed
from mooring_operator.core.manifests.names import workload_name
from mooring_operator.core.revision import (
    next_seq,
    quarantine_entry,
    reference_fields,
    with_entry,
)
from mooring_operator.core.rollout.candidate import all_ready
from mooring_operator.core.rollout.rollback import begin_withdrawal, rolled_back
from mooring_operator.core.rollout.turn import (
    Situation,
    Turn,
    changed,
    named,
    normal,
    warning,
    with_candidate,
)


def begin_revert(
    situation: Situation, target: RevisionRef, trigger: Trigger, reason: Reason, evidence: str
) -> Turn:
    """The stable revision is left for `target`. Only the intention is written.

    Args:
        situation: a look with a stable revision.
        target: the revision that takes the role; see `way_back`.
        trigger: what asks for it.
        reason: why, as the condition RolledBack will say it.
        evidence: why, as people will read it.

    Raises:
        ValueError: the target serves already, or is in quarantine.
    """
    stable = situation.stable
    if target.revision == stable.revision:
        raise ValueError(f"{named(target)} serves already: there is nothing to go back to")
    if quarantine_entry(situation.status, target.revision) is not None:
        raise ValueError(f"{named(target)} is in quarantine: it must not serve here")
    revert = RevertStatus.model_validate(
        reference_fields(target)
        | {
            "trigger": trigger,
            "reason": reason.value,
            "evidence": trimmed(evidence),
            "at": situation.now,
        }
    )
    message = f"{named(stable)} is left for {named(target)} ({reason}): {evidence}"
    return Turn(
        changed(situation.status, revert=revert),
        events=(warning(Reason.ROLLING_BACK, message),),
    )


def revert(situation: Situation) -> Turn:
    """Reverting: the target's pods first, then the swap; or the end of the attempt."""
    target, candidate = _target(situation), situation.status.candidate
    if quarantine_entry(situation.status, target.revision) is not None:
        return _call_off(situation, f"{named(target)} came into quarantine meanwhile")
    if candidate is None or (
        candidate.revision == target.revision and candidate.stage is not CandidateStage.REVERTING
    ):
        return _bring_back(situation, target)
    if candidate.probe is not None:
        ending = {"stage": CandidateStage.PROBE_ENDING, "step_started_at": situation.now}
        return Turn(with_candidate(situation, **ending))
    if candidate.stage is not CandidateStage.REVERTING:
        return begin_withdrawal(situation)
    pods, serving = situation.pods(candidate), situation.pods(situation.stable)
    ready = 0 if pods is None else pods.ready
    left = 0 if serving is None else serving.ready
    if pods is not None and all_ready(pods, situation.spec.replicas):
        return _swap(situation)
    if ready and not left:
        return _swap(situation)
    if target.reason == Reason.PODS_FAILED and _recovered(situation):
        return _call_off(situation, f"{named(situation.stable)} has its pods again")
    wait = _time_left(situation)
    if wait == timedelta():
        return _swap(situation) if ready > left else _give_up(situation)
    wanted = situation.spec.replicas
    message = (
        f"{named(situation.stable)} is left for {named(candidate)} ({target.reason}:"
        f" {target.evidence}): {ready} of {wanted} pods are ready{_fault(situation)}"
    )
    return Turn(situation.status, reconciling(Reason.ROLLING_BACK, message), requeue_after=wait)


def _target(situation: Situation) -> RevertStatus:
    if situation.status.revert is None:
        raise ValueError("no revision is being left")
    return situation.status.revert


def _bring_back(situation: Situation, target: RevertStatus) -> Turn:
    """The target becomes the candidate, with the pods that it has."""
    candidate, retired = situation.status.candidate, situation.status.retired
    warm = retired is not None and retired.revision == target.revision
    seq = next_seq(situation.status) if candidate is None else candidate.seq
    returning = CandidateStatus.model_validate(
        reference_fields(target)
        | {
            "seq": seq,
            "stage": CandidateStage.REVERTING,
            "started_at": situation.now,
            "step_started_at": situation.now,
        }
    )
    return Turn(
        changed(situation.status, candidate=returning, retired=None if warm else retired),
    )


def _swap(situation: Situation) -> Turn:
    target, candidate, former = _target(situation), situation.candidate, situation.stable
    rollback = LastRollback(
        id=f"r-{candidate.seq}",
        from_revision=former.revision,
        from_version=former.version,
        to_revision=candidate.revision,
        to_version=candidate.version,
        at=situation.now,
        trigger=target.trigger,
        reason=target.reason,
        evidence=target.evidence,
        seconds=round((situation.now - target.at).total_seconds(), 3),
    )
    cause = f"{target.reason}: {target.evidence}"
    entry = HistoryEntry.model_validate(
        reference_fields(former)
        | {
            "seq": candidate.seq,
            "outcome": Outcome.ROLLED_BACK,
            "started_at": former.since,
            "ended_at": situation.now,
            "cause": trimmed(cause),
        }
    )
    stable = StableStatus.model_validate(
        reference_fields(candidate)
        | {"since": situation.now, "seq": candidate.seq, "reason": Reason.ROLLED_BACK}
    )
    # Its pods hand over what still comes to them until no message can be older than the swap.
    retired = RetiredRevision.model_validate(
        reference_fields(former)
        | {"keep_until": situation.now + situation.config.sync_ttl, "rolled_back": True}
    )
    status = changed(
        rolled_back(situation, former, rollback),
        stable=stable,
        candidate=None,
        retired=retired,
        revert=None,
        drift=None,
        history=with_entry(situation.status.history, entry),
    )
    message = f"Rolled back from {named(former)} to {named(stable)} ({rollback.id}): {cause}"
    return Turn(status, events=(warning(Reason.ROLLED_BACK, message),))


def _call_off(situation: Situation, why: str) -> Turn:
    """The reason is gone before anything moved."""
    message = f"{named(situation.stable)} is not left for {named(_target(situation))}: {why}"
    return Turn(
        changed(situation.status, revert=None, candidate=None),
        events=(normal(Reason.ROLLING_BACK, message),),
    )


def _give_up(situation: Situation) -> Turn:
    """The target did not start: what serves more pods stays, and no rollback leaves it again."""
    stable, target = situation.stable, _target(situation)
    message = (
        f"{named(target)} should serve instead of {named(stable)} ({target.reason}:"
        f" {target.evidence}), but its pods did not start{_fault(situation)}"
    )
    failed = FailedReturn(
        to_revision=target.revision,
        to_version=target.version,
        at=situation.now,
        trigger=target.trigger,
        reason=target.reason,
        message=trimmed(message),
    )
    status = changed(
        situation.status,
        stable=stable.model_copy(update={"failed_return": failed}),
        candidate=None,
        revert=None,
    )
    return Turn(status, events=(warning(Reason.NO_HEALTHY_REVISION, message),))


def _recovered(situation: Situation) -> bool:
    pods = situation.pods(situation.stable)
    return pods is not None and all_ready(pods, situation.spec.replicas)


def _fault(situation: Situation) -> str:
    name = _workload(situation)
    if name in situation.observation.foreign:
        return f": {name} exists and is not this deployment's"
    pods = situation.pods(_target(situation))
    return f": {pods.failure}" if pods is not None and pods.failure else ""


def _time_left(situation: Situation) -> timedelta:
    """Time until the target must have its pods, from when they were asked for.

    The operator may have been away before it could ask for them: then all of it is left.
    """
    deadline = parse_duration(situation.spec.rollout.progress_deadline)
    pods = situation.pods(situation.candidate)
    if pods is not None:
        began = max(situation.candidate.step_started_at, pods.created_at)
        return max(began + deadline - situation.now, timedelta())
    return timedelta() if _workload(situation) in situation.observation.foreign else deadline


def _workload(situation: Situation) -> str:
    deployment = situation.observation.resource.metadata.name
    return f"Deployment {workload_name(deployment, _target(situation).revision)}"
