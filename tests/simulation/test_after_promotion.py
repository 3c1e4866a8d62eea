"""What happens to a revision after its promotion: soak, faults, blame, and the way back."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.deployment_status import DriftedFeature, DriftStatus
from tests.simulation.cluster import Behaviour
from tests.simulation.transcript import check_golden
from tests.simulation.world import World

STEPS = [{"shadow": 100, "minRows": 500}, {"weight": 50, "minRows": 500}]
ROLLOUT: dict[str, Any] = {
    "steps": STEPS,
    "analysis": {"metrics": ["errors"], "margins": {"errors": 0.05, "loss": 0.05}},
    "progressDeadline": "2m",
}
MONITORING: dict[str, Any] = {"interval": "10s", "window": "20s", "drift": {}}
LABELS = {"labels": {"maturity": "10m"}}
FAILING = Behaviour(error_rate=0.3)
CRASH = "container server: Error (exit code 139): segmentation fault"


def promoted(**fields: Any) -> World:
    """A world in which v2 was promoted a minute ago, after v1 had soaked."""
    world = World()
    rollback = {"soak": "1m", "keepWarm": "10m", "cooldown": "0s"} | fields.pop("rollback", {})
    asked = {"rollout": ROLLOUT, "monitoring": MONITORING, "rollback": rollback} | fields
    world.apply("v1", None, **asked)
    world.run_until("Ready/Initialized", within=120)
    world.run(120)
    world.apply("v2")
    world.run_until("Ready/Promoted")
    world.run(60)
    return world


def cold(**fields: Any) -> World:
    """The same, after v1 lost its warm pods."""
    rollback = {"keepWarm": "1m"} | fields.pop("rollback", {})
    world = promoted(rollback=rollback, **fields)
    world.run(60)
    assert len(world.cluster.workloads) == 1
    return world


def changes(world: World, **behaviours: Behaviour) -> None:
    """What versions do changes from now on."""
    for version, behaviour in behaviours.items():
        world.cluster.behaviours[version] = behaviour
    world.happens(f"{', '.join(behaviours)} behave otherwise")


def crashes(world: World, version: str) -> None:
    world.cluster.crash(version, CRASH, world.now)
    world.happens(f"{version} crashes, and again whenever it starts")


def drifts(world: World) -> None:
    """The drift watch of what serves raises its alarm."""
    stable = world.status["stable"]
    feature = DriftedFeature(
        name="dep_delay", kind="shift", effect=0.2, since=world.now - timedelta(seconds=30)
    )
    world.drift = DriftStatus(
        revision=stable["revision"], verdict="Drifted", features=[feature], at=world.now
    )
    world.happens("the inputs drift")


def degrades(world: World) -> None:
    """The quality watch of what serves finds its labelled loss too high."""
    revision = world.status["stable"]["revision"]
    labels = {"verdict": "Degraded", "since": world.now.isoformat(), "loss": 0.4, "limit": 0.2}
    world.status["quality"] = {"revision": revision, "labels": labels}
    world.happens("labels of mature predictions say that v2 became worse")


def versions(world: World) -> tuple[str, list[str]]:
    """What serves, and what is in quarantine."""
    assert world.stable is not None
    return world.stable.version, [e["version"] for e in world.status.get("quarantine", ())]


def probes(world: World) -> list[tuple[str, str]]:
    """Trigger and verdict of the probes of what serves."""
    return [(p["trigger"], p["verdict"]) for p in world.status["stable"].get("probes", ())]


def last(world: World) -> tuple[str, str]:
    """Trigger and reason of the last rollback."""
    rollback = world.status["lastRollback"]
    return rollback["trigger"], rollback["reason"]


def message(world: World, type_: str = "Ready") -> str:
    condition = world.condition(type_)
    assert condition is not None
    return condition["message"]


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


# Failed requests


def test_stable_is_left_when_it_fails_requests_that_the_older_revision_answers() -> None:
    world = promoted()
    changes(world, v2=FAILING)
    world.run_until("Reconciling/Probing", within=120)
    world.run_until("Stalled/RolledBack", within=120)
    assert last(world) == ("Runtime", "RuntimeRegression")
    assert "against the older revision" in world.status["lastRollback"]["evidence"]
    assert versions(world) == ("v1", ["v2"])
    assert world.cluster.traffic.by_candidate.keys() <= {world.status["quarantine"][0]["revision"]}
    world.run(120)
    check_golden(world, "runtime-blamed")


def test_stable_stays_when_the_older_revision_fails_the_same_requests() -> None:
    world = promoted()
    changes(world, v1=FAILING, v2=FAILING)
    world.run_until("Reconciling/Probing", within=120)
    world.run_until("Ready/Promoted", within=600)
    assert probes(world) == [("Runtime", "NotBetter")]
    assert "does no better on the same traffic" in message(world)
    assert world.status["retired"]["version"] == "v1", "it is as warm as before"
    writes = world.writes
    world.cluster.traffic.labelled = 0.0
    world.run(900)
    assert world.status["stable"]["version"] == "v2"
    assert world.writes <= writes + 2, "the end of its warmth, and no other probe"
    check_golden(world, "runtime-not-blamed")


def test_older_revision_is_started_for_a_probe_when_it_is_not_warm() -> None:
    world = cold()
    changes(world, v2=FAILING)
    world.run_until("Stalled/RolledBack", within=300)
    assert versions(world) == ("v1", ["v2"])
    check_golden(world, "runtime-blamed-cold")


def test_stable_stays_when_the_older_revision_cannot_be_asked() -> None:
    world = cold()
    crashes(world, "v1")
    changes(world, v2=FAILING)
    world.run_until("Reconciling/Probing", within=120)
    world.run_until("Ready/Promoted", within=200)
    assert probes(world) == [("Runtime", "Unavailable")]
    assert versions(world) == ("v2", [])


def test_stable_stays_when_the_window_has_passed() -> None:
    world = promoted(rollback={"window": "5m"})
    world.run(300)
    changes(world, v2=FAILING)
    world.run(300)
    assert world.standing == "Ready/Promoted"
    assert "rollback.window 5m" in message(world)
    assert world.status.get("candidate") is None
    check_golden(world, "window-passed")


def test_stable_stays_when_the_spec_does_not_let_it_be_left() -> None:
    world = promoted(rollback={"triggers": ["Startup"]})
    changes(world, v2=FAILING)
    world.run(300)
    assert world.standing == "Ready/Promoted"
    assert "rollback.triggers" in message(world)


def test_first_revision_stays_when_it_fails_requests() -> None:
    world = World({"v1": FAILING})
    world.apply("v1", monitoring=MONITORING)
    world.run(400)
    assert world.standing == "Ready/Initialized"
    assert "was not promoted in place of another" in message(world)


def test_no_probe_begins_when_the_deployment_is_paused() -> None:
    world = promoted()
    world.edit(paused=True)
    changes(world, v2=FAILING)
    world.run(300)
    assert world.standing == "Ready/Promoted"
    assert "spec.paused" in message(world)
    world.edit(paused=False)
    world.run_until("Stalled/RolledBack", within=120)


# Drift and quality


def test_stable_stays_when_the_drift_hits_both_revisions() -> None:
    world = promoted()
    drifts(world)
    world.run_until("Reconciling/Probing", within=30)
    assert world.status["weight"] in ("0%", "shadow 100%")
    world.run_until("Ready/Promoted", within=600)
    assert probes(world) == [("Drift", "NotBetter")]
    assert "it hits both: retrain" in message(world)
    assert world.cluster.traffic.by_candidate.keys() == {world.status["stable"]["revision"]}
    check_golden(world, "drift-without-blame")


def test_stable_is_left_when_the_older_revision_copes_better_with_the_drift() -> None:
    world = promoted(monitoring=MONITORING | LABELS)
    drifts(world)
    changes(world, v1=Behaviour(loss=0.15), v2=Behaviour(loss=0.4))
    world.run_until("Stalled/RolledBack", within=900)
    assert last(world) == ("Drift", "DriftBlamed")
    assert "loss" in world.status["lastRollback"]["evidence"]
    assert versions(world) == ("v1", ["v2"])
    check_golden(world, "drift-blamed")


def test_stable_is_left_when_labels_say_that_the_older_revision_is_better() -> None:
    world = promoted(monitoring=MONITORING | LABELS)
    changes(world, v2=Behaviour(loss=0.4))
    degrades(world)
    world.run_until("Stalled/RolledBack", within=900)
    assert last(world) == ("Quality", "QualityBlamed")
    check_golden(world, "quality-blamed")


def test_stable_stays_when_labels_do_not_tell_in_time() -> None:
    world = promoted(
        monitoring=MONITORING | LABELS, rollback={"probe": {"weight": 10, "maxDuration": "5m"}}
    )
    degrades(world)
    world.cluster.traffic.labelled = 0.0
    world.run_until("Reconciling/Probing", within=30)
    world.run_until("Ready/Promoted", within=1200)
    assert probes(world) == [("Quality", "Undecided")]
    check_golden(world, "quality-undecided")


def test_drift_of_the_first_window_blames_nobody() -> None:
    world = promoted(monitoring=MONITORING | {"window": "10m"})
    drifts(world)
    world.run(120)
    assert world.standing == "Ready/Promoted"
    assert world.status.get("candidate") is None


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
