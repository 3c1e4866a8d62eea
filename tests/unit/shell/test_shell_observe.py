import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mooring_operator.core.observation import JobObservation
from mooring_operator.errors import Unparsable
from mooring_operator.ids import ObjectKey, Revision
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.observe_deployment import observe_deployment
from mooring_operator.reconcile.observe_model import observe_model
from mooring_operator.reconcile.observe_retrain import observe_retrain
from tests.unit.shell.objects import deployment_resource, pod, thing

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
R1, R2 = "1" * 12, "2" * 12
MODEL_LABEL = {"mooring.dev/model": "m"}


def _workload(revision: str, created: str, owner: str, **rest: Any) -> dict[str, Any]:
    labels = {"mooring.dev/deployment": "d", "mooring.dev/revision": revision}
    body: dict[str, Any] = {
        "spec": {"replicas": 2},
        "status": {
            "observedGeneration": 3,
            "readyReplicas": 2,
            "updatedReplicas": 2,
            "conditions": [{"type": "Available", "status": "True"}],
        },
    }
    return thing(
        "Deployment",
        f"d-{revision}",
        labels=labels,
        created=created,
        owner=owner,
        generation=3,
        **(body | rest),
    )


def _model(cache: Cache, **spec: Any) -> dict[str, Any]:
    manifest = thing("Model", "m", generation=1, spec={"purpose": "x", **spec})
    cache.store(manifest)
    return manifest


def _job(*, ended: str = "", kind: str = "Complete", name: str = "j") -> dict[str, Any]:
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": ended}]
    status = {"conditions": conditions} if ended else {}
    return thing("Job", name, uid=f"uid-{name}", labels=MODEL_LABEL, owner="uid-Model-m") | {
        "status": status
    }


def _job_pod(code: int, message: object, *, name: str = "p", job: str = "j") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "message": json.dumps(message)}}
    status = {"containerStatuses": [{"name": "verify", "state": state}]}
    return thing("Pod", name, labels=MODEL_LABEL, owner=f"uid-{job}", status=status)


def _observed_job(cache: Cache, manifest: dict[str, Any]) -> tuple[JobObservation, Any]:
    observation, again = observe_model(cache, manifest, NOW)
    return observation.jobs["j"], again


def test_deployment_sees_its_revisions_and_not_those_of_others() -> None:
    cache = Cache()
    resource = deployment_resource()
    uid = resource["metadata"]["uid"]
    cache.store(thing("Namespace", "a", namespace="", labels={"mooring.dev/environment": "prod"}))
    _model(cache)
    for item in (
        resource,
        _workload(R1, "2026-01-01T00:00:00Z", uid, annotations={"mooring.dev/memory": "old"}),
        _workload(R2, "2026-01-01T00:10:00Z", uid, annotations={"mooring.dev/memory": "new"}),
        _workload("3" * 12, "2026-01-01T00:20:00Z", "uid of a predecessor"),
        pod("1", R1),
    ):
        cache.store(item)
    seen = observe_deployment(cache, resource, foreign=("Service d",), telemetry=None)
    assert set(seen.revisions) == {R1, R2}
    one = seen.revisions[Revision(R1)]
    assert (one.replicas, one.ready, one.updated, one.available) == (2, 2, 2, True)
    assert seen.memory == "new"
    assert seen.environment == "prod"
    assert seen.model is not None
    assert seen.foreign == ("Service d",)


def test_route_of_the_deployment_alone_is_seen() -> None:
    cache = Cache()
    resource = deployment_resource()
    uid = resource["metadata"]["uid"]
    assert observe_deployment(cache, resource, foreign=(), telemetry=None).gateway_api is False
    cache.serve("HTTPRoute", served=True)
    spec = {"parentRefs": [{"name": "web"}]}
    cache.store(thing("HTTPRoute", "d", uid="r1", owner="uid of a predecessor", spec=spec))
    seen = observe_deployment(cache, resource, foreign=(), telemetry=None)
    assert (seen.gateway_api, seen.route) == (True, None)
    cache.store(thing("HTTPRoute", "d", uid="r2", owner=uid, spec=spec))
    seen = observe_deployment(cache, resource, foreign=(), telemetry=None)
    assert seen.route is not None
    assert (seen.route.shape.gateway, seen.route.shape.namespace) == ("web", "a")
    assert (seen.route.shape.weight, seen.route.accepted) == (-1, False)


def test_counts_of_an_old_template_are_not_taken_for_the_new_one() -> None:
    cache = Cache()
    resource = deployment_resource()
    uid = resource["metadata"]["uid"]
    stale = _workload(R1, "2026-01-01T00:00:00Z", uid)
    stale["status"]["observedGeneration"] = 2
    cache.store(stale)
    seen = observe_deployment(cache, resource, foreign=(), telemetry=None)
    one = seen.revisions[Revision(R1)]
    assert (one.updated, one.available) == (0, False)


def test_quota_that_forbids_pods_is_told() -> None:
    cache = Cache()
    resource = deployment_resource()
    full = _workload(R1, "2026-01-01T00:00:00Z", resource["metadata"]["uid"])
    full["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}
    ]
    cache.store(full)
    seen = observe_deployment(cache, resource, foreign=(), telemetry=None)
    assert seen.revisions[Revision(R1)].failure == "FailedCreate: quota"


def test_resource_that_does_not_fit_is_refused_by_field() -> None:
    with pytest.raises(Unparsable) as caught:
        observe_deployment(Cache(), deployment_resource(replicas="two"), foreign=(), telemetry=None)
    assert caught.value.field == "spec.replicas"


def test_neighbour_that_does_not_fit_is_absent() -> None:
    cache = Cache()
    resource = deployment_resource()
    cache.store(thing("Model", "m", spec={"purpose": 7}))
    assert observe_deployment(cache, resource, foreign=(), telemetry=None).model is None


def test_running_job_is_unfinished() -> None:
    cache = Cache()
    manifest = _model(cache)
    cache.store(_job())
    job, again = _observed_job(cache, manifest)
    assert not job.finished
    assert again is None


def test_finished_job_has_its_pods_answer() -> None:
    cache = Cache()
    manifest = _model(cache)
    cache.store(_job(ended="2026-01-01T00:30:00Z"))
    cache.store(_job_pod(0, {"verdict": "Verified"}))
    job, again = _observed_job(cache, manifest)
    assert (job.finished, job.succeeded, job.message) == (True, True, {"verdict": "Verified"})
    assert again is None


def test_finished_job_waits_a_little_for_words_on_another_stream() -> None:
    cache = Cache()
    manifest = _model(cache)
    cache.store(_job(ended="2026-01-01T00:59:50Z"))
    job, again = _observed_job(cache, manifest)
    assert not job.finished
    assert again == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("listed", "gone"),
    [(None, False), ("2026-01-01T00:30:14Z", False), ("2026-01-01T00:30:15Z", True)],
    ids=["never", "too soon", "after its pod had time"],
)
def test_finished_job_ends_without_an_answer_only_when_a_later_list_has_no_pod_of_it(
    listed: str | None, *, gone: bool
) -> None:
    cache = Cache()
    missed: list[str] = []
    cache.on_missed = missed.append
    manifest = _model(cache)
    cache.store(_job(ended="2026-01-01T00:30:00Z", kind="Failed"))
    if listed is not None:
        cache.note_listed("Pod", datetime.fromisoformat(listed))
    job, again = _observed_job(cache, manifest)
    assert (job.finished, job.succeeded, job.message) == (gone, False, None)
    assert missed == ([] if gone else ["Pod"])
    assert again == (None if gone else timedelta(seconds=1))


def test_failed_job_tells_kubernetes_reason_and_the_containers() -> None:
    cache = Cache()
    manifest = _model(cache)
    failed = _job(ended="2026-01-01T00:30:00Z", kind="Failed")
    failed["status"]["conditions"][0] |= {"reason": "BackoffLimitExceeded", "message": "tried"}
    cache.store(failed)
    cache.store(_job_pod(11, {"verdict": "Unavailable", "reason": "StoreUnreachable"}))
    job, _ = _observed_job(cache, manifest)
    assert "BackoffLimitExceeded: tried" in job.failure
    assert "StoreUnreachable" in job.failure


def test_verdict_of_a_job_with_the_same_name_and_another_owner_does_not_count() -> None:
    cache = Cache()
    manifest = _model(cache)
    forged = _job(ended="2026-01-01T00:30:00Z")
    forged["metadata"]["ownerReferences"][0]["uid"] = "somebody else"
    cache.store(forged)
    observation, _ = observe_model(cache, manifest, NOW)
    assert observation.jobs == {}


@pytest.mark.parametrize(("value", "allowed"), [("true", True), ("false", False), ("", False)])
def test_code_is_allowed_where_the_namespace_carries_the_label(value: str, allowed: bool) -> None:
    cache = Cache()
    manifest = _model(cache)
    namespace: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": manifest["metadata"]["namespace"],
            "labels": {"mooring.dev/allow-code": value},
        },
    }
    assert not observe_model(cache, manifest, NOW)[0].code_allowed
    cache.store(namespace)
    assert observe_model(cache, manifest, NOW)[0].code_allowed is allowed


def test_pod_of_another_job_does_not_answer() -> None:
    cache = Cache()
    manifest = _model(cache)
    cache.store(_job(ended="2026-01-01T00:30:00Z"))
    cache.store(_job_pod(0, {"verdict": "Verified"}, job="other"))
    job, _ = _observed_job(cache, manifest)
    assert job.message is None


def test_records_are_those_that_the_model_controls() -> None:
    cache = Cache()
    manifest = _model(cache)
    labels = MODEL_LABEL | {"mooring.dev/record": "version"}
    for name, owner in (("ours", "uid-Model-m"), ("forged", "somebody")):
        cache.store(
            thing("ControllerRevision", name, labels=labels, owner=owner, revision=3, data={"a": 1})
        )
    observation, _ = observe_model(cache, manifest, NOW)
    assert [(r.name, r.record, r.revision, r.data) for r in observation.records] == [
        ("ours", "version", 3, {"a": 1})
    ]


def test_policy_sees_deployment_model_and_records() -> None:
    cache = Cache()
    _model(cache)
    cache.store(deployment_resource())
    spec: dict[str, Any] = {
        "deployment": {"name": "d"},
        "triggers": [{"name": "t", "manual": {}}],
        "output": {"uri": "s3://b/p"},
    }
    policy = thing("RetrainPolicy", "p", spec=spec)
    cache.store(policy)
    seen, _ = observe_retrain(cache, policy, NOW)
    assert seen.deployment is not None
    assert seen.model is not None
    cache.apply("DELETED", thing("ModelDeployment", "d", version=9))
    assert cache.get(ObjectKey("ModelDeployment", "a", "d")) is None
    alone, _ = observe_retrain(cache, policy, NOW)
    assert (alone.deployment, alone.model, alone.records) == (None, None, ())
