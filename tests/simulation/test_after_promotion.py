"""What happens to a revision after its promotion: soak, lost pods, and the way back."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.simulation.cluster import Behaviour
from tests.simulation.promoted_world import (
    FAILING,
    LABELS,
    MONITORING,
    ROLLOUT,
    changes,
    cold,
    crashes,
    drifts,
    last,
    message,
    promoted,
    versions,
)
from tests.simulation.transcript import check_golden
from tests.simulation.world import World

# Soak


def test_promoted_revision_is_known_to_be_good_when_it_survived_its_soak() -> None:
    world = World()
    world.apply("v1", rollout=ROLLOUT, rollback={"soak": "5m"})
    world.run_until("Ready/Initialized", within=120)
    world.run(310)
    assert [e["soaked"] for e in world.status["history"]] == [True]
    world.apply("v2")
    world.run_until("Ready/Promoted")
    assert world.status["phase"] == "Stable (soaking)"
    assert "soaking until" in message(world)
    world.run(280)
    writes = world.writes
    assert not world.status["stable"].get("soakedAt")
    world.run(20)
    assert world.status["stable"]["soakedAt"]
    assert world.status["phase"] == "Stable"
    newest = world.status["history"][0]
    assert (newest["version"], newest["soaked"]) == ("v2", True)
    assert world.writes == writes + 1, "the end of a soak is written once"
    check_golden(world, "soak")


def test_soak_is_not_passed_unseen_when_the_operator_restarts_just_before_its_end() -> None:
    world = promoted(rollback={"soak": "10m", "triggers": []})
    changes(world, v2=FAILING)
    world.run(500)
    assert not world.status["stable"].get("soakedAt")
    world.restart()
    world.run(600)
    assert not world.status["stable"].get("soakedAt"), "it fails all the while"
    changes(world, v2=Behaviour())
    world.run(300)
    assert world.status["stable"]["soakedAt"]
    check_golden(world, "soak-restarted")


def test_soak_is_not_passed_when_the_revision_is_failing() -> None:
    world = promoted(rollback={"soak": "3m", "triggers": []})
    changes(world, v2=FAILING)
    world.run(600)
    assert not world.status["stable"].get("soakedAt")
    changes(world, v2=Behaviour())
    world.run(200)
    assert world.status["stable"]["soakedAt"]


# Pods that cannot run


def test_stable_is_left_at_once_when_its_pods_crash_and_the_former_one_is_warm() -> None:
    world = promoted()
    workload = world.cluster.revision(world.status["retired"]["revision"])
    failed = world.cluster.traffic.failed
    crashes(world, "v2")
    world.run_until("Stalled/RolledBack", within=110)
    assert world.stable is workload, "the warm pods serve again, none was started"
    assert last(world) == ("Runtime", "PodsFailed")
    assert "segmentation fault" in world.status["lastRollback"]["evidence"]
    lost = world.cluster.traffic.failed - failed
    world.run(300)
    assert versions(world) == ("v1", ["v2"])
    assert world.cluster.traffic.failed - failed == lost, "no request was lost after the swap"
    assert len(world.cluster.workloads) == 1
    check_golden(world, "stable-crashes-warm")


def test_stable_is_left_when_its_pods_crash_and_the_former_one_must_start() -> None:
    world = cold()
    crashes(world, "v2")
    world.run_until("Reconciling/RollingBack", within=120)
    world.run_until("Stalled/RolledBack", within=60)
    assert versions(world) == ("v1", ["v2"])
    world.run(120)
    check_golden(world, "stable-crashes-cold")


def test_stable_stays_when_its_pods_are_lost_without_a_fault() -> None:
    world = cold()
    world.cluster.behaviours["v2"] = replace(world.cluster.behaviours["v2"], start_seconds=600)
    world.cluster.kill_pods(world.status["stable"]["revision"], world.now)
    world.happens("the nodes go away; new ones come after ten minutes")
    world.run(580)
    assert world.standing == "Reconciling/NotEnoughPods"
    world.run_until("Ready/Promoted", within=120)
    assert versions(world) == ("v2", [])


def test_stable_stays_when_its_pods_return_before_the_older_ones_are_ready() -> None:
    world = cold()
    world.cluster.behaviours["v1"] = replace(world.cluster.behaviours["v1"], start_seconds=100)
    crashes(world, "v2")
    world.run_until("Reconciling/RollingBack", within=120)
    changes(world, v2=Behaviour())
    world.cluster.kill_pods(world.status["stable"]["revision"], world.now)
    world.run_until("Ready/Promoted", within=60)
    world.run(300)
    assert versions(world) == ("v2", [])
    assert len(world.cluster.workloads) == 1
    check_golden(world, "stable-recovers-before-revert")


def test_stable_stays_and_says_so_when_the_older_revision_cannot_start_either() -> None:
    world = cold()
    crashes(world, "v1")
    crashes(world, "v2")
    world.run_until("Stalled/NoHealthyRevision", within=400)
    world.run_until("Reconciling/RollingBack", within=200)
    world.run_until("Stalled/NoHealthyRevision", within=200)
    assert world.status["stable"]["failedReturn"]["toVersion"] == "v1"
    writes = world.writes
    world.run(1800)
    assert world.writes == writes, "it is not tried again"
    assert versions(world) == ("v2", [])
    assert len(world.cluster.workloads) == 1
    changes(world, v2=Behaviour())
    world.cluster.kill_pods(world.status["stable"]["revision"], world.now)
    world.run_until("Ready/Promoted", within=60)
    check_golden(world, "predecessor-unable")


def test_number_of_a_way_back_that_was_given_up_is_given_to_no_other_rollout() -> None:
    world = cold()
    crashes(world, "v1")
    crashes(world, "v2")
    world.run_until("Reconciling/RollingBack", within=600)
    given_up = world.status["candidate"]["seq"]
    world.run_until("Stalled/NoHealthyRevision", within=200)
    assert "candidate" not in world.status
    changes(world, v2=Behaviour())
    world.cluster.kill_pods(world.status["stable"]["revision"], world.now)
    world.run_until("Ready/Promoted", within=60)
    world.apply("v3")
    world.run_until("Reconciling/CandidateStarting", within=60)
    assert world.status["candidate"]["seq"] == given_up + 1


def test_stable_is_not_left_twice_when_the_older_revision_crashes_after_the_return() -> None:
    world = promoted()
    crashes(world, "v2")
    world.run_until("Stalled/RolledBack", within=110)
    crashes(world, "v1")
    world.run(900)
    assert versions(world) == ("v1", ["v2"]), "no way leads on, and none back to v2"
    available = world.condition("Available")
    assert available is not None
    assert available["status"] == "False"


# What happens meanwhile


def test_probe_ends_when_the_spec_asks_for_another_version() -> None:
    world = promoted(monitoring=MONITORING | LABELS)
    world.cluster.traffic.labelled = 0.0
    drifts(world)
    world.run_until("Reconciling/Probing", within=30)
    world.run(60)
    world.apply("v3")
    world.drift = None
    world.run(200)
    assert world.standing == "Ready/Promoted"
    assert versions(world) == ("v3", [])
    check_golden(world, "probe-unwanted")


def test_stable_is_left_at_once_when_its_pods_crash_during_a_probe() -> None:
    world = promoted(monitoring=MONITORING | LABELS)
    world.cluster.traffic.labelled = 0.0
    drifts(world)
    world.run_until("Reconciling/Probing", within=30)
    crashes(world, "v2")
    world.run_until("Stalled/RolledBack", within=120)
    assert last(world) == ("Runtime", "PodsFailed")


def test_probe_waits_when_the_older_revision_loses_its_pods() -> None:
    world = promoted(monitoring=MONITORING | LABELS)
    world.cluster.traffic.labelled = 0.0
    drifts(world)
    world.run_until("Reconciling/Probing", within=30)
    world.run(30)
    world.cluster.traffic.labelled = 0.5
    changes(world, v1=Behaviour(loss=0.1), v2=Behaviour(loss=0.4))
    world.cluster.kill_pods(world.status["candidate"]["revision"], world.now)
    world.tick()
    assert world.status["candidate"]["stage"] == "ProbeStarting"
    world.run_until("Stalled/RolledBack", within=900)


def test_rollback_is_finished_first_when_the_spec_changes_in_the_middle() -> None:
    world = cold()
    crashes(world, "v2")
    world.run_until("Reconciling/RollingBack", within=120)
    world.apply("v3")
    world.run_until("Ready/Promoted", within=900)
    assert versions(world) == ("v3", ["v2"])
    outcomes = [(e["version"], e["outcome"]) for e in world.status["history"]]
    assert outcomes[:2] == [("v3", "Promoted"), ("v2", "RolledBack")]
    check_golden(world, "spec-changed-mid-revert")


def test_rollback_goes_on_when_the_status_is_lost_in_the_middle() -> None:
    world = cold()
    crashes(world, "v2")
    world.run_until("Reconciling/RollingBack", within=120)
    world.status = {"observedGeneration": -1}
    world.happens("the status is lost")
    world.run_until("Stalled/RolledBack", within=90)
    assert versions(world) == ("v1", ["v2"])
    check_golden(world, "lost-status-mid-revert")


def test_way_back_is_still_known_when_the_status_was_lost() -> None:
    world = promoted()
    world.status = {"observedGeneration": -1}
    world.happens("the status is lost")
    world.run(30)
    crashes(world, "v2")
    world.run_until("Stalled/RolledBack", within=150)
    assert versions(world) == ("v1", ["v2"])


def test_rolled_back_revision_is_analysed_when_a_person_retries_it_at_once() -> None:
    world = promoted()
    changes(world, v2=FAILING)
    world.run_until("Stalled/RolledBack", within=300)
    revision = world.status["quarantine"][0]["revision"]
    assert world.status["retired"]["version"] == "v2"
    changes(world, v2=Behaviour())
    world.annotate("mooring.dev/retry", revision)
    world.run_until("Reconciling/Analysing", within=60)
    world.run_until("Ready/Promoted")
    assert versions(world) == ("v2", [])


def test_spec_that_names_what_took_the_role_back_is_ready() -> None:
    world = promoted()
    changes(world, v2=FAILING)
    world.run_until("Stalled/RolledBack", within=300)
    world.apply("v1")
    world.run_until("Ready/RollbackCleared", within=60)
    world.status = {"observedGeneration": -1}
    world.run_until("Ready/RollbackCleared", within=60)


# The operator dies


def failing(world: World) -> None:
    changes(world, v2=FAILING)
    world.run(500)


def crashing(world: World) -> None:
    crashes(world, "v2")
    world.run(400)


def cleared(world: World) -> None:
    changes(world, v1=FAILING, v2=FAILING)
    world.run(400)


@pytest.mark.parametrize(
    ("story", "begin"), [(failing, promoted), (crashing, cold), (cleared, promoted)]
)
def test_end_is_the_same_when_the_operator_dies_at_any_side_effect_after_a_promotion(
    story: Callable[[World], None], begin: Callable[[], World]
) -> None:
    start = begin()
    undisturbed = copy.deepcopy(start)
    story(undisturbed)
    assert undisturbed.effects > start.effects
    for crash_at in range(start.effects, undisturbed.effects):
        world = copy.deepcopy(start)
        world.crash_at = crash_at
        story(world)
        assert world.outcome() == undisturbed.outcome(), f"killed before side effect {crash_at}"
