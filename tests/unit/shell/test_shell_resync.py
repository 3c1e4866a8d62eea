import asyncio
from datetime import timedelta

import kopf

from mooring_operator.errors import NotFound, Transient
from mooring_operator.handlers.configure import JitteredForever, kopf_settings
from mooring_operator.handlers.forgetful import NoMemories
from mooring_operator.ids import ObjectKey
from mooring_operator.io.resources import WATCHED
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.health import Health
from mooring_operator.reconcile.ingest import Ingest
from mooring_operator.reconcile.resync import Resync
from mooring_operator.reconcile.streams import Streams
from tests.unit.shell.harness import KEY
from tests.unit.shell.manual_clock import ManualClock, no_jitter, settle
from tests.unit.shell.memory_kube import MemoryKube
from tests.unit.shell.objects import deployment_resource, pod, thing

PATIENCE = timedelta(seconds=120)


class World:
    """Lists, streams and probes over an in-memory Kubernetes."""

    def __init__(self, *namespaces: str) -> None:
        self.kube, self.clock, self.cache = MemoryKube(), ManualClock(), Cache()
        streams, metrics = Streams(), OperatorMetrics()
        self.ingest = Ingest(self.cache, streams, self.clock, metrics)
        self.woken: list[object] = []
        self.ingest.subscribe(self.woken.append)
        self.resync = Resync(
            self.kube,
            self.ingest,
            streams,
            self.clock,
            namespaces=namespaces,
            patience=PATIENCE,
        )
        self.health = Health(streams, self.resync, self.clock, metrics, patience=PATIENCE)


async def test_process_is_ready_after_the_first_complete_list_however_long_it_takes() -> None:
    world = World()
    world.kube.put(deployment_resource())
    world.kube.fail = lambda verb, what: Transient("starting") if what == "Job" else None
    first = asyncio.create_task(world.resync.first())
    await world.clock.advance(30.0)
    assert world.health.readyz().status == 503
    world.kube.fail = lambda verb, what: None
    await world.clock.advance(3.0)
    assert first.done()
    assert world.health.readyz().status == 200
    assert world.cache.get(KEY) is not None
    world.health.stopping = True
    assert world.health.readyz().status == 503


async def test_lost_deletion_is_found_by_the_next_list_and_wakes_the_key() -> None:
    world = World()
    world.kube.put(deployment_resource())
    await world.resync.first()
    running = asyncio.create_task(world.resync.run(timedelta(minutes=10), no_jitter))
    del world.kube.objects["ModelDeployment", "a", "d"]
    world.woken.clear()
    await world.clock.advance(601.0 + 15.0)
    assert world.cache.get(KEY) is None
    assert KEY in world.woken
    running.cancel()


async def test_doubted_kind_is_listed_at_once() -> None:
    world = World()
    world.kube.put(deployment_resource())
    await world.resync.first()
    running = asyncio.create_task(world.resync.run(timedelta(minutes=10), no_jitter))
    await settle()
    del world.kube.objects["ModelDeployment", "a", "d"]
    world.kube.calls.clear()
    world.resync.doubt("ModelDeployment")
    await settle()
    assert world.cache.get(KEY) is None
    assert world.kube.calls == [("list", "ModelDeployment")]
    running.cancel()


async def test_deletion_between_our_first_list_and_that_of_the_watch_is_found() -> None:
    world = World()
    world.kube.put(deployment_resource())
    world.resync.doubt("Model")  # the watch listed Models before we did
    await world.resync.first()
    del world.kube.objects["ModelDeployment", "a", "d"]
    world.resync.doubt("ModelDeployment")  # and deployments after
    world.kube.calls.clear()
    running = asyncio.create_task(world.resync.run(timedelta(minutes=10), no_jitter))
    await settle()
    assert world.cache.get(KEY) is None
    assert world.kube.calls == [("list", "ModelDeployment")]
    running.cancel()


async def test_first_list_is_the_only_one_when_every_kind_was_watched_before_it() -> None:
    world = World()
    begun = asyncio.create_task(world.resync.watches_begun(60.0))
    for type_ in WATCHED:
        await settle()
        assert not begun.done()
        world.resync.doubt(type_.kind)
    await begun
    await world.resync.first()
    world.kube.calls.clear()
    running = asyncio.create_task(world.resync.run(timedelta(minutes=10), no_jitter))
    await settle()
    assert world.kube.calls == []
    running.cancel()


async def test_first_list_does_not_wait_for_a_watch_for_ever() -> None:
    world = World()
    world.resync.doubt("Model")
    await world.resync.watches_begun(0.01)
    await world.resync.first()
    assert world.resync.complete


async def test_doubt_stays_until_the_list_succeeds_and_then_everybody_looks_again() -> None:
    world = World()
    world.kube.put(deployment_resource())
    await world.resync.first()
    running = asyncio.create_task(world.resync.run(timedelta(minutes=10), no_jitter))
    world.kube.fail = lambda verb, what: Transient("away")
    world.resync.doubt()
    await world.clock.advance(5.0)
    world.woken.clear()
    world.kube.fail = lambda verb, what: None
    await world.clock.advance(2.5)
    assert KEY in world.woken, "its own back-off may be minutes"
    world.kube.calls.clear()
    await world.clock.advance(45.0)
    assert world.kube.calls == [], "and that was that"
    running.cancel()


async def test_only_the_served_namespaces_are_listed() -> None:
    world = World("a", "b")
    world.kube.put(deployment_resource())
    elsewhere = deployment_resource("other")
    elsewhere["metadata"]["namespace"] = "c"
    world.kube.put(elsewhere)
    await world.resync.first()
    assert world.cache.keys("ModelDeployment") == (KEY,)


def without_routes(verb: str, what: str) -> Exception | None:
    """An API server that has no Gateway API."""
    return NotFound("no such resource") if what == "HTTPRoute" else None


async def test_kind_that_the_api_server_has_not_is_neither_watched_nor_waited_for() -> None:
    world = World()
    world.kube.fail = without_routes
    await world.resync.find_optional()
    await world.resync.first()
    assert world.health.readyz().status == 200
    assert {type_.kind for type_ in world.resync.watched} == {type_.kind for type_ in WATCHED}
    assert not world.cache.serves("HTTPRoute")


async def test_kind_that_is_there_from_the_start_is_listed_and_watched() -> None:
    world = World()
    await world.resync.find_optional()
    assert world.cache.serves("HTTPRoute")
    assert "HTTPRoute" in {type_.kind for type_ in world.resync.watched}


async def test_kind_that_is_installed_later_is_found_and_everybody_looks_again() -> None:
    world = World()
    begun: list[int] = []
    world.resync.on_kinds = lambda: begun.append(1)
    world.kube.put(deployment_resource())
    world.kube.fail = without_routes
    await world.resync.find_optional()
    await world.resync.first()
    running = asyncio.create_task(world.resync.run(timedelta(minutes=10), no_jitter))
    world.kube.fail = lambda verb, what: None
    world.woken.clear()
    await world.clock.advance(80.0)
    assert world.cache.serves("HTTPRoute")
    assert KEY in world.woken
    assert len(begun) == 1
    world.kube.calls.clear()
    await world.clock.advance(80.0)
    assert ("list", "HTTPRoute") not in world.kube.calls, "found once"
    running.cancel()


async def test_kind_that_is_taken_away_leaves_nothing_in_the_cache() -> None:
    world = World()
    route = thing("HTTPRoute", "d", labels={"mooring.dev/deployment": "d"})
    world.kube.put(route)
    world.kube.put(deployment_resource())
    await world.resync.find_optional()
    await world.resync.first()
    key = ObjectKey("HTTPRoute", "a", "d")
    assert world.cache.get(key) is not None
    running = asyncio.create_task(world.resync.run(timedelta(minutes=10), no_jitter))
    await settle()
    world.kube.fail = without_routes
    world.woken.clear()
    world.resync.doubt("HTTPRoute")
    await settle()
    assert world.cache.get(key) is None
    assert not world.cache.serves("HTTPRoute")
    assert KEY in world.woken
    assert world.health.livez().status == 200
    running.cancel()


async def test_liveness_fails_when_a_stream_stays_blind() -> None:
    world = World()
    world.kube.put(deployment_resource())  # the watch will never tell of it
    await world.resync.first()
    running = asyncio.create_task(world.resync.run(timedelta(minutes=10), no_jitter))
    await world.clock.advance(100.0)
    assert world.health.livez().status == 200
    await world.clock.advance(60.0)
    answer = world.health.livez()
    assert (answer.status, b"ModelDeployment" in answer.body) == (503, True)
    world.ingest.watched(None, world.kube.objects["ModelDeployment", "a", "d"])
    assert world.health.livez().status == 200
    running.cancel()
    await settle()


def test_patience_with_the_api_server_never_ends_and_begins_anew() -> None:
    pauses = JitteredForever(no_jitter)
    first = [pause for pause, _ in zip(pauses, range(12), strict=False)]
    assert first[:3] == [0.2, 0.4, 0.8]
    assert first[-1] == 30.0
    assert next(iter(pauses)) == 0.2


def test_kopf_compares_no_object_with_its_past() -> None:
    persistence = kopf_settings(no_jitter).persistence
    body = kopf.Body({"metadata": {"labels": {"a": "b"}}, "spec": {"big": [1, 2]}})
    patch = kopf.Patch()
    essence = persistence.diffbase_storage.build(body=body)
    assert persistence.progress_storage.clear(essence=essence) == {}
    persistence.diffbase_storage.store(body=body, patch=patch, essence=essence)
    persistence.progress_storage.touch(body=body, patch=patch, value="now")
    assert persistence.diffbase_storage.fetch(body=body) is None
    assert not patch


async def test_kopf_remembers_no_object() -> None:
    memories = NoMemories()
    body: kopf.RawBody = {"metadata": {"uid": "u"}}
    await memories.recall(body, noticed_by_listing=False)
    assert list(memories.iter_all_memories()) == []


def test_kopf_is_kept_from_writing_and_filters_on_the_server() -> None:
    settings = kopf_settings(no_jitter)
    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    filtered = [type_ for type_ in WATCHED if type_.selector]
    assert len(settings.watching.label_selectors) == len(filtered) > 5


async def test_pods_of_a_finished_job_are_listed_again_before_it_counts_as_unanswered() -> None:
    world = World()
    world.cache.on_missed = world.resync.doubt
    await world.resync.first()
    ended = world.clock.now() + timedelta(seconds=15)
    task = asyncio.create_task(world.resync.run(timedelta(minutes=10), lambda: 0.5))
    await world.clock.advance(20.0)
    assert not world.cache.listed_since("Pod", ended)
    world.kube.put(pod("1", "r1"))
    world.cache.on_missed("Pod")
    await world.clock.advance(0.0)
    assert world.cache.listed_since("Pod", ended)
    assert [key.name for key in world.cache.keys("Pod")] == ["1"]
    task.cancel()
