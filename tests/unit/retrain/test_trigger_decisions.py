"""When a policy trains: which trigger, by which token, and what holds it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mooring_operator.api.retrain import RetrainPolicyStatus
from mooring_operator.core.decision import Decision
from mooring_operator.core.retrain.cron import cron_problem, last_tick, next_tick
from mooring_operator.core.retrain.triggers import run_name
from tests.builders.resources import EPOCH, deployment
from tests.builders.retrain import (
    BY_HAND,
    DRIFT,
    MONTHLY,
    POLICY,
    STABLE_REVISION,
    comparison,
    look,
    look_at,
    policy,
    run_job,
    serving,
    written,
)

ALARM = EPOCH + timedelta(hours=1)
LATER = timedelta(hours=2)
FEBRUARY = datetime(2026, 2, 1, 3, tzinfo=UTC)


def standing(decision: Decision[RetrainPolicyStatus]) -> tuple[str, str, str]:
    """Which of the three conditions is True, why, and what it says."""
    true = [
        (condition.type, condition.reason, condition.message)
        for condition in decision.status.conditions
        if condition.type in ("Ready", "Reconciling", "Stalled") and condition.status == "True"
    ]
    assert len(true) == 1
    return true[0]


def jobs_of(decision: Decision[RetrainPolicyStatus]) -> list[str]:
    return [child["metadata"]["name"] for child in decision.children if child["kind"] == "Job"]


def test_policy_watches_while_nothing_is_due() -> None:
    decision = look(policy())
    assert standing(decision)[:2] == ("Ready", "Watching")
    assert standing(decision)[2] == "waiting for drift or monthly or by-hand"
    assert decision.status.phase == "Watching"
    assert decision.status.model == "flight-delay"
    assert decision.status.run is None
    assert decision.children == ()
    assert decision.events == ()


def test_drift_alarm_starts_one_run_named_by_its_token() -> None:
    first = look(policy(), deployment=serving(drifted_at=ALARM), after=LATER)
    run = first.status.run
    assert run is not None
    assert run.token == f"2026-01-05T09:00:00Z/{STABLE_REVISION}"
    assert run.trigger == "drift"
    assert run.name.startswith(f"{POLICY}-drift-")
    assert jobs_of(first) == [run.name]
    assert standing(first)[:2] == ("Reconciling", "Training")
    assert first.status.phase == "Training"
    assert [event.reason for event in first.events] == ["Training"]

    second = look(
        written(policy(), first.status),
        deployment=serving(drifted_at=ALARM),
        jobs=[run_job(run.name, finished=False)],
        after=LATER,
    )
    assert second.children == ()
    assert second.events == ()


def test_drift_alarm_is_answered_once_while_it_lasts() -> None:
    drifted = serving(drifted_at=ALARM)
    first = look(policy(cooldown="1h"), deployment=drifted, after=LATER)
    assert first.status.run is not None
    name = first.status.run.name
    ended = look(
        written(policy(cooldown="1h"), first.status),
        deployment=drifted,
        jobs=[run_job(name, comparison(name, "Rejected"))],
        after=LATER,
    )
    later = look(written(policy(cooldown="1h"), ended.status), deployment=drifted, after=2 * LATER)
    assert later.status.run is None
    assert "the present drift alarm was answered by a run already" in standing(later)[2]


def test_new_alarm_starts_another_run() -> None:
    first = look(policy(), deployment=serving(drifted_at=ALARM), after=LATER)
    status = first.status.model_copy(update={"run": None})
    second = look(
        written(policy(), status), deployment=serving(drifted_at=ALARM + LATER), after=2 * LATER
    )
    assert second.status.run is not None
    assert first.status.run is not None
    assert second.status.run.name != first.status.run.name


@pytest.mark.parametrize(
    "watched",
    [
        pytest.param(serving(), id="no drift"),
        pytest.param(serving(drifted_at=ALARM, drift_revision="c" * 12), id="an old revision's"),
        pytest.param(serving(drifted_at=ALARM, drift_over=True), id="an alarm that is over"),
    ],
)
def test_drift_is_not_due_without_an_alarm_of_the_stable_revision(watched: Any) -> None:
    assert look(policy(DRIFT), deployment=watched, after=LATER).status.run is None


def test_schedule_runs_at_its_time_and_once_when_several_were_missed() -> None:
    first = look(policy(MONTHLY))
    assert first.status.next_schedule == FEBRUARY
    assert first.requeue_after == FEBRUARY - EPOCH
    assert first.status.run is None

    early = look(
        written(policy(MONTHLY), first.status), after=FEBRUARY - EPOCH - timedelta(seconds=1)
    )
    assert early.status.run is None
    punctual = look(written(policy(MONTHLY), first.status), after=FEBRUARY - EPOCH)
    assert punctual.status.run is not None
    assert punctual.status.run.token == "2026-02-01T03:00:00Z"  # noqa: S105 no secret
    late = look(written(policy(MONTHLY), first.status), after=timedelta(days=100))
    assert late.status.run is not None
    assert late.status.run.token == "2026-04-01T03:00:00Z"  # noqa: S105 no secret
    assert late.status.next_schedule == datetime(2026, 5, 1, 3, tzinfo=UTC)


def test_changed_cron_expression_starts_counting_afresh() -> None:
    first = look(policy(MONTHLY))
    hourly = {"name": "monthly", "schedule": {"cron": "0 * * * *"}}
    second = look(written(policy(hourly), first.status), after=timedelta(minutes=90))
    assert second.status.run is None
    third = look(written(policy(hourly), second.status), after=timedelta(minutes=120))
    assert third.status.run is not None


def test_annotation_starts_one_run_for_each_value() -> None:
    first = look(policy(annotation=" after-the-fix "))
    assert first.status.run is not None
    assert first.status.run.token == "after-the-fix"  # noqa: S105 no secret
    idle = first.status.model_copy(update={"run": None})
    again = look(written(policy(annotation="after-the-fix"), idle))
    assert again.status.run is None
    other = look(written(policy(annotation="once-more"), idle))
    assert other.status.run is not None


def test_annotation_that_returns_to_an_earlier_value_starts_nothing() -> None:
    seen = look(policy(annotation="once"))
    for value in ("twice", "three-times"):
        assert seen.status is not None
        idle = seen.status.model_copy(update={"run": None})
        seen = look(written(policy(annotation=value), idle))
        assert seen.status.run is not None
    idle = seen.status.model_copy(update={"run": None})
    assert look(written(policy(annotation="once"), idle)).status.run is None


def test_long_annotation_is_remembered_by_its_hash() -> None:
    decision = look(policy(annotation="x" * 1000))
    assert decision.status.run is not None
    assert decision.status.run.token.startswith("sha256:")
    assert look(policy(annotation=" ")).status.run is None


def test_first_due_trigger_wins_and_the_others_are_answered_too() -> None:
    drifted = serving(drifted_at=ALARM)
    watching = look(policy(MONTHLY, BY_HAND, DRIFT))
    decision = look(
        written(policy(MONTHLY, BY_HAND, DRIFT, annotation="now"), watching.status),
        deployment=drifted,
        after=FEBRUARY - EPOCH,
    )
    assert decision.status.run is not None
    assert decision.status.run.trigger == "monthly"
    tokens = {one.name: one.token for one in decision.status.handled}
    assert tokens == {
        "monthly": "2026-02-01T03:00:00Z",
        "by-hand": "now",
        "drift": f"2026-01-05T09:00:00Z/{STABLE_REVISION}",
    }


def test_nothing_starts_while_suspended_and_what_is_due_is_kept() -> None:
    suspended = look(policy(suspend=True, annotation="now"))
    assert standing(suspended)[:2] == ("Ready", "Suspended")
    assert "trigger by-hand is due" in standing(suspended)[2]
    assert suspended.status.next_schedule is None
    assert [event.reason for event in suspended.events] == ["Suspended"]
    resumed = look(written(policy(annotation="now", generation=2), suspended.status))
    assert resumed.status.run is not None


def test_running_run_goes_on_while_suspended() -> None:
    first = look(policy(annotation="now"))
    assert first.status.run is not None
    suspended = written(policy(annotation="now", suspend=True), first.status)
    assert jobs_of(look(suspended)) == [first.status.run.name]


@pytest.mark.parametrize(
    ("watched", "why"),
    [
        pytest.param(
            serving(candidate="v2"),
            "a rollout of ModelDeployment delays is in progress (v2)",
            id="a rollout",
        ),
        pytest.param(
            deployment(
                {
                    "model": {"name": "flight-delay", "version": "v1"},
                    "predictionLog": {"uri": "s3://logs"},
                }
            ),
            "ModelDeployment delays has no stable revision yet",
            id="no champion",
        ),
    ],
)
def test_due_run_is_held_and_says_why(watched: Any, why: str) -> None:
    held = look(policy(annotation="now"), deployment=watched)
    assert held.status.run is None
    assert held.children == ()
    assert standing(held) == ("Ready", "Watching", f"trigger by-hand is due, but {why}")
    freed = look(written(policy(annotation="now"), held.status))
    assert freed.status.run is not None


@pytest.mark.parametrize(
    "watched",
    [
        pytest.param(serving(drifted_at=ALARM, bad_values=("Missing",)), id="missing"),
        pytest.param(serving(drifted_at=ALARM, bad_values=("Unseen", "Invalid")), id="invalid"),
        pytest.param(serving(drifted_at=ALARM, data_quality="False"), id="no signal known"),
    ],
)
def test_drift_of_broken_input_is_not_trained_on_unless_a_person_asks(watched: Any) -> None:
    held = look(policy(DRIFT, BY_HAND), deployment=watched, after=LATER)
    assert held.status.run is None
    assert "DataQuality of ModelDeployment delays is False" in standing(held)[2]
    assert "mooring.dev/retrain" in standing(held)[2]
    asked = written(policy(DRIFT, BY_HAND, annotation="now"), held.status)
    started = look(asked, deployment=watched, after=LATER)
    assert started.status.run is not None
    assert started.status.run.trigger == "by-hand"
    assert [one.name for one in started.status.handled] == ["drift", "by-hand"]


@pytest.mark.parametrize(
    "watched",
    [
        pytest.param(serving(drifted_at=ALARM, bad_values=("OutOfRange", "Unseen")), id="new"),
        pytest.param(serving(drifted_at=ALARM, data_quality="Unknown"), id="unknown"),
    ],
)
def test_drift_to_new_values_is_trained_on(watched: Any) -> None:
    assert look(policy(DRIFT), deployment=watched, after=LATER).status.run is not None


def test_cooldown_delays_what_is_due() -> None:
    first = look(policy(annotation="one"))
    assert first.status.run is not None
    name = first.status.run.name
    ended = look(
        written(policy(annotation="one"), first.status),
        jobs=[run_job(name, comparison(name, "Inconclusive"))],
    )
    assert standing(ended)[:2] == ("Ready", "CoolingDown")
    assert ended.status.phase == "CoolingDown"
    assert ended.status.cooldown_until == EPOCH + timedelta(hours=24)
    again = policy(annotation="two")
    cooling = look(written(again, ended.status), after=timedelta(hours=23))
    assert cooling.status.run is None
    assert "no run starts before 2026-01-06T08:00:00Z" in standing(cooling)[2]
    assert "trigger by-hand is due" in standing(cooling)[2]
    assert cooling.requeue_after == timedelta(hours=1)
    started = look(written(again, cooling.status), after=timedelta(hours=24))
    assert started.status.run is not None
    assert started.status.cooldown_until is None


@pytest.mark.parametrize(
    ("resource", "watched", "reason", "said"),
    [
        pytest.param(
            policy(annotation="now"), None, "DeploymentNotFound", "apply it there", id="deployment"
        ),
        pytest.param(
            policy(annotation="now"),
            serving(log=None),
            "NoPredictionLog",
            "set its spec.predictionLog.uri",
            id="log",
        ),
        pytest.param(
            policy({"name": "bad", "schedule": {"cron": "0 0 30 2 *"}}, BY_HAND, annotation="now"),
            serving(),
            "InvalidSpec",
            "spec.triggers[name=bad].schedule.cron",
            id="cron",
        ),
        pytest.param(
            policy(annotation="now", data={"window": "7d", "testWindow": "7d"}),
            serving(),
            "InvalidSpec",
            "spec.data.window",
            id="window",
        ),
        pytest.param(
            policy(annotation="now", evaluation={"block": "0s"}),
            serving(),
            "InvalidSpec",
            "spec.evaluation.block is 0s",
            id="duration",
        ),
    ],
)
def test_policy_stalls_with_the_remedy_when_no_run_could_work(
    resource: Any, watched: Any, reason: str, said: str
) -> None:
    decision = look_at(resource, watched)
    type_, why, message = standing(decision)
    assert (type_, why) == ("Stalled", reason)
    assert said in message
    assert decision.status.phase == "Stalled"
    assert decision.children == ()
    assert [(event.type, event.reason) for event in decision.events] == [("Warning", reason)]
    again = look_at(written(resource, decision.status), watched)
    assert again.events == ()
    assert again.status.to_wire() == decision.status.to_wire()


@pytest.mark.parametrize(
    "expression",
    [
        "61 * * * *",
        "0 0 30 2 *",
        "R * * * *",
        "H * * * *",
        "a b c d e",
        "* * * * * *",
        "@daily x y z",
    ],
)
def test_cron_problem_names_the_expression(expression: str) -> None:
    problem = cron_problem(expression)
    assert problem is not None
    assert expression in problem


@pytest.mark.parametrize("expression", ["0 3 1 * *", "*/15 8-18 * * mon-fri", "0 0 29 2 *"])
def test_cron_problem_is_none_for_times_that_come(expression: str) -> None:
    assert cron_problem(expression) is None


def test_ticks_are_the_nearest_in_utc() -> None:
    assert last_tick("0 3 1 * *", FEBRUARY) == FEBRUARY
    assert last_tick("0 3 1 * *", FEBRUARY - timedelta(microseconds=1)).month == 1
    assert next_tick("0 3 1 * *", FEBRUARY) == datetime(2026, 3, 1, 3, tzinfo=UTC)
    assert next_tick("0 3 1 * *", FEBRUARY - timedelta(microseconds=1)) == FEBRUARY


def test_run_name_fits_and_tells_policies_triggers_and_tokens_apart() -> None:
    metadata = policy().metadata
    long = metadata.model_copy(update={"name": "p" * 40})
    other = metadata.model_copy(update={"uid": "another"})
    assert len(run_name(long, "t" * 24, "token")) <= 61
    names = {
        run_name(metadata, "a", "1"),
        run_name(metadata, "a", "2"),
        run_name(metadata, "b", "1"),
        run_name(other, "a", "1"),
    }
    assert len(names) == 4
