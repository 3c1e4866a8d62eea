import pytest

from mooring_operator.ids import ObjectKey
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.ingest import Ingest
from mooring_operator.reconcile.routing import keys_to_wake
from mooring_operator.reconcile.streams import Streams
from tests.unit.shell.manual_clock import ManualClock
from tests.unit.shell.objects import deployment_resource, pod, thing

M = ObjectKey("Model", "a", "m")
D = ObjectKey("ModelDeployment", "a", "d")
P = ObjectKey("RetrainPolicy", "a", "p")


def _world() -> Cache:
    cache = Cache()
    cache.apply("ADDED", thing("Model", "m"))
    cache.apply("ADDED", deployment_resource())
    cache.apply("ADDED", thing("RetrainPolicy", "p", spec={"deployment": {"name": "d"}}))
    cache.apply("ADDED", thing("Namespace", "a", namespace="", labels={}))
    return cache


def _woken(cache: Cache, manifest: dict[str, object], event: str = "MODIFIED") -> set[ObjectKey]:
    change = cache.apply(event, manifest)
    assert change is not None
    return keys_to_wake(cache, change)


def test_model_wakes_deployments_and_policies_that_name_it() -> None:
    assert _woken(_world(), thing("Model", "m", version=2, spec={})) == {M, D, P}


def test_model_wakes_nobody_else_when_only_its_users_are_others() -> None:
    cache = _world()
    known = {"newest": "v1", "versions": [{"name": "v1"}]}
    assert _woken(cache, thing("Model", "m", version=2, status=known)) == {M, D, P}
    used = known | {"usedBy": [{"deployment": "d", "version": "v1", "role": "Stable"}]}
    assert _woken(cache, thing("Model", "m", version=3, status=used)) == {M}
    refused = used | {"versions": [{"name": "v1", "phase": "Refused"}]}
    assert _woken(cache, thing("Model", "m", version=4, status=refused)) == {M, D, P}


def test_deployment_wakes_itself_and_its_policies() -> None:
    assert _woken(_world(), deployment_resource(version=2, replicas=3)) == {D, P}


STABLE = {"version": "v1", "revision": "r1", "digest": "sha256:1"}


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"status": {"stable": STABLE}}, id="it serves"),
        pytest.param({"status": {"candidate": STABLE}}, id="it tries"),
        pytest.param({"status": {"quarantine": [STABLE]}}, id="it rolled back"),
        pytest.param({"spec": {"model": {"name": "n", "version": "v1"}}}, id="it left"),
    ],
)
def test_deployment_wakes_its_model_when_it_uses_versions_otherwise(
    changed: dict[str, object],
) -> None:
    cache = _world()
    assert M in _woken(cache, deployment_resource(version=2) | changed)
    again = deployment_resource(version=3) | changed
    assert M not in _woken(cache, again), "that is no news to the Model"


def test_deployment_wakes_its_model_when_it_goes() -> None:
    assert _woken(_world(), deployment_resource(version=2), "DELETED") == {M, D, P}


def test_policy_wakes_itself_and_its_deployment() -> None:
    changed = thing("RetrainPolicy", "p", version=2, spec={"deployment": {"name": "d"}})
    assert P in _woken(_world(), changed)


def test_pod_wakes_its_deployment_also_when_it_goes() -> None:
    cache = _world()
    assert _woken(cache, pod("1", "r1"), "ADDED") == {D}
    assert _woken(cache, pod("1", "r1", version=2), "DELETED") == {D}


def test_version_record_wakes_its_model() -> None:
    record = thing("ControllerRevision", "r", labels={"mooring.dev/model": "m"})
    assert _woken(_world(), record, "ADDED") == {M}


def test_namespace_wakes_deployments_only_when_its_environment_changes() -> None:
    cache = _world()
    other = thing("Namespace", "a", namespace="", version=2, labels={"team": "x"})
    assert _woken(cache, other) == set()
    env = thing("Namespace", "a", namespace="", version=3, labels={"mooring.dev/environment": "p"})
    assert _woken(cache, env) == {D}


def test_namespace_wakes_everything_in_it_when_another_operator_is_to_serve_it() -> None:
    given = thing("Namespace", "a", namespace="", version=2, labels={"mooring.dev/operator": "x"})
    assert _woken(_world(), given) == {M, D, P}


def test_relabelled_child_wakes_old_and_new_owner() -> None:
    cache = _world()
    cache.apply("ADDED", pod("1", "r1"))
    moved = pod("1", "r1", version=2)
    moved["metadata"]["labels"]["mooring.dev/deployment"] = "e"
    assert _woken(cache, moved) == {D, ObjectKey("ModelDeployment", "a", "e")}


def test_first_sight_of_old_objects_is_a_review_and_every_change_is_news() -> None:
    news: list[ObjectKey] = []
    reviews: list[ObjectKey] = []
    ingest = Ingest(Cache(), Streams(), ManualClock(), OperatorMetrics())
    ingest.subscribe(news.append, reviews.append)
    ingest.listed("Model", [thing("Model", "m", version=5)], "6", ManualClock().now())
    ingest.watched(None, deployment_resource(version=6))
    assert not news
    assert set(reviews) == {M, D}
    ingest.watched("MODIFIED", thing("Model", "m", version=7, spec={}))
    assert set(news) == {M, D}
    news.clear()
    reviews.clear()
    ingest.listed("Model", [], "9", ManualClock().now())
    assert set(news) == {M, D}, "what was lost meanwhile is news"
    assert not reviews
    ingest.wake_all()
    assert reviews == [D]
