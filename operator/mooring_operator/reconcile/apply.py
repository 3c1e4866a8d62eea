"""Children as they must be: applied in order, repaired when they drifted, pruned when obsolete."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mooring_operator.api.group import API_VERSION, FIELD_MANAGER, MANAGED_BY, Annotation, Label
from mooring_operator.core.decision import ChildRef, Manifest
from mooring_operator.errors import AlreadyExists, Conflict, NotFound, Transient
from mooring_operator.ids import ObjectKey
from mooring_operator.io.fields import mapping_at, objects_at, text_at
from mooring_operator.io.kube import KubeClient, ObjectRef
from mooring_operator.io.resources import CREATE_ONLY, RESOURCES
from mooring_operator.reconcile.cache import Cache, version_of
from mooring_operator.reconcile.certainty import Certainty
from mooring_operator.reconcile.ingest import Ingest
from mooring_operator.reconcile.likeness import carries, fingerprint, intent_of, with_intent
from mooring_operator.reconcile.links import key_of, links_of
from mooring_operator.reconcile.parse import controller_uid, is_going
from mooring_operator.reconcile.report import Guard

log = logging.getLogger(__name__)


class Applier:
    """Writes children with server-side apply, and knows whose names are taken."""

    def __init__(
        self, kube: KubeClient, cache: Cache, ingest: Ingest, guard: Guard, certainty: Certainty
    ) -> None:
        self._kube, self._cache, self._ingest, self._guard = kube, cache, ingest, guard
        self._certainty = certainty
        self._answers: dict[ObjectKey, tuple[str, str]] = {}
        """Intent and form of children that the API server writes in another form than we do."""
        self._foreign: dict[ObjectKey, dict[str, ObjectRef]] = {}

    async def foreign(self, owner: ObjectKey) -> tuple[str, ...]:
        """`Kind name` of children whose names somebody else's objects still have."""
        taken = self._foreign.get(owner, {})
        for name, ref in list(taken.items()):
            try:
                await self._kube.get(ref)
            except NotFound:
                del taken[name]
        if not taken:
            self._foreign.pop(owner, None)
        return tuple(sorted(taken))

    def forget(self, owner: ObjectKey) -> None:
        """Drops what is remembered for an owner that is no more."""
        self._foreign.pop(owner, None)

    async def apply(self, owner: Manifest, children: Sequence[Manifest]) -> None:
        """Makes the children exist as given, in this order; the first failure ends it.

        Raises:
            Conflict: a name turned out to be taken; observe again, `foreign` tells which.
            Transient: a predecessor's child is still being collected.
        """
        taken = False
        for child in children:
            taken = await self._child(owner, _completed(child, owner)) or taken
        if taken:
            raise Conflict("names of children are taken; looking again")

    async def prune(self, owner: Manifest, obsolete: Sequence[ChildRef]) -> None:
        """Deletes children that must not exist; only ours, only the ones we know."""
        namespace = text_at(owner, "metadata", "namespace")
        for child in obsolete:
            live = self._cache.get(ObjectKey(child.kind, namespace, child.name))
            if live is None or is_going(live):
                continue
            if controller_uid(live) not in ("", text_at(owner, "metadata", "uid")):
                continue
            await self._certainty.confirm(owner)
            self._guard()
            uid = text_at(live, "metadata", "uid")
            try:
                await self._kube.delete(ObjectRef.to(live), uid=uid)
            except (NotFound, Conflict):  # gone, or another object by now
                log.debug("%s was gone already", key_of(live))
            if not mapping_at(live, "metadata").get("finalizers"):
                self._ingest.deleted(live, key_of(owner))
            self._answers.pop(key_of(live), None)

    async def _child(self, owner: Manifest, child: Manifest) -> bool:
        """Brings one child about; returns whether its name is taken by somebody else."""
        key, intent = key_of(child), intent_of(child)
        if self._cache.carried(key) == intent:
            return False
        live = self._cache.get(key) or await self._unseen(child, owner)
        if live is not None:
            if is_going(live):
                return False  # its end wakes the owner, who then makes it anew
            if not self._is_ours(live, child, owner):
                return True
            if key.kind in CREATE_ONLY or self._is_as_wanted(key, live, child, intent):
                self._cache.note_carried(key, version_of(live), intent)
                return False
        await self._certainty.confirm(owner, now=live is None)
        self._guard()
        if key.kind in CREATE_ONLY:
            await self._create(owner, child, intent)
            return False
        wanted = _only(live, with_intent(child, intent))
        with self._ingest.writing(key, by=key_of(owner)):
            answer = await self._kube.apply(wanted, manager=FIELD_MANAGER)
            self._ingest.written(answer, key_of(owner))
        if not carries(answer, child):
            self._answers[key] = (intent, fingerprint(answer))
        self._cache.note_carried(key, version_of(answer), intent)
        return False

    async def _create(self, owner: Manifest, child: Manifest, intent: str) -> None:
        with self._ingest.writing(key_of(child), by=key_of(owner)):
            try:
                answer = await self._kube.create(with_intent(child, intent))
            except AlreadyExists:
                answer = await self._kube.get(ObjectRef.to(child))
            self._ingest.written(answer, key_of(owner))

    async def _unseen(self, child: Manifest, owner: Manifest) -> Manifest | None:
        """What has the child's name although the cache does not know it (it lacks our label)."""
        try:
            live = await self._kube.get(ObjectRef.to(child))
        except NotFound:
            return None
        if text_at(live, "metadata", "labels", Label.MANAGED_BY.value) == MANAGED_BY:
            self._ingest.written(live, key_of(owner))
        return live

    def _is_ours(self, live: Manifest, child: Manifest, owner: Manifest) -> bool:
        controller = controller_uid(live)
        if controller and controller == controller_uid(child):
            return True
        for reference in objects_at(live, "metadata", "ownerReferences"):
            # Of an owner that was deleted: collected any moment now. One that lives keeps it.
            ours = text_at(reference, "apiVersion") == API_VERSION
            if reference.get("controller") is True and ours and not self._lives(owner, reference):
                raise Transient(
                    f"{key_of(live)} still belongs to {text_at(reference, 'kind')} "
                    f"{text_at(reference, 'name')} with uid {controller}, which is gone",
                    retry_after=1.0,
                )
        if not controller and key_of(owner) in links_of(live):
            return True
        ref = ObjectRef.to(child)
        taken = self._foreign.setdefault(key_of(owner), {})
        name = f"{ref.type.kind} {ref.name}"
        fresh = name not in taken
        taken[name] = ref
        if fresh:
            log.warning("%s: the name of %s is taken by somebody else's object", key_of(owner), ref)
        return False

    def _lives(self, owner: Manifest, reference: Mapping[str, Any]) -> bool:
        """Whether a reference names another object of ours that is there."""
        mine = key_of(owner)
        key = ObjectKey(text_at(reference, "kind"), mine.namespace, text_at(reference, "name"))
        other = None if key == mine else self._cache.get(key)
        return other is not None and text_at(other, "metadata", "uid") == reference.get("uid")

    def _is_as_wanted(self, key: ObjectKey, live: Manifest, child: Manifest, intent: str) -> bool:
        applied = text_at(live, "metadata", "annotations", Annotation.INTENT.value)
        if applied != intent:
            return False
        return carries(live, child) or self._answers.get(key) == (intent, fingerprint(live))


def _only(live: Manifest | None, wanted: Manifest) -> Manifest:
    """What is applied to the object that we know, and to no other.

    An apply makes what does not exist: without the uid it would bring a child back that went with
    its owner a moment ago.
    """
    if live is None:
        return wanted
    metadata = mapping_at(wanted, "metadata") | {"uid": text_at(live, "metadata", "uid")}
    return wanted | {"metadata": metadata}


def _completed(child: Manifest, owner: Manifest) -> Manifest:
    """The child with what every child has: namespace, our label, a controlling owner."""
    metadata = mapping_at(child, "metadata")
    labels = mapping_at(metadata, "labels") | {Label.MANAGED_BY.value: MANAGED_BY}
    completed = {"namespace": text_at(owner, "metadata", "namespace")} | metadata
    completed["labels"] = labels
    if not objects_at(metadata, "ownerReferences"):
        completed["ownerReferences"] = [
            {
                "apiVersion": text_at(owner, "apiVersion"),
                "kind": text_at(owner, "kind"),
                "name": text_at(owner, "metadata", "name"),
                "uid": text_at(owner, "metadata", "uid"),
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    kind = text_at(child, "kind")
    return {"apiVersion": RESOURCES[kind].api_version} | child | {"metadata": completed}
