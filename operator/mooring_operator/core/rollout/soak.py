"""The soak of a stable revision: what served for so long without a fault is known to be good."""

from datetime import datetime, timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import Outcome, StableStatus
from mooring_operator.core.rollout.budget import after_soak
from mooring_operator.core.rollout.turn import Situation, changed


def soak(situation: Situation) -> Situation:
    """The same look, with the stable revision known to be good from the end of its soak on.

    One whose pods are gone, which fails requests or which is being left does not pass.
    """
    stable = situation.status.stable
    if stable is None or stable.soaked_at is not None or situation.status.revert is not None:
        return situation
    if situation.now < _end(situation, stable) or not _is_well(situation, stable):
        return situation
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
    good = stable.model_copy(update={"soaked_at": situation.now})
    budget = after_soak(situation.status)
    return situation.on(changed(situation.status, stable=good, history=history, budget=budget))


def is_soaking(situation: Situation) -> bool:
    """Whether the stable revision was promoted and is not known to be good yet."""
    stable = situation.status.stable
    return stable is not None and stable.reason == Reason.PROMOTED and stable.soaked_at is None


def soak_left(situation: Situation) -> timedelta | None:
    """Time until the end of the soak; None: there is none, or it is over."""
    stable = situation.status.stable
    if stable is None or stable.soaked_at is not None:
        return None
    left = _end(situation, stable) - situation.now
    return left if left > timedelta() else None


def soak_end(situation: Situation) -> datetime:
    """When the stable revision is known to be good, if nothing happens."""
    return _end(situation, situation.stable)


def _end(situation: Situation, stable: StableStatus) -> datetime:
    return stable.since + parse_duration(situation.spec.rollback.soak)


def _is_well(situation: Situation, stable: StableStatus) -> bool:
    pods, telemetry = situation.pods(stable), situation.observation.telemetry
    watch = None if telemetry is None else telemetry.runtime
    faulty = watch is not None and watch.revision == stable.revision and watch.is_faulty
    return pods is not None and pods.ready > 0 and not faulty
