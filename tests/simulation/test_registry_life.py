"""A Model's life, with golden transcripts, and what a killed operator leaves behind."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.builders.registry import NEWEST, declared, version_record
from tests.builders.resources import digest_of
from tests.simulation.job_operator import Wire, check_golden, standing, stands
from tests.simulation.model_life import ModelLife, away, passes, refuses

MINUTE = timedelta(minutes=1)
LIVE = [NEWEST]


def test_model_lives_from_its_first_version_to_a_rejected_one() -> None:
    life = ModelLife(
        {
            "v1": [passes("v1")],
            "v2": [refuses()],
            "v3": [passes("v3")],
            "v4": [passes("v4")],
            "nightly-1": [passes("nightly-1")],
        }
    )
    operator = life.operator
    life.apply("v1", channels=LIVE)
    operator.run_until(stands("Ready/AllVerified"), within=MINUTE)
    life.apply("v1", "v2")
    operator.run_until(stands("Stalled/VersionRefused"), within=MINUTE)
    assert life.pointer("live") == "v1"
    life.apply("v1", "v3")
    operator.run_until(stands("Ready/AllVerified"), within=MINUTE)
    assert life.pointer("live") == "v3"
    life.roll_back("v4")
    life.apply("v1", "v3", "v4")
    operator.run_until(stands("Ready/AllVerified"), within=MINUTE)
    operator.run(MINUTE)
    assert life.pointer("live") == "v3"
    life.record(version_record("nightly-1"))
    operator.run(MINUTE)
    assert life.pointer("live") == "nightly-1"
    life.apply("v1", "v3", "v4", channels=[{"name": "live", "version": "v1"}])
    operator.run(MINUTE)
    assert life.pointer("live") == "v1"
    check_golden(operator, "model-life")


def test_store_that_comes_back_lets_the_version_through() -> None:
    life = ModelLife({"v1": [away(), away(), away(), passes("v1")]})
    life.apply("v1", channels=LIVE)
    life.operator.run_until(stands("Reconciling/StoreUnavailable"), within=MINUTE)
    life.operator.run_until(stands("Ready/AllVerified"), within=10 * MINUTE)
    assert len(life.cluster.created) == 4
    check_golden(life.operator, "model-store-unavailable")


def test_disputed_name_keeps_the_channel_until_a_person_gives_way() -> None:
    life = ModelLife({"v1": [passes("v1")], "nightly-1": [passes("nightly-1")]})
    life.apply("v1", channels=LIVE)
    life.record(version_record("nightly-1"))
    life.operator.run(MINUTE)
    assert life.pointer("live") == "nightly-1"
    life.apply("v1", declared("nightly-1", digest=digest_of("other")))
    life.operator.run_until(stands("Stalled/VersionConflict"), within=MINUTE)
    life.operator.run(MINUTE)
    assert life.pointer("live") == "nightly-1"
    life.apply("v1")
    life.operator.run_until(stands("Ready/AllVerified"), within=MINUTE)
    assert life.pointer("live") == "nightly-1"
    check_golden(life.operator, "model-version-conflict")


def test_verdicts_outlive_their_jobs_and_the_status() -> None:
    life = ModelLife({"v1": [passes("v1")], "v2": [refuses()]})
    life.apply("v1", "v2", channels=LIVE)
    life.operator.run_until(stands("Stalled/VersionRefused"), within=MINUTE)
    life.operator.run(timedelta(hours=2))
    assert life.cluster.jobs == {}
    told = [version["phase"] for version in life.operator.status["versions"]]
    life.operator.tell("world", "the status is lost")
    life.operator.status = {"observedGeneration": -1}
    life.operator.run(MINUTE)
    assert [version["phase"] for version in life.operator.status["versions"]] == told
    assert life.pointer("live") == "v1"
    assert len(life.cluster.created) == 2
    check_golden(life.operator, "model-lost-status")


def test_many_versions_are_verified_a_few_at_a_time() -> None:
    names = [f"v{number}" for number in range(1, 11)]
    life = ModelLife({name: [passes(name)] for name in names})
    life.apply(*names, channels=LIVE)
    life.operator.run_until(stands("Ready/AllVerified"), within=3 * MINUTE)
    assert len(life.cluster.created) == len(names)
    assert life.pointer("live") == "v10"
    assert max(_parallel(life)) == 4


def _parallel(life: ModelLife) -> list[int]:
    """How many Jobs were under way at each creation, from the story."""
    jobs = list(life.cluster.jobs.values())
    return [
        sum(
            1
            for other in jobs
            if other.created_at <= job.created_at < other.created_at + other.outcome.after
        )
        for job in jobs
    ]


def verify_two(crash_at: int | None) -> ModelLife:
    life = ModelLife({"v1": [passes("v1")], "v2": [passes("v2", seconds=45)]}, crash_at)
    life.apply("v1", "v2", channels=LIVE)
    life.operator.run(5 * MINUTE)
    return life


def refuse_after_trouble(crash_at: int | None) -> ModelLife:
    life = ModelLife({"v1": [passes("v1")], "v2": [away(), refuses()]}, crash_at)
    life.apply("v1", "v2", channels=LIVE)
    life.operator.run(5 * MINUTE)
    return life


@pytest.mark.parametrize("story", [verify_two, refuse_after_trouble])
def test_killed_operator_ends_in_the_same_state(
    story: Callable[[int | None], ModelLife],
) -> None:
    calm = story(None)
    steps = calm.operator.effects
    assert steps > 5
    for crash_at in range(1, steps + 1):
        killed = story(crash_at)
        assert _lasting(killed.operator.status) == _lasting(calm.operator.status)
        assert sorted(killed.cluster.records) == sorted(calm.cluster.records)
        assert sorted(killed.cluster.created) == sorted(calm.cluster.created), crash_at


def _lasting(status: Wire) -> tuple[object, ...]:
    """What does not depend on when things happened."""
    return (
        standing(status),
        [(v["name"], v["phase"], v["reason"], v["seq"]) for v in status["versions"]],
        [(c["name"], c["version"], c["digest"]) for c in status["channels"]],
    )
