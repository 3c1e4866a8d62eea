"""What the operator knows of the cluster: the newest version seen of each watched object.

Three sources feed it: watch events, complete lists (which find deletions that no watch told of)
and the answers to our own writes (so that we read what we wrote). A version never goes back, and
late news of the dead is not believed.

Objects are kept as packed JSON and read anew by whoever asks: as Python objects they would take
fifty times the memory, and reading one takes some ten microseconds.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from mooring_operator.core.decision import Manifest
from mooring_operator.ids import ObjectKey
from mooring_operator.io.fields import mapping_at, objects_at, text_at
from mooring_operator.io.packing import Packer
from mooring_operator.io.wire_json import from_bytes, to_bytes
from mooring_operator.reconcile.links import key_of, links_of

_REMEMBERED_DEAD = 10_000


@dataclass(frozen=True)
class Change:
    """What the cache learned about one object: None before its creation, None after its end."""

    key: ObjectKey
    before: Manifest | None
    after: Manifest | None


@dataclass(slots=True)
class _Kept:
    """One version of one object.

    Attributes:
        uid: its uid.
        version: its resourceVersion.
        links: the objects of ours that it speaks of.
        document: itself, as JSON, packed.
        packer: by which it was.
        carries: the intent that this version was seen to carry; empty: not looked yet.
    """

    uid: str
    version: int
    links: tuple[ObjectKey, ...]
    document: bytes
    packer: Packer
    carries: str = ""

    def read(self) -> Manifest:
        """The object; the caller's own copy."""
        return from_bytes(self.packer.unpack(self.document))


class Cache:
    """Objects by key, and an index of links."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[ObjectKey, _Kept]] = {}
        self._packers: dict[str, Packer] = {}
        self._linked: dict[ObjectKey, set[ObjectKey]] = {}
        """Who speaks of an object, of all kinds: few."""
        self._spaces: dict[tuple[str, str], set[ObjectKey]] = {}
        """Who lives in a namespace, by kind and namespace: many."""
        self._dead: OrderedDict[str, int] = OrderedDict()
        self._served: set[str] = set()
        """Optional kinds that the API server has."""
        self._listed_at: dict[str, datetime] = {}
        self.on_missed: Callable[[str], None] = _nobody_lists
        """Called with a kind of which something is missed that must be there, or must have been."""

    def note_listed(self, kind: str, began: datetime) -> None:
        """Remembers when the last complete list of a kind was asked for."""
        self._listed_at[kind] = began

    def listed_since(self, kind: str, moment: datetime) -> bool:
        """Whether what is missing was also missing in a complete list asked for then or later."""
        known = self._listed_at.get(kind)
        return known is not None and known >= moment

    def get(self, key: ObjectKey) -> Manifest | None:
        """The object, if known; the caller's own copy."""
        kept = self._known(key)
        return None if kept is None else kept.read()

    def version(self, key: ObjectKey) -> int | None:
        """Which version of the object is known; None: the object is not."""
        kept = self._known(key)
        return None if kept is None else kept.version

    def carried(self, key: ObjectKey) -> str:
        """The intent that the object was seen to carry since it changed last; empty: none."""
        kept = self._known(key)
        return "" if kept is None else kept.carries

    def note_carried(self, key: ObjectKey, version: int, intent: str) -> None:
        """Remembers that this version of the object carries an intent; forgotten with it."""
        kept = self._known(key)
        if kept is not None and kept.version == version:
            kept.carries = intent

    def keys(self, kind: str) -> tuple[ObjectKey, ...]:
        """Keys of all objects of a kind."""
        return tuple(self._objects.get(kind, ()))

    def size(self, kind: str) -> int:
        """Number of objects of a kind."""
        return len(self._objects.get(kind, ()))

    def serves(self, kind: str) -> bool:
        """Whether the API server has this optional kind, as far as is known."""
        return kind in self._served

    def serve(self, kind: str, *, served: bool) -> bool:
        """Takes in whether the API server has an optional kind; returns whether that is news."""
        if served == (kind in self._served):
            return False
        (self._served.add if served else self._served.discard)(kind)
        return True

    def linked(self, kind: str, key: ObjectKey) -> tuple[Manifest, ...]:
        """The objects of a kind that speak of `key`, by name."""
        known = self._objects.get(kind, {})
        return tuple(known[item].read() for item in self.keys_linked(kind, key))

    def keys_linked(self, kind: str, key: ObjectKey) -> list[ObjectKey]:
        """Keys of the objects of a kind that speak of `key`, by name."""
        return sorted(item for item in self._linked.get(key, ()) if item.kind == kind)

    def in_namespace(self, kind: str, namespace: str) -> tuple[ObjectKey, ...]:
        """Keys of the objects of a kind in a namespace."""
        return tuple(sorted(self._spaces.get((kind, namespace), ())))

    def apply(self, event_type: str | None, manifest: Manifest) -> Change | None:
        """Takes a watch event in (`ADDED`, `MODIFIED`, `DELETED`, or None for a listed object).

        Returns:
            The change; None when the event told nothing new.
        """
        if event_type == "DELETED":
            return self.forget(manifest)
        return self.store(manifest)

    def store(self, manifest: Manifest) -> Change | None:
        """Takes an object in, unless it is dead or older than what is known."""
        key = key_of(manifest)
        uid, version = _uid(manifest), version_of(manifest)
        before = self._known(key)
        # An object that left the watch's label selector is told as deleted while it lives; so a
        # version newer than the end that we were told of brings it back.
        if version <= self._dead.get(uid, -1):
            return None
        if before is not None and before.uid == uid:
            if version <= before.version:
                return None
        elif before is not None and version < before.version:
            return None  # late news of a predecessor with the same name
        after = _trimmed(manifest)
        kept = self._packed(key, uid, version, after)
        self._objects.setdefault(key.kind, {})[key] = kept
        if before is None:
            self._spaces.setdefault((key.kind, key.namespace), set()).add(key)
        if before is None or before.links != kept.links:
            if before is not None:
                self._unlink(key, before)
            for link in kept.links:
                self._linked.setdefault(link, set()).add(key)
        return Change(key, None if before is None else before.read(), after)

    def forget(self, manifest: Manifest) -> Change | None:
        """Takes the end of an object in, at the version that `manifest` has.

        Another object that has the same name by now stays.
        """
        return self._end(key_of(manifest), _uid(manifest), version_of(manifest))

    def _end(self, key: ObjectKey, uid: str, version: int) -> Change | None:
        self._dead[uid] = max(version, self._dead.get(uid, -1))
        self._dead.move_to_end(uid)
        while len(self._dead) > _REMEMBERED_DEAD:
            self._dead.popitem(last=False)
        before = self._known(key)
        if before is None or before.uid != uid or before.version > version:
            return None
        self._unlink(key, before)
        self._spaces[key.kind, key.namespace].discard(key)
        del self._objects[key.kind][key]
        return Change(key, before.read(), None)

    def replace(
        self, kind: str, items: Iterable[Manifest], resource_version: str
    ) -> Iterator[Change]:
        """Takes a complete list in, change by change. What it lacks and is not newer, is gone.

        Args:
            kind: the kind that was listed.
            items: all its objects.
            resource_version: the state of the store that the list shows.
        """
        listed: set[ObjectKey] = set()
        for item in items:
            listed.add(key_of(item))
            if change := self.store(item):
                yield change
        horizon = _number(resource_version)
        for key, known in list(self._objects.get(kind, {}).items()):
            if key not in listed and known.version <= horizon:
                change = self._end(key, known.uid, horizon)
                if change is not None:
                    yield change

    def _packed(self, key: ObjectKey, uid: str, version: int, manifest: Manifest) -> _Kept:
        document = to_bytes(manifest)
        packer = self._packers.get(key.kind)
        if packer is None or not packer.suits(document):
            # The first ones may lack their status. What was packed before keeps its packer.
            packer = self._packers[key.kind] = Packer(document)
        links = tuple(sorted(links_of(manifest)))
        return _Kept(uid, version, links, packer.pack(document), packer)

    def _known(self, key: ObjectKey) -> _Kept | None:
        return self._objects.get(key.kind, {}).get(key)

    def _unlink(self, key: ObjectKey, kept: _Kept) -> None:
        for link in kept.links:
            members = self._linked.get(link, set())
            members.discard(key)
            if not members:
                self._linked.pop(link, None)


def version_of(manifest: Manifest) -> int:
    """The object's resourceVersion as a number that rises with each write.

    Kubernetes guarantees the order since 1.35; etcd has always given it.
    """
    return _number(text_at(manifest, "metadata", "resourceVersion"))


def _nobody_lists(_: str) -> None:
    """What happens when something is missed, until somebody can list."""


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _uid(manifest: Manifest) -> str:
    return text_at(manifest, "metadata", "uid")


def _trimmed(manifest: Manifest) -> Manifest:
    """The object without what nobody reads: managedFields, and most of a pod's spec."""
    metadata = {k: v for k, v in mapping_at(manifest, "metadata").items() if k != "managedFields"}
    kept: Manifest = {**manifest, "metadata": metadata}
    if text_at(manifest, "kind") == "Pod":
        kept["spec"] = {
            place: [{"name": text_at(item, "name")} for item in objects_at(manifest, "spec", place)]
            for place in ("initContainers", "containers")
        }
    return kept
