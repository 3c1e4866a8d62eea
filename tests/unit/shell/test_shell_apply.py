from typing import Any

import pytest

from mooring_operator.core.decision import ChildRef
from mooring_operator.errors import Conflict, Transient
from mooring_operator.reconcile.apply import Applier
from mooring_operator.reconcile.observe_deployment import observe_deployment
from tests.unit.shell.harness import KEY, Harness
from tests.unit.shell.objects import deployment_resource

OURS = {"app.kubernetes.io/managed-by": "mooring", "mooring.dev/deployment": "d"}


def _service(port: int = 80) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "d", "labels": dict(OURS)},
        "spec": {"ports": [{"port": port}]},
    }


def _job(image: str) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "train", "labels": dict(OURS)},
        "spec": {"template": {"image": image}},
    }


def _applied(world: Harness) -> int:
    return sum(1 for verb, _ in world.kube.calls if verb == "apply")


async def test_child_gets_namespace_label_and_controlling_owner() -> None:
    world = Harness()
    owner = world.declare()
    await world.applier.apply(owner, [_service()])
    metadata = world.kube.objects["Service", "a", "d"]["metadata"]
    assert metadata["namespace"] == "a"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "mooring"
    assert metadata["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    assert metadata["ownerReferences"][0]["controller"] is True


async def test_edited_child_is_repaired() -> None:
    world = Harness()
    owner = world.declare()
    await world.applier.apply(owner, [_service()])
    edited = world.kube.objects["Service", "a", "d"]
    edited["spec"] = {"ports": [{"port": 81}]}
    world.kube.put(edited)
    world.tell()
    await world.applier.apply(owner, [_service()])
    assert world.kube.objects["Service", "a", "d"]["spec"] == {"ports": [{"port": 80}]}


async def test_change_of_a_child_does_not_bring_it_back_when_it_is_gone() -> None:
    world = Harness()
    owner = world.declare()
    await world.applier.apply(owner, [_service()])
    world.tell()
    del world.kube.objects["Service", "a", "d"]  # and the watch has not told of it yet
    with pytest.raises(Conflict):
        await world.applier.apply(owner, [_service(port=81)])
    assert ("Service", "a", "d") not in world.kube.objects


async def test_deleted_child_is_made_again() -> None:
    world = Harness()
    owner = world.declare()
    await world.applier.apply(owner, [_service()])
    gone = world.kube.objects.pop(("Service", "a", "d"))
    world.ingest.watched("DELETED", gone)
    await world.applier.apply(owner, [_service()])
    assert ("Service", "a", "d") in world.kube.objects


async def test_value_that_the_api_server_writes_differently_is_not_applied_for_ever() -> None:
    world = Harness()
    owner = world.declare()
    wanted = _service()
    wanted["spec"]["cpu"] = "1000m"
    await world.applier.apply(owner, [wanted])
    normal = world.kube.objects["Service", "a", "d"]
    normal["spec"]["cpu"] = "1"
    world.kube.put(normal)
    world.tell()
    store = world.kube.put

    async def normalising(manifest: dict[str, Any], *, manager: str) -> dict[str, Any]:
        world.kube.calls.append(("apply", "Service a/d"))
        metadata = {**normal["metadata"], **manifest["metadata"]}
        return store({**manifest, "metadata": metadata, "spec": manifest["spec"] | {"cpu": "1"}})

    world.kube.apply = normalising
    for _ in range(3):
        await world.applier.apply(owner, [wanted])
        world.tell()
    assert _applied(world) == 2


async def test_restarted_operator_does_not_apply_what_is_as_wanted() -> None:
    world = Harness()
    owner = world.declare()
    await world.applier.apply(owner, [_service()])
    restarted = Applier(world.kube, world.cache, world.ingest, lambda: None, world.certainty)
    await restarted.apply(owner, [_service()])
    assert _applied(world) == 1


async def test_job_is_created_once_and_never_changed() -> None:
    world = Harness()
    owner = world.declare()
    await world.applier.apply(owner, [_job("one")])
    world.tell()
    await world.applier.apply(owner, [_job("two")])
    assert world.kube.objects["Job", "a", "train"]["spec"]["template"]["image"] == "one"
    assert len(world.kube.writes()) == 1


async def test_job_that_was_created_just_before_a_crash_is_taken_over() -> None:
    world = Harness()
    owner = world.declare()
    await world.applier.apply(owner, [_job("one")])
    uid = world.kube.objects["Job", "a", "train"]["metadata"]["uid"]
    fresh = Harness(kube=world.kube)
    fresh.ingest.watched("ADDED", owner)
    await fresh.applier.apply(owner, [_job("one")])
    assert fresh.kube.objects["Job", "a", "train"]["metadata"]["uid"] == uid


async def test_somebody_elses_object_is_left_alone_and_named() -> None:
    world = Harness()
    owner = world.declare()
    theirs = world.kube.put(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "d", "namespace": "a"},
            "spec": {"ports": [{"port": 5432}]},
        }
    )
    with pytest.raises(Conflict):
        await world.applier.apply(owner, [_service()])
    assert await world.applier.foreign(KEY) == ("Service d",)
    assert world.kube.objects["Service", "a", "d"] == theirs
    del world.kube.objects["Service", "a", "d"]
    assert await world.applier.foreign(KEY) == ()
    await world.applier.apply(owner, [_service()])


async def test_predecessors_child_is_waited_for() -> None:
    world = Harness()
    owner = world.declare()
    await world.applier.apply(owner, [_service()])
    successor = {**owner, "metadata": {**owner["metadata"], "uid": "another"}}
    with pytest.raises(Transient, match="which is gone"):
        await world.applier.apply(successor, [_service()])


async def test_child_of_another_deployment_that_lives_is_left_to_it() -> None:
    """`d` needs a Service d-candidate, and so does a deployment of that name."""
    world = Harness()
    first = world.kube.put(deployment_resource("d-candidate"))
    world.ingest.watched("ADDED", first)
    later = world.declare()
    shared = _service()
    shared["metadata"] = {"name": "d-candidate", "labels": dict(OURS)}
    await world.applier.apply(first, [shared])
    kept = world.kube.objects["Service", "a", "d-candidate"]
    with pytest.raises(Conflict):
        await world.applier.apply(later, [shared])
    assert await world.applier.foreign(KEY) == ("Service d-candidate",)
    assert world.kube.objects["Service", "a", "d-candidate"] == kept
    world.tell()
    foreign = await world.applier.foreign(KEY)
    observation = observe_deployment(world.cache, later, foreign=foreign, telemetry=None)
    assert observation.rivals == {"Service d-candidate": "ModelDeployment d-candidate"}


async def test_prune_deletes_only_what_the_owner_controls() -> None:
    world = Harness()
    owner = world.declare()
    await world.applier.apply(owner, [_service()])
    stranger = {**owner, "metadata": {**owner["metadata"], "uid": "another"}}
    ref = ChildRef("v1", "Service", "d")
    await world.applier.prune(stranger, [ref, ChildRef("v1", "Service", "unknown")])
    assert ("Service", "a", "d") in world.kube.objects
    await world.applier.prune(owner, [ref])
    assert ("Service", "a", "d") not in world.kube.objects
    await world.applier.prune(owner, [ref])
