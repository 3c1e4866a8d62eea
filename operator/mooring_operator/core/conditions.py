"""How conditions change: pure, and the only place where `Ready` is written.

Every kind's decision states facts (`Fact`) and one `Standing`; the functions here turn them into
the list in status. A transition time moves only when the status of a condition changes, so that
looking again at an unchanged world writes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mooring_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason

MESSAGE_LIMIT = 1024
"""Longest message that the CRDs accept, in characters."""


@dataclass(frozen=True)
class Fact:
    """What one condition says now, without its bookkeeping."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str = ""


@dataclass(frozen=True)
class Standing:
    """Where a resource stands: exactly one of Ready, Reconciling and Stalled is True."""

    type: ConditionType
    reason: Reason
    message: str


def ready(reason: Reason, message: str) -> Standing:
    """The desired state is reached and nothing is wrong."""
    return Standing(ConditionType.READY, reason, message)


def reconciling(reason: Reason, message: str) -> Standing:
    """Work towards the desired state is under way, or a dependency is awaited."""
    return Standing(ConditionType.RECONCILING, reason, message)


def stalled(reason: Reason, message: str) -> Standing:
    """Nothing more happens without a spec change or a human."""
    return Standing(ConditionType.STALLED, reason, message)


def trimmed(message: str, limit: int = MESSAGE_LIMIT) -> str:
    """The message, cut with an ellipsis where it is longer than `limit` characters."""
    return message if len(message) <= limit else f"{message[: limit - 1]}…"


def condition_of(conditions: Iterable[Condition], type_: ConditionType) -> Condition | None:
    """The condition of a type, if present."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: ConditionType) -> bool:
    """Whether the condition of a type is present and True."""
    found = condition_of(conditions, type_)
    return found is not None and found.status is ConditionStatus.TRUE


def set_condition(
    conditions: Sequence[Condition], fact: Fact, *, generation: int, now: datetime
) -> list[Condition]:
    """The conditions with one of them saying `fact` at `generation`, sorted by type.

    The transition time is kept while the status stays the same.
    """
    before = condition_of(conditions, fact.type)
    kept = before is not None and before.status is fact.status
    after = Condition(
        type=fact.type,
        status=fact.status,
        reason=fact.reason,
        message=trimmed(fact.message),
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before is not None and kept else now,
    )
    others = [condition for condition in conditions if condition.type != fact.type]
    return sorted([*others, after], key=lambda condition: condition.type)


def clear_condition(conditions: Sequence[Condition], type_: ConditionType) -> list[Condition]:
    """The conditions without one type."""
    return [condition for condition in conditions if condition.type != type_]


def summarize_ready(
    conditions: Sequence[Condition], standing: Standing, *, generation: int, now: datetime
) -> list[Condition]:
    """The conditions with Ready, Reconciling and Stalled as the standing says (kstatus).

    Ready is always present; Reconciling and Stalled only while True.
    """
    after = list(conditions)
    for abnormal in (ConditionType.RECONCILING, ConditionType.STALLED):
        if standing.type is abnormal:
            fact = Fact(abnormal, ConditionStatus.TRUE, standing.reason, standing.message)
            after = set_condition(after, fact, generation=generation, now=now)
        else:
            after = clear_condition(after, abnormal)
    status = ConditionStatus.TRUE if standing.type is ConditionType.READY else ConditionStatus.FALSE
    fact = Fact(ConditionType.READY, status, standing.reason, standing.message)
    return set_condition(after, fact, generation=generation, now=now)
