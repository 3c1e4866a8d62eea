"""Edits of `rollout.steps` in a rollout: a weight rises after pods, pods fall after a weight."""

from typing import Any

import pytest

from tests.simulation.cluster import Behaviour
from tests.simulation.test_gateway import TRAFFIC
from tests.simulation.test_rollouts import serving_v1
from tests.simulation.transcript import check_golden
from tests.simulation.world import World

MANY = 100_000
"""Rows that no step of these tests sees."""
MODES: dict[str, dict[str, Any]] = {
    "Forward": {},
    "Gateway": {"traffic": TRAFFIC},
}


def steps(*weights: int, rows: int = MANY) -> dict[str, Any]:
    return {"steps": [{"weight": weight, "minRows": rows} for weight in weights]}


def at_first_weight(rollout: dict[str, Any], mode: str) -> World:
    """A world in which v2 answers its first share, of four pods' requests."""
    world = serving_v1(rollout=rollout, replicas=4, **MODES[mode])
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(30)
    return world


def given(world: World) -> tuple[int, int]:
    """Percent that v2 is given, and pods that its Deployment has."""
    weight = world.cluster.gateway.weight
    for pod in [] if world.stable is None else world.stable.pods:
        weight = max(weight, 0 if pod.route is None else pod.route.weight_percent)
    workload = world.cluster.revision(world.status["candidate"]["revision"])
    assert workload is not None
    return weight, workload.replicas


@pytest.mark.parametrize("mode", MODES)
def test_edit_that_lowers_a_weight_takes_no_pods_before_the_rollout_ends(mode: str) -> None:
    world = at_first_weight(steps(50), mode)
    assert given(world) == (50, 2)
    world.edit(rollout=steps(1))
    world.run(60)
    assert given(world) == (1, 2)
    world.edit(rollout=steps(1, rows=1))
    world.run_until("Ready/Promoted")
    assert world.cluster.traffic.failed == 0


@pytest.mark.parametrize("mode", MODES)
def test_edit_that_raises_a_weight_gives_it_only_when_pods_are_ready(mode: str) -> None:
    world = at_first_weight(steps(10), mode)
    assert given(world) == (10, 1)
    world.edit(rollout=steps(75))
    world.tick()
    assert given(world) == (10, 3), "pods first"
    assert world.standing == "Reconciling/NotEnoughPods"
    condition = world.condition("Reconciling")
    assert condition is not None
    assert "1 of the 3 pods that weight 75% needs are ready" in condition["message"]
    world.run(40)
    assert given(world) == (75, 3), "then the weight"
    if mode == "Gateway":
        check_golden(world, "weight-raised-by-an-edit")


@pytest.mark.parametrize("mode", MODES)
def test_next_weight_waits_for_pods_that_died_meanwhile(mode: str) -> None:
    world = at_first_weight({"steps": [*steps(1)["steps"], *steps(75)["steps"]]}, mode)
    assert given(world) == (1, 3)
    world.cluster.behaviours["v2"] = Behaviour(starts=False)
    world.cluster.kill_pods(world.status["candidate"]["revision"], world.now, most=2)
    ready = {"steps": [*steps(1, rows=1)["steps"], *steps(75)["steps"]]}
    world.edit(rollout=ready | {"analysis": {"maxDuration": "10m"}})
    world.run(60)
    assert given(world) == (1, 3)
    assert world.standing == "Reconciling/NotEnoughPods"
    assert world.status["candidate"]["step"] == 0
    world.run(600)
    assert world.standing == "Stalled/AnalysisUndecided", "its clock ran"
    assert any("1 of the 3 pods" in found["message"] for found in world.status["conditions"])


def test_edit_follows_freely_while_no_client_is_led_to_the_candidate() -> None:
    world = serving_v1(rollout=steps(75), replicas=4)
    world.apply("v2")
    world.tick()
    assert world.standing == "Reconciling/CandidateStarting"
    assert given(world) == (0, 3)
    world.edit(rollout=steps(10))
    world.tick()
    assert given(world) == (0, 1), "a mistaken weight costs no pods"


def test_achieved_weight_is_not_that_of_the_weight_before_the_edit() -> None:
    world = at_first_weight(steps(10), "Forward")
    world.run(60)
    assert 5 < world.status["candidate"]["weightAchieved"] < 20
    world.cluster.traffic.per_tick = 1
    world.edit(rollout=steps(20))
    world.tick()
    assert world.status["candidate"]["weightRequested"] == 20
    assert "weightAchieved" not in world.status["candidate"]
    world.cluster.traffic.per_tick = 600
    world.run(60)
    assert 10 < world.status["candidate"]["weightAchieved"] < 30
