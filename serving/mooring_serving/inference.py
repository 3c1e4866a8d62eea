"""Where predictions run: on the event loop when they are quick, else on a few threads.

Measured at warm-up, since handing a prediction to a thread costs 35 µs, more than many
predictions take, while a long one on the loop would delay every other request.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mooring_serving.errors import Overloaded
from mooring_serving.served import Answer


@dataclass(frozen=True, slots=True)
class PredictionCost:
    """What a prediction takes: `base_ms + rows * row_ms`, both measured at warm-up."""

    base_ms: float
    row_ms: float
    inline: bool = True
    """Whether it may run on the event loop at all."""

    def inline_rows(self, budget_ms: float) -> int:
        """Most rows that are expected to take at most `budget_ms`; 0 when not even one."""
        if not self.inline or self.base_ms + self.row_ms > budget_ms:
            return 0
        if self.row_ms <= 0:
            return 1 << 30
        return int((budget_ms - self.base_ms) / self.row_ms)


def thread_count() -> int:
    """Inference threads: the cores that this process may use, at most 4 (they share the GIL)."""
    return max(1, min(4, len(os.sched_getaffinity(0))))


class InferencePool:
    """A few threads and a bounded number of predictions that run or wait.

    Args:
        threads: Threads.
        limit: Predictions that may run or wait.
    """

    def __init__(self, *, threads: int, limit: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")
        self._limit = limit
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Predictions that run or wait."""
        return self._in_flight

    async def run(self, predict: Callable[[], Answer]) -> Answer:
        """Run a prediction on a thread.

        Raises:
            Overloaded: Too many wait already.
            ModelFault: The model failed.
        """
        if self._in_flight >= self._limit:
            raise Overloaded(f"{self._limit} predictions are waiting; retry later")
        self._in_flight += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, predict)
        finally:
            self._in_flight -= 1

    def stop(self) -> None:
        """End the threads after what runs."""
        self._executor.shutdown(wait=False, cancel_futures=True)
