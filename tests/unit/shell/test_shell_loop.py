from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import ModelDeploymentStatus, StableStatus
from mooring_operator.core.decision import Decision, EventNote, EventType, Route, RouteRole
from mooring_operator.errors import Conflict, LeadershipLost, Refused, Unparsable
from mooring_operator.ids import Revision
from tests.unit.shell.harness import KEY, Harness, always

STATUS = ModelDeploymentStatus(observed_generation=1, phase="Analysing")
NOTE = EventNote(EventType.NORMAL, Reason.PROMOTED, "v2 serves")
ROUTES = {Revision("r1"): Route(RouteRole.STABLE)}


def _service(name: str = "d", port: int = 80) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "a",
            "labels": {"mooring.dev/deployment": "d"},
        },
        "spec": {"ports": [{"port": port}]},
    }


def _decision(**rest: Any) -> Decision[Any]:
    return Decision(status=STATUS, routes=ROUTES, **rest)


async def test_status_is_written_before_any_side_effect() -> None:
    decision = _decision(children=(_service(),), events=(NOTE,))
    world = Harness(decide=always(decision))
    world.declare()
    await world.loop.reconcile(KEY)
    assert [verb for verb, _ in world.kube.writes()] == ["patch status", "apply"]
    await world.events.flush()
    assert [verb for verb, _ in world.kube.writes()] == ["patch status", "apply", "create"]
    assert world.routes == [ROUTES]
    assert world.status()["phase"] == "Analysing"


async def test_second_look_at_an_unchanged_world_writes_nothing() -> None:
    world = Harness(decide=always(_decision(children=(_service(),))))
    world.declare()
    await world.loop.reconcile(KEY)
    written = len(world.kube.writes())
    world.tell()
    await world.loop.reconcile(KEY)
    assert len(world.kube.writes()) == written


async def test_no_side_effect_happens_when_the_status_is_in_conflict() -> None:
    world = Harness(decide=always(_decision(children=(_service(),), events=(NOTE,))))
    stored = world.declare()
    world.kube.put(stored | {"spec": {"model": {"name": "m", "version": "v2"}}})
    with pytest.raises(Conflict):
        await world.loop.reconcile(KEY)
    await world.events.flush()
    assert [verb for verb, _ in world.kube.writes()] == ["patch status"]
    known = world.cache.get(KEY)
    assert known is not None
    assert known["spec"]["model"]["version"] == "v2", "the next look sees the newest"
    await world.loop.reconcile(KEY)
    assert world.status()["phase"] == "Analysing"


async def test_poisonous_object_says_so_in_its_conditions_and_recovers() -> None:
    world = Harness()
    world.declare()

    def poison(*_: object) -> Decision[Any]:
        raise ZeroDivisionError("a bug")

    world.decide = poison
    with pytest.raises(ZeroDivisionError) as caught:
        await world.loop.reconcile(KEY)
    await world.loop.on_failure(KEY, caught.value)
    ready, reconciling = world.condition("Ready"), world.condition("Reconciling")
    assert ready is not None
    assert reconciling is not None
    assert (ready["status"], ready["reason"]) == ("False", "OperatorError")
    assert "ZeroDivisionError: a bug" in reconciling["message"]

    writes = len(world.kube.writes())
    await world.loop.on_failure(KEY, caught.value)
    assert len(world.kube.writes()) == writes, "failing again is no news"

    world.decide = always(_decision())
    assert await world.loop.reconcile(KEY) == timedelta(0)
    await world.loop.reconcile(KEY)
    assert world.status().get("conditions", []) == []


async def test_refused_child_shows_the_api_servers_sentence_without_flapping() -> None:
    world = Harness(decide=always(_decision(children=(_service(),), events=(NOTE,))))
    world.declare()
    world.kube.fail = lambda verb, what: (
        Refused("exceeded quota: pods=10") if verb == "apply" else None
    )
    for _ in range(3):
        with pytest.raises(Refused) as caught:
            await world.loop.reconcile(KEY)
        await world.loop.on_failure(KEY, caught.value)
    ready = world.condition("Ready")
    assert ready is not None
    assert "exceeded quota" in ready["message"]
    statuses = [call for call in world.kube.writes() if call[0] == "patch status"]
    assert len(statuses) == 2, "one for the decision, one for the failure"
    assert world.routes, "routes are told although a child failed"
    await world.events.flush()
    assert ("create", "Event a/d.") in [(v, w[:10]) for v, w in world.kube.writes()]


async def test_resource_that_does_not_fit_is_stalled_and_names_the_field() -> None:
    def unparsable(*_: object) -> Decision[Any]:
        raise Unparsable("spec.replicas", "spec.replicas: Input should be a valid integer")

    world = Harness(decide=unparsable)
    world.declare(replicas="two")
    assert await world.loop.reconcile(KEY) is None
    stalled = world.condition("Stalled")
    assert stalled is not None
    assert stalled["reason"] == "InvalidSpec"
    assert "spec.replicas" in stalled["message"]
    assert world.status()["observedGeneration"] == 1


async def test_nothing_is_written_when_leadership_is_lost() -> None:
    def lost() -> None:
        raise LeadershipLost("gone")

    world = Harness(decide=always(_decision(children=(_service(),))), guard=lost)
    world.declare()
    with pytest.raises(LeadershipLost):
        await world.loop.reconcile(KEY)
    assert world.kube.writes() == []


async def test_namespace_of_another_operator_is_left_alone() -> None:
    world = Harness(decide=always(_decision(children=(_service(),))), served=False)
    world.declare()
    assert await world.loop.reconcile(KEY) is None
    assert world.kube.calls == []


async def test_deleted_object_is_forgotten() -> None:
    world = Harness()
    assert await world.loop.reconcile(KEY) is None
    assert world.forgotten == [KEY]


async def test_own_write_wakes_dependants_but_not_the_writer() -> None:
    serving = ModelDeploymentStatus(
        observed_generation=1,
        stable=StableStatus(
            revision="1" * 12,
            version="v1",
            digest=f"sha256:{'1' * 64}",
            uri="s3://b/v1",
            image="serving:1",
            since=datetime(2026, 1, 1, tzinfo=UTC),
            seq=1,
            reason="Initialized",
        ),
    )
    world = Harness(decide=always(Decision(status=serving)))
    world.declare()
    world.woken.clear()
    await world.loop.reconcile(KEY)
    assert [str(key) for key in world.woken] == ["Model a/m"]
