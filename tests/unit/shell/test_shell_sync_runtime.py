"""What rounds of sync say of how stable runs: it fails, it is down, or nobody serves."""

from datetime import timedelta

from mooring_operator.core.decision import Route, RouteRole
from tests.unit.shell.synced_world import ANALYSING, KEY, R1, R2, STABLE, World


async def test_deployment_is_woken_when_stable_fails_too_many_requests() -> None:
    world = World()
    pods = [world.add("1", R1, requests=50, errors=0), world.add("2", R1, requests=50, errors=0)]
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    woken = len(world.woken)
    for number in range(1, 9):
        await world.clock.advance(15.0)
        pods[0].counters = {"requests": 50 + 90 * number, "errors": 10 * number}
        await world.sync.round(KEY)
    watch = world.seen().runtime
    assert watch is not None
    assert watch.failing
    assert not watch.down
    assert set(watch.shares) == {0.1}
    assert len(world.woken) == woken + 1


async def test_rounds_end_without_pods_once_it_is_known_that_nobody_serves() -> None:
    world = World()
    world.sync.push(KEY, {R1: STABLE})
    rounds = 0
    while await world.sync.round(KEY) is not None:
        rounds += 1
        await world.clock.advance(15.0)
        assert rounds < 20
    watch = world.seen().runtime
    assert watch is not None
    assert watch.down
    assert rounds == 8, "one to begin with and seven bad ones; the eighth is the last"
    world.scheduled.clear()
    world.add("1", R1)
    world.sync.noticed(KEY)
    assert world.scheduled == [KEY]
    assert await world.sync.round(KEY) == timedelta(seconds=15)
    assert world.seen().fresh


async def test_rounds_go_on_without_ready_pods_while_there_are_any_or_a_rollout_goes_on() -> None:
    world = World()
    world.add("1", R1)
    world.change("1", R1, ready=False)
    world.sync.push(KEY, {R1: STABLE})
    for _ in range(12):
        assert await world.sync.round(KEY) is not None
        await world.clock.advance(15.0)
    world.remove("1", R1)
    world.sync.push(KEY, ANALYSING)
    assert await world.sync.round(KEY) is not None
    world.sync.push(KEY, {R1: STABLE})
    assert await world.sync.round(KEY) is None


async def test_deployment_whose_pods_told_nothing_has_no_series() -> None:
    world = World()
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    assert f'deployment="{KEY.name}"' not in world.metrics.exposition().decode()


async def test_stable_is_down_when_no_pod_of_it_was_ready_in_many_rounds() -> None:
    world = World()
    world.add("1", R1, requests=50)
    world.add("2", R2, requests=50)
    world.sync.push(KEY, {R1: STABLE, R2: Route(RouteRole.RETIRED)})
    await world.sync.round(KEY)
    world.change("1", R1, ready=False)
    for _ in range(8):
        await world.clock.advance(15.0)
        await world.sync.round(KEY)
    watch = world.seen().runtime
    assert watch is not None
    assert watch.down
    assert not watch.failing
