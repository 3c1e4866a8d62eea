"""Rollouts with real pods, real traffic and a real operator process, killed where it hurts."""

import json
import subprocess
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.operator_process import OperatorProcess, start_operator, until
from tests.cluster.small_model import (
    MODEL,
    Fleet,
    build_fleet,
    deployment_manifest,
    model_manifest,
    open_namespace,
    policy_manifest,
    requests,
)
from tests.cluster_tools.cluster import Cluster
from tests.demo.replay import Replay
from tests.demo.setting import service_url
from tests.demo.world import Object, World, condition, is_true

ROOT = Path(__file__).parents[2]
RATE = 60.0
ROLLOUT_SECONDS = 120.0
STAGE = r'jsonpath={.status.candidate.stage}{"\n"}'
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def fleet(cluster: Cluster, images: object, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")
    return build_fleet(cluster, tmp_path_factory.mktemp("packages"))


@dataclass
class Scene:
    """One namespace with an operator of its own, and what a user does there."""

    cluster: Cluster
    namespace: str
    fleet: Fleet
    log: Path
    operator: OperatorProcess

    @property
    def world(self) -> World:
        return World(self.cluster)

    def kill_operator_and_start_another(self) -> None:
        self.operator.kill()
        self.operator = start_operator(
            self.cluster.kubeconfig, self.namespace, self.log, environment=SINGLE
        )

    def kill_operator_at_stage(self, stage: str) -> None:
        """kill -9 the moment that the API server tells of the stage, then another operator.

        A stage is written before the side effects that it stands for, and a rollback takes some
        170 ms: polling would miss it.
        """
        watch = [self.cluster.kubectl_path, f"--kubeconfig={self.cluster.kubeconfig}"]
        watch += ["get", "mdep", MODEL, "-n", self.namespace, "--watch", "-o", STAGE]
        with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            ended = threading.Timer(ROLLOUT_SECONDS, process.kill)
            ended.start()
            seen = any(line.strip() == stage for line in process.stdout)
            self.operator.kill()
            ended.cancel()
            process.kill()
        assert seen, f"no candidate came to {stage}"
        self.kill_operator_and_start_another()

    def declare(self, *names: str, follow: bool = False) -> None:
        versions = [self.fleet.versions[name] for name in names]
        self.world.apply(model_manifest(self.namespace, versions, follow=follow))

    def deploy(self, version: str) -> None:
        self.world.apply(deployment_manifest(self.namespace, {"version": version}))

    def mdep(self) -> Object:
        return self.world.get("mdep", MODEL, self.namespace)

    def wait(self, until_: Callable[[Object], bool], what: str) -> Object:
        return self.world.wait(
            "mdep", MODEL, self.namespace, until=until_, what=what, seconds=ROLLOUT_SECONDS
        )

    def wait_ready(self, version: str) -> Object:
        return self.wait(
            lambda seen: is_true(seen, "Ready") and seen["status"].get("version") == version,
            f"Ready with {version}",
        )

    def wait_stage(self, stage: str) -> Object:
        return self.wait(
            lambda seen: seen["status"].get("candidate", {}).get("stage") == stage,
            f"a candidate {stage}",
        )

    def traffic(self) -> Replay:
        replay = Replay(service_url(self.cluster, MODEL, self.namespace), MODEL, requests(), RATE)
        replay.start()
        return replay

    def names(self, kind: str) -> set[str]:
        listed = self.cluster.kubectl("get", kind, "-n", self.namespace, "-o", "name")
        return set(listed.split())


SINGLE = {"MOORING_LEADER_ELECTION": "false"}


@pytest.fixture
def scene(cluster: Cluster, namespace: str, fleet: Fleet, tmp_path: Path) -> Generator[Scene]:
    open_namespace(cluster, namespace, fleet.store)
    log = tmp_path / "operator.log"
    operator = start_operator(cluster.kubeconfig, namespace, log, environment=SINGLE)
    stage = Scene(cluster, namespace, fleet, log, operator)
    yield stage
    stage.operator.kill()


def test_bad_version_is_rolled_back_and_stays_out_until_the_spec_names_another(
    scene: Scene,
) -> None:
    scene.declare("v1", "v2", "v3")
    scene.deploy("v1")
    scene.wait_ready("v1")
    replay = scene.traffic()

    scene.deploy("v2")
    before = scene.wait_stage("Analysing")
    after = scene.wait(lambda seen: is_true(seen, "RolledBack"), "a rollback")
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    entry = after["status"]["quarantine"][-1]
    assert (entry["version"], entry["reason"]) == ("v2", "LossIncreased")
    assert entry["revision"] == before["status"]["candidate"]["revision"]
    assert "loss +" in entry["evidence"]
    assert after["status"]["stable"]["version"] == "v1"
    assert condition(after, "Stalled")["status"] == "True"

    deployments = scene.names("deployments")
    scene.deploy("v2")
    again = scene.wait(lambda seen: is_true(seen, "Stalled"), "still stalled")
    assert "candidate" not in again["status"]
    assert scene.names("deployments") == deployments
    assert again["metadata"]["generation"] == before["metadata"]["generation"]

    scene.deploy("v1")
    scene.wait_ready("v1")
    scene.deploy("v3")
    promoted = scene.wait_ready("v3")
    assert [entry["version"] for entry in promoted["status"]["quarantine"]] == ["v2"]

    tally = replay.stop()
    assert tally.failed == 0, tally.failures
    assert tally.sent > 1000
    assert tally.versions["v1"] > tally.versions["v2"] > 0


def test_killed_operator_ends_a_rollout_as_if_it_had_lived(scene: Scene) -> None:
    scene.declare("v1", "v2", "v3")
    scene.deploy("v1")
    scene.wait_ready("v1")
    replay = scene.traffic()

    scene.deploy("v3")
    scene.kill_operator_at_stage("Analysing")
    good = scene.wait_ready("v3")
    assert [(e["version"], e["outcome"]) for e in good["status"]["history"]] == [
        ("v3", "Promoted"),
        ("v1", "Promoted"),
    ]

    scene.deploy("v2")
    scene.kill_operator_at_stage("RollingBack")
    interrupted = scene.mdep()
    assert interrupted["status"]["stable"]["version"] == "v3"
    bad = scene.wait(lambda seen: is_true(seen, "RolledBack"), "a rollback")
    assert bad["status"]["stable"]["version"] == "v3"
    assert [entry["version"] for entry in bad["status"]["quarantine"]] == ["v2"]
    assert bad["status"]["history"][0]["outcome"] == "RolledBack"

    tally = replay.stop()
    assert tally.failed == 0, tally.failures


def test_deleted_pods_cost_no_request(scene: Scene) -> None:
    scene.declare("v1")
    scene.deploy("v1")
    scene.wait_ready("v1")
    replay = scene.traffic()
    until(lambda: replay.tally.answered > 200, 30)
    selector = f"mooring.dev/deployment={MODEL}"
    for _ in range(2):
        listed = scene.cluster.kubectl(
            "get", "pods", "-n", scene.namespace, "-l", selector, "-o", "name"
        )
        for pod in listed.split():
            scene.cluster.kubectl("delete", pod, "-n", scene.namespace, "--wait=true")
            scene.wait_ready("v1")
    seen = replay.tally.answered
    until(lambda: replay.tally.answered > seen + 200, 30)
    tally = replay.stop()
    assert tally.failed == 0, tally.failures
    assert tally.sent > 1000


def test_killed_operator_trains_once_and_loses_no_version(scene: Scene) -> None:
    scene.declare("v1", follow=True)
    scene.world.apply(deployment_manifest(scene.namespace, {"channel": "live"}))
    scene.wait_ready("v1")
    replay = scene.traffic()
    until(lambda: replay.tally.labelled > 1500, 90)
    scene.world.apply(policy_manifest(scene.namespace))
    scene.cluster.kubectl(
        "annotate", "rtp", MODEL, "-n", scene.namespace, "mooring.dev/retrain=now"
    )
    scene.world.wait(
        "rtp", MODEL, scene.namespace, until=lambda seen: "run" in seen["status"],
        what="a run", seconds=60,
    )  # fmt: skip
    scene.kill_operator_and_start_another()
    ended = scene.world.wait(
        "rtp", MODEL, scene.namespace, until=lambda seen: "lastResult" in seen["status"],
        what="the result of the run", seconds=200,
    )  # fmt: skip
    replay.stop()
    result = ended["status"]["lastResult"]
    assert result["verdict"] in ("Accepted", "Rejected", "Inconclusive"), result
    assert result["testRows"] > 0
    selector = f"mooring.dev/retrain-policy={MODEL}"
    listed = scene.cluster.kubectl(
        "get", "jobs", "-n", scene.namespace, "-l", selector, "-o", "json"
    )
    assert len(json.loads(listed)["items"]) == 1
    if result["verdict"] == "Accepted":
        model = scene.world.get("mdl", MODEL, scene.namespace)
        assert result["version"] in {v["name"] for v in model["status"]["versions"]}
