"""The soak of a stable revision: what served for so long without a fault is known to be good.

That it had no fault must have been seen: an operator that has just begun looks at the pods for
a while before it says so. Where they do not answer, the soak lasts on, and says that it does.
"""

from datetime import datetime, timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import ModelDeploymentStatus, Outcome, StableStatus
from mooring_operator.core.decision import EventNote
from mooring_operator.core.rollout.budget import after_soak
from mooring_operator.core.rollout.turn import Situation, changed, named, warning
from mooring_operator.core.runtime import ENOUGH
from mooring_operator.core.timeline import minute

_SHORTEST = timedelta(milliseconds=100)
"""Between two rounds of sync, whatever the spec asks for."""


def soak(situation: Situation) -> Situation:
    """The same look, with the stable revision known to be good from the end of its soak on.

    One whose pods are gone, which fails requests or which is being left does not pass; nor does
    one that nobody has looked at since the operator began.
    """
    stable = situation.status.stable
    if stable is None or stable.soaked_at is not None:
        return situation
    if _lacks_evidence(situation, stable):
        return _with(situation, _awaited(situation, stable))
    answered = stable.model_copy(update={"metrics_missing_since": None, "unproven": False})
    if not _is_over(situation, stable):
        return _with(situation, answered)
    newest = next(
        (
            entry
            for entry in situation.status.history
            if entry.outcome is Outcome.PROMOTED and entry.revision == stable.revision
        ),
        None,
    )
    history = [
        entry.model_copy(update={"soaked": True}) if entry is newest else entry
        for entry in situation.status.history
    ]
    good = answered.model_copy(update={"soaked_at": situation.now})
    budget = after_soak(situation.status)
    return situation.on(changed(situation.status, stable=good, history=history, budget=budget))


def is_soaking(situation: Situation) -> bool:
    """Whether the stable revision was promoted and is not known to be good yet."""
    stable = situation.status.stable
    return stable is not None and stable.reason == Reason.PROMOTED and stable.soaked_at is None


def soak_left(situation: Situation) -> timedelta | None:
    """Time until the soak may end; None: there is none, it is over, or pods are awaited first."""
    stable = situation.status.stable
    if stable is None or stable.soaked_at is not None:
        return None
    if _lacks_evidence(situation, stable):
        return parse_duration(situation.spec.monitoring.interval)
    left = _end(situation, stable) - situation.now
    return left if left > timedelta() else None


def soak_message(situation: Situation) -> str:
    """For a message: until when it soaks, or what it waits for since; empty: it does not."""
    stable = situation.stable
    end = minute(_end(situation, stable))
    if stable.soaked_at is None and _lacks_evidence(situation, stable):
        awaited = "the pods' counters show that it had no fault"
        if stable.metrics_missing_since is not None:
            awaited = f"every ready pod answers ({Reason.AWAITING_METRICS})"
        return f"; its soak was over at {end}, it is known as good once {awaited}"
    return f"; soaking until {end}" if is_soaking(situation) else ""


def soak_events(before: ModelDeploymentStatus, situation: Situation) -> tuple[EventNote, ...]:
    """One Event when the counters that a soak needs are missing for too long.

    Args:
        before: the status as it was found.
        situation: the look with the status as it was decided.
    """
    stable, known = situation.status.stable, before.stable
    told = known is not None and known.unproven
    if stable is None or not stable.unproven or told:
        return ()
    spec = situation.spec
    message = (
        f"{named(stable)} has served for rollback.soak {spec.rollback.soak}, but counters are"
        f" missing for longer than metricsGrace {spec.rollout.analysis.metrics_grace}: it is known"
        " as good only once every ready pod answers"
    )
    return (warning(Reason.AWAITING_METRICS, message),)


def _with(situation: Situation, stable: StableStatus) -> Situation:
    if stable == situation.status.stable:
        return situation
    return situation.on(changed(situation.status, stable=stable))


def _end(situation: Situation, stable: StableStatus) -> datetime:
    return stable.since + parse_duration(situation.spec.rollback.soak)


def _is_over(situation: Situation, stable: StableStatus) -> bool:
    """Whether it served for long enough, and nothing speaks against it."""
    pods, telemetry = situation.pods(stable), situation.observation.telemetry
    watch = None if telemetry is None else telemetry.runtime
    faulty = watch is not None and watch.revision == stable.revision and watch.is_faulty
    well = pods is not None and pods.ready > 0 and not faulty
    left = situation.status.revert is not None
    return well and not left and situation.now >= _end(situation, stable)


def _lacks_evidence(situation: Situation, stable: StableStatus) -> bool:
    """Whether nothing but the looks at its pods is missing."""
    needed = _looks_needed(situation)
    if not needed or not _is_over(situation, stable):
        return False
    telemetry = situation.observation.telemetry
    if telemetry is None or not telemetry.fresh:
        return True
    watch = telemetry.runtime
    if watch is None or watch.revision != stable.revision:
        return True
    return len(watch.gone) < needed


def _looks_needed(situation: Situation) -> int:
    """As many as raise a fault, or as many as the soak has room for after the first one."""
    length = parse_duration(situation.spec.rollback.soak)
    interval = max(parse_duration(situation.spec.monitoring.interval), _SHORTEST)
    return max(0, min(ENOUGH, length // interval - 1))


def _awaited(situation: Situation, stable: StableStatus) -> StableStatus:
    """Since when it waits for pods that do not answer, by the rule of `metricsGrace`."""
    telemetry = situation.observation.telemetry
    if telemetry is None:
        # Nobody was asked yet.
        return stable
    if telemetry.fresh:
        return stable.model_copy(update={"metrics_missing_since": None, "unproven": False})
    since = stable.metrics_missing_since or situation.now
    grace = parse_duration(situation.spec.rollout.analysis.metrics_grace)
    return stable.model_copy(
        update={
            "metrics_missing_since": since,
            "unproven": situation.now >= since + grace,
        }
    )
