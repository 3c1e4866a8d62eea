"""How many pods one operator can ask for their counters: fake sync endpoints on loopback addresses.

Every pod is an object of the API server with an address of its own in 127.1.0.0/16, behind which
one process answers as contract §4 says, with the counts of twenty features. The interval is made
shorter step by step; what the operator achieves, and at what cost, says where its limit is.
"""

import asyncio
import base64
import time
from collections.abc import Sequence
from typing import Any

import orjson

from tests.bench.operator_api import GROUP, Api, Object, together
from tests.bench.operator_contenders import OURS, Contender, Limits, ended
from tests.bench.operator_observer import Observer
from tests.bench.operator_plane import control_plane
from tests.bench.operator_population import (
    CREATORS,
    Place,
    create_deployments,
    create_models,
    places,
)
from tests.bench.operator_simulator import StatusSimulator

PODS = 500
INTERVALS = ("15s", "5s", "2s", "1s", "500ms", "250ms")
_PORT = 8081
_PATIENCE = 600.0
_FEATURES = 20
_COUNTS = {
    f"feature-{number:02}": {
        "bins": [100] * 20,
        "missing": 3,
        "unseen": 0,
        "below": 1,
        "above": 2,
        "invalid": 0,
    }
    for number in range(_FEATURES)
}


class FakePods:
    """Management ports of pods that do not exist."""

    def __init__(self) -> None:
        self._pods: dict[str, dict[str, str]] = {}
        self._server: asyncio.Server | None = None
        self.answers = 0
        """Sync messages answered."""

    def add(self, address: str, pod: dict[str, str]) -> None:
        """A pod at an address; its identity as the contract has it."""
        self._pods[address] = pod

    async def start(self) -> None:
        """Listens at every address."""
        self._server = await asyncio.start_server(self._serve, sorted(self._pods), _PORT)

    def close(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("sockname")[0]
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.split(b"\r\n"):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                body = await reader.readexactly(length)
                answer = self._answer(address, head, body)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(b"content-length: %d\r\n\r\n%b" % (len(answer), answer))
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    def _answer(self, address: str, head: bytes, body: bytes) -> bytes:
        pod = self._pods[address]
        if b"/sync" not in head.split(b"\r\n", 1)[0]:
            return orjson.dumps(pod)
        said = orjson.loads(base64.b64decode(orjson.loads(body)["payload"]))
        self.answers += 1
        acknowledged = {"epoch": said["epoch"], "counter": said["counter"]}
        identity = {name: pod[name] for name in ("podUid", "bootNonce", "revision")}
        rows = {"requests": 1200, "rows": 1200, "sketchedRows": 1190, "droppedRows": 0}
        return orjson.dumps(
            identity | rows | {"acknowledged": acknowledged, "counts": _COUNTS, "version": "v1"}
        )


async def measure_collector(limits: Limits, core: int | None, seconds: float) -> list[object]:
    """Answers a second and CPU share at each interval, shortest last."""
    steps: list[object] = []
    with control_plane((OURS,), None) as plane:
        contender, api, pods = Contender(OURS, plane, limits, core), Api(plane), FakePods()
        where = places(PODS)
        background: list[asyncio.Task[None]] = []
        try:
            with ended(contender):
                observer = Observer(api, "modeldeployments")
                background += [
                    asyncio.create_task(observer.run()),
                    asyncio.create_task(StatusSimulator(api).run()),
                ]
                await create_models(api, where)
                contender.start()
                await create_deployments(api, where, lambda _: None)
                settled = lambda: observer.settled == PODS  # noqa: E731
                await observer.until(settled, _PATIENCE, "all Ready")
                await _add_pods(api, pods)
                await pods.start()
                for interval in INTERVALS:
                    await _ask_each(api, where, interval)
                    steps.append(await _step(contender, pods, interval, seconds))
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            pods.close()
            await api.aclose()
    return steps


async def _step(contender: Contender, pods: FakePods, interval: str, seconds: float) -> object:
    await asyncio.sleep(min(15.0, seconds))  # the new interval is everywhere
    began, cpu, answers = time.monotonic(), contender.cpu_seconds(), pods.answers
    lags: list[float] = []
    while time.monotonic() < began + seconds:
        await asyncio.sleep(1.0)
        gauges = await contender.gauges()
        if gauges is not None and gauges.lag is not None:
            lags.append(gauges.lag)
    span = time.monotonic() - began
    used, rate = contender.cpu_seconds() - cpu, (pods.answers - answers) / span
    step: dict[str, Any] = {
        "pods": PODS,
        "interval": interval,
        "answersPerSecond": round(rate, 1),
        "cpuShare": round(used / span, 3),
        "cpuMsPerAnswer": round(1e3 * used / max(1, pods.answers - answers), 3),
        "residentMb": round(contender.memory()[0] / 1e6, 1),
        "loopLagMaxMs": round(1e3 * max(lags, default=0.0), 1),
    }
    print(f"[mooring]   collector: {step}", flush=True)
    return step


async def _ask_each(api: Api, where: Sequence[Place], interval: str) -> None:
    body = {"spec": {"monitoring": {"interval": interval}}}
    await together(CREATORS, (api.patch(place.path, body) for place in where))


async def _add_pods(api: Api, fake: FakePods) -> None:
    """A ready pod for each workload, as the kubelet would have it."""
    workloads, _ = await api.items("/apis/apps/v1/deployments")
    owners, _ = await api.items(f"{GROUP}/modeldeployments")
    uids = {_key(item["metadata"]): item["metadata"]["uid"] for item in owners}

    async def one(number: int, workload: Object) -> None:
        metadata = workload["metadata"]
        labels = workload["spec"]["template"]["metadata"]["labels"]
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
        made = await api.create(
            path,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"{metadata['name']}-0", "labels": labels},
                "spec": {"containers": [{"name": "server", "image": "none"}]},
            },
        )
        ready = [{"type": "Ready", "status": "True"}]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        await api.patch(
            f"{path}/{made['metadata']['name']}/status", {"status": status | {"conditions": ready}}
        )
        owner = f"{metadata['namespace']}/{labels['mooring.dev/deployment']}"
        fake.add(
            address,
            {
                "podUid": made["metadata"]["uid"],
                "bootNonce": "boot",
                "revision": labels["mooring.dev/revision"],
                "deploymentUid": uids[owner],
            },
        )

    await together(CREATORS, (one(number, item) for number, item in enumerate(workloads)))


def _key(metadata: Object) -> str:
    return f"{metadata['namespace']}/{metadata['name']}"
