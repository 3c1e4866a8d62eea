"""The end of a quarantine, and the pod of a failed revision that is kept to look at."""

from datetime import datetime, timedelta
from typing import Any

from mooring_operator.core.decision import RouteRole
from tests.builders.resources import DEPLOYMENT
from tests.simulation.cluster import Behaviour, Workload
from tests.simulation.promoted_world import crashes, promoted
from tests.simulation.test_rollouts import BAD, QUICK, serving_v1
from tests.simulation.transcript import check_golden
from tests.simulation.world import TICK, World

BROKEN = Behaviour(starts=False, failure="crash loop")


def message(world: World) -> str:
    condition = world.condition("Stalled")
    assert condition is not None
    return str(condition["message"])


def test_revision_is_tried_again_when_its_quarantine_is_over() -> None:
    world = serving_v1({"v2": BAD}, rollback={"quarantineTTL": "2h"})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    due = datetime.fromisoformat(world.status["quarantine"][0]["at"]) + timedelta(hours=2)
    assert f"{due:%H:%M:%SZ} (rollback.quarantineTTL)" in message(world)
    world.cluster.behaviours["v2"] = Behaviour()
    world.happens("v2 is mended outside")
    while world.now < due - TICK:
        world.tick()
        assert world.standing == "Stalled/RolledBack"
    world.tick()
    assert world.standing == "Reconciling/CandidateStarting"
    assert world.status["quarantine"] == []
    assert world.status["candidate"]["seq"] == 3
    world.run_until("Ready/Promoted")
    check_golden(world, "quarantine-ends")


def test_revision_waits_for_its_cooldown_when_its_quarantine_is_shorter() -> None:
    world = serving_v1({"v2": BAD}, rollback={"quarantineTTL": "5m", "cooldown": "30m"})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    world.run(320)
    assert world.standing == "Reconciling/CoolingDown"


def test_quarantine_lasts_when_nobody_set_an_end() -> None:
    world = serving_v1({"v2": BAD})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    world.cluster.traffic.per_tick = 0
    world.run(10800)
    assert world.standing == "Stalled/RolledBack"


def startup_failed(**rollback: Any) -> World:
    world = serving_v1(
        {"v2": BROKEN}, rollout=QUICK, rollback={"cooldown": "0s", "keepFailed": "10m"} | rollback
    )
    world.apply("v2")
    world.run_until("Stalled/RolledBack", within=300)
    return world


def kept(world: World) -> Workload | None:
    entry = world.status.get("kept")
    return None if entry is None else world.cluster.revision(entry["revision"])


def test_one_pod_is_kept_without_traffic_when_a_candidate_did_not_start() -> None:
    world = startup_failed()
    workload = kept(world)
    assert workload is not None
    assert (workload.version, workload.replicas) == ("v2", 1)
    assert "keepFailed" in message(world)
    assert world.cluster.services[f"{DEPLOYMENT}-candidate"] != workload.revision
    pod = workload.pods[0]
    pod.ready_at = world.now
    world.happens("the kept pod becomes ready")
    world.run(20)
    assert pod.route is not None
    assert pod.route.role is RouteRole.RETIRED, "it hands over what comes to it"
    world.run(600)
    assert "kept" not in world.status
    assert len(world.cluster.workloads) == 1
    assert world.cluster.traffic.by_candidate == {}
    check_golden(world, "failed-pod-kept")


def test_kept_pod_stays_beside_the_next_candidate() -> None:
    world = startup_failed(keepFailed="1h")
    world.apply("v3")
    world.run_until("Ready/Promoted")
    assert kept(world) is not None
    assert sorted(w.version for w in world.cluster.workloads.values()) == ["v1", "v2", "v3"]


def test_kept_revision_is_the_candidate_again_when_it_is_retried() -> None:
    world = startup_failed()
    world.cluster.behaviours["v2"] = Behaviour()
    workload = kept(world)
    assert workload is not None
    world.cluster.kill_pods(workload.revision, world.now)
    world.annotate("mooring.dev/retry", world.status["desired"]["revision"])
    world.tick()
    assert "kept" not in world.status
    assert world.cluster.revision(workload.revision) is workload
    world.run_until("Ready/Promoted")


def test_kept_pod_is_remembered_when_the_status_is_lost() -> None:
    world = startup_failed()
    known = world.status["kept"]
    world.status = {"observedGeneration": -1}
    world.run(20)
    assert world.status["kept"] == known


def test_one_pod_is_kept_when_a_stable_revision_could_not_run_any_more() -> None:
    world = promoted(rollback={"keepFailed": "10m"})
    crashes(world, "v2")
    world.run_until("Stalled/RolledBack", within=200)
    world.run(120)
    workload = kept(world)
    assert workload is not None
    assert (workload.version, workload.replicas) == ("v2", 1)
    world.run(600)
    assert len(world.cluster.workloads) == 1


def test_nothing_is_kept_of_a_candidate_that_ran_and_answered_badly() -> None:
    world = serving_v1({"v2": BAD}, rollback={"keepFailed": "10m"})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    assert "kept" not in world.status
    assert len(world.cluster.workloads) == 1


def test_pod_is_kept_for_a_day_at_most() -> None:
    world = startup_failed(keepFailed="30d")
    ends = datetime.fromisoformat(world.status["kept"]["keepUntil"])
    assert ends <= world.now + timedelta(days=1)
