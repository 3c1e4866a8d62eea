"""Which Jobs and records each version of a Model needs, and what is said of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.model import ModelStatus, VersionPhase, VersionStatus
from mooring_operator.core.decision import Decision, Manifest
from mooring_operator.core.registry.verification import MAX_PARALLEL, retry_delay
from tests.builders.registry import (
    NEWEST,
    as_observed,
    declared,
    look,
    refused_answer,
    registry_model,
    unavailable_answer,
    verdict_record,
    verified_answer,
    verify_job,
    version_record,
    with_status,
)
from tests.builders.resources import digest_of

Children = tuple[Manifest, ...]


def ready(decision: Decision[ModelStatus]) -> tuple[str, str]:
    """Which of the three conditions is True, and why."""
    true = [
        (condition.type, condition.reason)
        for condition in decision.status.conditions
        if condition.type in ("Ready", "Reconciling", "Stalled") and condition.status == "True"
    ]
    assert len(true) == 1
    return true[0]


def verified(decision: Decision[ModelStatus]) -> tuple[str, str]:
    condition = next(c for c in decision.status.conditions if c.type == "Verified")
    return condition.status.value, condition.reason


def only(decision: Decision[ModelStatus], name: str) -> VersionStatus:
    return next(version for version in decision.status.versions if version.name == name)


def of_kind(children: Children, kind: str) -> list[Manifest]:
    return [child for child in children if child["kind"] == kind]


def test_model_without_versions_is_ready() -> None:
    decision = look(registry_model())
    assert ready(decision) == ("Ready", "AllVerified")
    assert decision.status.verified == "0/0"
    assert decision.children == ()
    assert decision.requeue_after is None


def test_version_gets_one_job_when_it_is_new() -> None:
    decision = look(registry_model("v1"))
    (job,) = decision.children
    assert job["metadata"]["name"] == verify_job("v1").name
    assert only(decision, "v1").phase is VersionPhase.VERIFYING
    assert ready(decision) == ("Reconciling", "Verifying")
    assert verified(decision) == ("Unknown", "Verifying")
    assert [event.reason for event in decision.events] == ["Verifying"]


def test_version_needs_no_further_job_while_one_is_under_way() -> None:
    decision = look(registry_model("v1"), jobs=[verify_job("v1", finished=False)])
    assert decision.children == ()
    assert decision.prune == ()


def test_waiting_pod_is_named_when_it_cannot_start() -> None:
    job = verify_job("v1", finished=False, failure="secret mooring-s3 not found")
    decision = look(registry_model("v1"), jobs=[job])
    assert "secret mooring-s3 not found" in only(decision, "v1").message


def test_verdict_is_recorded_before_the_version_counts_as_verified() -> None:
    resource = registry_model("v1", channels=[NEWEST])
    decision = look(resource, jobs=[verify_job("v1", verified_answer("v1"))])
    (record,) = decision.children
    assert only(decision, "v1").phase is VersionPhase.VERIFYING
    assert decision.status.channels == []
    assert decision.requeue_after == timedelta(seconds=5)

    after = look(with_status(resource, decision.status), records=[as_observed(record)])
    version = only(after, "v1")
    assert version.phase is VersionPhase.VERIFIED
    assert version.seq == 1
    assert version.record_ref == record["metadata"]["name"]
    assert version.report is not None
    assert version.report.replayed_rows == 100
    assert ready(after) == ("Ready", "AllVerified")
    assert (after.status.newest, after.status.verified) == ("v1", "1/1")
    assert after.children == ()


def test_record_holds_what_an_auditor_asks_for() -> None:
    decision = look(registry_model("v1"), jobs=[verify_job("v1", verified_answer("v1"))])
    (record,) = decision.children
    assert record["data"] | {"report": None} == {
        "version": "v1",
        "digest": digest_of("v1"),
        "uri": "s3://models/flight-delay/v1",
        "origin": "Declared",
        "image": "mooring-serving:1",
        "jobName": verify_job("v1").name,
        "jobUid": "uid-v1-1",
        "verdict": "Verified",
        "report": None,
        "verifiedAt": "2026-01-05T08:00:00Z",
    }
    assert record["data"]["report"]["p99Ms"] == 0.4
    assert record["metadata"]["labels"]["mooring.dev/record"] == "verification"
    assert record["metadata"]["ownerReferences"][0]["uid"] == "model-uid"


def test_versions_are_numbered_in_the_order_in_which_they_became_known() -> None:
    resource = registry_model("v1", "v2")
    records = [verdict_record("v3", 7)]
    first = look(resource, records=records)
    assert [version.seq for version in first.status.versions] == [8, 9]

    longer = with_status(registry_model("v0", "v1", "v2"), first.status)
    jobs = [verify_job("v0", verified_answer("v0")), verify_job("v1", unavailable_answer())]
    second = look(longer, jobs=jobs, records=records)
    assert [(v.name, v.seq) for v in second.status.versions] == [("v0", 10), ("v1", 8), ("v2", 9)]
    (record,) = of_kind(second.children, "ControllerRevision")
    assert (record["data"]["version"], record["revision"]) == ("v0", 10)


def test_refusal_is_recorded_and_stalls_the_model() -> None:
    resource = registry_model("v1")
    decision = look(resource, jobs=[verify_job("v1", refused_answer())])
    (record,) = decision.children
    assert record["data"]["verdict"] == "Refused"
    after = look(with_status(resource, decision.status), records=[as_observed(record)])
    version = only(after, "v1")
    assert (version.phase, version.reason) == (VersionPhase.REFUSED, "DigestMismatch")
    assert version.message == "file model.onnx differs; publish the package again"
    assert ready(after) == ("Stalled", "VersionRefused")
    assert verified(after) == ("False", "VersionRefused")
    assert [(e.type, e.reason) for e in after.events] == [("Warning", "VersionRefused")]


def test_refused_version_is_not_tried_again_when_its_jobs_are_gone() -> None:
    decision = look(registry_model("v1"), records=[verdict_record("v1", 1, "Refused")])
    assert decision.children == ()
    assert only(decision, "v1").phase is VersionPhase.REFUSED


def test_version_is_refused_when_the_job_verified_another_digest() -> None:
    job = verify_job("v1", verified_answer("v1", digest=digest_of("other")))
    (record,) = look(registry_model("v1"), jobs=[job]).children
    assert (record["data"]["verdict"], record["data"]["reason"]) == ("Refused", "DigestMismatch")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="no answer"),
        pytest.param({"verdict": "Fetched"}, id="an answer of the other container"),
        pytest.param({"verdict": "Refused", "reason": "not Pascal"}, id="an unknown reason"),
        pytest.param({**refused_answer(), "reason": None}, id="no reason"),
        pytest.param(
            {**verified_answer("v1"), "maxAbsoluteDifference": float("nan")}, id="not a number"
        ),
        pytest.param({**verified_answer("v1"), "digest": "sha256:1"}, id="no digest"),
    ],
)
def test_job_is_repeated_when_it_answers_nothing_that_counts(
    answer: dict[str, Any] | None,
) -> None:
    job = verify_job("v1", answer, failure="Evicted: node under pressure")
    early = look(registry_model("v1"), jobs=[job])
    assert early.children == ()
    assert early.requeue_after == retry_delay(1)
    assert ready(early) == ("Reconciling", "Verifying")
    late = look(registry_model("v1"), jobs=[job], after=retry_delay(1))
    assert [child["metadata"]["name"] for child in late.children] == [
        verify_job("v1", attempt=2).name
    ]


@pytest.mark.parametrize(
    ("answer", "succeeded"),
    [
        pytest.param(verified_answer("v1"), False, id="verified by a Job that failed"),
        pytest.param(refused_answer(), True, id="refused by a Job that succeeded"),
    ],
)
def test_answer_does_not_count_when_the_job_ended_otherwise(
    answer: dict[str, Any], succeeded: bool
) -> None:
    decision = look(registry_model("v1"), jobs=[verify_job("v1", answer, succeeded=succeeded)])
    assert of_kind(decision.children, "ControllerRevision") == []


def test_model_stalls_when_three_jobs_in_a_row_answer_nothing() -> None:
    jobs = [
        verify_job("v1", attempt=n, failure="DeadlineExceeded: Job was active too long")
        for n in (1, 2, 3)
    ]
    decision = look(registry_model("v1"), jobs=jobs, after=timedelta(hours=1))
    version = only(decision, "v1")
    assert (version.phase, version.reason) == (VersionPhase.REFUSED, "NoVerdict")
    assert "DeadlineExceeded" in version.message
    assert "spec.verification.timeout" in version.message
    assert decision.children == ()
    assert ready(decision) == ("Stalled", "VersionRefused")


def test_silent_jobs_are_forgotten_when_one_in_between_answered() -> None:
    jobs = [
        verify_job("v1", attempt=1),
        verify_job("v1", attempt=2),
        verify_job("v1", unavailable_answer(), attempt=3),
        verify_job("v1", attempt=4),
    ]
    decision = look(registry_model("v1"), jobs=jobs, after=timedelta(hours=1))
    assert decision.children[0]["metadata"]["name"] == verify_job("v1", attempt=5).name


def test_store_is_tried_again_later_when_it_does_not_answer() -> None:
    jobs = [verify_job("v1", unavailable_answer(), attempt=3)]
    decision = look(registry_model("v1"), jobs=jobs, after=timedelta(seconds=10))
    assert ready(decision) == ("Reconciling", "StoreUnavailable")
    assert verified(decision) == ("Unknown", "StoreUnavailable")
    assert only(decision, "v1").reason == "StoreUnreachable"
    assert decision.requeue_after == timedelta(seconds=50)
    assert [event.reason for event in decision.events] == ["StoreUnavailable"]


def test_store_is_said_to_be_unavailable_while_the_next_attempt_runs() -> None:
    jobs = [
        verify_job("v1", unavailable_answer()),
        verify_job("v1", attempt=2, finished=False),
    ]
    decision = look(registry_model("v1"), jobs=jobs)
    assert ready(decision) == ("Reconciling", "StoreUnavailable")


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 15), (2, 30), (3, 60), (6, 480), (7, 600), (500, 600)]
)
def test_retry_delay_doubles_up_to_ten_minutes(attempt: int, seconds: int) -> None:
    assert retry_delay(attempt) == timedelta(seconds=seconds)


def test_jobs_beyond_the_limit_wait_for_their_turn() -> None:
    names = [f"v{n}" for n in range(1, 8)]
    decision = look(registry_model(*names), jobs=[verify_job("v2", finished=False)])
    started = [
        child["metadata"]["labels"]["mooring.dev/model-version"] for child in decision.children
    ]
    assert started == ["v1", "v3", "v4"]
    assert len(started) + 1 == MAX_PARALLEL
    assert only(decision, "v5").phase is VersionPhase.PENDING
    assert "v5" not in " ".join(event.message for event in decision.events)


def test_late_attempt_keeps_its_reason_when_it_waits_for_its_turn() -> None:
    running = [verify_job(f"v{n}", finished=False) for n in range(2, 2 + MAX_PARALLEL)]
    jobs = [verify_job("v1", unavailable_answer()), *running]
    names = [f"v{n}" for n in range(1, 2 + MAX_PARALLEL)]
    decision = look(registry_model(*names), jobs=jobs, after=timedelta(hours=1))
    assert decision.children == ()
    assert only(decision, "v1").reason == "StoreUnreachable"


def test_running_job_is_pruned_when_its_version_left_the_model() -> None:
    jobs = [verify_job("v1", finished=False), verify_job("v2", verified_answer("v2"))]
    decision = look(registry_model("v3"), jobs=jobs)
    assert [ref.name for ref in decision.prune] == [verify_job("v1").name]


def test_running_job_of_an_earlier_image_is_replaced() -> None:
    old = verify_job("v1", finished=False, image="mooring-serving:0")
    decision = look(registry_model("v1"), jobs=[old])
    assert [ref.name for ref in decision.prune] == [old.name]
    assert [child["metadata"]["name"] for child in decision.children] == [verify_job("v1").name]


def test_answer_of_an_earlier_image_does_not_count() -> None:
    old = verify_job("v1", verified_answer("v1"), image="mooring-serving:0")
    decision = look(registry_model("v1"), jobs=[old])
    assert of_kind(decision.children, "ControllerRevision") == []


def test_recorded_version_is_verified_like_a_declared_one() -> None:
    record = version_record("run-1", secretName="mooring-s3")
    decision = look(registry_model("v1"), records=[record, verdict_record("v1", 1)])
    (job,) = decision.children
    fetch = job["spec"]["template"]["spec"]["initContainers"][0]
    assert fetch["args"][:2] == ["--uri", "s3://models/retrained/run-1"]
    assert fetch["envFrom"] == [{"secretRef": {"name": "mooring-s3"}}]
    assert only(decision, "run-1").origin == "Retrained"


def test_refused_recorded_version_holds_up_nobody() -> None:
    records = [
        version_record("run-1"),
        verdict_record("v1", 1),
        verdict_record("run-1", 2, "Refused", reason="LoadFailed", message="no such operator"),
    ]
    decision = look(registry_model("v1"), records=records)
    assert ready(decision) == ("Ready", "AllVerified")
    message = next(c.message for c in decision.status.conditions if c.type == "Ready")
    assert "run-1 is refused (LoadFailed)" in message


def test_version_is_refused_when_two_sources_claim_its_name() -> None:
    records = [version_record("v1", digest=digest_of("other"), run="nightly-1")]
    decision = look(registry_model("v1"), records=records)
    version = only(decision, "v1")
    assert (version.phase, version.reason) == (VersionPhase.REFUSED, "VersionConflict")
    assert "nightly-1" in version.message
    assert "give the declared version another name" in version.message
    assert ready(decision) == ("Stalled", "VersionConflict")
    assert verified(decision) == ("False", "VersionConflict")
    assert decision.children == ()


def test_same_package_from_two_sources_is_one_version() -> None:
    records = [version_record("v1"), verdict_record("v1", 1)]
    decision = look(registry_model("v1"), records=records)
    assert [(v.name, v.origin) for v in decision.status.versions] == [("v1", "Declared")]
    assert ready(decision) == ("Ready", "AllVerified")


def test_name_with_a_new_digest_is_verified_anew() -> None:
    resource = registry_model(declared("v1", digest=digest_of("other")))
    decision = look(resource, records=[verdict_record("v1", 1)])
    assert only(decision, "v1").phase is VersionPhase.VERIFYING


def test_removed_version_leaves_the_index() -> None:
    resource = registry_model("v1", "v2")
    records = [verdict_record("v1", 1), verdict_record("v2", 2)]
    before = look(resource, records=records)
    shorter = with_status(registry_model("v2", generation=2), before.status)
    after = look(shorter, records=records)
    assert [version.name for version in after.status.versions] == ["v2"]
    assert after.status.observed_generation == 2


def test_broken_record_is_ignored() -> None:
    records = [verdict_record("v1", 3, "Perhaps"), version_record("Not A Name")]
    decision = look(registry_model("v1"), records=records)
    assert [version.name for version in decision.status.versions] == ["v1"]
    assert only(decision, "v1").phase is VersionPhase.VERIFYING


def test_record_of_a_sort_that_only_another_release_knows_is_ignored() -> None:
    records = [replace(version_record("v2", 7), record="promotion"), version_record("v3", 1)]
    decision = look(registry_model("v1"), records=records)
    assert {version.name for version in decision.status.versions} == {"v1", "v3"}


def test_correction_is_waited_for_when_another_version_is_refused() -> None:
    decision = look(registry_model("v1", "v2"), records=[verdict_record("v1", 1, "Refused")])
    assert ready(decision) == ("Reconciling", "Verifying")
    assert verified(decision) == ("False", "VersionRefused")


def test_index_keeps_declared_and_used_versions_when_it_is_full() -> None:
    records = [version_record(f"run-{n}", n) for n in range(1, 120)]
    decision = look(registry_model("v1"), records=records)
    names = [version.name for version in decision.status.versions]
    assert len(names) == 100
    assert names[0] == "v1"
    assert names[-1] == "run-119"
    assert "run-1" not in names
