"""Who leads: an elector on a Lease that measures with this process's monotonic clock only.

Times of other machines are never compared with ours: a record counts as expired when it did not
change for as long as we watched it. On loss the process exits; it never tries to unwind.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from mooring_operator.errors import AlreadyExists, Conflict, LeadershipLost, MooringError
from mooring_operator.io.clock import Clock
from mooring_operator.io.lease import LeaseRecord, LeaseStore, micro_time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds. `retry` < `renew` < `lease`, so that the old leader stops before the new starts."""

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0


_SOLE_RETRY = 2.0
_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def first_epoch(now: datetime) -> int:
    """The epoch of a new Lease: minutes since 2020, so above that of any Lease before it."""
    return int((now - _BEGINNING).total_seconds() // 60)


class Leadership(Protocol):
    """The right to write."""

    @property
    def epoch(self) -> int:
        """Rises with each change of the leader."""
        ...

    def require(self) -> None:
        """Raises LeadershipLost unless this process may write now."""
        ...

    async def acquire(self) -> None:
        """Returns when this process leads."""
        ...

    async def keep(self) -> None:
        """Raises LeadershipLost when it does not any more."""
        ...

    async def release(self) -> None:
        """Gives the right back."""
        ...


class SoleLeader:
    """Leadership without an election, for a single process. Follows on the Lease's epoch."""

    def __init__(self, store: LeaseStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.epoch = 0

    def require(self) -> None:
        """Always granted."""

    async def acquire(self) -> None:
        """Reads the epoch, so that pods that knew an elected leader still listen."""
        while True:
            try:
                record = await self._store.read()
                break
            except MooringError as error:
                log.warning("%s: %s", self._store, error)
                await self._clock.sleep(_SOLE_RETRY)
        self.epoch = record.transitions or first_epoch(self._clock.now())

    async def keep(self) -> None:
        """Never returns."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Nothing to give back."""


class Elector:
    """Campaigns for a Lease, keeps it, and gives it back."""

    def __init__(
        self,
        store: LeaseStore,
        clock: Clock,
        *,
        identity: str,
        times: LeaseTimes,
        jitter: Callable[[], float],
    ) -> None:
        self._store, self._clock, self._identity = store, clock, identity
        self._times, self._jitter = times, jitter
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0
        self._renewed_at: float | None = None
        self._turn = asyncio.Lock()
        self._released = False

    @property
    def leads(self) -> bool:
        """Whether this process may write now."""
        return self._left() > 0

    @property
    def epoch(self) -> int:
        """How often the leader changed; rises with each new leader."""
        return 0 if self._seen is None else self._seen.transitions

    def require(self) -> None:
        """Raises unless this process may write now.

        Raises:
            LeadershipLost: it may not.
        """
        if not self.leads:
            raise LeadershipLost(f"{self._identity} does not hold {self._store} any more")

    async def acquire(self) -> None:
        """Returns when this process leads."""
        while not await self._attempt():
            await self._clock.sleep(self._times.retry * (1 + 0.2 * self._jitter()))
        log.info("%s leads (%s, epoch %d)", self._identity, self._store, self.epoch)

    async def keep(self) -> None:
        """Renews until the Lease is lost.

        Raises:
            LeadershipLost: always, some time; the process must exit.
        """
        while self.leads:
            await self._clock.sleep(self._times.retry)
            if self._released:
                break
            if not await self._attempt() and self._holder() not in ("", self._identity):
                break
        if self._released:
            await asyncio.Event().wait()  # given back on purpose: the process ends in its own time
        self._renewed_at = None
        raise LeadershipLost(f"{self._identity} lost {self._store} to {self._holder() or 'time'}")

    async def release(self) -> None:
        """Gives the Lease back, so that another one need not wait for it to expire.

        For good: a renewal that is under way ends first, and none begins afterwards, which would
        take it back.
        """
        self._released = True
        async with self._turn:
            await self._give_back()

    async def _give_back(self) -> None:
        if not self.leads or self._seen is None:
            return
        self._renewed_at = None
        free = replace(self._seen, holder="", renewed=micro_time(self._clock.now()))
        try:
            async with asyncio.timeout(self._times.retry):
                await self._store.write(free)
        except (MooringError, TimeoutError) as error:
            log.warning("could not release %s: %s", self._store, error)

    def _left(self) -> float:
        """Seconds for which this process may still write."""
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + self._times.renew - self._clock.monotonic()

    def _holder(self) -> str:
        return "" if self._seen is None else self._seen.holder

    async def _attempt(self) -> bool:
        """One attempt to get or renew the Lease, bounded in time."""
        async with self._turn:
            return not self._released and await self._bounded()

    async def _bounded(self) -> bool:
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._times.renew / 2):
                return await self._swap(started)
        except (Conflict, AlreadyExists):
            return False
        except (MooringError, TimeoutError) as error:
            log.warning("%s: %s", self._store, error or "no answer in time")
            return False

    async def _swap(self, started: float) -> bool:
        record = self._seen if self.leads else None
        if record is None:
            record = await self._store.read()
            self._notice(record)
        ours = record.holder == self._identity
        if record.holder and not ours and not self._expired():
            return False
        now = micro_time(self._clock.now())
        transitions = record.transitions + (0 if ours else 1)
        if not record.resource_version:
            # A Lease that was deleted must not make the epoch fall: pods refuse an older one.
            transitions = max(transitions, first_epoch(self._clock.now()))
        claim = replace(
            record,
            holder=self._identity,
            renewed=now,
            acquired=record.acquired if ours else now,
            transitions=transitions,
        )
        try:
            written = await self._store.write(claim)
        except Conflict:
            self._notice(await self._store.read())
            raise
        self._notice(written)
        # From before the request: the record may be as old as that.
        self._renewed_at = started
        return True

    def _notice(self, record: LeaseRecord) -> None:
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock.monotonic()

    def _expired(self) -> bool:
        return self._clock.monotonic() - self._seen_at >= self._times.lease
