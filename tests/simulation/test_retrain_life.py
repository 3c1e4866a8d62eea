"""A policy's life, with golden transcripts, and what a killed operator leaves behind."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.builders.retrain import BY_HAND, DRIFT, MONTHLY
from tests.simulation.job_operator import Wire, check_golden, standing, stands
from tests.simulation.policy_life import PolicyLife, away, crashes, refuses, trains

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOURLY = {"name": "hourly", "schedule": {"cron": "0 * * * *"}}


def test_policy_answers_a_drift_and_then_a_schedule() -> None:
    life = PolicyLife(
        DRIFT,
        HOURLY,
        outcomes={
            "drift": [trains()],
            "hourly": [trains("Rejected", message="the interval holds 0")],
        },
        cooldown="90m",
    )
    operator = life.operator
    operator.run(10 * MINUTE)
    life.drift()
    operator.run_until(stands("Ready/CoolingDown"), within=HOUR)
    life.deployment(candidate=life.versions[0])
    operator.run(20 * MINUTE)
    life.deployment(version=life.versions[0], candidate=None, drifted_at=None)
    operator.run_until(stands("Reconciling/Training"), within=3 * HOUR)
    operator.run_until(stands("Ready/CoolingDown"), within=HOUR)
    assert operator.status["verdict"] == "Rejected"
    assert len(life.versions) == 1
    check_golden(operator, "policy-life")


def test_broken_input_and_a_rollout_hold_a_run_until_they_end() -> None:
    life = PolicyLife(DRIFT, BY_HAND, outcomes={"drift": [trains("Inconclusive")]})
    life.deployment(bad_values=("Missing",))
    life.drift()
    life.operator.run(MINUTE)
    life.deployment(candidate="v2")
    life.annotate("please")
    life.operator.run(MINUTE)
    life.deployment(bad_values=())
    life.operator.run(MINUTE)
    assert life.cluster.created == []
    life.deployment(candidate=None)
    life.operator.run_until(stands("Ready/CoolingDown"), within=HOUR)
    assert len(life.cluster.created) == 1
    check_golden(life.operator, "policy-inhibited")


def test_lost_job_is_trained_again_as_the_same_run() -> None:
    life = PolicyLife(BY_HAND, outcomes={"by-hand": [trains()]})
    life.annotate("now")
    life.operator.run(MINUTE)
    life.lose_jobs()
    life.operator.run_until(stands("Ready/CoolingDown"), within=HOUR)
    first, second = life.cluster.created
    assert first == second == life.versions[0]
    check_golden(life.operator, "policy-job-lost")


def test_refused_run_stalls_until_the_spec_is_corrected() -> None:
    life = PolicyLife(BY_HAND, outcomes={"by-hand": [refuses(), trains()]}, cooldown="5m")
    life.annotate("first")
    life.operator.run_until(stands("Stalled/RunRefused"), within=HOUR)
    life.operator.run(10 * MINUTE)
    life.edit(data={"minRows": 1000})
    life.operator.run(MINUTE)
    life.annotate("second")
    life.operator.run_until(stands("Ready/CoolingDown"), within=HOUR)
    check_golden(life.operator, "policy-refused")


def test_store_that_stays_away_fails_the_run_after_three_attempts() -> None:
    life = PolicyLife(BY_HAND, outcomes={"by-hand": [away()]})
    life.annotate("now")
    life.operator.run_until(stands("Stalled/RunFailed"), within=HOUR)
    assert len(life.cluster.created) == 3
    check_golden(life.operator, "policy-store-unavailable")


def test_suspended_policy_runs_once_for_all_that_it_missed() -> None:
    life = PolicyLife(HOURLY, outcomes={"hourly": [trains("Rejected")]}, suspend=True)
    life.operator.run(5 * HOUR)
    assert life.cluster.created == []
    life.edit(suspend=False)
    life.operator.run_until(stands("Ready/CoolingDown"), within=HOUR)
    life.operator.run(2 * HOUR)
    assert len(life.cluster.created) == 1
    check_golden(life.operator, "policy-suspended")


def test_missing_log_stalls_with_the_remedy_and_ends_when_it_comes() -> None:
    life = PolicyLife(BY_HAND, outcomes={"by-hand": [crashes(), trains()]}, cooldown="1m")
    life.deployment(log=None)
    life.annotate("now")
    life.operator.run_until(stands("Stalled/NoPredictionLog"), within=MINUTE)
    life.deployment(log={"uri": "s3://logs/flights"})
    life.operator.run_until(stands("Stalled/RunFailed"), within=HOUR)
    life.operator.run(2 * MINUTE)
    life.annotate("again")
    life.operator.run_until(stands("Ready/CoolingDown"), within=HOUR)
    check_golden(life.operator, "policy-no-log")


def drift_won(crash_at: int | None) -> PolicyLife:
    life = PolicyLife(DRIFT, MONTHLY, outcomes={"drift": [trains()]}, crash_at=crash_at)
    life.drift()
    life.operator.run(30 * MINUTE)
    return life


def store_trouble(crash_at: int | None) -> PolicyLife:
    life = PolicyLife(
        BY_HAND, outcomes={"by-hand": [away(), trains("Rejected")]}, crash_at=crash_at
    )
    life.annotate("now")
    life.operator.run(30 * MINUTE)
    return life


def two_in_a_row(crash_at: int | None) -> PolicyLife:
    outcomes = {"drift": [trains()], "by-hand": [crashes()]}
    life = PolicyLife(DRIFT, BY_HAND, outcomes=outcomes, cooldown="1m", crash_at=crash_at)
    life.drift()
    life.operator.run(15 * MINUTE)
    life.annotate("now")
    life.operator.run(15 * MINUTE)
    return life


@pytest.mark.parametrize("story", [drift_won, store_trouble, two_in_a_row])
def test_killed_operator_trains_once_and_loses_no_version(
    story: Callable[[int | None], PolicyLife],
) -> None:
    calm = story(None)
    steps = calm.operator.effects
    assert steps > 4
    for crash_at in range(1, steps + 1):
        killed = story(crash_at)
        assert _lasting(killed.operator.status) == _lasting(calm.operator.status), crash_at
        assert killed.cluster.created == calm.cluster.created, crash_at
        assert killed.versions == calm.versions, crash_at


def _lasting(status: Wire) -> tuple[object, ...]:
    """What does not depend on when things happened."""
    results = [(one["run"], one["verdict"], one["version"]) for one in status["history"]]
    return standing(status), results, status.get("run"), status["handled"][:1]
