"""No request is lost to restarts, killed workers and drains, and each is counted once.

Bounded here; `make prove-availability` runs it whole (MOORING_PROOF=full): 100,000 requests across
20 rolling restarts, 5 killed workers and 5 drained nodes.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import pytest

from tests.cluster.operator_process import until
from tests.cluster.scene import Scene
from tests.cluster.small_model import MODEL, deployment_manifest, requests
from tests.cluster.steady_load import Outcomes, SteadyLoad
from tests.demo.setting import service_url

FULL = os.environ.get("MOORING_PROOF") == "full"
RATE = 200.0 if FULL else 100.0
CONNECTIONS = 8
WORKERS = 2
RESTARTS, KILLS, DRAINS = (20, 5, 5) if FULL else (1, 2, 1)
REQUESTS = 100_000 if FULL else 3_000
RESULT = Path(__file__).parents[2] / "build" / "availability.json"
SELECTOR = f"mooring.dev/deployment={MODEL}"
KILL_A_WORKER = """
import os, signal
mine = []
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        stat = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
        memory = int(open(f"/proc/{name}/statm").read().split()[1])
    except OSError:
        continue
    if stat[1] == "1":
        mine.append((memory, int(name)))
os.kill(max(mine)[1], signal.SIGKILL)
print(max(mine)[1])
"""
pytestmark = pytest.mark.timeout(3000 if FULL else 400)


@dataclass
class Proof:
    """The scene, its load, and what was done so far."""

    scene: Scene
    load: SteadyLoad
    node: str

    def kubectl(self, *arguments: str) -> str:
        return self.scene.cluster.kubectl("-n", self.scene.namespace, *arguments)

    def pods(self) -> list[str]:
        listed = self.kubectl("get", "pods", "-l", SELECTOR, "-o", "json")
        items = json.loads(listed)["items"]
        return [
            item["metadata"]["name"]
            for item in items
            if "deletionTimestamp" not in item["metadata"]
        ]

    def restart(self) -> None:
        before = set(self.pods())
        self.kubectl("rollout", "restart", self._deployment())
        self.settle(before)

    def kill_a_worker(self) -> None:
        pod = self.pods()[0]
        before = self._deaths(pod)
        self.kubectl("exec", pod, "-c", "server", "--", "python", "-c", KILL_A_WORKER)
        until(lambda: self._deaths(pod) == before + 1, 60)
        until(lambda: self._workers(pod) == WORKERS, 60)

    def drain(self) -> None:
        """Evicts every pod as `kubectl drain` does; the only node takes their successors."""
        before = set(self.pods())
        cluster = self.scene.cluster
        command = [cluster.kubectl_path, f"--kubeconfig={cluster.kubeconfig}", "drain", self.node]
        command += [f"--pod-selector={SELECTOR}", "--delete-emptydir-data", "--timeout=180s"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as drain:
            until(lambda: not before <= set(self.pods()), 60)
            cluster.kubectl("uncordon", self.node)
            said, _ = drain.communicate(timeout=200)
        assert drain.returncode == 0, said.decode()
        self.settle(before)

    def settle(self, gone: set[str]) -> None:
        """Until two other pods are ready."""
        until(lambda: not gone & set(self.pods()), 120)
        self.scene.wait_ready("v1")
        self.kubectl("rollout", "status", self._deployment(), "--timeout=120s")

    def _deployment(self) -> str:
        (name,) = self.kubectl("get", "deployments", "-l", SELECTOR, "-o", "name").split()
        return name

    def _deaths(self, pod: str) -> float:
        return self._metric(pod, "mooring_worker_deaths_total")

    def _workers(self, pod: str) -> float:
        return self._metric(pod, "mooring_workers_ready")

    def _metric(self, pod: str, name: str) -> float:
        address = self.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}").strip()
        text = httpx.get(f"http://{address}:8081/metrics", timeout=10, trust_env=False).text
        found = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def rows(self, outcome: str) -> int:
        """What the operator was told by all pods that ever were."""
        labels = f'deployment="{MODEL}",namespace="{self.scene.namespace}",outcome="{outcome}"'
        return int(self.scene.operator.metric(f"mooring_deployment_rows{{{labels}}}"))


@pytest.fixture
def proof(scene: Scene) -> Iterator[Proof]:
    scene.declare("v1")
    runtime = {"workers": WORKERS}
    reference = {"version": "v1"}
    scene.world.apply(deployment_manifest(scene.namespace, reference, runtime=runtime))
    scene.wait_ready("v1")
    body = json.loads(next(requests(labelled=False)).body)
    url = f"{service_url(scene.cluster, MODEL, scene.namespace)}/v2/models/{MODEL}/infer"
    load = SteadyLoad(url, body, rate=RATE, connections=CONNECTIONS)
    load.start()
    (node,) = scene.cluster.kubectl("get", "nodes", "-o", "name").split()
    yield Proof(scene, load, node.removeprefix("node/"))
    load.stop()


def test_no_request_is_lost_and_each_is_counted_once(proof: Proof) -> None:
    until(lambda: proof.load.outcomes().answered > 200, 60)
    costs: dict[str, list[Outcomes]] = {}
    acts: list[tuple[str, Callable[[], None], int]] = [
        ("restart", proof.restart, RESTARTS),
        ("kill", proof.kill_a_worker, KILLS),
        ("drain", proof.drain, DRAINS),
    ]
    started = time.monotonic()
    for name, act, times in acts:
        for number in range(times):
            before = proof.load.outcomes()
            act()
            after = proof.load.outcomes()
            cost = Outcomes(
                after.answered - before.answered,
                after.retried - before.retried,
                after.failed - before.failed,
                after.last_failure,
            )
            costs.setdefault(name, []).append(cost)
            print(f"[{time.monotonic() - started:6.1f} s] {name} {number + 1}: {cost}", flush=True)
    until(lambda: proof.load.outcomes().answered >= REQUESTS, 1200)
    outcomes = proof.load.stop()
    most = outcomes.answered + outcomes.retried
    until(lambda: proof.rows("answered") >= outcomes.answered, 60)
    until(lambda: proof.rows("sketched") + proof.rows("dropped") >= proof.rows("answered"), 60)
    counted = {name: proof.rows(name) for name in ("answered", "sketched", "dropped")}
    document = {
        "outcomes": asdict(outcomes),
        "counted": counted,
        "rate": RATE,
        "costs": {name: [asdict(cost) for cost in found] for name, found in costs.items()},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1))
    assert outcomes.failed == 0, outcomes
    assert sum(cost.retried for name in ("restart", "drain") for cost in costs[name]) == 0, costs
    # A killed worker may have counted an answer that its client never saw.
    assert outcomes.answered <= counted["answered"] <= most, document
    assert counted["sketched"] + counted["dropped"] == counted["answered"], document
