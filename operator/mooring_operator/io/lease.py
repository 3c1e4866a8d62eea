"""The Lease object in Kubernetes: its content as a value, written by compare-and-swap."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mooring_operator.core.decision import Manifest
from mooring_operator.errors import NotFound
from mooring_operator.io.fields import number_at, text_at
from mooring_operator.io.kube import KubeClient, ObjectRef
from mooring_operator.io.resources import RESOURCES

_MANAGER = "mooring-leadership"


@dataclass(frozen=True)
class LeaseRecord:
    """Who leads, by the record. `resource_version` is empty when there is no Lease yet."""

    holder: str
    transitions: int
    acquired: str
    renewed: str
    resource_version: str


ABSENT = LeaseRecord("", 0, "", "", "")


class LeaseStore:
    """One Lease of one namespace."""

    def __init__(self, kube: KubeClient, *, namespace: str, name: str, seconds: float) -> None:
        self._kube = kube
        self._ref = ObjectRef(RESOURCES["Lease"], namespace, name)
        self._seconds = max(1, round(seconds))

    def __str__(self) -> str:
        return str(self._ref)

    async def read(self) -> LeaseRecord:
        """The record as stored; `ABSENT` when there is none."""
        try:
            return _record(await self._kube.get(self._ref))
        except NotFound:
            return ABSENT

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Stores the record if nobody wrote since it was read.

        Raises:
            Conflict: somebody did. AlreadyExists: somebody created it meanwhile.
        """
        spec: dict[str, Any] = {
            "holderIdentity": record.holder,
            "leaseTransitions": record.transitions,
            "leaseDurationSeconds": self._seconds,
            "acquireTime": record.acquired or None,
            "renewTime": record.renewed or None,
        }
        if not record.resource_version:
            return _record(await self._kube.create(self._manifest(spec)))
        body = {"metadata": {"resourceVersion": record.resource_version}, "spec": spec}
        return _record(await self._kube.patch(self._ref, body, manager=_MANAGER))

    def _manifest(self, spec: dict[str, Any]) -> Manifest:
        return {
            "apiVersion": self._ref.type.api_version,
            "kind": "Lease",
            "metadata": {"name": self._ref.name, "namespace": self._ref.namespace},
            "spec": {key: value for key, value in spec.items() if value is not None},
        }


def micro_time(now: datetime) -> str:
    """A time as Kubernetes' MicroTime."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _record(lease: Manifest) -> LeaseRecord:
    return LeaseRecord(
        holder=text_at(lease, "spec", "holderIdentity"),
        transitions=number_at(lease, "spec", "leaseTransitions"),
        acquired=text_at(lease, "spec", "acquireTime"),
        renewed=text_at(lease, "spec", "renewTime"),
        resource_version=text_at(lease, "metadata", "resourceVersion"),
    )
