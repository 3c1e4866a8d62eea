"""The harness' own parts: what is compared, how events are merged, which write is which."""

import json

from tests.faults.journal import Journal, call_of
from tests.faults.oracle import Outcome, comparable
from tests.faults.plan import WriteKey, stable_name
from tests.faults.streams import merged
from tests.faults.wire import Request

STATUS_PATH = "/apis/mooring.dev/v1alpha1/namespaces/n/modeldeployments/delays/status"


def _request(method: str, target: str, body: object = None) -> Request:
    content = b"" if body is None else json.dumps(body).encode()
    return Request(method, target, (), content)


def _event(type_: str, name: str, uid: str = "u") -> dict[str, object]:
    return {"type": type_, "object": {"metadata": {"name": name, "uid": uid}}}


def test_write_has_the_same_name_in_every_run() -> None:
    journal = Journal(lambda: 0.0)
    first = journal.begin(_request("PATCH", f"{STATUS_PATH}?fieldManager=x", {"status": {}}))
    again = journal.begin(_request("PATCH", STATUS_PATH, {"status": {}}))
    job = {"metadata": {"name": "nightly-by-hand-0a1b2c3d"}}
    created = journal.begin(_request("POST", "/apis/batch/v1/namespaces/n/jobs", job))
    assert first.key == WriteKey("patch", "modeldeployments/delays/status", 1)
    assert again.key.nth == 2
    assert created.key == WriteKey("create", "jobs/nightly-by-hand-HASH", 1)
    assert stable_name("delays-0a1b2c3d4e5f") == "delays-0a1b2c3d4e5f", "a revision is a name"


def test_renewal_of_the_lease_is_no_write_and_a_list_is_no_watch() -> None:
    lease = "/apis/coordination.k8s.io/v1/namespaces/n/leases/mooring-operator"
    assert not call_of(_request("PATCH", lease)).is_write
    assert call_of(_request("GET", "/api/v1/namespaces/n/pods?limit=500")).verb == "list"
    assert call_of(_request("GET", "/api/v1/namespaces/n/pods?watch=true")).verb == "watch"
    assert call_of(_request("GET", "/api/v1/namespaces?watch=true")).plural == "namespaces"


def test_write_of_a_spec_is_a_violation() -> None:
    journal = Journal(lambda: 0.0)
    journal.begin(_request("PATCH", STATUS_PATH, {"status": {}, "spec": {}}))
    journal.begin(_request("PATCH", STATUS_PATH.removesuffix("/status"), {"metadata": {}}))
    assert len(journal.violations) == 2


def test_object_made_anew_between_two_events_seems_to_have_changed_its_uid() -> None:
    events = [
        _event("MODIFIED", "a"),
        _event("DELETED", "b", "old"),
        _event("MODIFIED", "a"),
        _event("ADDED", "b", "new"),
    ]
    assert merged(events) == [_event("MODIFIED", "a"), _event("MODIFIED", "b", "new")]


def test_comparison_leaves_out_times_and_uids_and_nothing_that_is_decided() -> None:
    def deployment(uid: str, weight: str, at: str) -> dict[str, object]:
        metadata = {"name": "d", "namespace": "run-1", "uid": uid, "generation": 2}
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": at}
        status = {"weight": weight, "conditions": [condition]}
        return {"kind": "ModelDeployment", "metadata": metadata, "status": status}

    def outcome(uid: str, weight: str, at: str, made: int = 1) -> Outcome:
        item = comparable("ModelDeployment", deployment(uid, weight, at), "run-1")
        return Outcome({"ModelDeployment d": item}, {"services/d": made}, {})

    one = outcome("u1", "5%", "2026-01-01T00:00:00Z")
    assert one.differences(outcome("u2", "5%", "2026-02-02T00:00:00Z")) == []
    assert one.differences(outcome("u1", "25%", "2026-01-01T00:00:00Z")) == [
        "/ModelDeployment d/status/weight: '5%' in the reference, '25%' here"
    ]
    twice = outcome("u1", "5%", "2026-01-01T00:00:00Z", made=2)
    assert one.duplicates(twice) == 1
    assert len(one.differences(twice)) == 1
