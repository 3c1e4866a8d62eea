"""Which triggers are due: each by a token, and each token is acted upon once.

A token is what set the trigger off: the alarm's time and revision, the scheduled time, or the
annotation's value. Two tokens are the same cause only if they are equal.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mooring_operator.api.base import Metadata
from mooring_operator.api.conditions import ConditionType
from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.group import Annotation
from mooring_operator.api.retrain import EARLIER_TOKENS, RetrainPolicy, Trigger, TriggerStatus
from mooring_operator.core.conditions import is_true
from mooring_operator.core.manifests.job import short_hash
from mooring_operator.core.registry.records import rfc3339
from mooring_operator.core.retrain.cron import last_tick, next_tick

TOKEN_LIMIT = 128
STEM_LIMIT = 52
"""Of a run's name: leaves 9 for the token's hash and 2 for an attempt, within 63."""


@dataclass(frozen=True)
class Due:
    """A trigger that asks for a run."""

    trigger: str
    token: str
    cron: str = ""
    manual: bool = False
    """A person asks: they have seen what the input is like."""


@dataclass(frozen=True)
class Watch:
    """All triggers of a policy at one time."""

    due: tuple[Due, ...]
    """In the order of the spec."""
    handled: tuple[TriggerStatus, ...]
    """The last tokens acted upon; a schedule that is seen for the first time starts here."""
    next_schedule: datetime | None


def watch(
    policy: RetrainPolicy,
    deployment: ModelDeployment | None,
    known: frozenset[str],
    now: datetime,
) -> Watch:
    """What is due now.

    Args:
        policy: the policy; its cron expressions must be valid.
        deployment: the deployment whose drift it watches.
        known: names of runs that left a Job or a version, to recognise one after a lost status.
        now: the time of the look.
    """
    before = {one.name: one for one in policy.status.handled}
    due: list[Due] = []
    handled: list[TriggerStatus] = []
    for trigger in policy.spec.triggers:
        last = before.get(trigger.name)
        if trigger.schedule is not None:
            cron = trigger.schedule.cron
            if last is None or last.cron != cron:
                last = _start_of_schedule(policy.metadata, trigger.name, cron, known, now)
            token = _schedule_token(cron, last.token, now)
            found = Due(trigger.name, token, cron) if token is not None else None
        else:
            token = _other_token(trigger, policy.metadata, deployment)
            seen = last is not None and token in (last.token, *last.earlier)
            found = (
                None
                if token is None or seen
                else Due(trigger.name, token, manual=trigger.manual is not None)
            )
        if found is not None:
            due.append(found)
        if last is not None:
            handled.append(last)
    return Watch(tuple(due), tuple(handled), _next_schedule(policy, now))


def mark_handled(seen: Watch, triggers: Iterable[Trigger]) -> tuple[TriggerStatus, ...]:
    """The handled tokens, in the spec's order, once a run answers everything that is due."""
    marks = {one.name: one for one in seen.handled}
    for due in seen.due:
        earlier: list[str] = []
        if due.manual and due.trigger in marks:
            last = marks[due.trigger]
            earlier = [last.token, *last.earlier][:EARLIER_TOKENS]
        marks[due.trigger] = TriggerStatus(
            name=due.trigger, token=due.token, cron=due.cron, earlier=earlier
        )
    return tuple(marks[trigger.name] for trigger in triggers if trigger.name in marks)


def run_name(policy: Metadata, trigger: str, token: str) -> str:
    """The name of the run that a token starts; it is also the name of the version it makes.

    The policy's uid is part of it: a policy made anew does not mistake old packages for its own.
    """
    stem = f"{policy.name}-{trigger}"[:STEM_LIMIT].rstrip("-")
    return f"{stem}-{short_hash(policy.uid, policy.name, trigger, token)}"


def _start_of_schedule(
    policy: Metadata, trigger: str, cron: str, known: frozenset[str], now: datetime
) -> TriggerStatus:
    """From when on missed times count: from now, unless the last one's run is still there."""
    tick = rfc3339(last_tick(cron, now))
    adopted = run_name(policy, trigger, tick) in known
    return TriggerStatus(name=trigger, token="" if adopted else rfc3339(now), cron=cron)


def _schedule_token(cron: str, last: str, now: datetime) -> str | None:
    tick = last_tick(cron, now)
    if last and tick <= datetime.fromisoformat(last):
        return None
    return rfc3339(tick)


def _other_token(
    trigger: Trigger, policy: Metadata, deployment: ModelDeployment | None
) -> str | None:
    if trigger.drift is not None:
        return None if deployment is None else drift_token(deployment)
    value = policy.annotations.get(Annotation.RETRAIN, "").strip()
    if len(value) > TOKEN_LIMIT:
        return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value or None


def drift_token(deployment: ModelDeployment) -> str | None:
    """The alarm that holds now: its time, and the revision that it speaks of."""
    status = deployment.status
    drift, stable = status.drift, status.stable
    if drift is None or drift.at is None or stable is None or drift.revision != stable.revision:
        return None
    if not is_true(status.conditions, ConditionType.DRIFTED):
        return None
    return f"{rfc3339(drift.at)}/{drift.revision}"


def _next_schedule(policy: RetrainPolicy, now: datetime) -> datetime | None:
    if policy.spec.suspend:
        return None
    ticks = [
        next_tick(trigger.schedule.cron, now)
        for trigger in policy.spec.triggers
        if trigger.schedule is not None
    ]
    return min(ticks, default=None)
