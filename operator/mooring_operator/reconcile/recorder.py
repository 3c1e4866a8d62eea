"""Events for people, as client-go makes them: equal ones are counted, a flood is cut off.

They are posted apart from the reconciliations that tell them, with a share of the requests of its
own: a status must not wait until people were told of another one. An Event's name follows from what
it says, so that a restarted operator counts on instead of telling the same again.
"""

import asyncio
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
from mooring_operator.reconcile.outcomes import settled

log = logging.getLogger(__name__)

BURST = 25
REFILL_PER_SECOND = 1 / 300
"""Per object: 25 at once, then one each five minutes."""
MOST_WAITING = 4096
"""Events that wait to be posted; more are dropped."""
AT_ONCE = 4
"""Events under way: one after the other they would be as slow as the API server answers."""
_REMEMBERED = 4096
_LONGEST_NOTE = 1024


@dataclass
class _Told:
    ref: ObjectRef
    count: int


@dataclass
class _Waiting:
    """An Event to be posted: as it was told first, how often, and when last."""

    event: Manifest
    count: int
    last: str


class EventRecorder:
    """Posts Events about our resources. Nothing fails by it: an Event is not worth that."""

    def __init__(
        self,
        kube: KubeClient,
        clock: Clock,
        metrics: OperatorMetrics,
        rate: TokenBucket,
        *,
        instance: str,
    ) -> None:
        """Takes, besides its tools, its share of the requests and the name of this process."""
        self._kube, self._clock, self._metrics = kube, clock, metrics
        self._rate, self._instance = rate, instance
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._limits: OrderedDict[str, TokenBucket] = OrderedDict()
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._news, self._posting = asyncio.Event(), asyncio.Lock()

    def tell(self, about: Manifest, note: EventNote) -> None:
        """Has one note posted soon, or counted up if it was posted already."""
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
        stamp = self._stamp()
        waiting = self._waiting.get(digest)
        if waiting is not None:
            waiting.count += 1
            waiting.last = stamp
        elif len(self._waiting) < MOST_WAITING:
            self._waiting[digest] = _Waiting(self._event(about, note, digest, stamp), 1, stamp)
            self._news.set()
        else:
            self._metrics.events.labels("dropped").inc()
        self._metrics.events_waiting.set(len(self._waiting))

    async def run(self) -> None:
        """Posts what is told, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.flush()

    async def flush(self) -> None:
        """Returns when all that was told is posted."""
        async with self._posting, asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(self._waiting))):
                group.create_task(self._post_all())

    async def _post_all(self) -> None:
        while self._waiting:
            await self._clock.sleep(self._rate.reserve(self._clock.monotonic()))
            if not self._waiting:
                return  # another one took the last
            digest, waiting = self._waiting.popitem(last=False)
            self._metrics.events_waiting.set(len(self._waiting))
            outcome = await settled(self._deliver(digest, waiting))
            if isinstance(outcome, asyncio.CancelledError):
                raise outcome
            if isinstance(outcome, BaseException):
                self._metrics.events.labels("dropped").inc()
                unexpected = None if isinstance(outcome, MooringError) else outcome
                log.warning("could not post %s: %s", digest, outcome, exc_info=unexpected)

    async def _deliver(self, digest: str, waiting: _Waiting) -> None:
        told = self._told.get(digest)
        if told is None:
            self._told[digest] = await self._post(waiting)
            _bound(self._told)
        else:
            await self._count_up(told, waiting)

    async def _post(self, waiting: _Waiting) -> _Told:
        event = _counted(waiting)
        ref = ObjectRef.to(event)
        try:
            await self._kube.create(event)
        except AlreadyExists:
            told = _Told(ref, number_at(await self._kube.get(ref), "count"))
            await self._count_up(told, waiting)
            return told
        self._metrics.events.labels("posted").inc()
        return _Told(ref, waiting.count)

    async def _count_up(self, told: _Told, waiting: _Waiting) -> None:
        body = {"count": told.count + waiting.count, "lastTimestamp": waiting.last}
        try:
            await self._kube.patch(told.ref, body, manager=FIELD_MANAGER)
        except NotFound:  # Kubernetes keeps Events for an hour
            await self._kube.create(_counted(waiting))
            told.count = waiting.count
        else:
            told.count += waiting.count
        self._metrics.events.labels("aggregated").inc()

    def _event(self, about: Manifest, note: EventNote, digest: str, stamp: str) -> Manifest:
        name = text_at(about, "metadata", "name")
        namespace = text_at(about, "metadata", "namespace")
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


def _counted(waiting: _Waiting) -> Manifest:
    return waiting.event | {"count": waiting.count, "lastTimestamp": waiting.last}


def _bound(remembered: OrderedDict[str, _Told] | OrderedDict[str, TokenBucket]) -> None:
    while len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)
