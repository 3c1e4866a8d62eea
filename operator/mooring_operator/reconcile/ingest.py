"""The one door into the cache: takes news in and wakes whom it concerns."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from mooring_operator.api.group import Kind
from mooring_operator.core.decision import Manifest
from mooring_operator.ids import ObjectKey
from mooring_operator.io.clock import Clock
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.cache import Cache, Change, version_of
from mooring_operator.reconcile.links import key_of
from mooring_operator.reconcile.routing import keys_to_wake
from mooring_operator.reconcile.streams import Streams

Notify = Callable[[ObjectKey], None]


@dataclass
class _Write:
    """A write of ours that has no answer yet.

    Attributes:
        told: versions of the object that were heard of since it began.
        answered: the version that it made; None: none yet.
    """

    told: set[int] = field(default_factory=set[int])
    answered: int | None = None


class Ingest:
    """Feeds the cache and turns each change into notices."""

    def __init__(
        self, cache: Cache, streams: Streams, clock: Clock, metrics: OperatorMetrics
    ) -> None:
        self._cache, self._streams = cache, streams
        self._clock, self._metrics = clock, metrics
        self._listeners: list[tuple[Notify, Notify]] = []
        self._writes: dict[tuple[ObjectKey, ObjectKey], _Write] = {}
        """By what is written and who writes it."""

    def subscribe(self, notify: Notify, review: Notify | None = None) -> None:
        """Adds someone who is told every key that must look again.

        Args:
            notify: told when something changed.
            review: told when nothing is known to have changed: at the first sight of what was
                there before us, and when everything is looked over. Without it, `notify` is.
        """
        self._listeners.append((notify, review or notify))

    def watched(self, event_type: str | None, manifest: Manifest) -> None:
        """Takes a watch event in."""
        kind = manifest["kind"]
        self._streams.heard(kind, manifest)
        self._metrics.watch_last_event.labels(kind).set(self._clock.now().timestamp())
        self._told(self._cache.apply(event_type, manifest), listed=event_type is None)

    def begun(self, kind: str, version: int) -> None:
        """Takes in that a watch tells of everything after this version."""
        self._streams.begun(kind, version)

    @contextmanager
    def writing(self, key: ObjectKey, by: ObjectKey) -> Generator[None]:
        """While an object is written: a watch often tells of a write before its answer is here.

        Its writer, who is at work on it, hears of the object at the end, and only if something
        else became of it than what it wrote. Otherwise it would look again at a world that has
        not had time to answer, and say so in its status.
        """
        write = self._writes[key, by] = _Write()
        try:
            yield
        finally:
            del self._writes[key, by]
            if write.told - {write.answered}:
                for notify, _ in self._listeners:
                    notify(by)

    def written(self, manifest: Manifest, by: ObjectKey) -> None:
        """Takes the answer to a write of ours in; its writer knows already."""
        write = self._writes.get((key_of(manifest), by))
        if write is not None:
            write.answered = version_of(manifest)
        self._told(self._cache.store(manifest), but=by)

    def deleted(self, manifest: Manifest, by: ObjectKey) -> None:
        """Takes a deletion of ours in."""
        self._told(self._cache.forget(manifest), but=by)

    def listed(
        self, kind: str, items: Iterable[Manifest], resource_version: str, began: datetime
    ) -> int:
        """Takes a complete list in; returns how many deletions no watch had told of.

        Args:
            kind: of what.
            items: all there are.
            resource_version: of the list.
            began: when it was asked for.
        """
        newest = lost = 0

        def noted() -> Iterator[Manifest]:
            nonlocal newest
            for item in items:
                newest = max(newest, version_of(item))
                yield item

        for change in self._cache.replace(kind, noted(), resource_version):
            self._told(change, listed=True)
            lost += change.after is None
        self._cache.note_listed(kind, began)
        self._streams.shown(kind, newest, self._clock.monotonic())
        if lost:
            self._metrics.synthetic_deletes.labels(kind).inc(lost)
        self._metrics.cache_objects.labels(kind).set(self._cache.size(kind))
        return lost

    def served(self, kind: str, *, served: bool) -> bool:
        """Takes in whether the API server has an optional kind; returns whether that is news.

        Such news is everybody's: it comes once in the life of a cluster.
        """
        if not self._cache.serve(kind, served=served):
            return False
        if not served:
            for gone in [self._cache.get(key) for key in self._cache.keys(kind)]:
                self._told(None if gone is None else self._cache.forget(gone))
            self._streams.shown(kind, 0, self._clock.monotonic())
        self.wake_all()
        return True

    def wake_all(self) -> None:
        """Makes every object of ours look again, as a new leader and each resync do."""
        for kind in Kind:
            for key in self._cache.keys(kind.value):
                for _, review in self._listeners:
                    review(key)

    def _told(
        self, change: Change | None, but: ObjectKey | None = None, *, listed: bool = False
    ) -> None:
        if change is None:
            return
        kind = change.key.kind
        self._metrics.cache_objects.labels(kind).set(self._cache.size(kind))
        first_sight = listed and change.before is None
        for key in keys_to_wake(self._cache, change):
            write = self._writes.get((change.key, key))
            if write is not None and change.after is not None:
                write.told.add(version_of(change.after))
            elif key != but:
                for notify, review in self._listeners:
                    (review if first_sight else notify)(key)
