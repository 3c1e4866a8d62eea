"""Storages of kopf's that keep nothing: its handlers that compare with the past are not used.

Ours are told events and need no memory, but kopf copies and compares each object for each event
all the same, which was two thirds of what it cost. And it remembers every object of which there was
an event until that is deleted.
"""

from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory


class NoDiffBase(kopf.DiffBaseStorage):
    """No object differs from what it was."""

    def build(self, **_: object) -> kopf.BodyEssence:
        """Nothing of an object is compared."""
        return kopf.BodyEssence()

    def fetch(self, **_: object) -> kopf.BodyEssence | None:
        """Nothing was handled before."""
        return None

    def store(self, **_: object) -> None:
        """Writes nothing to the object."""


class NoProgress(kopf.ProgressStorage):
    """No handler is ever half-way."""

    def fetch(self, **_: object) -> kopf.ProgressRecord | None:
        """Nothing is under way."""
        return None

    def store(self, **_: object) -> None:
        """Writes nothing to the object."""

    def purge(self, **_: object) -> None:
        """Writes nothing to the object."""

    def touch(self, **_: object) -> None:
        """Writes nothing to the object."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """There is nothing to leave out."""
        return essence


class NoMemories(ResourceMemories):
    """Every event is the first of its object."""

    async def recall(self, raw_body: kopf.RawBody, **given: Any) -> ResourceMemory:
        """A fresh memory, which is not kept."""
        forgotten: dict[str, Any] = {**given, "ephemeral": True}
        return await super().recall(raw_body, **forgotten)
