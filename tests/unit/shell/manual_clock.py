"""A clock that only moves when a test moves it. No test waits."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)
_TURNS = 50


class ManualClock:
    """Implements `Clock`; `sleep` ends when `advance` has passed its end."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        done = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, done))
        await done

    async def advance(self, seconds: float) -> None:
        """Lets time pass, waking sleepers in order, and everything settle."""
        end = self._elapsed + seconds
        await settle()
        while due := sorted(
            (item for item in self._sleepers if item[0] <= end and not item[1].done()),
            key=lambda item: item[0],
        ):
            at, done = due[0]
            self._elapsed = max(self._elapsed, at)
            done.set_result(None)
            await settle()
        self._elapsed = end
        self._sleepers = [item for item in self._sleepers if not item[1].done()]
        await settle()


async def settle() -> None:
    """Lets every task that can go on do so."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def no_jitter() -> float:
    """The middle of [0, 1): pauses as documented, without spread."""
    return 0.5
