"""Rollouts with real pods, real traffic and a real operator process, killed where it hurts."""

import json
from pathlib import Path

import pytest

from tests.cluster.operator_process import until
from tests.cluster.scene import Scene
from tests.cluster.small_model import (
    MODEL,
    deployment_manifest,
    policy_manifest,
)
from tests.demo.world import condition, is_true

ROOT = Path(__file__).parents[2]
RATE = 60.0
ROLLOUT_SECONDS = 120.0
STAGE = r'jsonpath={.status.candidate.stage}{"\n"}'
pytestmark = pytest.mark.timeout(400)


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
