"""Whether what is acted upon is what the API server holds, and not the memory of an older list.

A process that has just begun knows its objects from lists and watches, and a lagging API server may
show it a world of the past, in which a rollback did not happen yet. While it leads it is the only
writer of a status, and its cache never goes back; so one successful write, or one look, is enough
for each object and process. Looks are made only before something is done that cannot wait for the
watch to catch up.
"""

from mooring_operator.core.decision import Manifest
from mooring_operator.errors import Conflict, NotFound
from mooring_operator.ids import ObjectKey
from mooring_operator.io.fields import text_at
from mooring_operator.io.kube import KubeClient, ObjectRef
from mooring_operator.reconcile.cache import version_of
from mooring_operator.reconcile.ingest import Ingest
from mooring_operator.reconcile.links import key_of


class Certainty:
    """Which objects this process knows at least as of its own beginning."""

    def __init__(self, kube: KubeClient, ingest: Ingest) -> None:
        self._kube, self._ingest = kube, ingest
        self._known: dict[ObjectKey, tuple[str, int]] = {}
        """Uid and version of each when it was known to be the newest."""

    def written(self, owner: Manifest) -> None:
        """A guarded write succeeded: the object was the newest."""
        self._known[key_of(owner)] = _state(owner)

    def forget(self, owner: ObjectKey) -> None:
        """Drops what is remembered of an object that is no more."""
        self._known.pop(owner, None)

    async def confirm(self, owner: Manifest, *, now: bool = False) -> None:
        """Returns if the object is the newest.

        Args:
            owner: the object as it is acted upon.
            now: as of now, not of any time of this process; what was written in this very pass
                is. For children that are to be made: theirs may be gone since it is gone itself.

        Raises:
            Conflict: it is not; the cache has the newest by now.
        """
        key, (uid, version) = key_of(owner), _state(owner)
        known = self._known.get(key, ("", 0))
        if known[0] == uid and (not now or known[1] > version):
            return
        try:
            live = await self._kube.get(ObjectRef.to(owner))
        except NotFound:
            self._ingest.deleted(owner, key)
            raise Conflict(f"{key} is gone; nothing is done for it") from None
        self._known[key] = _state(live)
        if version_of(live) > version:
            self._ingest.written(live, key)
            raise Conflict(f"{key} is newer than what was acted upon")


def _state(owner: Manifest) -> tuple[str, int]:
    return text_at(owner, "metadata", "uid"), version_of(owner)
