"""In place of controllers, kubelet and pods: every Deployment is available as soon as it is seen.

What this leaves out (garbage collection, endpoints, real start-up times) is not the operator's
work; what it adds is nothing. It runs on the benchmark's core, not on the contender's.
"""

import asyncio
from dataclasses import dataclass

from tests.bench.operator_api import Api, ApiRefused, Object

_LIST = "/apis/apps/v1/deployments"
_WORKERS = 12
_AT = "2026-01-05T08:00:00Z"


@dataclass(frozen=True)
class _Wanted:
    path: str
    generation: int
    replicas: int


class StatusSimulator:
    """Marks Deployments available. `run` until cancelled."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._waiting: dict[str, _Wanted] = {}
        self._more = asyncio.Event()
        self.written = 0
        """Statuses written."""

    async def run(self) -> None:
        """Watches Deployments and writes their status."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            for _ in range(_WORKERS):
                group.create_task(self._write())

    async def _watch(self) -> None:
        items, version = await self._api.items(_LIST)
        for item in items:
            self._see(item)
        async for kind, item in self._api.watch(_LIST, version):
            if kind != "DELETED":
                self._see(item)

    def _see(self, item: Object) -> None:
        metadata = item["metadata"]
        generation = metadata["generation"]
        if item.get("status", {}).get("observedGeneration", 0) >= generation:
            return
        place = f"{metadata['namespace']}/{metadata['name']}"
        path = f"/apis/apps/v1/namespaces/{metadata['namespace']}/deployments/{metadata['name']}"
        replicas = item["spec"].get("replicas", 1)
        self._waiting[place] = _Wanted(f"{path}/status", generation, replicas)
        self._more.set()

    async def _write(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            wanted = self._waiting.pop(next(iter(self._waiting)))
            try:
                await self._api.patch(wanted.path, {"status": _status(wanted)})
            except ApiRefused as refused:
                if refused.status != 404:  # deleted meanwhile
                    raise
            self.written += 1


def _status(wanted: _Wanted) -> Object:
    return {
        "observedGeneration": wanted.generation,
        "replicas": wanted.replicas,
        "updatedReplicas": wanted.replicas,
        "readyReplicas": wanted.replicas,
        "availableReplicas": wanted.replicas,
        "conditions": [
            {
                "type": "Available",
                "status": "True",
                "reason": "MinimumReplicasAvailable",
                "message": "Deployment has minimum availability.",
                "lastUpdateTime": _AT,
                "lastTransitionTime": _AT,
            }
        ],
    }
