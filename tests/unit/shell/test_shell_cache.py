import json
import tracemalloc

from mooring_operator.ids import ObjectKey
from mooring_operator.reconcile.cache import Cache
from tests.unit.shell.objects import deployment_resource, pod, thing

D = ObjectKey("ModelDeployment", "a", "d")


def _child(name: str, version: int, uid: str = "") -> dict[str, object]:
    return thing("Service", name, version=version, uid=uid, labels={"mooring.dev/deployment": "d"})


def test_version_never_goes_back_when_events_come_late() -> None:
    cache = Cache()
    assert cache.apply("ADDED", _child("s", 5))
    assert cache.apply("MODIFIED", _child("s", 4)) is None
    assert cache.apply("MODIFIED", _child("s", 5)) is None
    stored = cache.get(ObjectKey("Service", "a", "s"))
    assert stored is not None
    assert stored["metadata"]["resourceVersion"] == "5"


def test_own_write_is_read_back_before_its_event() -> None:
    cache = Cache()
    cache.apply("ADDED", _child("s", 5))
    assert cache.store(_child("s", 9))
    assert cache.apply("MODIFIED", _child("s", 7)) is None
    assert cache.apply("MODIFIED", _child("s", 9)) is None


def test_what_an_object_carries_is_known_of_one_version_alone() -> None:
    cache, key = Cache(), ObjectKey("Service", "a", "s")
    cache.note_carried(key, 5, "one")
    assert cache.carried(key) == "", "there is no such object"
    cache.apply("ADDED", _child("s", 5))
    cache.note_carried(key, 4, "one")
    assert cache.carried(key) == "", "that was of another version"
    cache.note_carried(key, 5, "one")
    assert cache.apply("MODIFIED", _child("s", 5)) is None
    assert cache.carried(key) == "one"
    cache.apply("MODIFIED", _child("s", 6))
    assert cache.carried(key) == ""


def test_list_finds_deletion_that_no_watch_told_of() -> None:
    cache = Cache()
    cache.apply("ADDED", _child("kept", 5))
    cache.apply("ADDED", _child("lost", 6))
    changes = list(cache.replace("Service", [_child("kept", 5)], "10"))
    assert [(change.key.name, change.after) for change in changes] == [("lost", None)]
    assert cache.linked("Service", D) == (cache.get(ObjectKey("Service", "a", "kept")),)


def test_object_younger_than_the_list_survives_it() -> None:
    cache = Cache()
    cache.apply("ADDED", _child("young", 11))
    assert list(cache.replace("Service", [], "10")) == []
    assert cache.get(ObjectKey("Service", "a", "young")) is not None


def test_late_news_of_the_dead_is_not_believed() -> None:
    cache = Cache()
    cache.apply("ADDED", _child("s", 5))
    assert cache.apply("DELETED", _child("s", 8))
    assert cache.store(_child("s", 7)) is None
    assert cache.get(ObjectKey("Service", "a", "s")) is None


def test_object_comes_back_when_it_had_only_left_the_label_selector() -> None:
    cache = Cache()
    cache.apply("ADDED", _child("s", 5))
    cache.apply("DELETED", _child("s", 8))  # someone took the managed-by label away
    assert cache.store(_child("s", 9))  # our repair put it back: the same uid


def test_successor_of_the_same_name_is_not_deleted_with_its_predecessor() -> None:
    cache = Cache()
    cache.apply("ADDED", _child("s", 5, uid="old"))
    cache.apply("ADDED", _child("s", 9, uid="new"))
    assert cache.apply("DELETED", _child("s", 8, uid="old")) is None
    assert cache.store(_child("s", 6, uid="old")) is None
    stored = cache.get(ObjectKey("Service", "a", "s"))
    assert stored is not None
    assert stored["metadata"]["uid"] == "new"


def test_links_follow_a_changed_reference() -> None:
    cache = Cache()
    cache.apply("ADDED", deployment_resource(version=1))
    m, other = ObjectKey("Model", "a", "m"), ObjectKey("Model", "a", "other")
    assert len(cache.linked("ModelDeployment", m)) == 1
    moved = deployment_resource(version=2)
    moved["spec"]["model"]["name"] = "other"
    cache.apply("MODIFIED", moved)
    assert cache.linked("ModelDeployment", m) == ()
    assert len(cache.linked("ModelDeployment", other)) == 1


def test_bulk_that_nobody_reads_is_not_kept() -> None:
    cache = Cache()
    big = pod("1", "r1", spec={"containers": [{"name": "server", "env": ["x"] * 100}]})
    big["metadata"]["managedFields"] = [{"manager": "kubelet"}] * 10
    cache.apply("ADDED", big)
    stored = cache.get(ObjectKey("Pod", "a", "1"))
    assert stored is not None
    assert "managedFields" not in stored["metadata"]
    assert stored["spec"] == {"initContainers": [], "containers": [{"name": "server"}]}
    assert "managedFields" in big["metadata"], "what came in is not changed"


def test_reader_cannot_change_what_is_kept() -> None:
    cache = Cache()
    cache.apply("ADDED", _child("s", 5))
    key = ObjectKey("Service", "a", "s")
    (mine,) = cache.linked("Service", D)
    mine["metadata"]["labels"].clear()
    kept = cache.get(key)
    assert kept is not None
    assert kept["metadata"]["labels"] == {"mooring.dev/deployment": "d"}


def test_object_that_speaks_of_another_one_now_is_found_there_alone() -> None:
    cache = Cache()
    cache.apply("ADDED", _child("s", 5))
    other = ObjectKey("ModelDeployment", "a", "e")
    labels = {"mooring.dev/deployment": "e"}
    cache.apply("MODIFIED", thing("Service", "s", version=6, labels=labels))
    assert cache.linked("Service", D) == ()
    assert cache.keys_linked("Service", other) == [ObjectKey("Service", "a", "s")]


def test_kept_object_takes_less_memory_than_its_json() -> None:
    def child(number: int) -> dict[str, object]:
        labels = {"mooring.dev/deployment": f"d{number}"}
        spec = {"ports": [{"name": f"p{port}", "port": port} for port in range(30)]}
        return thing("Service", f"s{number}", version=5, labels=labels, spec=spec)

    cache = Cache()
    wire = sum(len(json.dumps(child(number))) for number in range(500))
    tracemalloc.start()
    try:
        for number in range(500):
            cache.apply("ADDED", child(number))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 0.8 * wire, f"{taken / 500:.0f} bytes each, {wire / 500:.0f} as JSON"
