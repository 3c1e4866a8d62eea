"""Drift through sync: profile from the pods, windows by the clock, dead pods' last counts."""

from typing import Any

import numpy as np

from mooring_operator.core.decision import Route, RouteRole
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import FeatureKind, FeatureProfile, ReferenceProfile
from tests.unit.shell.synced_world import KEY, R1, R2, STABLE, World

PROFILE = ReferenceProfile(
    features=(
        FeatureProfile(
            name="x",
            kind=FeatureKind.NUMERIC,
            counts=FeatureCounts(np.array([5000] * 4)),
            tolerance=0.05,
            design_effect=1.0,
            quality=(),
            edges=(0.0, 1.0, 2.0, 3.0, 4.0),
        ),
    ),
    score=None,
    rows=20_000,
).to_json()
SHIFTED = (10, 20, 170, 200)
CALM = (100, 100, 100, 100)


def counters(bins: tuple[int, ...]) -> dict[str, Any]:
    counts = {"bins": list(bins), "missing": 0, "unseen": 0, "below": 0, "above": 0, "invalid": 0}
    return {"counts": {"x": counts}, "rows": sum(bins), "sketchedRows": sum(bins)}


def _world() -> World:
    world = World()
    world.declare(window="5m", drift={"falseAlarmInterval": "90d"})
    world.pods.profiles = {R1: PROFILE, R2: PROFILE}
    return world


def _series(world: World, name: str) -> float | None:
    labels = {"namespace": KEY.namespace, "deployment": KEY.name}
    return world.metrics.registry.get_sample_value(name, labels)


async def _window(world: World) -> None:
    await world.clock.advance(300.0)
    await world.sync.round(KEY)


async def test_drift_is_told_after_a_window_and_wakes_the_deployment() -> None:
    world = _world()
    world.add("1", R1, **counters(tuple(9 * n for n in SHIFTED)))
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    seen = world.seen().drift
    assert seen is not None
    assert seen.verdict == "NoData"
    world.woken.clear()
    await _window(world)
    seen = world.seen().drift
    assert seen is not None
    assert (seen.verdict, seen.rows, seen.features[0].name) == ("Drifted", 3600, "x")
    assert world.woken == [KEY]


async def test_rows_of_a_pod_that_died_within_the_window_are_judged() -> None:
    world = _world()
    world.add("1", R1, **counters(CALM))
    world.add("2", R1, **counters(CALM))
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    world.remove("2", R1)
    await _window(world)
    assert _series(world, "mooring_drift_judged_rows") == 800
    await _window(world)
    assert _series(world, "mooring_drift_judged_rows") == 800, "and only once"


async def test_candidates_rows_do_not_speak_for_the_stable_revision() -> None:
    world = _world()
    world.add("1", R1, **counters(CALM))
    world.add("2", R2, **counters(SHIFTED))
    world.sync.push(KEY, {R1: STABLE, R2: Route(RouteRole.CANDIDATE)})
    await world.sync.round(KEY)
    await _window(world)
    seen = world.seen().drift
    assert seen is not None
    assert (seen.revision, seen.verdict) == (R1, "WithinTolerance")
    assert _series(world, "mooring_drift_judged_rows") == 400


async def test_watch_begins_again_when_another_revision_is_stable() -> None:
    world = _world()
    world.add("1", R1, **counters(tuple(9 * n for n in SHIFTED)))
    world.add("2", R2, **counters(CALM))
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    await _window(world)
    world.sync.push(KEY, {R2: STABLE, R1: Route(RouteRole.RETIRED)})
    await world.sync.round(KEY)
    seen = world.seen().drift
    assert seen is not None
    assert (seen.revision, seen.verdict) == (R2, "NoData")


async def test_unusable_profile_leaves_the_rest_of_sync_working() -> None:
    world = _world()
    world.pods.profiles = {R1: {"formatVersion": 99}}
    world.add("1", R1, **counters(CALM))
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    await _window(world)
    seen = world.seen()
    assert seen.drift is None
    assert seen.coverage == 1.0
    assert seen.trouble is not None
    assert seen.trouble.reason == "NoReferenceProfile"
    assert "formatVersion" in seen.trouble.message


async def test_nothing_is_watched_when_drift_is_not_asked_for() -> None:
    world = World()
    world.add("1", R1, **counters(CALM))
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    assert world.seen().drift is None


async def test_window_of_nonsense_counts_is_left_out() -> None:
    world = _world()
    world.add("1", R1, **counters(CALM))
    world.add("2", R1, counts={"x": {"bins": [1]}}, rows=1, sketchedRows=1)
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    await _window(world)
    seen = world.seen()
    assert _series(world, "mooring_drift_judged_rows") == 400
    assert seen.trouble is not None
    assert seen.trouble.reason == "ForeignCounts"
