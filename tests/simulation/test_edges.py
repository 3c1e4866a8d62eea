"""Lives at the edges of what may be asked for. Drawn lives found each of them."""

from datetime import timedelta
from typing import Any

from tests.builders.resources import DEPLOYMENT, model
from tests.simulation.cluster import Behaviour
from tests.simulation.transcript import check_golden
from tests.simulation.world import World


def serving_v1(**fields: Any) -> World:
    world = World()
    world.apply("v1", **fields)
    world.run_until("Ready/Initialized", within=60)
    return world


def test_revision_is_known_as_good_in_the_look_that_lets_it_serve_when_no_soak_is_asked_for() -> (
    None
):
    world = World()
    world.apply("v1", rollback={"soak": "0s"})
    world.run_until("Ready/Initialized", within=60)
    stable = world.status["stable"]
    assert stable["soakedAt"] == stable["since"]
    assert world.status["history"][0]["soaked"] is True


def test_former_stable_pods_hand_over_what_comes_after_the_flip_when_warmth_is_zero() -> None:
    world = serving_v1(rollback={"keepWarm": "0s"})
    world.apply("v2")
    world.run_until("Ready/Promoted")
    assert len(world.cluster.workloads) == 2, "the flip did not reach the nodes yet"
    assert "stays warm for 2s" in world.transcript.text()
    world.tick()
    assert len(world.cluster.workloads) == 1


def test_pods_that_may_serve_again_stay_when_nothing_is_known_of_them() -> None:
    world = serving_v1()
    revision = world.status["stable"]["revision"]
    world.cluster.kill_pods(revision, world.now)
    world.status = {"observedGeneration": -1}
    for workload in world.cluster.workloads.values():
        workload.memory = None
    world.model = None
    world.run(60)
    assert world.standing == "Stalled/ModelNotFound"
    workload = world.cluster.revision(revision)
    assert workload is not None
    assert workload.created_at < world.now - timedelta(seconds=60), "the same one"
    assert len(workload.ready(world.now)) == 2
    world.model = model("v1")
    world.run_until("Ready/Initialized", within=60)


def test_operator_changes_nothing_any_more_when_the_deployment_is_being_deleted() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(20)
    world.delete()
    status, effects, children = world.status, world.effects, dict(world.cluster.workloads)
    # The garbage collector takes the children, whose owner references lead here.
    world.cluster.workloads.clear()
    world.cluster.services.clear()
    world.run(120)
    assert (world.status, world.effects) == (status, effects)
    assert len(children) == 2
    assert world.cluster.workloads == {}, "nothing was made again"
    check_golden(world, "deleted-mid-candidate")


def all_lost(version: str, **behaviours: Behaviour) -> World:
    """v1 serves; then status and memory are lost while another version is asked for."""
    world = World(behaviours)
    world.apply("v1")
    world.run_until("Ready/Initialized", within=60)
    world.status = {"observedGeneration": -1}
    for workload in world.cluster.workloads.values():
        workload.memory = None
    world.happens("status and memory are lost")
    world.apply(version)
    return world


def test_clients_stay_where_pods_are_when_all_is_lost_and_another_version_is_asked_for() -> None:
    world = all_lost("v2", v2=Behaviour(start_seconds=60.0))
    served = world.cluster.services[DEPLOYMENT]
    world.run(50)
    assert world.standing == "Reconciling/Initializing"
    assert world.cluster.services[DEPLOYMENT] == served
    world.run_until("Ready/Initialized", within=60)
    assert world.cluster.services[DEPLOYMENT] == world.status["stable"]["revision"] != served
    assert world.cluster.traffic.failed == 0
    world.run(60)
    assert len(world.cluster.workloads) == 1
    assert world.cluster.traffic.failed == 0
    check_golden(world, "all-lost-another-version")


def test_clients_stay_where_pods_are_when_the_version_that_is_asked_for_never_starts() -> None:
    world = all_lost("v2", v2=Behaviour(starts=False, failure="crash loop"))
    world.run_until("Stalled/ProgressDeadlineExceeded")
    world.run(600)
    assert world.cluster.traffic.failed == 0
    assert len(world.cluster.workloads) == 2
