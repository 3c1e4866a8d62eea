"""What the operator knows of the cluster: the newest version seen of each watched object.

Three sources feed it: watch events, complete lists (which find deletions that no watch told of)
and the answers to our own writes (so that we read what we wrote). A version never goes back, and
a dead uid never comes back. Objects in it are shared and must not be changed.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mooring_operator.core.decision import Manifest
from mooring_operator.ids import ObjectKey
from mooring_operator.reconcile.links import key_of, links_of

_REMEMBERED_DEAD = 10_000


@dataclass(frozen=True)
class Change:
    """What the cache learned about one object: None before its creation, None after its end."""

    key: ObjectKey
    before: Manifest | None
    after: Manifest | None


class Cache:
    """Objects by key, and an index of links."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[ObjectKey, Manifest]] = {}
        self._linked: dict[tuple[str, ObjectKey], set[ObjectKey]] = {}
        self._in_namespace: dict[tuple[str, str], set[ObjectKey]] = {}
        self._dead: OrderedDict[str, None] = OrderedDict()

    def get(self, key: ObjectKey) -> Manifest | None:
        """The object, if known."""
        return self._objects.get(key.kind, {}).get(key)

    def keys(self, kind: str) -> tuple[ObjectKey, ...]:
        """Keys of all objects of a kind."""
        return tuple(self._objects.get(kind, ()))

    def size(self, kind: str) -> int:
        """Number of objects of a kind."""
        return len(self._objects.get(kind, ()))

    def linked(self, kind: str, key: ObjectKey) -> tuple[Manifest, ...]:
        """The objects of a kind that speak of `key`, by name."""
        found = self._linked.get((kind, key), set())
        return tuple(self._objects[kind][item] for item in sorted(found))

    def in_namespace(self, kind: str, namespace: str) -> tuple[ObjectKey, ...]:
        """Keys of the objects of a kind in a namespace."""
        return tuple(sorted(self._in_namespace.get((kind, namespace), set())))

    def apply(self, event_type: str | None, manifest: Manifest) -> Change | None:
        """Takes a watch event in (`ADDED`, `MODIFIED`, `DELETED`, or None for a listed object).

        Returns:
            The change; None when the event told nothing new.
        """
        if event_type == "DELETED":
            return self.forget(key_of(manifest), manifest["metadata"].get("uid", ""))
        return self.store(manifest)

    def store(self, manifest: Manifest) -> Change | None:
        """Takes an object in, unless it is dead or older than what is known."""
        key, metadata = key_of(manifest), manifest["metadata"]
        before = self.get(key)
        if metadata.get("uid", "") in self._dead:
            return None
        if before is not None and _same_object(before, manifest):
            if version_of(manifest) <= version_of(before):
                return None
        elif before is not None and version_of(manifest) < version_of(before):
            return None  # late news of a predecessor with the same name
        after = _trimmed(manifest)
        if before is not None:
            self._unlink(key, before)
        self._objects.setdefault(key.kind, {})[key] = after
        for link in links_of(after):
            self._linked.setdefault((key.kind, link), set()).add(key)
        self._in_namespace.setdefault((key.kind, key.namespace), set()).add(key)
        return Change(key, before, after)

    def forget(self, key: ObjectKey, uid: str) -> Change | None:
        """Takes the end of an object in, unless another one has its name by now."""
        if uid:
            self._dead[uid] = None
            while len(self._dead) > _REMEMBERED_DEAD:
                self._dead.popitem(last=False)
        before = self.get(key)
        if before is None or (uid and before["metadata"].get("uid") != uid):
            return None
        self._unlink(key, before)
        del self._objects[key.kind][key]
        return Change(key, before, None)

    def replace(self, kind: str, items: Iterable[Manifest], resource_version: str) -> list[Change]:
        """Takes a complete list in. What it lacks and is not newer than it, is gone.

        Args:
            kind: the kind that was listed.
            items: all its objects.
            resource_version: the state of the store that the list shows.
        """
        changes: list[Change] = []
        listed: set[ObjectKey] = set()
        for item in items:
            listed.add(key_of(item))
            if change := self.store(item):
                changes.append(change)
        horizon = _number(resource_version)
        for key, known in list(self._objects.get(kind, {}).items()):
            if key not in listed and version_of(known) <= horizon:
                change = self.forget(key, known["metadata"].get("uid", ""))
                if change is not None:
                    changes.append(change)
        return changes

    def _unlink(self, key: ObjectKey, manifest: Manifest) -> None:
        indexes = [(self._linked, (key.kind, link)) for link in links_of(manifest)]
        for index, place in [*indexes, (self._in_namespace, (key.kind, key.namespace))]:
            members = index.get(place)
            if members is not None:
                members.discard(key)
                if not members:
                    del index[place]


def version_of(manifest: Manifest) -> int:
    """The object's resourceVersion as a number that rises (Kubernetes guarantees it since 1.35,
    and etcd has always done it)."""
    return _number(manifest["metadata"].get("resourceVersion", ""))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _same_object(one: Manifest, other: Manifest) -> bool:
    return one["metadata"].get("uid") == other["metadata"].get("uid")


def _trimmed(manifest: Manifest) -> Manifest:
    """The object without what nobody reads: managedFields, and most of a pod's spec."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k != "managedFields"}
    kept: dict[str, Any] = {**manifest, "metadata": metadata}
    if manifest["kind"] == "Pod":
        spec = manifest.get("spec") or {}
        kept["spec"] = {
            "containers": [{"name": item.get("name")} for item in spec.get("containers") or []],
            "initContainers": [
                {"name": item.get("name")} for item in spec.get("initContainers") or []
            ],
        }
    return kept
