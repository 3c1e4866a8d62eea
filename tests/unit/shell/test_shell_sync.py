import asyncio
from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.core.decision import Route, RouteRole
from mooring_operator.core.observation import LossCounts
from tests.unit.shell.manual_clock import START, settle
from tests.unit.shell.synced_world import ANALYSING, KEY, R1, R2, STABLE, World, phase_counters


async def test_changed_routes_schedule_a_round_at_once() -> None:
    world = World()
    world.sync.push(KEY, {R1: STABLE})
    world.sync.push(KEY, {R1: STABLE})
    assert world.scheduled == [KEY]
    world.sync.push(KEY, ANALYSING)
    assert world.scheduled == [KEY, KEY]


async def test_every_ready_pod_of_every_live_revision_is_told_its_route() -> None:
    world = World()
    stable = [world.add("1", R1), world.add("2", R1)]
    candidate = world.add("3", R2)
    world.sync.push(KEY, ANALYSING)
    assert await world.sync.round(KEY) == timedelta(seconds=15)
    assert [item.route and item.route["weightPercent"] for item in stable] == [5, 5]
    assert candidate.route is not None
    assert candidate.route["role"] == "Candidate"
    seen = world.seen()
    assert seen.routes == {R1: (ANALYSING[R1],) * 2, R2: (ANALYSING[R2],)}
    assert seen.fresh
    assert seen.at == world.clock.now()
    assert world.woken == [KEY]


async def test_counters_are_summed_over_pods() -> None:
    world = World()
    labels = {"n": 2, "lossSum": 0.5, "lossSquaredSum": 0.25}
    for name in ("1", "2"):
        world.add(
            name,
            R1,
            **phase_counters(100, 1),
            rows=200,
            sketchedRows=190,
            labels={f"{R2}/0": {"stable": labels, "candidate": labels}},
            labelled=labels,
        )
    world.add("3", R2, rows=1000, sketchedRows=0, labelled=labels)
    world.sync.push(KEY, ANALYSING)
    await world.sync.round(KEY)
    seen = world.seen()
    counts = seen.phases[f"{R2}/0"]
    assert (counts.stable.requests, counts.candidate.errors) == (200, 2)
    assert counts.stable.latency_counts == (200, 0, 0)
    assert counts.candidate_loss == LossCounts(4, 1.0, 0.5)
    assert seen.labelled == LossCounts(4, 1.0, 0.5), "only what the stable pods were told"
    assert seen.coverage == 0.95, "only the stable revision's rows"


async def test_counters_of_dead_pods_and_earlier_boots_are_kept() -> None:
    world = World()
    world.add("1", R1, **phase_counters(100))
    restarting = world.add("2", R1, **phase_counters(50))
    world.sync.push(KEY, ANALYSING)
    await world.sync.round(KEY)
    world.remove("1", R1)
    restarting.restart()
    restarting.counters = phase_counters(7)
    await world.sync.round(KEY)
    await world.sync.round(KEY)
    assert world.seen().phases[f"{R2}/0"].stable.requests == 157


async def test_identity_is_asked_once_a_boot() -> None:
    world = World()
    target = world.add("1", R1)
    world.sync.push(KEY, {R1: STABLE})
    for _ in range(3):
        await world.sync.round(KEY)
    assert world.pods.identities == 1
    target.restart()
    await world.sync.round(KEY)
    assert world.pods.identities == 2
    assert target.route is not None, "told in the same round"


async def test_unreachable_pod_makes_the_counters_stale_and_is_tried_soon() -> None:
    world = World()
    world.add("1", R1)
    world.add("2", R1)
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    first = world.seen().at
    world.pods.unreachable.add("10.0.0.2")
    await world.clock.advance(15.0)
    assert await world.sync.round(KEY) == timedelta(seconds=1)
    assert world.seen().fresh, "two intervals of patience"
    assert world.seen().at == first, "no complete round since"
    await world.clock.advance(16.0)
    assert not world.seen().fresh


async def test_new_operator_knows_nothing_until_pods_answered_or_were_silent_for_too_long() -> None:
    world = World()
    world.add("1", R1)
    world.add("2", R1)
    world.pods.unreachable.add("10.0.0.2")
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    await world.clock.advance(29.0)
    assert world.sync.telemetry(KEY) is None, "it may just be slow"
    await world.clock.advance(2.0)
    await world.sync.round(KEY)
    seen = world.seen()
    assert not seen.fresh
    assert (seen.serving, seen.answering) == (2, 1)
    assert seen.at < START, "no round was complete"
    assert KEY in world.woken


async def test_new_pod_is_scheduled_at_once_and_unacknowledged_until_it_answered() -> None:
    world = World()
    world.add("1", R1)
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    world.scheduled.clear()
    world.add("2", R1)
    world.sync.noticed(KEY)
    assert world.scheduled == [KEY]
    assert world.seen().routes == {R1: (STABLE, None)}
    assert world.seen().fresh


async def test_leaving_pod_gives_its_last_counters() -> None:
    world = World()
    world.add("1", R1)
    leaving = world.add("2", R1, **phase_counters(10))
    world.sync.push(KEY, ANALYSING)
    await world.sync.round(KEY)
    leaving.counters = phase_counters(25)
    world.change("2", R1, ready=False, deletionTimestamp="2026-01-01T00:00:00Z")
    world.scheduled.clear()
    world.sync.noticed(KEY)
    assert world.scheduled == [KEY]
    assert await world.sync.round(KEY) == timedelta(seconds=1), "it still answers requests"
    leaving.counters = phase_counters(31)
    assert await world.sync.round(KEY) == timedelta(seconds=1)
    world.remove("2", R1)
    await world.sync.round(KEY)
    assert world.seen().phases[f"{R2}/0"].stable.requests == 31
    assert world.seen().routes[R1] == (ANALYSING[R1],)


async def test_rows_of_a_deployment_are_told_to_prometheus_until_it_is_gone() -> None:
    world = World()
    world.add("1", R1, rows=100, sketchedRows=90, droppedRows=10)
    leaving = world.add("2", R1, rows=7, sketchedRows=7)
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    world.remove("2", R1)
    await world.sync.round(KEY)
    assert leaving.route is not None
    series = f'deployment="{KEY.name}",namespace="{KEY.namespace}",outcome='
    told = world.metrics.exposition().decode()
    for outcome, rows in (("answered", 107), ("sketched", 97), ("dropped", 10)):
        assert f'mooring_deployment_rows{{{series}"{outcome}"}} {rows}.0' in told
    world.sync.forget(KEY)
    assert "mooring_deployment_rows{" not in world.metrics.exposition().decode()


async def test_restarted_operator_of_the_same_epoch_is_listened_to() -> None:
    world = World()
    target = world.add("1", R1)
    world.restarted(start=1_000)
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    world.restarted(start=2_000)
    assert world.sync.telemetry(KEY) is None
    world.sync.push(KEY, ANALYSING)
    await world.sync.round(KEY)
    assert target.route is not None
    assert target.route["weightPercent"] == 5


async def test_new_leader_is_listened_to_whatever_its_counter() -> None:
    world = World()
    target = world.add("1", R1)
    world.restarted(start=9_000)
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    world.epoch = 2
    world.restarted(start=0)
    world.sync.push(KEY, ANALYSING)
    await world.sync.round(KEY)
    assert target.last == (2, 1)


async def test_pod_that_is_somebody_else_is_not_believed() -> None:
    world = World()
    target = world.add("1", R1, **phase_counters(10))
    target.deployment_uid = "of a deployment of the same name that was deleted"
    world.sync.push(KEY, ANALYSING)
    await world.sync.round(KEY)
    assert target.route is None
    assert world.sync.telemetry(KEY) is None, "there was no complete round"


@pytest.mark.parametrize(
    "lie",
    [{"rows": -1}, {"phases": "all"}, {"labelled": {"lossSum": "NaN"}}, {"podUid": "another"}],
)
async def test_lying_pod_is_not_counted(lie: dict[str, Any]) -> None:
    world = World()
    world.add("1", R1, **phase_counters(10))
    world.add("2", R1, **{**phase_counters(99), **lie})
    world.sync.push(KEY, ANALYSING)
    await world.sync.round(KEY)
    await world.sync.round(KEY)
    assert world.sync.telemetry(KEY) is None
    world.remove("2", R1)
    await world.sync.round(KEY)
    assert world.seen().phases[f"{R2}/0"].stable.requests == 10


async def test_deployment_is_not_woken_when_nothing_is_new() -> None:
    world = World()
    world.add("1", R1)
    world.sync.push(KEY, {R1: STABLE})
    for _ in range(5):
        await world.sync.round(KEY)
        await world.clock.advance(15.0)
    assert world.woken == [KEY]
    assert world.reviewed == []


async def test_what_a_restarted_operator_hears_first_waits_until_changes_were_looked_at() -> None:
    world = World()
    world.heard()
    world.add("1", R1)
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    assert (world.reviewed, world.woken) == ([KEY], [])
    world.change("1", R1, ready=False)
    await world.sync.round(KEY)
    assert (world.reviewed, world.woken) == ([KEY], [KEY])


async def test_what_a_restarted_operator_hears_first_of_a_rollout_is_news_at_once() -> None:
    world = World()
    world.heard()
    world.add("1", R1)
    world.add("2", R2)
    world.sync.push(KEY, ANALYSING)
    await world.sync.round(KEY)
    assert (world.reviewed, world.woken) == ([], [KEY])


async def test_rounds_are_faster_than_the_pods_patience_while_rolling_out() -> None:
    world = World()
    world.declare(interval="10m")
    world.add("1", R1)
    world.sync.push(KEY, {R1: STABLE})
    assert await world.sync.round(KEY) == timedelta(minutes=5)
    world.sync.push(KEY, ANALYSING)
    assert await world.sync.round(KEY) == timedelta(seconds=20)


async def test_round_goes_by_the_newest_spec() -> None:
    world = World()
    world.add("1", R1)
    world.sync.push(KEY, {R1: STABLE})
    assert await world.sync.round(KEY) == timedelta(seconds=15)
    world.declare(interval="40s")
    assert await world.sync.round(KEY) == timedelta(seconds=40)


async def test_nothing_is_sent_before_routes_are_decided_or_after_the_end() -> None:
    world = World()
    target = world.add("1", R1)
    assert await world.sync.round(KEY) is None
    world.sync.push(KEY, {R1: STABLE})
    world.sync.forget(KEY)
    assert await world.sync.round(KEY) is None
    assert target.route is None


async def test_frozen_pod_delays_nobody_and_is_asked_once_at_a_time() -> None:
    """Its time-out is seconds; a verdict must be with the others in milliseconds."""
    world = World()
    stable, candidate = world.add("1", R1), world.add("2", R2)
    world.sync.push(KEY, ANALYSING)
    await world.sync.round(KEY)
    before = world.seen().at
    await world.clock.advance(1)
    world.pods.frozen["10.0.0.2"] = asyncio.Event()
    assert await world.sync.round(KEY) == timedelta(seconds=1), "it is looked at again soon"
    world.sync.push(KEY, {R1: STABLE, R2: Route(RouteRole.RETIRED, stable_revision=R1)})
    await world.sync.round(KEY)
    assert stable.route is not None
    assert stable.route["weightPercent"] == 0
    assert world.seen().at == before, "not every pod has answered since"
    assert world.seen().routes[R1] == (STABLE,)
    world.pods.frozen.pop("10.0.0.2").set()
    await settle()
    await world.sync.round(KEY)
    assert candidate.route is not None
    assert (candidate.route["role"], candidate.route["stableRevision"]) == ("Retired", R1)
    assert world.seen().at > before


async def test_answers_that_retired_pods_gave_are_told() -> None:
    world = World()
    world.add("1", R1, retiredAnswers=3)
    world.add("2", R2, retiredAnswers=0)
    world.sync.push(KEY, {R1: Route(RouteRole.RETIRED, stable_revision=R2), R2: STABLE})
    await world.sync.round(KEY)
    series = 'mooring_deployment_retired_answers{deployment="d",namespace="a"} 3.0'
    assert series in world.metrics.exposition().decode()
    world.remove("1", R1)
    await world.sync.round(KEY)
    assert series in world.metrics.exposition().decode(), "also of pods that are gone"
    world.sync.forget(KEY)
    assert "mooring_deployment_retired_answers{" not in world.metrics.exposition().decode()
