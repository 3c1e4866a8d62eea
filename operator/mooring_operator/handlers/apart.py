"""A coroutine on a thread and an event loop of its own, which is left behind if it does not end.

kopf tears itself down when one of its streams fails, and may wait for ever for another one to end.
Whoever waited for it would be blind with it.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from mooring_operator.reconcile.outcomes import settled

_LOOK_SECONDS = 0.5


class LeftBehind(Exception):
    """The work was over and did not end; its thread is abandoned."""


class Apart:
    """Runs one piece of work at a time."""

    def __init__(self) -> None:
        self._over = asyncio.Event()
        self._over.set()

    async def run(
        self, work: Callable[[], Coroutine[Any, Any, None]], hopeless: Callable[[], bool]
    ) -> BaseException | None:
        """Returns how the work ended: with an error, by itself, or left behind.

        Args:
            work: what to do, on another thread.
            hopeless: whether the work should have ended long ago; asked twice a second.
        """
        main, over = asyncio.get_running_loop(), asyncio.Event()
        self._over = over
        ends: list[BaseException | None] = []

        def body() -> None:
            try:
                ends.append(asyncio.run(settled(work())))
            finally:
                if not main.is_closed():
                    main.call_soon_threadsafe(over.set)

        threading.Thread(target=body, name="apart", daemon=True).start()
        while not await self.ended(_LOOK_SECONDS):
            if hopeless():
                return LeftBehind("its thread is left behind")
        return ends[0] if ends else None

    async def ended(self, seconds: float) -> bool:
        """Whether the work ends within so many seconds, or has."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True
