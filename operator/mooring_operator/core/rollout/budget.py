"""How often a deployment may roll back by itself: cooldown with back-off, and a budget (ADR 10).

Decided by the times of automatic rollbacks in status and by the spec of now, so that a restarted
operator decides the same, and an edited setting counts at once.
"""

from datetime import datetime, timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import LastRollback, ModelDeploymentStatus, Trigger
from mooring_operator.api.group import Annotation
from mooring_operator.api.rollback import MOST_ROLLBACKS, BudgetStatus, Rollback
from mooring_operator.core.conditions import reconciling, stalled
from mooring_operator.core.revision import quarantine_entry
from mooring_operator.core.rollout.turn import (
    Resolution,
    Situation,
    Turn,
    Unresolved,
    changed,
    named,
)
from mooring_operator.core.timeline import second

LONGEST_COOLDOWN = timedelta(hours=24)
_MOST_DOUBLINGS = 32
"""More of them only make a number that no duration holds: the longest cooldown is reached."""


def counted(status: ModelDeploymentStatus, rollback: LastRollback) -> BudgetStatus | None:
    """The budget after a rollback that ended; a person's costs nothing."""
    known = status.budget
    if rollback.trigger is Trigger.MANUAL:
        return known
    before = known or BudgetStatus()
    return BudgetStatus(
        consecutive_rollbacks=before.consecutive_rollbacks + 1,
        rolled_back_at=[rollback.at, *before.rolled_back_at][:MOST_ROLLBACKS],
    )


def after_soak(status: ModelDeploymentStatus) -> BudgetStatus | None:
    """The budget when stable survived its soak: a promotion since the last rollback ends the row.

    The soak of what stayed, or took the role back, says nothing of candidates.
    """
    known, stable = status.budget, status.stable
    if known is None or stable is None or stable.reason != Reason.PROMOTED:
        return known
    if known.rolled_back_at and stable.since <= known.rolled_back_at[0]:
        return known
    return known.model_copy(update={"consecutive_rollbacks": 0})


def valid_budget(before: ModelDeploymentStatus, resolution: Resolution) -> BudgetStatus | None:
    """The budget, with a person's word only while it is about what the spec asks for."""
    known = before.budget
    if known is None or known.admitted is None or isinstance(resolution, Unresolved):
        return known
    asked = resolution.ref.revision == known.admitted
    return known if asked else known.model_copy(update={"admitted": None})


def admit(status: ModelDeploymentStatus, revision: str) -> BudgetStatus | None:
    """The budget with a person's word that this revision waits for nothing."""
    known = status.budget
    return None if known is None else known.model_copy(update={"admitted": revision})


def begun(status: ModelDeploymentStatus) -> BudgetStatus | None:
    """The budget when a rollout begins: a word is good for one."""
    known = status.budget
    return None if known is None else known.model_copy(update={"admitted": None})


def told(status: ModelDeploymentStatus, rollback: Rollback, now: datetime) -> BudgetStatus | None:
    """The budget with the times that people read."""
    known = status.budget
    if known is None:
        return None
    times = {
        "cooldown_until": cooldown_end(known, rollback),
        "exhausted_until": exhausted_until(known, rollback, now),
    }
    return known.model_copy(update=times)


def cooldown_end(budget: BudgetStatus | None, rollback: Rollback) -> datetime | None:
    """When the next candidate may start; None: nothing was rolled back since a soak."""
    if budget is None or not budget.consecutive_rollbacks or not budget.rolled_back_at:
        return None
    doublings = min(budget.consecutive_rollbacks - 1, _MOST_DOUBLINGS)
    first = min(parse_duration(rollback.cooldown), LONGEST_COOLDOWN)
    return budget.rolled_back_at[0] + min(first * 2**doublings, LONGEST_COOLDOWN)


def exhausted_until(
    budget: BudgetStatus | None, rollback: Rollback, now: datetime
) -> datetime | None:
    """When the window lets the rollback go that is one too many; None: the budget is not spent."""
    count = rollback.budget.count
    if budget is None or len(budget.rolled_back_at) < count:
        return None
    ends = budget.rolled_back_at[count - 1] + parse_duration(rollback.budget.per)
    return ends if now < ends else None


def is_exhausted(situation: Situation) -> bool:
    """Whether as many automatic rollbacks happened lately as the budget has."""
    rollback = situation.spec.rollback
    return exhausted_until(situation.status.budget, rollback, situation.now) is not None


def is_frozen(situation: Situation) -> bool:
    """Whether the desired revision waits for the budget."""
    return _may_wait(situation) and is_exhausted(situation)


def is_cooling(situation: Situation) -> bool:
    """Whether the desired revision waits for the cooldown."""
    ends = cooldown_end(situation.status.budget, situation.spec.rollback)
    return _may_wait(situation) and ends is not None and situation.now < ends


def _may_wait(situation: Situation) -> bool:
    """Whether the desired revision would be let in as something new, and nobody let it in yet.

    A way back to warm pods waits for nothing. A pause is told before what would hold it afterwards.
    """
    status = situation.status
    if situation.spec.paused or isinstance(situation.resolution, Unresolved):
        return False
    if status.stable is None or status.candidate is not None or status.revert is not None:
        return False
    desired = situation.desired.revision
    warm = status.retired is not None and not status.retired.rolled_back
    served = {ref.revision for ref in (status.stable, status.retired if warm else None) if ref}
    if desired in served or quarantine_entry(status, desired) is not None:
        return False
    return status.budget is not None and status.budget.admitted != desired


def cool_down(situation: Situation) -> Turn:
    """CoolingDown: stable serves on, no pod of the desired revision exists."""
    budget = situation.status.budget or BudgetStatus()
    ends = cooldown_end(budget, situation.spec.rollback) or situation.now
    desired, count = situation.desired, budget.consecutive_rollbacks
    message = (
        f"{named(desired)} starts at {second(ends)}, {named(situation.stable)} serves: automatic"
        f" rollback {count} in a row ended at {second(budget.rolled_back_at[0])}"
        f" (rollback.cooldown {situation.spec.rollback.cooldown}, doubled each time); annotate"
        f" {Annotation.RETRY}={desired.revision} to start it now"
    )
    return Turn(
        situation.status,
        reconciling(Reason.COOLING_DOWN, message),
        requeue_after=ends - situation.now,
    )


def freeze(situation: Situation) -> Turn:
    """BudgetExhausted: stable serves on until a person says so, or the window lets one go."""
    rollback, desired = situation.spec.rollback, situation.desired
    ends = exhausted_until(situation.status.budget, rollback, situation.now) or situation.now
    message = (
        f"{named(desired)} is held back, {named(situation.stable)} serves:"
        f" {spent(situation)}. Find out why candidates fail, then annotate"
        f" {Annotation.RETRY}={desired.revision} to start it all the same"
    )
    return Turn(
        situation.status,
        stalled(Reason.ROLLBACK_BUDGET_EXHAUSTED, message),
        requeue_after=ends - situation.now,
    )


def spent(situation: Situation) -> str:
    """That the budget is spent, and until when; only while it is."""
    rollback = situation.spec.rollback
    ends = exhausted_until(situation.status.budget, rollback, situation.now) or situation.now
    return (
        f"rollback.budget ({rollback.budget.count} automatic in {rollback.budget.per}) is spent"
        f" until {second(ends)}"
    )


def pending(situation: Situation) -> str:
    """For the message of a rollback: how long the next version waits; empty: it does not."""
    rollback = situation.spec.rollback
    ends = exhausted_until(situation.status.budget, rollback, situation.now)
    if ends is not None:
        return f" (held back until {second(ends)} by rollback.budget)"
    ends = cooldown_end(situation.status.budget, rollback)
    if ends is None or parse_duration(rollback.cooldown) == timedelta():
        return ""
    return f" (not before {second(ends)}: rollback.cooldown)"


def without(status: ModelDeploymentStatus, revision: str) -> ModelDeploymentStatus:
    """The status after a person's retry: out of quarantine, and waiting for nothing."""
    kept = [entry for entry in status.quarantine if entry.revision != revision]
    return changed(status, quarantine=kept, budget=admit(status, revision))
