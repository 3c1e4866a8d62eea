"""How a run goes on and ends: attempts, verdicts, records, and what a restart finds."""

import json
from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.retrain import RetrainPolicy, RetrainPolicyStatus, RunResult, Verdict
from mooring_operator.core.decision import Decision
from mooring_operator.core.observation import JobObservation, RecordObservation, RetrainObservation
from mooring_operator.core.retrain.answers import interval_text
from mooring_operator.core.retrain.plan import decide
from mooring_operator.core.retrain.triggers import run_name
from tests.builders.registry import as_observed, unavailable_answer, version_record
from tests.builders.resources import CONFIG, EPOCH, digest_of
from tests.builders.retrain import (
    BY_HAND,
    MONTHLY,
    POLICY,
    comparison,
    look,
    look_at,
    not_enough_rows,
    policy,
    run_job,
    serving,
    written,
)

HOUR = timedelta(hours=1)
RUN = run_name(policy().metadata, "by-hand", "now")


def begun(**spec: Any) -> tuple[RetrainPolicy, str]:
    """A policy whose run by hand has just begun, and the run's name."""
    resource = policy(BY_HAND, annotation="now", **spec)
    first = look(resource)
    assert first.status.run is not None
    return written(resource, first.status), first.status.run.name


def ended(decision: Decision[RetrainPolicyStatus]) -> RunResult:
    assert decision.status.run is None
    assert decision.status.last_result is not None
    return decision.status.last_result


def true_condition(decision: Decision[RetrainPolicyStatus]) -> tuple[str, str, str]:
    return next(
        (c.type, c.reason, c.message)
        for c in decision.status.conditions
        if c.type in ("Ready", "Reconciling", "Stalled") and c.status == "True"
    )


def test_run_is_told_what_the_contract_says() -> None:
    resource = policy(BY_HAND, annotation="now", data={"minRows": 3000}, evaluation={"block": "6h"})
    decision = look(resource)
    (job,) = decision.children
    (train,) = job["spec"]["template"]["spec"]["containers"]
    told = json.loads(train["env"][0]["value"])
    run = decision.status.run
    assert run is not None
    seed = told.pop("seed")
    assert told == {
        "run": run.name,
        "model": "flight-delay",
        "namespace": "flights-prod",
        "deployment": "delays",
        "champion": {"version": "v1", "uri": "s3://models/v1", "digest": digest_of("v1")},
        "log": {"uri": "s3://logs/flights"},
        "output": {"uri": "s3://models/retrained"},
        "data": {
            "window": "60d",
            "labelMaturity": "12h",
            "minRows": 3000,
            "testWindow": "7d",
            "embargo": "12h",
        },
        "tuning": {"maxTrials": 12, "timeout": "10m"},
        "evaluation": {"alpha": 0.05, "minEffect": 0.0, "block": "6h", "minBlocks": 5},
    }
    assert 0 <= seed < 2**31
    assert train["envFrom"] == [{"secretRef": {"name": "mooring-s3"}}]


def test_vanished_job_is_created_again_under_its_name() -> None:
    resource, run = begun()
    again = look(resource)
    assert [child["metadata"]["name"] for child in again.children] == [run]
    assert again.events == ()
    assert again.status.to_wire() == resource.status.to_wire()


def test_rerun_job_keeps_the_champion_of_its_beginning() -> None:
    resource, _ = begun()
    (job,) = look(resource, deployment=serving("v7")).children
    told = json.loads(job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])
    assert told["champion"]["version"] == "v1"


def test_accepted_version_is_recorded_before_the_run_ends() -> None:
    resource, run = begun()
    jobs = [run_job(run, comparison(run))]
    recording = look(resource, jobs=jobs, records=[version_record("older", 4)], after=HOUR)
    (record,) = recording.children
    assert recording.status.run is not None
    assert recording.status.phase == "Training"
    assert recording.requeue_after == timedelta(seconds=5)
    assert record["kind"] == "ControllerRevision"
    assert record["revision"] == 5
    assert record["metadata"]["ownerReferences"][0]["kind"] == "Model"
    assert record["metadata"]["labels"]["mooring.dev/record"] == "version"
    assert record["metadata"]["labels"]["mooring.dev/retrain-policy"] == POLICY
    data = record["data"]
    assert data["name"] == data["run"] == run
    assert data["uri"] == f"s3://models/retrained/{run}"
    assert data["digest"] == digest_of(run)
    assert data["secretName"] == "mooring-s3"
    assert data["parents"] == [digest_of("v1")]
    assert data["snapshotDigest"] == digest_of("snapshot")
    assert (data["policy"], data["trigger"], data["token"]) == (POLICY, "by-hand", "now")
    assert data["evaluation"]["lower"] == 0.004
    assert data["evaluation"]["rows"] == {"train": 9000, "test": 2100}

    done = look(
        written(resource, recording.status),
        jobs=jobs,
        records=[as_observed(record)],
        after=HOUR,
    )
    result = ended(done)
    assert (result.verdict, result.version, result.digest) == (
        Verdict.ACCEPTED,
        run,
        digest_of(run),
    )
    assert done.children == ()
    assert (done.status.verdict, done.status.interval) == ("Accepted", "+0.012 [0.004, 0.021]")
    assert done.status.last_trigger == "by-hand"
    assert true_condition(done)[:2] == ("Ready", "CoolingDown")
    (event,) = done.events
    assert (event.type, event.reason) == ("Normal", "RunAccepted")
    assert event.message == (
        f"run {run} ended Accepted: logLoss gain +0.012 [0.004, 0.021] over 14 blocks;"
        f" version {run} recorded"
    )


def test_record_names_no_secret_and_no_snapshot_where_the_run_had_none() -> None:
    resource, run = begun(output={"uri": "s3://models/retrained"})
    (record,) = look(resource, jobs=[run_job(run, comparison(run, snapshotDigest=None))]).children
    assert record["data"]["uri"] == f"s3://models/retrained/{run}"
    assert {"secretName", "snapshotDigest"}.isdisjoint(record["data"])


def test_recorded_run_ends_accepted_when_its_job_is_gone() -> None:
    resource, run = begun()
    record = version_record(run, evaluation=comparison(run) | {"alpha": 0.05})
    result = ended(look(resource, records=[record]))
    assert (result.verdict, result.effect, result.blocks) == (Verdict.ACCEPTED, 0.012, 14)
    broken = version_record(run, evaluation={"effect": "large"})
    assert ended(look(resource, records=[broken])).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("verdict", ["Rejected", "Inconclusive"])
def test_run_without_a_winner_ends_with_its_interval(verdict: str) -> None:
    resource, run = begun()
    message = "the interval holds 0"
    jobs = [run_job(run, comparison(run, verdict, message=message))]
    decision = look(resource, jobs=jobs)
    result = ended(decision)
    assert result.verdict == verdict
    assert (result.lower, result.upper, result.test_rows) == (-0.006, 0.010, 2100)
    assert decision.status.interval == "+0.002 [-0.006, 0.010]"
    assert decision.children == ()
    assert message in decision.events[0].message
    assert decision.status.history == [result]


def test_inconclusive_run_may_have_no_interval() -> None:
    resource, run = begun()
    answer = comparison(run, "Inconclusive", effect=None, lower=None, upper=None, blocks=2)
    decision = look(resource, jobs=[run_job(run, answer)])
    assert decision.status.interval == ""
    assert ended(decision).verdict is Verdict.INCONCLUSIVE


def test_refused_run_stalls_the_policy_with_the_remedy() -> None:
    resource, run = begun()
    decision = look(resource, jobs=[run_job(run, not_enough_rows())])
    assert ended(decision).verdict is Verdict.REFUSED
    type_, reason, message = true_condition(decision)
    assert (type_, reason) == ("Stalled", "RunRefused")
    assert "NotEnoughRows" in message
    assert "lower spec.data.minRows" in message
    assert [(e.type, e.reason) for e in decision.events] == [("Warning", "RunRefused")]


def test_failure_is_held_against_the_spec_of_its_time_only() -> None:
    resource, run = begun()
    failed = look(resource, jobs=[run_job(run, not_enough_rows())])
    corrected = policy(BY_HAND, annotation="now", generation=2, data={"minRows": 1000})
    after = look(written(corrected, failed.status), jobs=[run_job(run, not_enough_rows())])
    assert true_condition(after)[:2] == ("Ready", "CoolingDown")


@pytest.mark.parametrize(
    ("job", "said"),
    [
        pytest.param(
            run_job(RUN, failure="DeadlineExceeded: too long"),
            "DeadlineExceeded: too long",
            id="no answer",
        ),
        pytest.param(run_job(RUN), "ended without an answer", id="nothing at all"),
        pytest.param(
            run_job(RUN, comparison(RUN), succeeded=False),
            "breaks the contract at verdict",
            id="accepted by a Job that failed",
        ),
        pytest.param(run_job(RUN, comparison("other")), "no package of this run", id="other run"),
        pytest.param(run_job(RUN, comparison(RUN, uri=None)), "no package", id="no package"),
        pytest.param(
            run_job(RUN, comparison(RUN, effect=float("inf"))),
            "breaks the contract at effect",
            id="infinite effect",
        ),
    ],
)
def test_run_fails_when_its_answer_does_not_count(job: JobObservation, said: str) -> None:
    resource, _ = begun()
    decision = look(resource, jobs=[job])
    result = ended(decision)
    assert result.verdict is Verdict.FAILED
    assert said in result.message
    assert true_condition(decision)[:2] == ("Stalled", "RunFailed")
    assert decision.children == ()


def test_store_is_tried_three_times() -> None:
    resource, run = begun()
    away = unavailable_answer()
    jobs = [run_job(run, away)]
    waiting = look(resource, jobs=jobs, after=timedelta(seconds=30))
    assert waiting.children == ()
    assert waiting.requeue_after == timedelta(seconds=30)
    assert "StoreUnreachable" in true_condition(waiting)[2]
    second = look(resource, jobs=jobs, after=timedelta(minutes=1))
    assert [child["metadata"]["name"] for child in second.children] == [f"{run}-2"]

    jobs.append(run_job(run, away, attempt=2, started=EPOCH + timedelta(minutes=1)))
    third = look(resource, jobs=jobs, after=timedelta(minutes=3))
    assert [child["metadata"]["name"] for child in third.children] == [f"{run}-3"]

    jobs.append(run_job(run, away, attempt=3, started=EPOCH + timedelta(minutes=3)))
    over = look(resource, jobs=jobs, after=timedelta(minutes=4))
    assert ended(over).verdict is Verdict.FAILED
    assert "after 3 attempts" in ended(over).message


def test_run_ends_when_the_deployment_is_gone_before_its_job_ran() -> None:
    resource, run = begun()
    decision = look_at(resource, None)
    assert ended(decision).verdict is Verdict.FAILED
    assert "the deployment was removed" in ended(decision).message
    assert true_condition(decision)[:2] == ("Stalled", "DeploymentNotFound")
    away = [run_job(run, unavailable_answer())]
    no_log = look_at(resource, serving(log=None), jobs=away, after=HOUR)
    assert "predictionLog was removed" in ended(no_log).message


def test_won_run_fails_with_a_sentence_when_its_model_was_removed() -> None:
    resource, run = begun()
    observation = RetrainObservation(
        resource=resource,
        deployment=serving(),
        model=None,
        jobs={run: run_job(run, comparison(run))},
    )
    decision = decide(observation, CONFIG, EPOCH)
    assert ended(decision).verdict is Verdict.FAILED
    assert "the Model was removed" in ended(decision).message


def test_running_job_is_waited_for_when_the_deployment_is_gone() -> None:
    resource, run = begun()
    decision = look_at(resource, None, jobs=[run_job(run, finished=False)])
    assert decision.status.run is not None
    assert true_condition(decision)[:2] == ("Reconciling", "Training")
    assert decision.status.model == "flight-delay"


def test_waiting_pod_of_a_run_is_named() -> None:
    resource, run = begun()
    job = run_job(run, finished=False, failure="secret mooring-s3 not found")
    assert "secret mooring-s3 not found" in true_condition(look(resource, jobs=[job]))[2]


def test_history_keeps_the_last_five_results() -> None:
    resource, run = begun(cooldown="0s")
    for number in range(7):
        decision = look(resource, jobs=[run_job(run, comparison(run, "Rejected"))])
        assert decision.status.last_result == decision.status.history[0]
        resource = written(policy(BY_HAND, annotation=f"t{number}", cooldown="0s"), decision.status)
        started = look(resource)
        assert started.status.run is not None
        resource, run = written(resource, started.status), started.status.run.name
    assert len(resource.status.history) == 5


def test_next_run_starts_at_once_when_there_is_no_cooldown() -> None:
    resource, run = begun(cooldown="0s")
    again = written(policy(BY_HAND, annotation="again", cooldown="0s"), resource.status)
    decision = look(again, jobs=[run_job(run, comparison(run, "Rejected"))])
    assert decision.status.run is not None
    assert decision.status.run.name != run
    assert decision.status.verdict == "Rejected"
    assert [event.reason for event in decision.events] == ["RunRejected", "Training"]


def test_jobs_of_earlier_runs_are_removed_and_the_last_one_stays() -> None:
    resource, run = begun()
    jobs = [
        run_job(run, comparison(run, "Rejected")),
        run_job("nightly-drift-00000000", comparison("x", "Rejected")),
        run_job("nightly-drift-11111111", finished=False),
    ]
    decision = look(resource, jobs=jobs)
    assert [ref.name for ref in decision.prune] == ["nightly-drift-00000000"]


def test_no_run_starts_while_a_job_of_an_unknown_run_is_under_way() -> None:
    stray = run_job("nightly-drift-11111111", finished=False)
    decision = look(policy(BY_HAND, annotation="now"), jobs=[stray])
    assert decision.status.run is None
    assert "Job nightly-drift-11111111 of an earlier run" in true_condition(decision)[2]


@pytest.mark.parametrize(
    ("jobs", "records", "verdict"),
    [
        pytest.param([], [], None, id="running"),
        pytest.param(["Rejected"], [], "Rejected", id="rejected"),
        pytest.param([], ["recorded"], "Accepted", id="recorded"),
    ],
)
def test_lost_status_takes_up_the_run_instead_of_training_again(
    jobs: list[str], records: list[str], verdict: str | None
) -> None:
    _, run = begun()
    found: list[JobObservation] = [run_job(run, comparison(run, kind)) for kind in jobs]
    facts: list[RecordObservation] = [version_record(run) for _ in records]
    if verdict is None:
        found = [run_job(run, finished=False)]
    forgot = policy(BY_HAND, annotation="now", suspend=True)
    decision = look(forgot, jobs=found, records=facts)
    assert decision.children == ()
    if verdict is None:
        assert decision.status.run is not None
        assert decision.status.run.name == run
    else:
        assert ended(decision).verdict == verdict


def test_lost_status_takes_up_the_run_of_a_schedule() -> None:
    tick = timedelta(days=27)
    watching = look(policy(MONTHLY))
    started = look(written(policy(MONTHLY), watching.status), after=tick)
    assert started.status.run is not None
    run = started.status.run.name
    forgot = look(policy(MONTHLY), jobs=[run_job(run, finished=False)], after=tick + HOUR)
    assert forgot.status.run is not None
    assert forgot.status.run.name == run
    assert forgot.children == ()


@pytest.mark.parametrize(
    ("effect", "lower", "upper", "text"),
    [
        (0.012, 0.004, 0.021, "+0.012 [0.004, 0.021]"),
        (-0.5, -1.25, 0.25, "-0.500 [-1.250, 0.250]"),
        (0.00012, 0.00004, 0.00021, "+0.00012 [0.00004, 0.00021]"),
        (0.0, 0.0, 0.0, "+0.000000 [0.000000, 0.000000]"),
        (0.1, None, 0.2, ""),
        (None, None, None, ""),
    ],
)
def test_interval_text_shows_what_its_width_can_carry(
    effect: float | None, lower: float | None, upper: float | None, text: str
) -> None:
    assert interval_text(effect, lower, upper) == text
