"""Rollouts from beginning to end, each with its golden transcript and what must be true of it."""

from typing import Any

from tests.builders.resources import digest_of, model, version_status
from tests.simulation.cluster import Behaviour
from tests.simulation.transcript import check_golden
from tests.simulation.world import STEPS, World

BAD = Behaviour(error_rate=0.15)
QUICK = {"steps": STEPS, "progressDeadline": "2m"}


def rollout(**analysis: Any) -> dict[str, Any]:
    return {"steps": STEPS, "analysis": analysis}


def serving_v1(behaviours: dict[str, Behaviour] | None = None, **fields: Any) -> World:
    """A world in which v1 has served for a while."""
    world = World(behaviours)
    world.apply("v1", **fields)
    world.run_until("Ready/Initialized", within=120)
    world.run(30)
    return world


def _refused(name: str) -> dict[str, Any]:
    message = "file model.onnx differs"
    return version_status(name, "Refused", reason="DigestMismatch", message=message)


def served_version(world: World) -> str | None:
    return None if world.stable is None else world.stable.version


def test_candidate_is_rolled_back_when_it_fails_requests() -> None:
    world = serving_v1({"v2": BAD})
    before = (dict(world.spec or {}), world.generation)
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    world.run(60)
    last = world.status["lastRollback"]
    assert last["reason"] == "ErrorsIncreased"
    assert (last["fromVersion"], last["toVersion"]) == ("v2", "v1")
    assert "n=" in last["evidence"]
    assert last["seconds"] > 0
    assert served_version(world) == "v1"
    assert world.generation == before[1] + 1
    assert world.cluster.traffic.failed == 0
    check_golden(world, "bad-candidate-errors")


def test_candidate_is_rolled_back_when_its_labelled_loss_is_higher() -> None:
    world = serving_v1(
        {"v2": Behaviour(loss=0.35)},
        rollout=rollout(metrics=["errors", "loss"], margins={"loss": 0.02}),
    )
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    assert world.status["lastRollback"]["reason"] == "LossIncreased"
    check_golden(world, "bad-candidate-loss")


def test_candidate_is_rolled_back_when_its_outputs_are_invalid_already_in_shadow() -> None:
    world = serving_v1({"v2": Behaviour(invalid_rate=0.5)})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    assert world.status["lastRollback"]["reason"] == "InvalidOutputsIncreased"
    assert world.cluster.traffic.by_candidate == {}, "no client saw an answer of v2"
    check_golden(world, "bad-candidate-shadow")


def test_candidate_is_rolled_back_when_it_is_slow() -> None:
    world = serving_v1({"v2": Behaviour(slow_rate=0.4)})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    assert world.status["lastRollback"]["reason"] == "LatencyIncreased"
    check_golden(world, "bad-candidate-latency")


def test_candidate_is_promoted_by_role_swap_when_every_metric_passes() -> None:
    world = serving_v1(rollback={"keepWarm": "5m"})
    world.apply("v2")
    world.run_until("Ready/Promoted")
    workload = world.stable
    assert workload is not None
    assert workload.version == "v2"
    assert workload.created_at < world.now, "its pods are the ones that were analysed"
    assert len(world.cluster.workloads) == 2, "the former stable revision is warm"
    world.run(310)
    assert len(world.cluster.workloads) == 1, "and goes after keepWarm"
    assert world.cluster.traffic.failed == 0
    check_golden(world, "good-candidate")


def test_first_revision_is_stalled_when_it_does_not_start() -> None:
    world = World({"v1": Behaviour(starts=False, failure="fetch: DigestMismatch")})
    world.apply("v1", rollout=QUICK)
    world.run_until("Stalled/ProgressDeadlineExceeded", within=200)
    condition = world.condition("Stalled")
    assert condition is not None
    assert "DigestMismatch" in condition["message"]
    world.apply("v2")
    world.run_until("Ready/Initialized", within=120)
    check_golden(world, "first-revision-does-not-start")


def test_candidate_is_rolled_back_when_it_does_not_start() -> None:
    world = serving_v1({"v2": Behaviour(starts=False, failure="crash loop")}, rollout=QUICK)
    world.apply("v2")
    world.run_until("Stalled/RolledBack", within=200)
    assert world.status["lastRollback"]["reason"] == "StartupFailed"
    assert "crash loop" in world.status["lastRollback"]["evidence"]
    assert world.cluster.traffic.by_candidate == {}
    check_golden(world, "startup-failure")


def test_analysis_stalls_for_a_human_when_it_stays_undecided() -> None:
    world = serving_v1(rollout=rollout(maxDuration="5m"))
    world.cluster.traffic.per_tick = 60
    world.apply("v2")
    world.run_until("Stalled/AnalysisUndecided", within=600)
    weight = world.status["weight"]
    world.run(60)
    assert world.status["candidate"] is not None
    assert weight
    world.cluster.traffic.per_tick = 600
    world.edit(rollout=rollout(maxDuration="24h"))
    world.run_until("Ready/Promoted")
    check_golden(world, "undecided-pause")


def test_candidate_is_rolled_back_when_undecided_means_rollback() -> None:
    world = serving_v1(rollout=rollout(maxDuration="5m", onUndecided="Rollback"))
    world.cluster.traffic.per_tick = 60
    world.apply("v2")
    world.run_until("Stalled/RolledBack", within=600)
    assert world.status["lastRollback"]["reason"] == "Undecided"
    check_golden(world, "undecided-rollback")


def test_candidate_is_promoted_when_undecided_means_promote() -> None:
    world = serving_v1(rollout=rollout(maxDuration="5m", onUndecided="Promote"))
    world.cluster.traffic.per_tick = 60
    world.apply("v2")
    world.run_until("Ready/Promoted", within=600)
    check_golden(world, "undecided-promote")


def test_rollout_freezes_when_metrics_are_missing() -> None:
    world = serving_v1(rollout=rollout(maxDuration="10m", onUndecided="Rollback"))
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(30)
    step = world.status["candidate"]["step"]
    world.metrics_lost = True
    world.happens("pods cannot be reached")
    world.run(1800)
    assert world.standing == "Reconciling/AwaitingMetrics"
    assert world.status["candidate"]["step"] == step
    missing = world.condition("MetricsAvailable")
    assert missing is not None
    assert missing["status"] == "False"
    world.metrics_lost = False
    world.happens("pods answer again")
    world.run_until("Ready/Promoted")
    check_golden(world, "metrics-missing")


def test_candidate_is_superseded_when_the_spec_names_another_version() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(20)
    world.apply("v3")
    world.run_until("Ready/Promoted")
    assert served_version(world) == "v3"
    outcomes = [(e["version"], e["outcome"]) for e in world.status["history"]]
    assert outcomes == [("v3", "Promoted"), ("v2", "Superseded"), ("v1", "Promoted")]
    check_golden(world, "spec-changed-mid-candidate")


def test_revert_ends_ready_when_a_candidate_is_under_analysis() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(20)
    world.apply("v1")
    world.run_until("Ready/Initialized", within=60)
    assert len(world.cluster.workloads) == 1
    assert world.status["quarantine"] == []
    check_golden(world, "revert-mid-candidate")


def test_quarantined_revision_stays_back_when_it_is_applied_again() -> None:
    world = serving_v1({"v2": BAD})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    writes, generation = world.writes, world.generation
    world.cluster.traffic.per_tick = 0
    world.apply("v2")
    world.run(600)
    assert (world.writes, world.generation) == (writes, generation), "nothing was written"
    world.cluster.traffic.per_tick = 600
    world.apply("v1")
    world.run_until("Ready/RollbackCleared", within=60)
    world.apply("v2")
    world.run(30)
    assert world.standing == "Stalled/Quarantined"
    world.edit(replicas=3)
    world.run(60)
    assert world.standing == "Stalled/Quarantined"
    world.apply("v3")
    world.run_until("Ready/Promoted")
    assert [e["version"] for e in world.status["quarantine"]] == ["v2"]
    check_golden(world, "quarantined-reapply")


def test_quarantined_revision_is_tried_once_for_each_retry_token() -> None:
    world = serving_v1({"v2": BAD})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    revision = world.status["quarantine"][0]["revision"]
    world.annotate("mooring.dev/retry", "0123456789ab")
    world.run(30)
    assert world.standing == "Stalled/RolledBack", "a token for another revision is inert"
    world.annotate("mooring.dev/retry", revision)
    world.run_until("Reconciling/Analysing")
    world.run_until("Stalled/RolledBack")
    world.run(120)
    assert world.standing == "Stalled/RolledBack", "the token was used up"
    world.happens("v2 is mended outside")
    world.cluster.behaviours["v2"] = Behaviour()
    world.annotate("mooring.dev/retry", f"{revision}@mended")
    world.run_until("Ready/Promoted")
    assert world.status["handled"]["retry"] == f"{revision}@mended"
    check_golden(world, "retry")


def test_rollout_is_held_and_still_protected_when_it_is_paused() -> None:
    world = serving_v1(rollout=rollout(maxDuration="5m", onUndecided="Rollback"))
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.edit(paused=True)
    world.run(400)
    assert world.standing == "Reconciling/UserPaused"
    paused = world.condition("Paused")
    assert paused is not None
    assert paused["status"] == "True"
    world.edit(paused=False)
    world.run_until("Ready/Promoted")
    world.edit(paused=True)
    world.run(20)
    assert world.standing == "Ready/Promoted", "nothing is held, so nothing is paused"
    check_golden(world, "paused")


def test_failing_candidate_is_rolled_back_when_the_rollout_is_paused() -> None:
    world = serving_v1({"v2": BAD})
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(20)
    world.edit(paused=True)
    world.run_until("Stalled/RolledBack", within=300)
    check_golden(world, "paused-bad-candidate")


def test_status_is_not_ready_in_the_write_that_moves_a_channel() -> None:
    world = World()
    world.model = model("v1", "v2", channels={"live": "v1"})
    world.apply(channel="live")
    world.run_until("Ready/Initialized")
    generation = world.generation
    world.model = model("v1", "v2", channels={"live": "v2"})
    world.happens("channel live moves to v2")
    world.tick()
    assert world.generation == generation
    assert world.status["desired"]["version"] == "v2"
    assert world.standing.startswith("Reconciling/")
    world.run_until("Ready/Promoted")
    check_golden(world, "channel-move")


def test_quarantine_survives_when_the_status_is_lost() -> None:
    world = serving_v1({"v2": BAD})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    known = world.outcome()
    world.status = {"observedGeneration": -1}
    world.happens("the status is lost")
    world.run(30)
    assert world.standing == "Stalled/RolledBack"
    assert world.outcome() | {"outcomes": []} == known | {"outcomes": []}
    world.apply("v1")
    world.run_until("Ready/RollbackCleared", within=60)
    check_golden(world, "lost-status")


def test_stable_is_not_analysed_again_when_the_status_is_lost_mid_analysis() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(20)
    world.status = {"observedGeneration": -1}
    world.happens("the status is lost")
    world.run_until("Ready/Promoted")
    assert served_version(world) == "v2"
    assert world.cluster.traffic.failed == 0
    check_golden(world, "lost-status-mid-analysis")


def test_former_revision_returns_at_once_when_its_pods_are_warm() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Ready/Promoted")
    world.run(60)
    workload = world.cluster.revision(world.status["retired"]["revision"])
    world.apply("v1")
    world.tick()
    assert world.standing == "Ready/Promoted"
    assert world.stable is workload, "the same pods serve again"
    check_golden(world, "warm-return")


def test_stable_serves_on_when_the_model_does_not_resolve() -> None:
    world = serving_v1()
    world.model = model("v1", version_status("v2", "Verifying"), _refused("v3"))
    world.apply("v2")
    world.run(30)
    assert world.standing == "Reconciling/AwaitingModel"
    world.apply("v3")
    world.run(30)
    assert world.standing == "Stalled/VersionRefused"
    world.apply("v9")
    world.run(30)
    assert world.standing == "Stalled/VersionNotFound"
    world.apply(channel="live")
    world.run(30)
    assert world.standing == "Stalled/ChannelNotFound"
    world.model = None
    world.run(30)
    assert world.standing == "Stalled/ModelNotFound"
    world.model = model("v1", "v2")
    world.apply("v2")
    world.run_until("Ready/Promoted")
    check_golden(world, "unresolved-model")


def test_rollout_stalls_when_a_name_is_taken() -> None:
    world = serving_v1()
    world.foreign = ("Service delays-candidate",)
    world.apply("v2")
    world.run(30)
    assert world.standing == "Stalled/NameConflict"
    world.foreign = ()
    world.run_until("Ready/Promoted")
    check_golden(world, "name-conflict")


def test_traffic_returns_to_stable_when_the_candidate_loses_its_pods() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(30)
    world.happens("the candidate's node goes away")
    world.cluster.kill_pods(world.status["candidate"]["revision"], world.now)
    world.tick()
    assert world.standing == "Reconciling/CandidateStarting"
    world.run_until("Ready/Promoted")
    check_golden(world, "candidate-loses-its-pods")


def test_operator_upgrade_moves_no_pod_when_it_brings_another_image() -> None:
    world = serving_v1()
    images = {w.image for w in world.cluster.workloads.values()}
    pods = [pod for w in world.cluster.workloads.values() for pod in w.pods]
    world.upgrade("mooring-serving:2")
    world.run(60)
    assert world.standing == "Ready/Initialized"
    assert [pod for w in world.cluster.workloads.values() for pod in w.pods] == pods
    assert {w.image for w in world.cluster.workloads.values()} == images
    world.apply("v2")
    world.run_until("Ready/Promoted")
    assert world.stable is not None
    assert world.stable.image == "mooring-serving:2"
    assert world.status["stable"]["digest"] == digest_of("v2")
    check_golden(world, "operator-upgrade")
