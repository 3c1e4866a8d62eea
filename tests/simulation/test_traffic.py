"""Rollouts in mode BlueGreen, and with users divided instead of requests."""

from typing import Any

from tests.simulation.cluster import Behaviour
from tests.simulation.transcript import check_golden
from tests.simulation.world import STEPS, World

SHADOWED: dict[str, Any] = {"steps": [{"shadow": 100, "minRows": 500}]}
BLUE_GREEN = {"mode": "BlueGreen"}


def serving_v1(behaviours: dict[str, Behaviour] | None = None, **fields: Any) -> World:
    """A world in which v1 has served for a while."""
    world = World(behaviours)
    world.apply("v1", **fields)
    world.run_until("Ready/Initialized", within=120)
    return world


def colours(world: World) -> dict[str, int]:
    return {workload.version: workload.replicas for workload in world.cluster.workloads.values()}


def test_blue_green_flips_at_once_and_back_without_starting_a_pod() -> None:
    world = serving_v1(replicas=3, traffic=BLUE_GREEN, rollout=SHADOWED)
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    assert colours(world) == {"v1": 3, "v2": 3}, "at full size before it is promoted"
    world.run_until("Ready/Promoted")
    assert world.cluster.traffic.by_candidate == {}, "no client was asked to try it"
    assert colours(world) == {"v1": 3, "v2": 3}, "both colours are kept"
    created = {w.version: w.created_at for w in world.cluster.workloads.values()}
    world.run(60)
    world.apply("v1")
    world.tick()
    assert world.standing == "Ready/Promoted"
    assert {w.version: w.created_at for w in world.cluster.workloads.values()} == created
    assert world.cluster.traffic.failed == 0
    check_golden(world, "blue-green")


def test_blue_green_candidate_is_rolled_back_by_its_shadow_alone() -> None:
    world = serving_v1({"v2": Behaviour(error_rate=0.2)}, traffic=BLUE_GREEN, rollout=SHADOWED)
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    assert world.cluster.traffic.by_candidate == {}
    assert colours(world) == {"v1": 2}
    check_golden(world, "blue-green-bad")


def test_nothing_moves_when_the_mode_cannot_reach_a_weight() -> None:
    world = serving_v1(rollout={"steps": STEPS})
    world.edit(traffic=BLUE_GREEN)
    world.apply("v2")
    world.run(60)
    assert world.standing == "Stalled/InvalidSpec"
    assert colours(world) == {"v1": 2}
    world.edit(traffic={"mode": "Forward"})
    world.run_until("Ready/Promoted")
    check_golden(world, "weights-unreachable")


def test_sticky_rollout_is_promoted_whatever_share_of_the_requests_its_users_send() -> None:
    world = serving_v1(traffic={"stickyHeader": "X-User-Id"}, rollout={"steps": STEPS})
    world.apply("v2")
    world.run_until("Ready/Promoted")
    assert world.status["analysis"].get("sampleRatio") is None
    assert world.cluster.traffic.failed == 0
