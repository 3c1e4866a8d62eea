"""The `PodClient` protocol over pods that live in the test, as strict as contract §4 says."""

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mooring_operator.errors import PodRefused, Transient


@dataclass
class MemoryPod:
    """One pod's management port."""

    uid: str
    revision: str
    deployment_uid: str
    keys: tuple[str, ...]
    nonce: str = "boot-1"
    counters: dict[str, Any] = field(default_factory=dict[str, Any])
    last: tuple[int, int] = (-1, -1)
    route: dict[str, Any] | None = None

    def restart(self) -> None:
        """The container restarts: counters, nonce and memory begin anew."""
        self.nonce += "+"
        self.counters, self.last, self.route = {}, (-1, -1), None

    def follow(self, message: dict[str, str]) -> dict[str, Any]:
        """Checks a message and answers with a snapshot."""
        payload = base64.b64decode(message["payload"])
        if not any(_fits(key, message["signature"], payload) for key in self.keys):
            raise PodRefused("HTTP 403")
        said = json.loads(payload)
        if (said["podUid"], said["deploymentUid"], said["bootNonce"]) != (
            self.uid,
            self.deployment_uid,
            self.nonce,
        ):
            raise PodRefused("HTTP 409: meant for another pod")
        number = (said["epoch"], said["counter"])
        if number <= self.last:
            raise PodRefused("HTTP 409: replayed")
        self.last, self.route = number, said["route"]
        return {
            "podUid": self.uid,
            "bootNonce": self.nonce,
            "revision": self.revision,
            "acknowledged": {"epoch": said["epoch"], "counter": said["counter"]},
            **self.counters,
        }


@dataclass
class MemoryPods:
    """Pods by address."""

    pods: dict[str, MemoryPod] = field(default_factory=dict[str, MemoryPod])
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    unreachable: set[str] = field(default_factory=set[str])
    frozen: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    """Pods that take a message and answer it only once their event is set."""
    identities: int = 0

    async def identity(self, address: str) -> dict[str, Any]:
        self.identities += 1
        pod = self._at(address)
        return {
            "podUid": pod.uid,
            "bootNonce": pod.nonce,
            "revision": pod.revision,
            "deploymentUid": pod.deployment_uid,
        }

    async def profile(self, address: str) -> dict[str, Any]:
        return self.profiles[self._at(address).revision]

    async def sync(self, address: str, message: dict[str, str]) -> dict[str, Any]:
        if address in self.frozen:
            await self.frozen[address].wait()
        return self._at(address).follow(message)

    def _at(self, address: str) -> MemoryPod:
        if address in self.unreachable:
            raise Transient(f"{address} does not answer")
        return self.pods[address]


def _fits(key: str, signature: str, payload: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(key)).verify(
            base64.b64decode(signature), payload
        )
    except InvalidSignature:
        return False
    return True
