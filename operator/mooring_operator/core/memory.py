"""The part of status that is mirrored on the stable Deployment, and its way back.

A status can be lost (a restore without status, a CRD that was installed again). What serves, what
is in quarantine and what the last rollback was must survive: otherwise the bad revision would be
tried again, and what already serves would be analysed.
"""

from datetime import datetime

from pydantic import ValidationError

from mooring_operator.api.base import ApiModel
from mooring_operator.api.deployment_status import (
    CandidateStage,
    Handled,
    LastRollback,
    ModelDeploymentStatus,
    QuarantineEntry,
    StableStatus,
)
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.revision import with_quarantine


class Memory(ApiModel):
    """What the annotation mooring.dev/memory holds."""

    stable: StableStatus
    quarantine: tuple[QuarantineEntry, ...] = ()
    last_rollback: LastRollback | None = None
    handled: Handled = Handled()


def remember(status: ModelDeploymentStatus) -> str:
    """The annotation's text. A rollback under way counts as done: its verdict was given.

    Raises:
        ValueError: nothing is stable, so nothing is worth remembering.
    """
    if status.stable is None:
        raise ValueError("a deployment without a stable revision has no memory to keep")
    memory = Memory(
        stable=status.stable,
        quarantine=tuple(_quarantine(status)),
        last_rollback=status.last_rollback,
        handled=status.handled,
    )
    return memory.model_dump_json(by_alias=True, exclude_none=True)


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
            "quarantine": list(memory.quarantine),
            "last_rollback": memory.last_rollback,
            "handled": memory.handled,
        }
    )


def _quarantine(status: ModelDeploymentStatus) -> list[QuarantineEntry]:
    candidate = status.candidate
    if candidate is None or candidate.stage is not CandidateStage.ROLLING_BACK:
        return status.quarantine
    at: datetime = candidate.step_started_at
    pending = QuarantineEntry(
        revision=candidate.revision,
        version=candidate.version,
        digest=candidate.digest,
        image=candidate.image,
        reason=candidate.rollback_reason,
        evidence=candidate.rollback_evidence,
        at=at,
        rollback_id=f"r-{candidate.seq}",
    )
    return with_quarantine(status, pending)
