"""How often a deployment rolls back by itself: cooldown, budget, and a person's word."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.builders.resources import model, version_status
from tests.simulation.cluster import Behaviour
from tests.simulation.promoted_world import FAILING, changes, crashes, probes, promoted
from tests.simulation.test_rollouts import BAD, STEPS
from tests.simulation.transcript import check_golden
from tests.simulation.world import TICK, World

VERSIONS = ("v1", "v2", "v3", "v4", "v5")


def serving(bad: tuple[str, ...], **rollback: Any) -> World:
    """A world in which v1 has served for a while, and some versions fail."""
    world = World({name: BAD if name in bad else Behaviour() for name in VERSIONS})
    world.apply("v1", rollback=rollback, rollout={"steps": STEPS})
    world.run_until("Ready/Initialized", within=120)
    world.run(30)
    return world


def rolled_back(world: World, version: str) -> datetime:
    """A candidate is let in and taken back; when that was."""
    world.apply(version)
    world.tick()
    world.run_until("Stalled/RolledBack")
    assert world.status["quarantine"][0]["version"] == version
    return world.now


def revision(world: World) -> str:
    return str(world.status["desired"]["revision"])


def versions_tried(world: World) -> list[str]:
    return [entry["version"] for entry in reversed(world.status["history"])]


def message(world: World) -> str:
    condition = world.condition("Ready")
    assert condition is not None
    return str(condition["message"])


def test_next_candidate_waits_twice_as_long_after_each_rollback_in_a_row() -> None:
    world = serving(("v2", "v3"), soak="10s")
    rolled_back(world, "v2")
    for version, minutes in (("v3", 30), ("v4", 60)):
        ended = datetime.fromisoformat(world.status["lastRollback"]["at"])
        world.apply(version)
        world.run(20)
        assert world.standing == "Reconciling/CoolingDown"
        due = ended + timedelta(minutes=minutes)
        assert f"{due:%Y-%m-%d %H:%M:%SZ}" in message(world)
        assert datetime.fromisoformat(world.status["budget"]["cooldownUntil"]) == due
        writes, world.cluster.traffic.per_tick = world.writes, 0
        while world.now < due - TICK:
            world.tick()
            assert world.standing == "Reconciling/CoolingDown"
            assert len(world.cluster.workloads) == 1, "no pod of it exists"
        assert world.writes == writes, "waiting writes nothing"
        world.cluster.traffic.per_tick = 600
        world.tick()
        assert world.standing == "Reconciling/CandidateStarting"
        world.run_until("Stalled/RolledBack" if version == "v3" else "Ready/Promoted")
    assert world.cluster.traffic.failed == 0
    check_golden(world, "cooldown")


def test_row_ends_when_a_promotion_survives_its_soak_and_not_before() -> None:
    world = serving(("v2", "v4"), cooldown="10m", soak="20m")
    rolled_back(world, "v2")
    world.run(1300)
    assert world.status["stable"]["soakedAt"], "v1 soaked"
    assert world.status["budget"]["consecutiveRollbacks"] == 1, "which says nothing of candidates"
    world.apply("v3")
    world.run_until("Ready/Promoted")
    assert world.status["budget"]["consecutiveRollbacks"] == 1
    world.run(1210)
    assert world.status["budget"]["consecutiveRollbacks"] == 0
    assert "cooldownUntil" not in world.status["budget"]
    world.cluster.behaviours["v4"] = BAD
    rolled_back(world, "v4")
    assert world.status["budget"]["consecutiveRollbacks"] == 1, "the wait is the first one again"


def test_person_lets_a_revision_in_before_its_cooldown_is_over() -> None:
    world = serving(("v2",))
    rolled_back(world, "v2")
    world.apply("v3")
    world.run(20)
    world.annotate("mooring.dev/retry", revision(world))
    world.tick()
    assert world.standing == "Reconciling/CandidateStarting"
    assert world.status["lastVerb"]["outcome"] == "Accepted"
    world.apply("v1")
    world.run(60)
    world.apply("v3")
    world.run(20)
    assert world.standing == "Reconciling/CoolingDown", "a word is good for one rollout"
    world.annotate("mooring.dev/retry", f"{revision(world)}@again")
    world.run_until("Ready/Promoted")


def test_word_is_void_when_the_spec_asks_for_another_revision_meanwhile() -> None:
    world = serving(("v2",))
    rolled_back(world, "v2")
    world.apply("v3")
    world.run(20)
    first = revision(world)
    world.edit(paused=True)
    world.run(20)
    assert world.standing == "Reconciling/UserPaused"
    world.edit(paused=False)
    world.run(20)
    world.model = model("v1", "v2", version_status("v3", "Verifying"), "v4")
    world.annotate("mooring.dev/retry", first)
    world.run(20)
    assert world.standing == "Reconciling/AwaitingModel"
    world.apply("v4")
    world.model = model(*VERSIONS)
    world.run(20)
    assert world.standing == "Reconciling/CoolingDown"
    assert "admitted" not in world.status["budget"]


def test_deployment_freezes_when_its_budget_is_spent_until_the_window_lets_one_go() -> None:
    world = serving(("v2", "v3"), cooldown="0s", budget={"count": 2, "per": "2h"})
    first = rolled_back(world, "v2")
    rolled_back(world, "v3")
    assert "held back until" in message(world), "the message of the rollback tells what comes"
    world.apply("v4")
    world.run(60)
    assert world.standing == "Stalled/RollbackBudgetExhausted"
    assert world.condition("RolledBack") is not None
    assert len(world.cluster.workloads) == 1
    due = first + timedelta(hours=2)
    while world.now < due - TICK:
        world.tick()
        assert world.standing == "Stalled/RollbackBudgetExhausted"
    world.tick()
    assert world.standing == "Reconciling/CandidateStarting"
    world.run_until("Ready/Promoted")
    assert "exhaustedUntil" not in world.status["budget"]
    check_golden(world, "budget-exhausted")


def test_person_lets_one_revision_in_when_the_budget_is_spent() -> None:
    world = serving(("v2", "v3"), cooldown="0s", budget={"count": 1, "per": "24h"})
    rolled_back(world, "v2")
    world.apply("v3")
    world.run(30)
    assert world.standing == "Stalled/RollbackBudgetExhausted"
    world.annotate("mooring.dev/retry", revision(world))
    world.tick()
    world.run_until("Stalled/RolledBack")
    assert len(world.status["budget"]["rolledBackAt"]) == 2
    world.apply("v4")
    world.run(600)
    assert world.standing == "Stalled/RollbackBudgetExhausted", "the word was for v3"
    world.annotate("mooring.dev/retry", f"{revision(world)}@we-know-why")
    world.run_until("Ready/Promoted")
    check_golden(world, "budget-retry")


def test_what_a_person_takes_back_costs_nothing() -> None:
    world = serving(())
    for version in ("v2", "v3", "v4"):
        world.apply(version)
        world.run_until("Reconciling/Analysing")
        world.annotate("mooring.dev/abort", revision(world))
        world.run_until("Stalled/RolledBack", within=60)
    assert "budget" not in world.status
    world.apply("v5")
    world.run_until("Ready/Promoted")
    world.annotate("mooring.dev/rollback-to", "1")
    world.run_until("Stalled/RolledBack", within=60)
    assert "budget" not in world.status


def test_way_back_to_what_serves_or_is_warm_waits_for_nothing() -> None:
    world = serving(("v3",), keepWarm="2h", budget={"count": 1})
    world.apply("v2")
    world.run_until("Ready/Promoted")
    rolled_back(world, "v3")
    world.apply("v2")
    world.run_until("Ready/RollbackCleared", within=30)
    world.apply("v1")
    world.tick()
    assert world.standing == "Ready/RollbackCleared"
    assert world.status["stable"]["version"] == "v1"


def test_budget_is_the_same_when_the_status_is_lost() -> None:
    world = serving(("v2",))
    rolled_back(world, "v2")
    known = world.status["budget"]
    world.apply("v3")
    world.run(20)
    world.status = {"observedGeneration": -1}
    world.run(20)
    assert world.standing == "Reconciling/CoolingDown"
    assert world.status["budget"] == known


def test_shorter_cooldown_ends_the_wait_at_once() -> None:
    world = serving(("v2",))
    rolled_back(world, "v2")
    world.apply("v3")
    world.run(20)
    assert world.standing == "Reconciling/CoolingDown"
    world.edit(rollback={"cooldown": "0s"})
    world.tick()
    assert world.standing == "Reconciling/CandidateStarting"


def test_stable_that_is_left_after_its_promotion_costs_as_much() -> None:
    world = promoted(rollback={"cooldown": "30m", "soak": "10m"})
    changes(world, v2=FAILING)
    world.run_until("Stalled/RolledBack", within=900)
    budget = world.status["budget"]
    assert budget["consecutiveRollbacks"] == 1
    assert budget["rolledBackAt"] == [world.status["lastRollback"]["at"]]
    world.run(700)
    assert world.status["stable"]["soakedAt"], "v1 soaked after it took the role back"
    assert world.status["budget"]["consecutiveRollbacks"] == 1
    world.apply("v3")
    world.run(20)
    assert world.standing == "Reconciling/CoolingDown"


def spent(**fields: Any) -> World:
    """A world in which v2 was promoted after the rollback of v3 had spent the budget."""
    world = promoted(rollback={"budget": {"count": 1, "per": "24h"}}, **fields)
    world.cluster.behaviours["v3"] = replace(Behaviour(), error_rate=0.5)
    world.apply("v3")
    world.tick()
    world.run_until("Stalled/RolledBack")
    world.apply("v2")
    world.run_until("Ready/RollbackCleared", within=60)
    return world


def test_no_probe_begins_when_the_budget_is_spent() -> None:
    world = spent()
    changes(world, v2=FAILING)
    world.run(300)
    assert world.standing == "Ready/RollbackCleared"
    assert "rollback.budget" in message(world)
    assert probes(world) == []


def test_stable_that_cannot_run_is_left_all_the_same() -> None:
    world = spent()
    crashes(world, "v2")
    world.run_until("Stalled/RolledBack", within=200)
    assert world.status["stable"]["version"] == "v1"
    assert len(world.status["budget"]["rolledBackAt"]) == 2
