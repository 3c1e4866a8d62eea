"""The loop for one key: observe → decide → write status → apply → prune → routes → Events.

Status is written before any side effect that it stands for, so that a process that dies in
between is followed by one that reads what was meant and does it. What one object raises stays
with that object: it says so in its conditions, backs off, and all others go on.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mooring_operator.api.base import ApiModel
from mooring_operator.api.conditions import Reason
from mooring_operator.core.conditions import Standing, reconciling, stalled, trimmed
from mooring_operator.core.decision import Decision, Manifest, Route
from mooring_operator.errors import (
    Conflict,
    LeadershipLost,
    MooringError,
    NotFound,
    Refused,
    Transient,
    Unparsable,
)
from mooring_operator.ids import ObjectKey, Revision
from mooring_operator.io.clock import Clock
from mooring_operator.io.fields import Json, mapping_at, number_at
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.apply import Applier
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.certainty import Certainty
from mooring_operator.reconcile.parse import is_going
from mooring_operator.reconcile.recorder import EventRecorder
from mooring_operator.reconcile.report import StatusWriter, with_standing

log = logging.getLogger(__name__)

Decided = tuple[Decision[Any], timedelta | None]
Decide = Callable[[Manifest, tuple[str, ...], datetime], Decided]
"""Observes and decides: the resource, names taken by others, now → the decision, and when to look
again for something that is still on its way. Raises Unparsable."""
PushRoutes = Callable[[ObjectKey, Mapping[Revision, Route]], None]
_TAKEN_AGAIN = timedelta(seconds=30)


@dataclass(frozen=True)
class Hands:
    """What the loop acts with."""

    status: StatusWriter
    applier: Applier
    events: EventRecorder
    certainty: Certainty
    push_routes: PushRoutes
    serves: Callable[[ObjectKey], bool]
    """Whether this operator is the one that serves an object's namespace."""
    forget: Callable[[ObjectKey], None]


class Loop:
    """Reconciles keys of all kinds."""

    def __init__(
        self,
        cache: Cache,
        decide: Mapping[str, Decide],
        hands: Hands,
        clock: Clock,
        metrics: OperatorMetrics,
    ) -> None:
        self._cache, self._decide, self._hands = cache, decide, hands
        self._clock, self._metrics = clock, metrics
        self._failing: dict[ObjectKey, Standing] = {}

    async def reconcile(self, key: ObjectKey) -> timedelta | None:
        """One look at one object; returns when the next is due at the latest."""
        started = self._clock.monotonic()
        result = "error"
        try:
            again = await self._reconcile(key)
            result = "success" if again is None else "requeue"
        except Conflict:
            result = "conflict"
            raise
        else:
            return again
        finally:
            self._metrics.reconciles.labels(key.kind, result).inc()
            elapsed = self._clock.monotonic() - started
            self._metrics.reconcile_time.labels(key.kind).observe(elapsed)

    async def on_failure(self, key: ObjectKey, error: BaseException) -> None:
        """Says in the object's conditions what went wrong, unless it will pass by itself."""
        if isinstance(error, Transient | NotFound | LeadershipLost):
            return
        if not isinstance(error, MooringError):
            self._metrics.reconciles.labels(key.kind, "poison").inc()
        standing = reconciling(Reason.OPERATOR_ERROR, _words(error))
        self._failing[key] = standing
        manifest = self._cache.get(key)
        if manifest is not None:
            await self._overlay(manifest, mapping_at(manifest, "status"), standing)

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        manifest = self._cache.get(key)
        if manifest is None:
            self._forget(key)
            return None
        if is_going(manifest):
            return None  # what we made goes with it, by owner references
        if not self._hands.serves(key):
            self._hands.forget(key)
            return None
        foreign = await self._hands.applier.foreign(key)
        try:
            decision, look_again = self._decide[key.kind](manifest, foreign, self._clock.now())
        except Unparsable as error:
            await self._refuse(manifest, error)
            return None
        status = decision.status
        await self._write(key, manifest, status)
        failure = await self._carry_out(key, manifest, decision)
        for note in decision.events:
            log.info("%s: %s: %s", key, note.reason.value, note.message)
            self._hands.events.tell(manifest, note)
        if failure is not None:
            raise failure
        if self._failing.pop(key, None) is not None:
            return timedelta(0)  # it works again: say so
        pauses = (decision.requeue_after, look_again, _TAKEN_AGAIN if foreign else None)
        return min((pause for pause in pauses if pause is not None), default=None)

    async def _write(self, key: ObjectKey, manifest: Manifest, status: ApiModel) -> None:
        wire = status.to_wire()
        standing = self._failing.get(key)
        if standing is None:
            await self._hands.status.write(manifest, wire)
        else:
            # Until what failed works again, the conditions keep saying so instead of flapping.
            await self._overlay(manifest, wire, standing)

    async def _carry_out(
        self, key: ObjectKey, manifest: Manifest, decision: Decision[Any]
    ) -> MooringError | None:
        """Brings children and routes about.

        Routes are told even if a child fails: they take traffic away from what is broken.
        """
        failure: MooringError | None = None
        try:
            await self._hands.applier.apply(manifest, decision.children)
            await self._hands.applier.prune(manifest, decision.prune)
        except LeadershipLost:
            raise
        except MooringError as error:
            failure = error
        if any(route.weight_percent or route.shadow_percent for route in decision.routes.values()):
            # Traffic for a candidate that may have been rolled back since.
            await self._hands.certainty.confirm(manifest)
        self._hands.push_routes(key, decision.routes)
        return failure

    async def _refuse(self, manifest: Manifest, error: Unparsable) -> None:
        message = trimmed(
            f"{error}. Only an older CRD lets this in: apply the CRDs of this release, then "
            f"correct {error.field}"
        )
        generation = number_at(manifest, "metadata", "generation")
        status = mapping_at(manifest, "status") | {"observedGeneration": generation}
        await self._overlay(manifest, status, stalled(Reason.INVALID_SPEC, message))

    async def _overlay(self, manifest: Manifest, status: Json, standing: Standing) -> None:
        now = self._clock.now()
        await self._hands.status.write(manifest, with_standing(status, manifest, standing, now))

    def _forget(self, key: ObjectKey) -> None:
        self._failing.pop(key, None)
        self._hands.applier.forget(key)
        self._hands.certainty.forget(key)
        self._hands.forget(key)


def _words(error: BaseException) -> str:
    if isinstance(error, Refused):
        return trimmed(f"The API server refused what the operator asked: {error}")
    return trimmed(
        f"The operator failed on this object: {type(error).__name__}: {error}. It tries again by "
        "itself, other objects are not affected; please report this with the operator's log"
    )
