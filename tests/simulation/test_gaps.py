"""Gaps in what is known of a rollout: missing counters, a stable revision without pods."""

from typing import Any

import pytest

from mooring_operator.core.decision import RouteRole
from tests.simulation.cluster import Behaviour
from tests.simulation.test_rollouts import BAD, rollout, served_version, serving_v1
from tests.simulation.transcript import check_golden
from tests.simulation.world import STEPS, World


def at_step(number: int, behaviours: dict[str, Behaviour] | None = None, **fields: Any) -> World:
    """A world in which v2 is analysed at this step, counted from 1, with few requests."""
    world = serving_v1(behaviours, **fields)
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    while world.status["candidate"]["step"] + 1 < number:
        world.tick()
    world.cluster.traffic.per_tick = 20
    return world


def shares(world: World) -> set[tuple[int, int]]:
    """Weight and shadow that the pods of stable were told, of those that messages come to."""
    assert world.stable is not None
    told = [pod.route for pod in world.reached(world.stable) if pod.route is not None]
    return {(route.weight_percent, route.shadow_percent) for route in told}


def silent(world: World) -> None:
    """One pod does not answer any more; the others do."""
    world.deaf = True
    world.happens("one pod of stable does not answer")


def test_weight_goes_back_to_the_shadow_when_counters_are_missing_for_too_long() -> None:
    world = at_step(3)
    assert shares(world) == {(50, 0)}
    silent(world)
    world.run(110)
    assert world.standing == "Reconciling/AwaitingMetrics"
    assert shares(world) == {(50, 0)}, "a short gap moves nothing"
    world.run(40)
    assert world.status["candidate"]["withheld"] is True
    assert shares(world) == {(0, 100)}
    assert world.status["weight"] == "shadow 100%"
    missing = world.condition("MetricsAvailable")
    assert missing is not None
    assert (missing["status"], missing["reason"]) == ("False", "Stale")
    world.run(3600)
    assert world.standing == "Reconciling/AwaitingMetrics", "a gap is no failure"
    world.deaf = False
    world.happens("it answers again")
    world.run(20)
    assert shares(world) == {(50, 0)}
    assert not world.status["candidate"]["withheld"]
    world.cluster.traffic.per_tick = 600
    world.run_until("Ready/Promoted")
    assert world.cluster.traffic.failed == 0
    check_golden(world, "metrics-grace")


def test_weight_goes_to_nothing_when_no_shadow_came_before_it() -> None:
    steps = [{"weight": 10, "minRows": 200}, {"weight": 50, "minRows": 1000}]
    world = at_step(2, rollout={"steps": steps, "analysis": {"metricsGrace": "1m"}})
    silent(world)
    world.run(90)
    assert shares(world) == {(0, 0)}
    assert world.status["weight"] == "0%"
    world.deaf = False
    world.run(20)
    assert shares(world) == {(50, 0)}


def test_shadow_stays_when_counters_are_missing() -> None:
    world = at_step(1)
    silent(world)
    world.run(300)
    assert shares(world) == {(0, 100)}
    assert not world.status["candidate"].get("withheld")


def test_weight_goes_back_while_the_rollout_is_paused_too() -> None:
    world = at_step(2)
    world.edit(paused=True)
    silent(world)
    world.run(150)
    assert world.standing == "Reconciling/UserPaused"
    assert shares(world) == {(0, 100)}


def test_rollout_is_held_and_still_protected_when_too_few_rows_are_recorded() -> None:
    world = at_step(2, {"v2": Behaviour()}, monitoring={"drift": {}})
    world.coverage = 0.5
    world.run(30)
    assert world.standing == "Reconciling/AwaitingMetrics"
    missing = world.condition("MetricsAvailable")
    assert missing is not None
    assert missing["reason"] == "LowCoverage"
    world.cluster.behaviours["v2"] = BAD
    world.cluster.traffic.per_tick = 6000
    world.run_until("Stalled/RolledBack", within=100)


def test_clock_stands_still_while_counters_are_missing() -> None:
    world = at_step(3, rollout=rollout(maxDuration="20m", onUndecided="Rollback"))
    silent(world)
    world.run(7200)
    world.deaf = False
    world.cluster.traffic.per_tick = 600
    world.run_until("Ready/Promoted", within=600)


def test_restart_of_the_operator_is_no_news_when_the_analysis_ended_undecided() -> None:
    world = at_step(3, rollout=rollout(maxDuration="5m", onUndecided="Pause"))
    world.run_until("Stalled/AnalysisUndecided")
    world.cluster.traffic.per_tick = 0
    world.run(60)
    writes, effects = world.writes, world.effects
    world.restart()
    world.run(300)
    assert world.standing == "Stalled/AnalysisUndecided"
    assert (world.writes, world.effects) == (writes, effects)
    check_golden(world, "restarted-while-undecided")


@pytest.mark.parametrize("step", [1, 3])
def test_candidate_is_not_blamed_when_stable_loses_its_pods(step: int) -> None:
    world = at_step(step, rollout=rollout(maxDuration="20m", onUndecided="Rollback"))
    stable = world.status["stable"]["revision"]
    world.cluster.crash("v1", "OOMKilled", world.now)
    world.happens("the pods of stable die")
    world.cluster.behaviours["v2"] = BAD
    world.run(3600)
    assert world.standing == "Reconciling/NotEnoughPods"
    available = world.condition("Available")
    assert available is not None
    assert available["status"] == "False"
    condition = world.condition("Reconciling")
    assert condition is not None
    assert "mooring.dev/promote" in condition["message"]
    assert world.status["candidate"]["step"] == step - 1
    world.cluster.behaviours |= {"v1": Behaviour(), "v2": Behaviour()}
    world.cluster.kill_pods(stable, world.now)
    world.happens("they start again")
    world.cluster.traffic.per_tick = 600
    world.run_until("Ready/Promoted", within=900)
    if step == 3:
        check_golden(world, "stable-dies-mid-analysis")


def test_person_lets_the_candidate_serve_when_stable_lost_its_pods() -> None:
    world = at_step(2)
    world.cluster.crash("v1", "OOMKilled", world.now)
    world.run(60)
    world.annotate("mooring.dev/promote", world.status["candidate"]["revision"])
    world.run_until("Ready/Promoted", within=100)
    assert served_version(world) == "v2"


# RollingBack


def aborted_without_stable() -> World:
    """A person drops v2 after the pods of v1 have died."""
    world = at_step(2, rollout={"steps": STEPS, "progressDeadline": "5m"})
    world.cluster.crash("v1", "OOMKilled", world.now)
    world.run(20)
    world.annotate("mooring.dev/abort", world.status["candidate"]["revision"])
    world.run(120)
    return world


def test_rollback_waits_for_a_pod_of_stable_and_says_so_when_none_comes() -> None:
    world = aborted_without_stable()
    assert world.standing == "Reconciling/RollingBack"
    assert len(world.cluster.workloads) == 2, "the pods that are there stay"
    world.run_until("Stalled/NoHealthyRevision", within=300)
    world.cluster.behaviours["v1"] = Behaviour()
    world.cluster.kill_pods(world.status["stable"]["revision"], world.now)
    world.happens("pods of v1 start again")
    world.run_until("Stalled/RolledBack", within=60)
    assert len(world.cluster.workloads) == 1
    check_golden(world, "rollback-without-stable")


def test_rollback_waits_for_nothing_when_the_spec_asks_for_another_version() -> None:
    world = aborted_without_stable()
    world.apply("v3")
    world.run(20)
    assert world.status["candidate"]["version"] == "v3"


def test_rollback_ends_when_the_last_message_of_a_silent_pod_has_lapsed() -> None:
    world = at_step(2, {"v2": Behaviour()})
    world.deaf = True
    world.cluster.behaviours["v2"] = Behaviour(starts=False, failure="frozen")
    world.annotate("mooring.dev/abort", world.status["candidate"]["revision"])
    world.tick()
    began = world.now
    assert world.standing == "Reconciling/RollingBack"
    world.run_until("Stalled/RolledBack", within=90)
    assert world.now - began >= world.config.sync_ttl - world.config.sync_ttl / 6
    roles = {
        pod.route.role for w in world.cluster.workloads.values() for pod in w.pods if pod.route
    }
    assert roles == {RouteRole.STABLE}
