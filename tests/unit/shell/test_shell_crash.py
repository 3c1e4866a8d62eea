"""kill -9 after every single request: whatever was done, the next process ends in the same state.

The real decision about a ModelDeployment, over an in-memory Kubernetes whose Deployments become
available by themselves.
"""

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from mooring_operator.core.decision import Manifest, OperatorConfig
from mooring_operator.core.rollout.plan import decide
from mooring_operator.io.fields import mapping_at
from mooring_operator.reconcile.observe_deployment import observe_deployment
from tests.unit.shell.harness import KEY, Harness
from tests.unit.shell.memory_kube import MemoryKube
from tests.unit.shell.objects import GROUP_VERSION, thing

CONFIG = OperatorConfig("serving:1", "mooring-system", ("a2V5",))
DIGEST = "sha256:" + "a" * 64


class Killed(Exception):
    """The process ends here."""


def _model() -> Manifest:
    version = {
        "name": "v1",
        "digest": DIGEST,
        "uri": "s3://b/v1",
        "origin": "Declared",
        "phase": "Verified",
        "seq": 1,
    }
    spec = {"purpose": "x", "versions": [{k: version[k] for k in ("name", "digest", "uri")}]}
    status = {"observedGeneration": 1, "versions": [version]}
    manifest = thing("Model", "m", generation=1, spec=spec, status=status)
    return manifest | {"apiVersion": GROUP_VERSION}


def _process(kube: MemoryKube, clock_at: float) -> Harness:
    """A fresh process: an empty cache, filled by a list."""
    world = Harness(kube=kube)

    def decided(manifest: Manifest, foreign: tuple[str, ...], now: datetime) -> Any:
        seen = observe_deployment(world.cache, manifest, foreign=foreign, telemetry=None)
        return decide(seen, CONFIG, now + timedelta(seconds=clock_at))

    world.decide = decided
    world.tell()
    return world


def _become_available(kube: MemoryKube) -> None:
    for (kind, _, _), item in list(kube.objects.items()):
        if kind == "Deployment" and "status" not in item:
            replicas = item["spec"]["replicas"]
            item["status"] = {
                "readyReplicas": replicas,
                "updatedReplicas": replicas,
                "conditions": [{"type": "Available", "status": "True"}],
            }
            kube.put(item)


async def _run(kube: MemoryKube, at: float, looks: int) -> None:
    world = _process(kube, at)
    for _ in range(looks):
        await world.loop.reconcile(KEY)
        _become_available(kube)
        world.tell()


def _begin() -> MemoryKube:
    kube = MemoryKube()
    kube.put(_model())
    Harness(kube=kube).declare()
    kube.calls.clear()
    return kube


def _end_state(kube: MemoryKube) -> dict[str, Any]:
    """All that matters: no times, versions or uids, and Events without their counts."""
    state: dict[str, Any] = {}
    for (kind, _, name), item in sorted(kube.objects.items()):
        body = {k: v for k, v in item.items() if k not in ("metadata", "count")}
        labels = mapping_at(item, "metadata", "labels")
        if kind != "Event":
            state[f"{kind} {name}"] = _timeless({"labels": labels, **body})
    return state


def _timeless(value: dict[str, Any]) -> dict[str, Any]:
    return json.loads(re.sub(r"20\d\d-\d\d-\d\dT[0-9:.]+Z?", "TIME", json.dumps(value)))


async def test_first_rollout_ends_the_same_whichever_request_was_the_last() -> None:
    undisturbed = _begin()
    await _run(undisturbed, 0.0, looks=5)
    wanted = _end_state(undisturbed)
    requests = len(undisturbed.calls)
    assert "Deployment" in "".join(wanted)
    assert wanted["ModelDeployment d"]["status"]["stable"]["version"] == "v1"
    assert requests > 10

    for last in range(1, requests):
        kube = _begin()
        left = last

        def die(_: str, __: str) -> Killed | None:
            nonlocal left
            left -= 1
            return Killed("kill -9") if left < 0 else None

        kube.fail = die
        with pytest.raises(Killed):
            await _run(kube, 0.0, looks=5)
        kube.fail = lambda verb, what: None
        await _run(kube, 1.0, looks=5)
        assert _end_state(kube) == wanted, f"killed after request {last}: {kube.calls[:last][-1]}"
