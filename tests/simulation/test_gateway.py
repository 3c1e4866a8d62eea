"""Rollouts in mode Gateway: weights of a route, and Gateways that are slow, refuse or are gone."""

from typing import Any

from tests.builders.resources import DEPLOYMENT
from tests.simulation.cluster import Behaviour
from tests.simulation.test_traffic import colours
from tests.simulation.transcript import check_golden
from tests.simulation.world import STEPS, World

TRAFFIC: dict[str, Any] = {
    "mode": "Gateway",
    "gateway": {"name": "web", "namespace": "infra", "hostnames": ["models.example.com"]},
}
WEIGHT_10 = 1
"""Index of the step of STEPS with weight 10."""


def serving_v1(behaviours: dict[str, Behaviour] | None = None, **fields: Any) -> World:
    """A world in which v1 is reached through a Gateway."""
    world = World(behaviours)
    wanted: dict[str, Any] = {"traffic": TRAFFIC, "rollout": {"steps": STEPS}} | fields
    world.apply("v1", **wanted)
    world.run_until("Ready/Initialized", within=120)
    return world


def weight(world: World) -> int:
    """Percent that the HTTPRoute gives to the candidate's Service."""
    assert world.cluster.gateway.shape is not None
    return world.cluster.gateway.shape.weight


def run_until_weight(world: World, percent: int) -> None:
    """Ticks until the HTTPRoute says so."""
    for _ in range(200):
        if weight(world) == percent:
            return
        world.tick()
    raise AssertionError(f"{weight(world)}% and not {percent}%: {world.standing}")


def phases(world: World) -> set[int]:
    """Steps of the running rollout in which the pods counted."""
    return {int(name.partition("/")[2][:-4]) for name in world.cluster.phases}


def test_gateway_divides_by_weights_until_the_candidate_is_promoted() -> None:
    world = serving_v1(replicas=3)
    assert weight(world) == 0
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    assert weight(world) == 0, "stable pods mirror; no client reaches the candidate"
    run_until_weight(world, 10)
    assert phases(world) == {0}, "nothing counts before the Gateway follows"
    world.run_until("Ready/Promoted")
    assert weight(world) == 0
    assert phases(world) == {0, 1, 2}
    assert world.cluster.traffic.failed == 0
    assert sum(world.cluster.traffic.by_candidate.values()) > 0
    condition = world.condition("Routed")
    assert condition is not None
    assert condition["reason"] == "RouteAccepted"
    check_golden(world, "gateway-promotion")


def test_achieved_weight_is_what_both_sides_answered() -> None:
    steps = [{"weight": 20, "minRows": 100_000}]
    world = serving_v1(rollout={"steps": steps})
    world.apply("v2")
    world.run(300)
    achieved = world.status["candidate"]["weightAchieved"]
    assert abs(achieved - 20) < 4
    assert world.status["weight"].endswith("/20%")
    assert world.status["analysis"]["sampleRatio"]["verdict"] == "Matched"


def test_candidate_that_fails_is_rolled_back_and_answers_nothing_after_its_verdict() -> None:
    steps = [{"weight": 10, "minRows": 5000}]
    world = serving_v1({"v2": Behaviour(error_rate=0.3)}, rollout={"steps": steps})
    world.apply("v2")
    world.run_until("Reconciling/RollingBack")
    answered = dict(world.cluster.traffic.by_candidate)
    assert weight(world) == 0
    stable = world.status["stable"]["revision"]
    assert world.cluster.services[f"{DEPLOYMENT}-candidate"] == stable
    world.run_until("Stalled/RolledBack")
    assert world.cluster.traffic.by_candidate == answered
    assert world.cluster.traffic.failed == 0
    assert colours(world) == {"v1": 2}
    check_golden(world, "gateway-rollback")


def test_route_that_the_gateway_refuses_holds_the_weight_and_says_why() -> None:
    world = serving_v1()
    world.happens("the Gateway's listeners admit no route from here any more")
    world.cluster.gateway.turn_to("refuses")
    world.run(20)
    assert world.standing == "Stalled/RouteNotAccepted", "clients may not reach what serves"
    world.apply("v2")
    world.run_until("Stalled/RouteNotAccepted")
    world.run(600)
    assert world.standing == "Stalled/RouteNotAccepted"
    assert world.status["candidate"]["step"] == WEIGHT_10
    assert phases(world) == {0}, "shadowed all the same, and no further"
    stalled = world.condition("Stalled")
    assert stalled is not None
    for words in ("infra/web", "HTTPRoute delays", "NotAllowedByListeners", "spec.traffic.gateway"):
        assert words in stalled["message"]
    held = world.status["candidate"]["heldSince"]
    world.happens("the Gateway's listeners admit it again")
    world.cluster.gateway.turn_to("")
    world.run_until("Ready/Promoted")
    assert held
    assert world.cluster.traffic.failed == 0
    check_golden(world, "gateway-not-accepted")


def test_gateway_without_a_controller_is_waited_for_and_then_a_person_is_told() -> None:
    world = World()
    world.cluster.gateway.turn_to("silent")
    world.apply("v1", traffic=TRAFFIC, rollout={"steps": STEPS, "progressDeadline": "3m"})
    world.run(60)
    assert world.standing == "Reconciling/AwaitingGateway"
    world.run(240)
    assert world.standing == "Stalled/RouteNotAccepted"
    stalled = world.condition("Stalled")
    assert stalled is not None
    assert "longer than progressDeadline 3m" in stalled["message"]
    world.cluster.gateway.turn_to("")
    world.run(30)
    assert world.standing == "Ready/Initialized"


def test_rollback_does_not_wait_for_a_gateway_that_is_silent_and_costs_no_request() -> None:
    world = serving_v1({"v2": Behaviour(error_rate=0.3)}, rollout={"steps": [{"weight": 50}]})
    world.apply("v2")
    run_until_weight(world, 50)
    world.run(20)
    assert world.cluster.gateway.weight == 50
    world.cluster.gateway.turn_to("silent")
    world.run_until("Stalled/RolledBack", within=600)
    assert world.cluster.gateway.weight == 50, "it never followed"
    world.run(300)
    assert colours(world) == {"v1": 2}
    assert world.cluster.traffic.failed == 0, "its requests end at stable pods"


def test_api_server_without_the_gateway_api_is_told_with_the_remedy() -> None:
    world = World()
    world.cluster.gateway.turn_to("no API")
    world.apply("v1", traffic=TRAFFIC, rollout={"steps": STEPS})
    world.run_until("Stalled/GatewayApiMissing", within=300)
    assert world.cluster.gateway.shape is None
    stalled = world.condition("Stalled")
    assert stalled is not None
    assert "install the CRDs of the Gateway API" in stalled["message"]
    world.happens("an administrator installs the Gateway API")
    world.cluster.gateway.turn_to("")
    world.run(30)
    assert world.standing == "Ready/Initialized"
    check_golden(world, "gateway-api-missing")


def test_route_of_somebody_else_is_left_alone() -> None:
    world = World()
    world.foreign = (f"HTTPRoute {DEPLOYMENT}",)
    world.apply("v1", traffic=TRAFFIC)
    world.run(60)
    assert world.standing == "Stalled/NameConflict"
    assert world.cluster.gateway.shape is None
    routed = world.condition("Routed")
    assert routed is not None
    assert routed["reason"] == "NameConflict"
    world.foreign = ()
    world.run(60)
    assert world.standing == "Ready/Initialized"


def test_route_that_somebody_deleted_is_made_again() -> None:
    world = serving_v1()
    world.cluster.gateway.turn_to("no route")
    world.run(10)
    assert weight(world) == 0
    world.run(20)
    assert world.standing == "Ready/Initialized"


def test_route_goes_when_another_mode_is_asked_for() -> None:
    world = serving_v1()
    world.edit(traffic={"mode": "Forward"})
    world.run(20)
    assert world.cluster.gateway.shape is None
    assert world.condition("Routed") is None
    assert world.standing == "Ready/Initialized"


def test_another_gateway_must_accept_the_route_too() -> None:
    world = serving_v1()
    world.edit(traffic=TRAFFIC | {"gateway": {"name": "edge"}})
    world.tick()
    assert world.standing == "Reconciling/AwaitingGateway", "no stale Ready"
    world.run(20)
    assert world.standing == "Ready/Initialized"


def test_weight_goes_back_to_stable_while_counters_are_missing() -> None:
    world = serving_v1()
    world.apply("v2")
    run_until_weight(world, 10)
    world.metrics_lost = True
    world.run(180)
    assert weight(world) == 0
    world.metrics_lost = False
    world.run_until("Ready/Promoted")
    assert world.cluster.traffic.failed == 0


def test_candidate_that_loses_its_pods_loses_its_weight_and_its_service() -> None:
    world = serving_v1()
    world.apply("v2")
    run_until_weight(world, 10)
    world.cluster.kill_pods(world.status["candidate"]["revision"], world.now)
    world.tick()
    assert weight(world) == 0
    assert world.cluster.services[f"{DEPLOYMENT}-candidate"] == world.status["stable"]["revision"]
    world.run_until("Ready/Promoted")


def test_return_to_a_warm_revision_needs_no_gateway() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Ready/Promoted")
    world.run(60)
    assert world.cluster.services[f"{DEPLOYMENT}-candidate"] != world.status["stable"]["revision"]
    world.apply("v1")
    world.tick()
    assert world.standing == "Ready/Promoted"
    assert weight(world) == 0
    assert world.cluster.traffic.failed == 0
