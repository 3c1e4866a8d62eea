import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from mooring_operator.errors import Conflict, Refused, Transient
from mooring_operator.io.token_bucket import TokenBucket
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.queue import QueueSettings, Work, WorkQueue
from mooring_operator.reconcile.schedule import Schedule
from tests.unit.shell.manual_clock import ManualClock, no_jitter, settle


def _queue(clock: ManualClock, *, workers: int = 2, rate: TokenBucket | None = None):
    settings = QueueSettings("test", workers, rate)
    return WorkQueue[str](settings, Schedule(no_jitter), clock, OperatorMetrics())


@asynccontextmanager
async def _running(
    queue: WorkQueue[str],
    work: Work[str],
    on_failure: Callable[[str, BaseException], Awaitable[None]] | None = None,
) -> AsyncGenerator[None]:
    task = asyncio.create_task(queue.run(work, on_failure))
    yield
    queue.stop()
    await settle()
    assert task.done()


async def test_poisonous_key_backs_off_while_others_go_on() -> None:
    clock = ManualClock()
    queue = _queue(clock)
    done: list[str] = []
    told: list[str] = []

    async def work(key: str) -> None:
        done.append(key)
        if key == "poison":
            raise ZeroDivisionError("decide() has a bug")

    async def on_failure(key: str, error: BaseException) -> None:
        told.append(f"{key}: {type(error).__name__}")

    async with _running(queue, work, on_failure):
        queue.notify("poison")
        queue.notify("healthy")
        await settle()
        assert sorted(done) == ["healthy", "poison"]
        assert told == ["poison: ZeroDivisionError"]
        await clock.advance(0.09)
        assert done.count("poison") == 1
        await clock.advance(0.02)
        assert done.count("poison") == 2


async def test_queue_survives_when_the_failure_cannot_be_reported() -> None:
    clock = ManualClock()
    queue = _queue(clock, workers=1)
    done: list[str] = []

    async def work(key: str) -> None:
        done.append(key)
        raise Refused("no")

    async def on_failure(key: str, error: BaseException) -> None:
        raise ValueError("not even that")

    async with _running(queue, work, on_failure):
        queue.notify("a")
        queue.notify("b")
        await settle()
        assert done == ["a", "b"]


async def test_key_runs_again_after_the_time_that_work_returned() -> None:
    clock = ManualClock()
    queue = _queue(clock)
    at: list[float] = []

    async def work(_: str) -> timedelta:
        at.append(clock.monotonic())
        return timedelta(seconds=10)

    async with _running(queue, work):
        queue.notify("a")
        await clock.advance(25.0)
    assert at == [0.0, 10.0, 20.0]


async def test_conflict_is_tried_again_soon_and_ever_more_slowly_when_it_lasts() -> None:
    clock = ManualClock()
    queue = _queue(clock)
    at: list[float] = []
    told: list[str] = []

    async def work(_: str) -> None:
        at.append(clock.monotonic())
        raise Conflict("somebody wrote first")

    async def on_failure(key: str, error: BaseException) -> None:
        told.append(key)

    async with _running(queue, work, on_failure):
        queue.notify("a")
        await clock.advance(30.0)
    assert at[1] <= 0.1
    assert len(at) <= 9, "twenty attempts a second would be a storm"
    assert told == [], "a race is no failure to report"


async def test_retry_after_of_the_api_server_is_honoured() -> None:
    clock = ManualClock()
    queue = _queue(clock)
    at: list[float] = []

    async def work(_: str) -> None:
        at.append(clock.monotonic())
        raise Transient("too many requests", retry_after=7.0)

    async with _running(queue, work):
        queue.notify("a")
        await clock.advance(6.9)
        assert len(at) == 1
        await clock.advance(0.2)
        assert len(at) == 2


async def test_no_key_is_worked_on_twice_at_the_same_time() -> None:
    clock = ManualClock()
    queue = _queue(clock, workers=8)
    active: set[str] = set()
    runs = 0

    async def work(key: str) -> None:
        nonlocal runs
        assert key not in active
        active.add(key)
        runs += 1
        await clock.sleep(1.0)
        active.remove(key)

    async with _running(queue, work):
        for _ in range(10):
            queue.notify("a")
            await clock.advance(0.3)
        await clock.advance(3.0)
    assert 2 <= runs <= 5


async def test_global_rate_limits_a_storm() -> None:
    clock = ManualClock()
    rate = TokenBucket(rate=10.0, burst=5, now=0.0)
    queue = _queue(clock, workers=50, rate=rate)
    done: list[str] = []

    async def work(key: str) -> None:
        done.append(key)

    async with _running(queue, work):
        for number in range(40):
            queue.notify(str(number))
        await settle()
        assert len(done) == 5
        await clock.advance(1.0)
        assert 14 <= len(done) <= 16
        queue.stop()
        await clock.advance(10.0)
    assert len(done) <= 16, "a stopped queue begins nothing"


async def test_work_under_way_ends_when_the_queue_is_stopped() -> None:
    clock = ManualClock()
    queue = _queue(clock, workers=1)
    ended: list[str] = []

    async def work(key: str) -> None:
        await clock.sleep(5.0)
        ended.append(key)

    task = asyncio.create_task(queue.run(work))
    queue.notify("a")
    queue.notify("b")
    await settle()
    queue.stop()
    drained = asyncio.create_task(queue.drained())
    await settle()
    assert not drained.done()
    await clock.advance(5.0)
    assert ended == ["a"], "what was not begun is left to the next leader"
    assert drained.done()
    assert task.done()


async def test_edit_does_not_wait_for_the_look_at_everything_of_a_new_leader() -> None:
    clock = ManualClock()
    rate = TokenBucket(rate=10.0, burst=1, now=0.0)
    queue = _queue(clock, workers=4, rate=rate)
    done: list[str] = []

    async def work(key: str) -> None:
        done.append(key)

    async with _running(queue, work):
        for number in range(1000):
            queue.review(str(number))
        await clock.advance(1.0)
        queue.notify("edited")
        await clock.advance(0.3)
        assert "edited" in done
        assert len(done) < 20
        queue.stop()
        await clock.advance(1.0)
