"""Events for people, as client-go makes them: equal ones are counted, a flood is cut off.

An Event's name follows from what it says, so that a restarted operator counts on instead of
telling the same again.
"""

import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass

from mooring_operator.api.group import FIELD_MANAGER
from mooring_operator.core.decision import EventNote, Manifest
from mooring_operator.errors import AlreadyExists, MooringError, NotFound
from mooring_operator.io.clock import Clock
from mooring_operator.io.fields import number_at, text_at
from mooring_operator.io.kube import KubeClient, ObjectRef
from mooring_operator.io.resources import RESOURCES
from mooring_operator.io.token_bucket import TokenBucket
from mooring_operator.metrics import OperatorMetrics

log = logging.getLogger(__name__)

BURST = 25
REFILL_PER_SECOND = 1 / 300
"""Per object: 25 at once, then one each five minutes."""
_REMEMBERED = 4096
_LONGEST_NOTE = 1024


@dataclass
class _Told:
    ref: ObjectRef
    count: int


class EventRecorder:
    """Posts Events about our resources. Never fails: an Event is not worth a reconciliation."""

    def __init__(
        self, kube: KubeClient, clock: Clock, metrics: OperatorMetrics, *, instance: str
    ) -> None:
        """Takes, besides its tools, the name of this process."""
        self._kube, self._clock, self._metrics = kube, clock, metrics
        self._instance = instance
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._limits: OrderedDict[str, TokenBucket] = OrderedDict()

    async def record(self, about: Manifest, note: EventNote) -> None:
        """Posts one note, or counts it up if it was posted already."""
        now = self._clock.monotonic()
        uid = text_at(about, "metadata", "uid")
        limit = self._limits.setdefault(
            uid, TokenBucket(rate=REFILL_PER_SECOND, burst=BURST, now=now)
        )
        _bound(self._limits)
        if not limit.take(now):
            self._metrics.events.labels("dropped").inc()
            return
        digest = hashlib.sha256(
            "\n".join((uid, note.type, note.reason, note.message)).encode()
        ).hexdigest()[:16]
        try:
            told = self._told.get(digest)
            if told is None:
                self._told[digest] = await self._post(about, note, digest)
                _bound(self._told)
            else:
                await self._count_up(told, about, note, digest)
        except MooringError as error:
            self._metrics.events.labels("dropped").inc()
            log.warning("could not post %s on %s: %s", note.reason, uid, error)

    async def _post(self, about: Manifest, note: EventNote, digest: str) -> _Told:
        event = self._event(about, note, digest)
        ref = ObjectRef.to(event)
        try:
            await self._kube.create(event)
        except AlreadyExists:
            told = _Told(ref, number_at(await self._kube.get(ref), "count"))
            await self._count_up(told, about, note, digest)
            return told
        self._metrics.events.labels("posted").inc()
        return _Told(ref, 1)

    async def _count_up(self, told: _Told, about: Manifest, note: EventNote, digest: str) -> None:
        body = {"count": told.count + 1, "lastTimestamp": self._stamp()}
        try:
            await self._kube.patch(told.ref, body, manager=FIELD_MANAGER)
        except NotFound:  # Kubernetes keeps Events for an hour
            await self._kube.create(self._event(about, note, digest))
            told.count = 1
        else:
            told.count += 1
        self._metrics.events.labels("aggregated").inc()

    def _event(self, about: Manifest, note: EventNote, digest: str) -> Manifest:
        name = text_at(about, "metadata", "name")
        namespace = text_at(about, "metadata", "namespace")
        stamp = self._stamp()
        return {
            "apiVersion": RESOURCES["Event"].api_version,
            "kind": "Event",
            "metadata": {"name": f"{name}.{digest}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": text_at(about, "apiVersion"),
                "kind": text_at(about, "kind"),
                "namespace": namespace,
                "name": name,
                "uid": text_at(about, "metadata", "uid"),
                "resourceVersion": text_at(about, "metadata", "resourceVersion"),
            },
            "type": note.type.value,
            "reason": note.reason.value,
            "message": note.message[:_LONGEST_NOTE],
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": "mooring.dev/operator",
            "reportingInstance": self._instance[:128],
            "action": note.reason.value,
            "count": 1,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
        }

    def _stamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _bound(remembered: OrderedDict[str, _Told] | OrderedDict[str, TokenBucket]) -> None:
    while len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)
