"""The `KubeClient` protocol over a dict: versions, uids, conflicts, merge patches. For the shell's
unit tests; what Kubernetes itself does is tested against a real one in tests/cluster."""

import asyncio
import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any, cast

from mooring_operator.core.decision import Manifest
from mooring_operator.errors import AlreadyExists, Conflict, NotFound
from mooring_operator.io.fields import mapping_at, text_at
from mooring_operator.io.kube import Listing, ObjectRef
from mooring_operator.io.resources import ResourceType


class MemoryKube:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.calls: list[tuple[str, str]] = []
        self.fail: Callable[[str, str], Exception | None] = lambda verb, what: None
        self.hang = False
        self._versions = itertools.count(1)

    async def get(self, ref: ObjectRef) -> Manifest:
        await self._enter("get", str(ref))
        return copy.deepcopy(self._found(ref))

    async def list(self, type_: ResourceType, namespace: str = "") -> Listing:
        await self._enter("list", type_.kind)
        items = [
            copy.deepcopy(item)
            for (kind, where, _), item in sorted(self.objects.items())
            if kind == type_.kind and namespace in ("", where)
        ]
        return Listing(tuple(items), str(next(self._versions)))

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        ref = ObjectRef.to(manifest)
        await self._enter("apply", str(ref))
        known = self.objects.get(_place(ref))
        uid = text_at(manifest, "metadata", "uid")
        if uid and (known is None or text_at(known, "metadata", "uid") != uid):
            raise Conflict(f"{ref} with uid {uid} does not exist")
        if known is None:
            return self._store(ref, manifest)
        merged = _merged(known, manifest)
        return copy.deepcopy(known) if merged == known else self._store(ref, merged)

    async def create(self, manifest: Manifest) -> Manifest:
        ref = ObjectRef.to(manifest)
        await self._enter("create", str(ref))
        if _place(ref) in self.objects:
            raise AlreadyExists(f"{ref} exists")
        return self._store(ref, manifest)

    async def patch(
        self, ref: ObjectRef, body: dict[str, Any], *, manager: str, subresource: str = ""
    ) -> Manifest:
        await self._enter(f"patch {subresource}".strip(), str(ref))
        known = self._found(ref)
        version = text_at(body, "metadata", "resourceVersion")
        if version and version != text_at(known, "metadata", "resourceVersion"):
            raise Conflict(f"{ref} has version {text_at(known, 'metadata', 'resourceVersion')}")
        return self._store(ref, _merged(known, body))

    async def delete(self, ref: ObjectRef, *, uid: str) -> None:
        await self._enter("delete", str(ref))
        if text_at(self._found(ref), "metadata", "uid") != uid:
            raise Conflict(f"{ref} has another uid")
        del self.objects[_place(ref)]

    def put(self, manifest: Manifest) -> Manifest:
        """Stores an object as somebody else would."""
        return self._store(ObjectRef.to(manifest), manifest)

    def writes(self) -> Sequence[tuple[str, str]]:
        """Every call that changes something."""
        return [call for call in self.calls if call[0] not in ("get", "list")]

    async def _enter(self, verb: str, what: str) -> None:
        self.calls.append((verb, what))
        if self.hang:
            await asyncio.Event().wait()
        error = self.fail(verb, what)
        if error is not None:
            raise error

    def _found(self, ref: ObjectRef) -> Manifest:
        found = self.objects.get(_place(ref))
        if found is None:
            raise NotFound(f"{ref} does not exist")
        return found

    def _store(self, ref: ObjectRef, manifest: Manifest) -> Manifest:
        number = next(self._versions)
        stored = copy.deepcopy(manifest)
        metadata = mapping_at(stored, "metadata")
        metadata["resourceVersion"] = str(number)
        metadata.setdefault("uid", f"uid-{number}")
        self.objects[_place(ref)] = stored
        return copy.deepcopy(stored)


def _place(ref: ObjectRef) -> tuple[str, str, str]:
    return ref.type.kind, ref.namespace, ref.name


def _merged(old: Manifest, patch: Manifest) -> Manifest:
    merged = copy.deepcopy(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            before = merged.get(key)
            inside = cast("Manifest", before) if isinstance(before, dict) else {}
            merged[key] = _merged(inside, cast("Manifest", value))
        else:
            merged[key] = copy.deepcopy(value)
    return merged
