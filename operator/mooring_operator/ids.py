"""The names that every room uses for the same things. Imports nothing of ours."""

from dataclasses import dataclass
from typing import NewType

Revision = NewType("Revision", str)
"""Content hash of one rolled-out combination: 12 hex digits of a sha256."""

Digest = NewType("Digest", str)
"""`sha256:` and 64 hex digits of a package's canonical manifest."""


@dataclass(frozen=True, order=True, slots=True)
class ObjectKey:
    """One object of ours in the cluster; the key of the queue, the cache and the workers."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"
