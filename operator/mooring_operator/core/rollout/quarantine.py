"""How long a revision that was rolled back stays out, and the pod of it that is kept to look at."""

from datetime import datetime, timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import (
    KeptRevision,
    LastRollback,
    ModelDeploymentStatus,
    QuarantineEntry,
    RevisionRef,
)
from mooring_operator.api.rollback import Rollback
from mooring_operator.core.revision import reference_fields

LONGEST_KEPT = timedelta(days=1)
_LOOKED_AT = (Reason.STARTUP_FAILED, Reason.PODS_FAILED)
"""Rollbacks whose cause is in the pods themselves."""


def quarantine_end(entry: QuarantineEntry, rollback: Rollback) -> datetime | None:
    """When a revision may be tried again without a word; None: never."""
    length = rollback.quarantine_ttl
    return None if length is None else entry.at + parse_duration(length)


def still_out(
    status: ModelDeploymentStatus, rollback: Rollback, now: datetime
) -> list[QuarantineEntry]:
    """The quarantine without what had its time."""
    return [
        entry
        for entry in status.quarantine
        if (ends := quarantine_end(entry, rollback)) is None or now < ends
    ]


def kept_after(
    left: RevisionRef, ended: LastRollback, rollback: Rollback, now: datetime
) -> KeptRevision | None:
    """What is kept of a revision that was rolled back; None: nothing is."""
    length = min(parse_duration(rollback.keep_failed), LONGEST_KEPT)
    if length <= timedelta() or ended.reason not in _LOOKED_AT:
        return None
    return KeptRevision.model_validate(reference_fields(left) | {"keep_until": now + length})


def still_kept(status: ModelDeploymentStatus, now: datetime) -> KeptRevision | None:
    """What is kept, until its time is over or its revision has another role."""
    kept = status.kept
    if kept is None or now >= kept.keep_until:
        return None
    roles = (status.stable, status.candidate)
    return None if any(ref and ref.revision == kept.revision for ref in roles) else kept
