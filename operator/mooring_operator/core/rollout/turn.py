"""What the handlers of the state table take and give: a situation, and a turn.

A turn without a standing changed the state: the table is consulted again at the same instant, so
that one decision always ends at a state that an unchanged world keeps.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mooring_operator.api.conditions import ConditionType, Reason
from mooring_operator.api.deployment import ModelDeploymentSpec
from mooring_operator.api.deployment_status import (
    CandidateStatus,
    ModelDeploymentStatus,
    RevisionRef,
    StableStatus,
)
from mooring_operator.core.conditions import Standing, condition_of, is_true, trimmed
from mooring_operator.core.decision import EventNote, EventType, OperatorConfig
from mooring_operator.core.observation import DeploymentObservation, RevisionObservation


@dataclass(frozen=True)
class Resolved:
    """The revision that the spec asks for."""

    ref: RevisionRef


@dataclass(frozen=True)
class Unresolved:
    """Why the spec names no revision that may serve, and what to do about it."""

    standing: Standing


Resolution = Resolved | Unresolved


@dataclass(frozen=True)
class Situation:
    """One look at one deployment: what is observed, asked for, and remembered so far."""

    observation: DeploymentObservation
    config: OperatorConfig
    now: datetime
    resolution: Resolution
    before: ModelDeploymentStatus
    """The status as it was found."""
    status: ModelDeploymentStatus
    """The status as decided so far."""

    @property
    def spec(self) -> ModelDeploymentSpec:
        """What people declared."""
        return self.observation.resource.spec

    @property
    def desired(self) -> RevisionRef:
        """The revision that the spec asks for; only in states that have one."""
        if isinstance(self.resolution, Resolved):
            return self.resolution.ref
        raise ValueError(f"the spec names no revision: {self.resolution.standing.message}")

    @property
    def stable(self) -> StableStatus:
        """The stable revision; only in states that have one."""
        if self.status.stable is None:
            raise ValueError("the deployment has no stable revision")
        return self.status.stable

    @property
    def candidate(self) -> CandidateStatus:
        """The candidate; only in states that have one."""
        if self.status.candidate is None:
            raise ValueError("the deployment has no candidate")
        return self.status.candidate

    def pods(self, ref: RevisionRef) -> RevisionObservation | None:
        """What is observed of a revision's Deployment; None: there is none."""
        return next(
            (seen for seen in self.observation.revisions.values() if seen.revision == ref.revision),
            None,
        )

    def on(self, status: ModelDeploymentStatus) -> "Situation":
        """The same look with another status decided so far."""
        return replace(self, status=status)


@dataclass(frozen=True)
class Turn:
    """What a handler decided."""

    status: ModelDeploymentStatus
    standing: Standing | None = None
    """Where the deployment stands; None: the state changed, consult the table again."""
    events: tuple[EventNote, ...] = ()
    requeue_after: timedelta | None = None


def told_before(situation: Situation, reasons: Collection[Reason]) -> Standing | None:
    """Where the status says that the deployment stands, for a look that knows less than the last.

    An operator that has just begun has asked no pod yet: until it has, what its predecessor said
    holds, so that a restart is no news of any deployment.

    Args:
        situation: the look.
        reasons: what may still hold; None is returned for others, and after an edit of the spec.
    """
    before = situation.before
    known = condition_of(before.conditions, ConditionType.READY)
    reason = None if known is None else next((r for r in reasons if r == known.reason), None)
    edited = before.observed_generation != situation.observation.resource.metadata.generation
    if known is None or reason is None or edited:
        return None
    is_stalled = is_true(before.conditions, ConditionType.STALLED)
    type_ = ConditionType.STALLED if is_stalled else ConditionType.RECONCILING
    return Standing(type_, reason, known.message)


def changed(status: ModelDeploymentStatus, **fields: object) -> ModelDeploymentStatus:
    """The status with some fields replaced."""
    update: Mapping[str, Any] = fields
    return status.model_copy(update=update)


def with_candidate(situation: Situation, **fields: object) -> ModelDeploymentStatus:
    """The status with some fields of its candidate replaced."""
    update: Mapping[str, Any] = fields
    return changed(situation.status, candidate=situation.candidate.model_copy(update=update))


def named(ref: RevisionRef) -> str:
    """A revision for people: its version and its hash."""
    return f"{ref.version} ({ref.revision})"


def normal(reason: Reason, message: str) -> EventNote:
    """An Event about something that went as it should."""
    return EventNote(EventType.NORMAL, reason, trimmed(message))


def warning(reason: Reason, message: str) -> EventNote:
    """An Event about something that somebody should look at."""
    return EventNote(EventType.WARNING, reason, trimmed(message))
