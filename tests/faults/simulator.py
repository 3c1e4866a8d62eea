"""What kubelet, Deployment controller and Job controller do to the objects, without their pods.

The real API server holds real Deployments, Jobs and Pods; this plays the controllers that would
write their statuses, at once. It knows nothing of decisions.
"""

import asyncio
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from mooring_operator.api.group import Label
from mooring_operator.io.clock import SystemClock
from mooring_operator.io.resources import RESOURCES
from tests.faults.api import AsyncApi, Object, Refusal
from tests.faults.mirror import Namespace
from tests.faults.pods import PodEndpoint, Route, Traffic
from tests.unit.shell.memory_pods import MemoryPod

Answers = Callable[[Object], tuple[bool, dict[str, Any]]]
"""What a Job comes to: whether it succeeds, and its termination message."""
_NUMBERS = itertools.count(1)
_OCTET = 64 + os.getpid() % 160
"""Of the loopback: suites that run side by side keep apart."""
_ALREADY, _MISSING = 409, 404


@dataclass
class _Replica:
    name: str
    endpoint: PodEndpoint


@dataclass
class Simulator:
    """The controllers of one namespace."""

    api: AsyncApi
    room: Namespace
    answers: Answers
    on_route: Callable[[Object, Route], None]
    """Told each route that a pod takes, with the pod."""
    traffic: Traffic = field(default_factory=Traffic)

    def __post_init__(self) -> None:
        self._replicas: dict[str, list[_Replica]] = {}
        """By the uid of the Deployment."""
        self._dirty: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._waiting: set[tuple[str, str]] = set()
        self._done: set[str] = set()
        self.room.subscribe(self._noticed)

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            kind, name = await self._dirty.get()
            self._waiting.discard((kind, name))
            item = self.room.get(kind, name)
            try:
                if item is None or "deletionTimestamp" in item["metadata"]:
                    continue
                if kind == "Deployment":
                    await self._scale(item)
                elif item["metadata"]["uid"] not in self._done:
                    self._done.add(item["metadata"]["uid"])
                    await self._finish(item)
            except Refusal as refusal:
                if refusal.status not in (_ALREADY, _MISSING):
                    raise  # the object went away meanwhile; anything else is a fault of ours

    def close(self) -> None:
        for replicas in self._replicas.values():
            for replica in replicas:
                replica.endpoint.close()

    def ready(self, revision: str) -> int:
        """Pods of a revision that serve."""
        return sum(
            1
            for replicas in self._replicas.values()
            for replica in replicas
            if replica.endpoint.pod.revision == revision
        )

    def _noticed(self, type_: str, item: Object) -> None:
        kind, metadata = item["kind"], item["metadata"]
        if type_ == "DELETED":
            if kind == "Deployment":
                for replica in self._replicas.pop(metadata["uid"], []):
                    replica.endpoint.close()
            return
        key = (kind, metadata["name"])
        if kind in ("Deployment", "Job") and key not in self._waiting:
            self._waiting.add(key)
            self._dirty.put_nowait(key)

    # Deployments

    async def _scale(self, workload: Object) -> None:
        metadata, wanted = workload["metadata"], workload["spec"]["replicas"]
        replicas = self._replicas.setdefault(metadata["uid"], [])
        while len(replicas) < wanted:
            replicas.append(await self._start(workload))
        while len(replicas) > wanted:
            gone = replicas.pop()
            gone.endpoint.close()
            await self.api.delete(RESOURCES["Pod"].path(self.room.name, gone.name))
        status = {
            "observedGeneration": metadata["generation"],
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": wanted,
            "availableReplicas": wanted,
            "conditions": [_condition("Available", "MinimumReplicasAvailable")],
        }
        known = workload.get("status", {})
        if any(known.get(k) != v for k, v in status.items() if k != "conditions"):
            await self.api.merge(f"{_path(workload)}/status", {"status": status})

    async def _start(self, workload: Object) -> _Replica:
        template = workload["spec"]["template"]
        number = next(_NUMBERS)
        name = f"{workload['metadata']['name']}-{number}"
        pod = await self.api.create(
            RESOURCES["Pod"].path(self.room.name),
            _pod(name, template["metadata"]["labels"], workload, "server"),
        )
        address = f"127.{_OCTET}.{(number >> 8) & 255}.{number & 255}"
        endpoint = await self._endpoint(pod, workload, address)
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [_condition("Ready", "")],
            "startTime": _now(),
        }
        await self.api.merge(f"{_path(pod)}/status", {"status": status})
        return _Replica(name, endpoint)

    async def _endpoint(self, pod: Object, workload: Object, address: str) -> PodEndpoint:
        labels = pod["metadata"]["labels"]
        deployment = labels[Label.DEPLOYMENT]
        keys = await self.api.get(
            RESOURCES["ConfigMap"].path(self.room.name, f"{deployment}-sync-keys")
        )
        owner = next(o for o in workload["metadata"]["ownerReferences"] if o["controller"])
        memory = MemoryPod(
            uid=pod["metadata"]["uid"],
            revision=labels[Label.REVISION],
            deployment_uid=owner["uid"],
            keys=tuple(json.loads(keys["data"]["keys.json"])) if keys else (),
        )

        def routed(route: Route) -> None:
            self.on_route(pod, route)

        endpoint = PodEndpoint(memory, address, self.traffic, routed)
        await endpoint.open()
        return endpoint

    # Jobs

    async def _finish(self, job: Object) -> None:
        """The Job's pod runs to its end, then the Job is told to be over."""
        succeeded, message = self.answers(job)
        template = job["spec"]["template"]
        container = template["spec"]["containers"][0]["name"]
        pod = await self.api.create(
            RESOURCES["Pod"].path(self.room.name),
            _pod(
                f"{job['metadata']['name']}-{next(_NUMBERS)}",
                template["metadata"]["labels"],
                job,
                container,
            ),
        )
        ended = {
            "exitCode": 0 if succeeded else 10,
            "reason": "Completed" if succeeded else "Error",
            "message": json.dumps(message),
            "startedAt": _now(),
            "finishedAt": _now(),
        }
        container_status = {
            "name": container,
            "image": "none",
            "imageID": "none",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        phase = "Succeeded" if succeeded else "Failed"
        status = {"phase": phase, "containerStatuses": [container_status]}
        await self.api.merge(f"{_path(pod)}/status", {"status": status})
        await self.api.merge(f"{_path(job)}/status", {"status": _job_status(succeeded)})


def _job_status(succeeded: bool) -> dict[str, Any]:
    first, last = ("SuccessCriteriaMet", "Complete") if succeeded else ("FailureTarget", "Failed")
    reason = "CompletionsReached" if succeeded else "BackoffLimitExceeded"
    status: dict[str, Any] = {
        "startTime": _now(),
        "ready": 0,
        "terminating": 0,
        "succeeded" if succeeded else "failed": 1,
        "uncountedTerminatedPods": {},
        "conditions": [_condition(first, reason), _condition(last, reason)],
    }
    return status | ({"completionTime": _now()} if succeeded else {})


def _pod(name: str, labels: dict[str, str], owner: Object, container: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": owner.get("apiVersion", RESOURCES[owner["kind"]].api_version),
                    "kind": owner["kind"],
                    "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": container, "image": "none"}],
        },
    }


def _condition(type_: str, reason: str) -> dict[str, str]:
    return {
        "type": type_,
        "status": "True",
        "reason": reason or type_,
        "message": "",
        "lastTransitionTime": _now(),
    }


def _path(item: Object) -> str:
    metadata = item["metadata"]
    return RESOURCES[item["kind"]].path(metadata["namespace"], metadata["name"])


def _now() -> str:
    return SystemClock().now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
