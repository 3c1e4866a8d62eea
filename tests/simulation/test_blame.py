"""Who is to blame: stable is left when the older revision does better on the same requests."""

from tests.simulation.cluster import Behaviour
from tests.simulation.promoted_world import (
    FAILING,
    LABELS,
    MONITORING,
    changes,
    cold,
    crashes,
    degrades,
    drifts,
    last,
    message,
    probes,
    promoted,
    versions,
)
from tests.simulation.transcript import check_golden
from tests.simulation.world import World

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
