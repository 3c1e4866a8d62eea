"""Serving pods as the operator meets them: an address of the loopback that speaks contract §4.

Counters grow with each sync message, as if so many requests had come since the last one; how many
of them fail is the behaviour of the version that answers. Messages are checked as strictly as the
server checks them.
"""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mooring_operator.errors import PodRefused
from mooring_operator.io.pods import MANAGEMENT_PORT
from tests.faults.wire import read_request, refusal, response
from tests.unit.shell.memory_pods import MemoryPod

_ROUND = 4000
"""Requests that a stable pod gets between two messages."""
_BOUNDS = [1.0, 10.0, 100.0, 1000.0]


@dataclass
class Traffic:
    """What clients send, and how each revision does. Shared by the pods of a namespace."""

    flowing: bool = True
    """Whether requests come at all. Analyses stand still while none do."""
    error_rate: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By revision."""


Route = dict[str, Any]


class PodEndpoint:
    """The management port of one pod."""

    def __init__(
        self, pod: MemoryPod, address: str, traffic: Traffic, on_route: Callable[[Route], None]
    ) -> None:
        self.pod, self.address = pod, address
        self._traffic, self._on_route = traffic, on_route
        self._phases: dict[str, dict[str, dict[str, Any]]] = {}
        self._requests = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._converse, self.address, MANAGEMENT_PORT)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while (request := await read_request(reader)) is not None:
                writer.write(self._answer(request.target, request.body))
                await writer.drain()
        self._open.discard(writer)
        writer.close()

    def _answer(self, target: str, body: bytes) -> bytes:
        match target.rsplit("/", 1)[-1]:
            case "identity":
                return _json(self._identity())
            case "sync":
                try:
                    snapshot = self.pod.follow(json.loads(body))
                except PodRefused as refused:
                    return refusal(409, str(refused))
                assert self.pod.route is not None
                self._on_route(self.pod.route)
                self._count(self.pod.route)
                return _json(snapshot | self._counters())
            case _:
                return refusal(404, "NotFound")

    def _identity(self) -> dict[str, str]:
        return {
            "podUid": self.pod.uid,
            "bootNonce": self.pod.nonce,
            "revision": self.pod.revision,
            "deploymentUid": self.pod.deployment_uid,
        }

    def _count(self, route: Route) -> None:
        if not self._traffic.flowing or route["role"] != "Stable":
            return
        self._requests += _ROUND
        if route["phase"] is None:
            return
        arms = self._phases.setdefault(route["phase"], {})
        forwarded = _ROUND * route["weightPercent"] // 100
        mirrored = _ROUND * route["shadowPercent"] // 100
        self._add(arms, "stable", _ROUND - forwarded, self.pod.revision)
        self._add(arms, "candidate", forwarded, route["candidateRevision"])
        self._add(arms, "shadow", mirrored, route["candidateRevision"])

    def _add(self, arms: dict[str, dict[str, Any]], arm: str, count: int, revision: str) -> None:
        known = arms.setdefault(
            arm,
            {
                "requests": 0,
                "rows": 0,
                "errors": 0,
                "invalidOutputs": 0,
                "latencyMs": {"bounds": _BOUNDS, "counts": [0] * (len(_BOUNDS) + 1)},
            },
        )
        known["requests"] += count
        known["rows"] += count
        known["errors"] += int(count * self._traffic.error_rate[revision])
        known["latencyMs"]["counts"][1] += count

    def _counters(self) -> dict[str, Any]:
        rows = self._requests
        return {"requests": rows, "rows": rows, "sketchedRows": rows, "phases": self._phases}


def _json(document: dict[str, Any]) -> bytes:
    return response(200, json.dumps(document).encode())
