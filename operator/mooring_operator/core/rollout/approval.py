"""The approval gate: a new revision starts nothing until a person says that it may be let in.

One approval admits one rollout of one revision. It is kept in status from the word until that
rollout begins, and is void as soon as the spec asks for another revision.
"""

from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.api.group import Annotation
from mooring_operator.api.verbs import Approval
from mooring_operator.core.conditions import reconciling
from mooring_operator.core.revision import quarantine_entry
from mooring_operator.core.rollout.turn import (
    Resolution,
    Resolved,
    Situation,
    Turn,
    Unresolved,
    named,
)


def awaits_approval(situation: Situation) -> bool:
    """Whether the desired revision would start now but for a person's word.

    A return to the former stable revision while its pods are warm needs none: it is a way back.
    """
    status = situation.status
    gated = situation.spec.rollout.approval.required and status.candidate is None
    if not gated or isinstance(situation.resolution, Unresolved):
        return False
    desired = situation.desired.revision
    warm = status.retired is not None and not status.retired.rolled_back
    roles = (status.stable, status.retired if warm else None)
    served = {ref.revision for ref in roles if ref is not None}
    if desired in served or quarantine_entry(status, desired) is not None:
        return False
    return approval_of(status, desired) is None


def approval_of(status: ModelDeploymentStatus, revision: str) -> Approval | None:
    """The approval that the next rollout of this revision begins with; None: there is none."""
    found = status.approval
    return found if found is not None and found.revision == revision else None


def valid_approval(before: ModelDeploymentStatus, resolution: Resolution) -> Approval | None:
    """The approval that is still about what the spec asks for."""
    if isinstance(resolution, Resolved):
        return approval_of(before, resolution.ref.revision)
    return before.approval


def await_approval(situation: Situation) -> Turn:
    """AwaitingApproval: stable serves on, no pod of the desired revision exists."""
    stable, desired = situation.status.stable, situation.desired
    serving = "nothing serves yet" if stable is None else f"{named(stable)} serves"
    needed = f"annotate {Annotation.APPROVE}={desired.revision} to let it in"
    message = f"{named(desired)} waits for approval, {serving}: {needed}"
    return Turn(situation.status, reconciling(Reason.AWAITING_APPROVAL, message))
