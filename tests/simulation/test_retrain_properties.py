"""Whatever happens to a policy, in any order: one run a token, one at a time, no lost version."""

from collections.abc import Callable
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.retrain import BY_HAND, DRIFT
from tests.simulation.job_cluster import Outcome
from tests.simulation.policy_life import PolicyLife, away, crashes, refuses, trains

TRIGGERS = (DRIFT, BY_HAND, {"name": "hourly", "schedule": {"cron": "0 * * * *"}})
ACTIONS: dict[str, Callable[[PolicyLife, int], None]] = {
    "drift": lambda life, _: life.drift(),
    "calm": lambda life, _: life.deployment(drifted_at=None),
    "annotate": lambda life, _: life.annotate("the-same"),
    "annotate anew": lambda life, number: life.annotate(f"token-{number}"),
    "roll out": lambda life, _: life.deployment(candidate="v9"),
    "settle": lambda life, _: life.deployment(candidate=None),
    "break input": lambda life, _: life.deployment(bad_values=("Missing",)),
    "mend input": lambda life, _: life.deployment(bad_values=()),
    "suspend": lambda life, _: life.edit(suspend=True),
    "resume": lambda life, _: life.edit(suspend=False),
    "kill operator": lambda life, _: life.operator.kill_at_next_effect(),
    "lose jobs": lambda life, _: life.lose_jobs(),
}
OUTCOMES = st.sampled_from(
    [trains(), trains("Rejected"), trains("Inconclusive"), refuses(), away(), crashes()]
)
WAITS = st.integers(min_value=0, max_value=90).map(lambda minutes: timedelta(minutes=minutes))


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), WAITS), min_size=1, max_size=12),
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=4),
    cooldown=st.sampled_from(["0s", "5m", "2h"]),
)
def test_policy_trains_once_for_a_token_and_loses_no_version(
    steps: list[tuple[str, timedelta]], outcomes: list[Outcome], cooldown: str
) -> None:
    script = {str(trigger["name"]): outcomes for trigger in TRIGGERS}
    life = PolicyLife(*TRIGGERS, outcomes=script, cooldown=cooldown)
    lost: list[str] = []
    for number, (action, wait) in enumerate(steps):
        if action == "lose jobs":
            lost += life.cluster.jobs
        ACTIONS[action](life, number)
        life.operator.run(wait)
        running = [j for j in life.cluster.jobs.values() if not j.finished(life.operator.now)]
        assert len(running) <= 1, "two runs at a time"
    again = [name for name in set(life.cluster.created) if name not in lost]
    assert all(life.cluster.created.count(name) == 1 for name in again), "trained twice"
    life.edit(suspend=True)
    life.operator.run(timedelta(hours=12))
    assert life.operator.status.get("run") is None, "a run that does not end"
    won = {
        job.manifest["metadata"]["name"].removesuffix("-2").removesuffix("-3")
        for job in life.cluster.jobs.values()
        if job.outcome.answer is not None and job.outcome.answer["verdict"] == "Accepted"
    }
    assert won <= set(life.versions), "a version was lost"
