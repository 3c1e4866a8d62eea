"""P5: an operator that dies between any two side effects ends in the same state (kill -9)."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.cluster import Behaviour
from tests.simulation.transcript import check_golden
from tests.simulation.world import World

QUICK: dict[str, Any] = {
    "steps": [{"shadow": 100, "minRows": 500}, {"weight": 50, "minRows": 500}],
    "analysis": {"metrics": ["errors"], "margins": {"errors": 0.05}},
}
SETTLE_SECONDS = 180
"""Longer than the operator's absence and the time-to-live of routes together."""


def start(behaviours: dict[str, Behaviour], crash_at: int | None) -> World:
    world = World(behaviours, crash_at=crash_at)
    world.apply("v1", rollout=QUICK)
    world.run(60)
    return world


def first(crash_at: int | None) -> World:
    return start({}, crash_at)


def nothing(crash_at: int | None) -> World:
    return World(crash_at=crash_at)


def good(crash_at: int | None) -> World:
    world = start({}, crash_at)
    world.apply("v2")
    world.run(SETTLE_SECONDS)
    return world


def bad(crash_at: int | None) -> World:
    world = start({"v2": Behaviour(error_rate=0.2)}, crash_at)
    world.apply("v2")
    world.run(SETTLE_SECONDS)
    return world


def superseded(crash_at: int | None) -> World:
    world = start({}, crash_at)
    world.apply("v2")
    world.run(30)
    world.apply("v3")
    world.run(SETTLE_SECONDS)
    return world


def reverted(crash_at: int | None) -> World:
    world = start({}, crash_at)
    world.apply("v2")
    world.run(30)
    world.apply("v1")
    world.run(SETTLE_SECONDS)
    return world


def retried(crash_at: int | None) -> World:
    world = bad(crash_at)
    world.annotate("mooring.dev/retry", world.status["quarantine"][0]["revision"])
    world.run(SETTLE_SECONDS)
    return world


def returned(crash_at: int | None) -> World:
    world = good(crash_at)
    world.apply("v1")
    world.run(SETTLE_SECONDS)
    return world


Story = Callable[[int | None], World]
STORIES: dict[Story, Story] = {
    first: nothing,
    good: first,
    bad: first,
    superseded: first,
    reverted: first,
    retried: bad,
    returned: good,
}
"""Each story with the one that it begins with, whose crashes need no second proof."""


@pytest.mark.parametrize("story", STORIES)
def test_end_is_the_same_when_the_operator_dies_at_any_side_effect(
    story: Story,
) -> None:
    undisturbed = story(None)
    for crash_at in range(STORIES[story](None).effects, undisturbed.effects):
        world = story(crash_at)
        assert world.outcome() == undisturbed.outcome(), f"killed before side effect {crash_at}"
        assert world.cluster.traffic.failed == 0


def test_rollback_ends_by_itself_when_the_operator_dies_in_the_middle() -> None:
    undisturbed = bad(None)
    # The write that says RollingBack is done; the route that takes the traffic away is not.
    rolling_back = next(
        crash_at
        for crash_at in range(undisturbed.effects)
        if (world := bad(crash_at)).transcript.text().count("RollingBack |")
        and "kill -9" in world.transcript.text().split("RollingBack |", 1)[1].split("route", 1)[0]
    )
    check_golden(bad(rolling_back), "operator-killed-mid-rollback")


def test_analysis_goes_on_when_the_operator_dies_in_the_middle() -> None:
    world = World()
    world.apply("v1")
    world.run_until("Ready/Initialized")
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(20)
    world.crash_at = world.effects
    world.run_until("Ready/Promoted")
    check_golden(world, "operator-killed-mid-analysis")
