"""States without a rollout: the desired revision serves, may not serve, or is not known."""

from mooring_operator.api.conditions import ConditionType, Reason
from mooring_operator.api.deployment_status import QuarantineEntry
from mooring_operator.api.group import Annotation
from mooring_operator.core.conditions import (
    Standing,
    condition_of,
    is_true,
    ready,
    reconciling,
    stalled,
)
from mooring_operator.core.revision import quarantine_entry
from mooring_operator.core.rollout.blame import is_held_against, look_back, remark
from mooring_operator.core.rollout.budget import pending
from mooring_operator.core.rollout.candidate import all_ready
from mooring_operator.core.rollout.gateway import gateway_standing, gateway_wait
from mooring_operator.core.rollout.pod_update import trial_message, update_failed
from mooring_operator.core.rollout.quarantine import quarantine_end
from mooring_operator.core.rollout.soak import soak_message
from mooring_operator.core.rollout.turn import (
    Situation,
    Turn,
    Unresolved,
    named,
    with_candidate,
)
from mooring_operator.core.timeline import second


def serve(situation: Situation) -> Turn:
    """Stable: Ready while all pods are; Stalled when none is and Kubernetes says why.

    Where a Gateway leads clients there, it must have accepted the route.
    """
    turn = look_back(situation)
    if turn is not None:
        return turn
    stable = situation.stable
    pods = situation.pods(stable)
    count = 0 if pods is None else pods.ready
    wanted = situation.spec.replicas
    message = f"{named(stable)} serves with {count} of {wanted} pods"
    failure = f": {pods.failure}" if pods is not None and pods.failure else ""
    failed = stable.failed_return
    complete = pods is not None and all_ready(pods, wanted)
    if failed is not None and (not complete or is_held_against(situation, failed)):
        told = f"{message}{failure}. {failed.message}"
        remedy = f"{told}; correct the cause, or ask for another version"
        return Turn(situation.status, stalled(Reason.NO_HEALTHY_REVISION, remedy))
    if count == 0 and failure:
        remedy = f"{message}{failure}; correct the cause, or ask for another version"
        return Turn(situation.status, stalled(Reason.NO_HEALTHY_REVISION, remedy))
    failed_update = update_failed(situation)
    if failed_update is not None:
        return Turn(situation.status, stalled(Reason.POD_UPDATE_FAILED, failed_update))
    if not complete:
        told = f"{message}{trial_message(situation)}{failure}"
        return Turn(situation.status, reconciling(Reason.NOT_ENOUGH_PODS, told))
    astray = gateway_standing(situation)
    if astray is not None:
        standing = Standing(astray.type, astray.reason, f"{message}; {astray.message}")
        return Turn(situation.status, standing, requeue_after=gateway_wait(situation))
    if situation.desired.version != stable.version:
        message += f"; {situation.desired.version} is the same package"
    message += soak_message(situation) + remark(situation)
    return Turn(situation.status, ready(_ready_reason(situation), message))


def _ready_reason(situation: Situation) -> Reason:
    """Initialized or Promoted; RollbackCleared from the end of a rollback on."""
    if situation.stable.reason == Reason.ROLLED_BACK:
        return Reason.ROLLBACK_CLEARED
    before = situation.before.conditions
    known = condition_of(before, ConditionType.READY)
    cleared = known is not None and known.reason == Reason.ROLLBACK_CLEARED
    if cleared or is_true(before, ConditionType.ROLLED_BACK):
        return Reason.ROLLBACK_CLEARED
    return Reason(situation.stable.reason)


def stay_back(situation: Situation) -> Turn:
    """Quarantined: stable serves on until the spec resolves to another revision, or a retry."""
    desired = situation.desired
    entry = quarantine_entry(situation.status, desired.revision)
    if entry is None:
        raise ValueError(f"{named(desired)} is not in quarantine")
    ends = quarantine_end(entry, situation.spec.rollback)
    return Turn(
        situation.status,
        stalled(_held_reason(situation), _held_message(situation, entry)),
        requeue_after=None if ends is None else ends - situation.now,
    )


def _held_reason(situation: Situation) -> Reason:
    """RolledBack from the rollback on; Quarantined once the spec came back to the revision."""
    desired = situation.desired.revision
    before = situation.before
    last = before.last_rollback
    if before.desired is None:
        rolled_back = last is not None and last.from_revision == desired
        return Reason.ROLLED_BACK if rolled_back else Reason.QUARANTINED
    known = condition_of(before.conditions, ConditionType.READY)
    came_back = before.desired.revision != desired
    if came_back or (known is not None and known.reason == Reason.QUARANTINED):
        return Reason.QUARANTINED
    return Reason.ROLLED_BACK


def _held_message(situation: Situation, entry: QuarantineEntry) -> str:
    remedy = (
        f"ask for another version{pending(situation)}, or annotate"
        f" {Annotation.RETRY}={entry.revision}@AGAIN to try it again"
    )
    ends, kept = quarantine_end(entry, situation.spec.rollback), situation.status.kept
    if ends is not None:
        remedy += f"; it may be tried again by itself at {second(ends)} (rollback.quarantineTTL)"
    if kept is not None and kept.revision == entry.revision:
        remedy += f"; one pod of it is kept until {second(kept.keep_until)} (rollback.keepFailed)"
    return (
        f"{named(situation.stable)} serves: {named(situation.desired)} was rolled back here"
        f" ({entry.reason}: {entry.evidence}); {remedy}"
    )


def wait_for_names(situation: Situation) -> Turn:
    """Conflicting: nothing moves while a child's name belongs to somebody else."""
    observation = situation.observation
    told = [
        f"{child} belongs to {owner}: their names do not go together, so delete one of the two and"
        " apply it with another metadata.name"
        for child, owner in observation.rivals.items()
    ]
    others = [child for child in observation.foreign if child not in observation.rivals]
    if others:
        told.append(
            f"{', '.join(others)} exists and is not this deployment's: delete or rename it, or give"
            " the ModelDeployment another name"
        )
    return Turn(situation.status, stalled(Reason.NAME_CONFLICT, "; ".join(told)))


def wait_for_model(situation: Situation) -> Turn:
    """Unresolved: stable serves on."""
    return Turn(situation.status, _unresolved_standing(situation))


def hold_for_model(situation: Situation) -> Turn:
    """HeldUnresolved: the candidate keeps its share, its clock stands still."""
    held = situation.candidate.held_since or situation.now
    return Turn(with_candidate(situation, held_since=held), _unresolved_standing(situation))


def _unresolved_standing(situation: Situation) -> Standing:
    if not isinstance(situation.resolution, Unresolved):
        raise TypeError("the spec names a revision")
    standing = situation.resolution.standing
    stable = situation.status.stable
    serving = "nothing serves yet" if stable is None else f"{named(stable)} serves"
    return Standing(standing.type, standing.reason, f"{standing.message}; {serving}")
