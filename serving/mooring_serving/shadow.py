"""Mirroring requests to the candidate after the client has its answer. Owned by the event loop."""

import asyncio
from dataclasses import dataclass

from mooring_serving.answer_bins import AnswerBins
from mooring_serving.answers import count_disagreements
from mooring_serving.arms import Arm
from mooring_serving.counters import Counters
from mooring_serving.forward import Forwarder
from mooring_serving.protocol.messages import InferenceRequest, OutputArrays
from mooring_serving.routing import Route

_WORKERS = 4
"""Mirrored requests in flight; a slow candidate fills the queue and is then mirrored less."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A request to mirror, and what the stable model answered."""

    path: str
    body: bytes
    request: InferenceRequest
    values: OutputArrays
    route: Route
    phase: str


class ShadowQueue:
    """A bounded queue with a few workers.

    Args:
        forwarder: Sends the copies.
        counters: Counts how they ended.
        answers: Takes what the candidate answered.
        size: Requests that may wait; more are dropped and counted.
        scale: Range of the reference predictions, for comparing numbers.
    """

    def __init__(
        self,
        forwarder: Forwarder,
        counters: Counters,
        answers: AnswerBins,
        *,
        size: int,
        scale: float,
    ) -> None:
        self._forwarder = forwarder
        self._counters = counters
        self._answers = answers
        self._scale = scale
        self._queue: asyncio.Queue[Mirrored] = asyncio.Queue(size)
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers on the running loop."""
        loop = asyncio.get_running_loop()
        self._workers = [loop.create_task(self._work()) for _ in range(_WORKERS)]

    def offer(self, item: Mirrored) -> None:
        """Mirror a request, or drop it when the queue is full."""
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._counters.count_shadow_drop(item.phase)

    async def stop(self, seconds: float) -> None:
        """Finish what waits within `seconds`, drop the rest."""
        try:
            async with asyncio.timeout(seconds):
                await self._queue.join()
        except TimeoutError:
            while not self._queue.empty():
                self._counters.count_shadow_drop(self._queue.get_nowait().phase)
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while True:
            item = await self._queue.get()
            try:
                await self._mirror(item)
            finally:
                self._queue.task_done()

    async def _mirror(self, item: Mirrored) -> None:
        forwarded = await self._forwarder.send(
            item.path, item.body, item.request, route=item.route, arm=Arm.SHADOW
        )
        disagreements = 0
        if forwarded.answer is not None:
            self._answers.offer(item.phase, Arm.SHADOW, item.request, forwarded.answer.read.values)
            disagreements = count_disagreements(
                item.values, forwarded.answer.read.values, rows=item.request.rows, scale=self._scale
            )
        self._counters.count_shadow(
            forwarded.outcome,
            rows=item.request.rows,
            milliseconds=forwarded.server_ms,
            disagreements=disagreements,
            phase=item.phase,
        )
