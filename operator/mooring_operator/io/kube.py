"""What the operator asks of the Kubernetes API, as a protocol. `kube_client` speaks it for real.

Errors of every method: Transient, Conflict, Refused, NotFound, AlreadyExists of `errors.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from mooring_operator.core.decision import Manifest
from mooring_operator.io.resources import RESOURCES, ResourceType


@dataclass(frozen=True)
class ObjectRef:
    """One object by type and name; the namespace is empty for cluster-scoped types."""

    type: ResourceType
    namespace: str
    name: str

    @classmethod
    def to(cls, manifest: Manifest) -> "ObjectRef":
        """The place of an object that has its kind and metadata."""
        metadata = manifest["metadata"]
        return cls(RESOURCES[manifest["kind"]], metadata.get("namespace", ""), metadata["name"])

    @property
    def path(self) -> str:
        """Path below the API server's address."""
        return self.type.path(self.namespace, self.name)

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.type.kind} {place}{self.name}"


@dataclass(frozen=True)
class Listing:
    """A complete list, and the state of the store that it shows."""

    items: Iterable[Manifest]
    """May be many: whoever can, takes them one by one."""
    resource_version: str


class KubeClient(Protocol):
    """The verbs that the operator uses. Every answer is the object as stored."""

    async def get(self, ref: ObjectRef) -> Manifest:
        """Reads one object."""
        ...

    async def list(self, type_: ResourceType, namespace: str = "") -> Listing:
        """Reads all objects of a type that match its selector, page by page."""
        ...

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        """Server-side apply, taking over fields that someone else set (force)."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Creates an object; AlreadyExists when its name is taken."""
        ...

    async def patch(
        self, ref: ObjectRef, body: dict[str, Any], *, manager: str, subresource: str = ""
    ) -> Manifest:
        """Merge patch. A `metadata.resourceVersion` in the body guards it: Conflict if stale."""
        ...

    async def delete(self, ref: ObjectRef, *, uid: str) -> None:
        """Deletes exactly the object with this uid, dependants in the background."""
        ...
