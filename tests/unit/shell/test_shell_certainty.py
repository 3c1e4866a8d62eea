"""What a process that has just begun does on the word of a list from the past: nothing."""

from typing import Any

import pytest

from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.core.decision import ChildRef, Decision, Manifest, Route, RouteRole
from mooring_operator.errors import Conflict
from mooring_operator.ids import Revision
from tests.unit.shell.harness import KEY, Harness, always
from tests.unit.shell.objects import deployment_resource

STATUS = ModelDeploymentStatus(observed_generation=1, phase="Ready")
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "d", "labels": {"mooring.dev/deployment": "d"}},
    "spec": {"ports": [{"port": 80}]},
}
WEIGHTED = {
    Revision("a" * 12): Route(
        RouteRole.STABLE,
        phase="p.1/0",
        candidate_revision=Revision("b" * 12),
        weight_percent=5,
    )
}


def _stale(decision: Decision[Any]) -> tuple[Harness, Manifest]:
    """The cache holds a version that the API server has replaced, with a status that is decided
    just like that again."""
    world = Harness(decide=always(decision))
    stored = world.kube.put(deployment_resource() | {"status": STATUS.to_wire()})
    world.ingest.watched(None, stored)
    newest = world.kube.put(stored | {"spec": {"model": {"name": "m", "version": "v2"}}})
    return world, newest


async def test_child_is_not_applied_when_its_owner_is_older_than_the_stored_one() -> None:
    world, newest = _stale(Decision(status=STATUS, children=(SERVICE,)))
    with pytest.raises(Conflict, match="newer"):
        await world.loop.reconcile(KEY)
    assert world.kube.writes() == []
    assert world.cache.get(KEY) == newest, "the next look sees the newest"
    await world.loop.reconcile(KEY)
    assert [verb for verb, _ in world.kube.writes()] == ["apply"]


async def test_child_is_not_deleted_when_its_owner_is_older_than_the_stored_one() -> None:
    world, _ = _stale(Decision(status=STATUS, prune=(ChildRef("v1", "Service", "d"),)))
    world.ingest.watched("ADDED", world.kube.put({**SERVICE, "metadata": _named("d")}))
    with pytest.raises(Conflict):
        await world.loop.reconcile(KEY)
    assert world.kube.writes() == []


async def test_weight_is_not_told_when_the_owner_is_older_than_the_stored_one() -> None:
    world, _ = _stale(Decision(status=STATUS, routes=WEIGHTED))
    with pytest.raises(Conflict):
        await world.loop.reconcile(KEY)
    assert world.routes == []
    await world.loop.reconcile(KEY)
    assert world.routes == [WEIGHTED]


async def test_nothing_is_done_for_an_owner_that_is_gone() -> None:
    world, _ = _stale(Decision(status=STATUS, children=(SERVICE,)))
    del world.kube.objects["ModelDeployment", "a", "d"]
    with pytest.raises(Conflict, match="gone"):
        await world.loop.reconcile(KEY)
    assert world.kube.writes() == []
    assert await world.loop.reconcile(KEY) is None


async def test_child_that_went_with_its_owner_is_not_made_again() -> None:
    world = Harness(decide=always(Decision(status=STATUS, children=(SERVICE,))))
    world.declare()
    await world.loop.reconcile(KEY)
    made = world.kube.objects.pop(("Service", "a", "d"))
    del world.kube.objects["ModelDeployment", "a", "d"]
    world.ingest.watched("DELETED", made)  # the end of its owner is still on its way
    world.kube.calls.clear()
    with pytest.raises(Conflict, match="gone"):
        await world.loop.reconcile(KEY)
    assert world.kube.writes() == []


async def test_owner_is_looked_at_once_and_not_for_plain_serving() -> None:
    plain = {Revision("a" * 12): Route(RouteRole.STABLE)}
    world = Harness(decide=always(Decision(status=STATUS, routes=plain)))
    stored = world.kube.put(deployment_resource() | {"status": STATUS.to_wire()})
    world.ingest.watched(None, stored)
    await world.loop.reconcile(KEY)
    assert world.kube.calls == [], "five thousand of them begin without a single request"
    world.decide = always(Decision(status=STATUS, routes=WEIGHTED))
    await world.loop.reconcile(KEY)
    await world.loop.reconcile(KEY)
    assert world.kube.calls == [("get", "ModelDeployment a/d")]


def _named(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "a", "labels": {"mooring.dev/deployment": "d"}}
