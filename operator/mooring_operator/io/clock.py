"""Time, as something that is passed in. The only place that asks the machine for it."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the shell gets its time from."""

    def now(self) -> datetime:
        """Wall-clock time in UTC; for records that people and other processes read."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for intervals and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after this many seconds of `monotonic`."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some point in the past."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Suspends the calling task."""
        await asyncio.sleep(seconds)
