"""New settings of pods: rolled in place, with a deadline, and back to what served."""

from typing import Any

from tests.simulation.cluster import Behaviour
from tests.simulation.test_rollouts import QUICK, serving_v1
from tests.simulation.transcript import check_golden
from tests.simulation.world import LARGE, World, unfit

MORE: dict[str, Any] = {"requests": {"memory": "2Gi"}}


def stalled() -> World:
    """A world whose new pods were not ready in time."""
    world = serving_v1(rollout=QUICK)
    world.run(20)
    unfit(world, LARGE)
    world.edit(resources=LARGE)
    world.run_until("Stalled/PodUpdateFailed", within=200)
    world.tick()
    return world


def message(world: World) -> str:
    condition = world.condition("Ready")
    assert condition is not None
    return str(condition["message"])


def settings(world: World) -> str:
    assert world.stable is not None
    return world.stable.settings


def test_pods_get_new_resources_in_place() -> None:
    world = serving_v1(rollout=QUICK)
    world.run(20)
    known, workload = settings(world), world.stable
    world.edit(resources=MORE)
    world.tick()
    assert world.standing == "Reconciling/NotEnoughPods"
    assert "spec.resources.requests.memory" in message(world)
    world.run_until("Ready/Initialized", within=60)
    assert world.stable is workload, "no revision was made"
    assert settings(world) != known
    assert world.status["pods"]["good"]["resources"] == MORE
    assert world.cluster.traffic.failed == 0


def test_pods_return_to_the_last_good_settings_when_new_ones_do_not_start() -> None:
    world = serving_v1(rollout=QUICK)
    world.run(20)
    known = settings(world)
    unfit(world, LARGE)
    world.edit(resources=LARGE)
    world.run(110)
    assert world.standing == "Reconciling/NotEnoughPods"
    world.run_until("Stalled/PodUpdateFailed", within=40)
    assert settings(world) == known
    assert "spec.resources.requests.memory" in message(world)
    assert "Insufficient memory" in message(world)
    available = world.condition("Available")
    assert available is not None
    assert available["status"] == "True"
    world.cluster.traffic.per_tick = 0
    world.run(60)
    writes = world.writes
    world.run(600)
    assert (world.standing, world.writes) == ("Stalled/PodUpdateFailed", writes)
    assert world.cluster.traffic.failed == 0
    check_golden(world, "pod-update-failed")


def test_spec_that_asks_for_the_good_settings_again_is_ready() -> None:
    world = stalled()
    assert world.spec is not None
    del world.spec["resources"]
    world.edit()
    world.run_until("Ready/Initialized", within=60)
    assert "failed" not in world.status["pods"]


def test_other_settings_are_tried_at_once() -> None:
    world = stalled()
    world.edit(resources=MORE)
    world.tick()
    assert world.standing == "Reconciling/NotEnoughPods"
    world.run_until("Ready/Initialized", within=60)


def test_same_settings_are_tried_once_for_each_retry() -> None:
    world = stalled()
    revision = world.status["stable"]["revision"]
    world.annotate("mooring.dev/retry", revision)
    world.tick()
    assert world.standing == "Reconciling/NotEnoughPods"
    world.run_until("Stalled/PodUpdateFailed", within=200)
    world.run(300)
    assert world.standing == "Stalled/PodUpdateFailed", "the token was used up"
    world.cluster.unfit.clear()
    world.happens("a larger node comes")
    world.annotate("mooring.dev/retry", f"{revision}@again")
    world.run_until("Ready/Initialized", within=60)
    check_golden(world, "pod-update-retried")


def test_failure_is_remembered_when_the_status_is_lost() -> None:
    world = stalled()
    known = settings(world)
    world.status = {"observedGeneration": -1}
    world.happens("the status is lost")
    world.run(60)
    assert world.standing == "Stalled/PodUpdateFailed"
    assert settings(world) == known


def test_deadline_counts_from_when_the_deployment_had_the_settings() -> None:
    world = serving_v1(rollout=QUICK)
    world.run(20)
    unfit(world, LARGE)
    world.edit(resources=LARGE)
    world.crash_at = world.effects + 1
    world.tick()
    world.down_until = world.now.replace(hour=12)
    world.happens("the operator is away for hours")
    while world.now < world.down_until:
        world.now = world.down_until
    world.run(60)
    assert world.standing == "Reconciling/NotEnoughPods"
    world.run_until("Stalled/PodUpdateFailed", within=120)


def test_candidate_is_let_in_with_the_settings_that_serve_when_new_ones_failed() -> None:
    world = stalled()
    known = settings(world)
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    assert {w.settings for w in world.cluster.workloads.values()} == {known}


def test_pods_of_stable_that_crash_are_not_taken_for_a_failed_update() -> None:
    world = serving_v1({"v1": Behaviour()}, rollout=QUICK)
    world.run(20)
    world.cluster.kill_pods(world.status["stable"]["revision"], world.now)
    world.run(60)
    assert world.standing == "Ready/Initialized"
    assert "trying" not in world.status["pods"]
