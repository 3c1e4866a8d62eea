"""The work queue: a `Schedule` with workers around it. One worker a key, never two.

Each piece of work runs in a task of its own, and its outcome is read from that task: whatever one
key raises stays with that key.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from mooring_operator.errors import Conflict, LeadershipLost, MooringError, Transient
from mooring_operator.io.clock import Clock
from mooring_operator.io.token_bucket import TokenBucket
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.outcomes import settled
from mooring_operator.reconcile.schedule import Schedule

log = logging.getLogger(__name__)
KeyT = TypeVar("KeyT", bound=Hashable)

KeyIn = TypeVar("KeyIn", bound=Hashable, contravariant=True)


class Work(Protocol[KeyIn]):
    """What is done for a key."""

    async def __call__(self, key: KeyIn, /) -> timedelta | None:
        """Returns when to do it again at the latest; None: only when something happens."""
        ...


OnFailure = Callable[[KeyT, BaseException], Awaitable[None]]


@dataclass(frozen=True)
class QueueSettings:
    """How one queue is run."""

    name: str
    workers: int
    rate: TokenBucket | None = None


class WorkQueue(Generic[KeyT]):
    """Keys to be worked on. `notify` from anywhere on the event loop, `run` once."""

    def __init__(
        self,
        settings: QueueSettings,
        schedule: Schedule[KeyT],
        clock: Clock,
        metrics: OperatorMetrics,
    ) -> None:
        self._settings, self._schedule = settings, schedule
        self._clock, self._metrics = clock, metrics
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._active = 0
        self._stopping = False

    def notify(self, key: KeyT) -> None:
        """Says that something about this key may have changed."""
        if self._schedule.add(key, self._clock.monotonic()):
            self._added()

    def review(self, key: KeyT) -> None:
        """Has a key looked over although nothing is known to have changed; news go first."""
        if self._schedule.review(key, self._clock.monotonic()):
            self._added()

    def _added(self) -> None:
        self._metrics.queue_adds.labels(self._settings.name).inc()
        self._wake.set()

    def forget(self, key: KeyT) -> None:
        """Drops what is remembered of a key that is no more."""
        self._schedule.forget(key)

    def stop(self) -> None:
        """Hands out no key any more; what is under work goes on."""
        self._stopping = True
        self._wake.set()

    async def drained(self) -> None:
        """Returns when nothing is under work."""
        await self._idle.wait()

    async def run(self, work: Work[KeyT], on_failure: OnFailure[KeyT] | None = None) -> None:
        """Runs the workers until `stop`.

        Args:
            work: what to do for a key.
            on_failure: told about everything that `work` raises; what it raises itself is logged.
        """
        # One waits for keys, however many workers there are: each notice would wake all of them.
        free = asyncio.Semaphore(self._settings.workers)
        async with asyncio.TaskGroup() as group:
            while True:
                await free.acquire()
                taken = await self._next()
                if taken is None:
                    return
                key, waited = taken
                self._metrics.queue_wait.labels(self._settings.name).observe(waited)
                self._active += 1
                self._idle.clear()
                group.create_task(self._worked(key, work, on_failure, free))

    async def _worked(
        self,
        key: KeyT,
        work: Work[KeyT],
        on_failure: OnFailure[KeyT] | None,
        free: asyncio.Semaphore,
    ) -> None:
        started = self._clock.monotonic()
        await self._one(key, work, on_failure)
        elapsed = self._clock.monotonic() - started
        self._metrics.queue_work.labels(self._settings.name).observe(elapsed)
        free.release()
        self._active -= 1
        if not self._active:
            self._idle.set()

    async def _one(self, key: KeyT, work: Work[KeyT], on_failure: OnFailure[KeyT] | None) -> None:
        outcome = await settled(work(key))
        now = self._clock.monotonic()
        match outcome:
            case BaseException():
                await self._failed(key, outcome, on_failure)
            case None:
                self._schedule.succeed(key, now, None)
            case _:
                self._schedule.succeed(key, now, outcome.total_seconds())
        self._wake.set()

    async def _failed(
        self, key: KeyT, error: BaseException, on_failure: OnFailure[KeyT] | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            raise error
        if isinstance(error, Conflict):
            # Our copy is fresh by then. Whoever conflicts with us each time is not raced.
            self._schedule.fail(key, self._clock.monotonic())
            return
        if on_failure is not None and not isinstance(error, LeadershipLost):
            told = await settled(on_failure(key, error))
            if isinstance(told, MooringError):
                log.info("could not report the failure of %s: %s", key, told)
            elif isinstance(told, BaseException):
                log.error("could not report the failure of %s", key, exc_info=told)
        at_least = (error.retry_after or 0.0) if isinstance(error, Transient) else 0.0
        pause = self._schedule.fail(key, self._clock.monotonic(), at_least)
        self._metrics.queue_retries.labels(self._settings.name).inc()
        if isinstance(error, MooringError):
            log.warning("%s: %s; again in %.1f s", key, error, pause)
        else:
            log.error("%s: unexpected; again in %.1f s", key, pause, exc_info=error)

    async def _next(self) -> tuple[KeyT, float] | None:
        while not self._stopping:
            now = self._clock.monotonic()
            taken = self._schedule.take(now)
            self._metrics.queue_depth.labels(self._settings.name).set(len(self._schedule))
            if taken is not None:
                if self._settings.rate is not None:
                    await self._clock.sleep(self._settings.rate.reserve(now))
                return None if self._stopping else taken
            self._wake.clear()
            timer = self._schedule.next_timer()
            await self._woken(None if timer is None else timer - now)
        return None

    async def _woken(self, seconds: float | None) -> None:
        """Waits for a notice or the next timer, whichever is first."""
        if seconds is None:
            await self._wake.wait()
            return
        notice = asyncio.ensure_future(self._wake.wait())
        timer = asyncio.ensure_future(self._clock.sleep(max(0.0, seconds)))
        try:
            await asyncio.wait({notice, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            notice.cancel()
            timer.cancel()
