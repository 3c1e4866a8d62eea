"""The part of status that is mirrored on the stable Deployment, and its way back.

A status can be lost (a restore without status, a CRD that was installed again). What serves, what
gets a share of the traffic, what is in quarantine, where a way back leads and what the last
rollback was must survive: otherwise pods would be dropped under traffic, the bad revision would be
tried again, and what already serves would be analysed.
"""

from pydantic import ValidationError

from mooring_operator.api.base import ApiModel
from mooring_operator.api.deployment_status import (
    CandidateStatus,
    HistoryEntry,
    KeptRevision,
    LastRollback,
    ModelDeploymentStatus,
    Outcome,
    QuarantineEntry,
    RetiredRevision,
    RevertStatus,
    StableStatus,
)
from mooring_operator.api.pod_settings import PodsStatus
from mooring_operator.api.rollback import BudgetStatus
from mooring_operator.api.verbs import Approval, Handled
from mooring_operator.core.observation import DeploymentObservation

REMEMBERED = 4
"""Promoted revisions that are mirrored: a way back needs one, a person may want an older one."""


class Memory(ApiModel):
    """What the annotation mooring.dev/memory holds.

    Children are applied before routes are pushed: a candidate that may get traffic is in here.
    """

    stable: StableStatus
    candidate: CandidateStatus | None = None
    retired: RetiredRevision | None = None
    kept: KeptRevision | None = None
    revert: RevertStatus | None = None
    promoted: tuple[HistoryEntry, ...] = ()
    quarantine: tuple[QuarantineEntry, ...] = ()
    last_rollback: LastRollback | None = None
    budget: BudgetStatus | None = None
    pods: PodsStatus | None = None
    approval: Approval | None = None
    handled: Handled = Handled()


def remember(status: ModelDeploymentStatus) -> str:
    """The annotation's text.

    Raises:
        ValueError: nothing is stable, so nothing is worth remembering.
    """
    if status.stable is None:
        raise ValueError("a deployment without a stable revision has no memory to keep")
    memory = Memory(
        stable=status.stable,
        candidate=_lasting(status.candidate),
        retired=status.retired,
        kept=status.kept,
        revert=status.revert,
        promoted=tuple(e for e in status.history if e.outcome is Outcome.PROMOTED)[:REMEMBERED],
        quarantine=tuple(status.quarantine),
        last_rollback=status.last_rollback,
        budget=status.budget,
        pods=status.pods,
        approval=status.approval,
        handled=status.handled,
    )
    return memory.model_dump_json(by_alias=True, exclude_none=True)


def _lasting(candidate: CandidateStatus | None) -> CandidateStatus | None:
    """Without what is counted anew: it would change the Deployment while traffic flows."""
    if candidate is None:
        return None
    anew = {"weight_requested": 0, "weight_achieved": None, "routed": None}
    return candidate.model_copy(update=anew)


def recall(observation: DeploymentObservation) -> ModelDeploymentStatus:
    """The status as it is, or rebuilt from the children's memory where it was lost."""
    status = observation.resource.status
    if status.observed_generation != -1 or status.stable is not None or status.candidate:
        return status
    if not observation.memory:
        return status
    try:
        memory = Memory.model_validate_json(observation.memory)
    except ValidationError:
        # Somebody wrote over the annotation: what runs is let in again as the first revision.
        return status
    return status.model_copy(
        update={
            "stable": memory.stable,
            "candidate": memory.candidate,
            "retired": memory.retired,
            "kept": memory.kept,
            "revert": memory.revert,
            "history": list(memory.promoted),
            "quarantine": list(memory.quarantine),
            "last_rollback": memory.last_rollback,
            "budget": memory.budget,
            "pods": memory.pods,
            "approval": memory.approval,
            "handled": memory.handled,
        }
    )
