"""Replays flights in time order through the Service, and feeds their outcomes back hours later.

Runs in its own thread and event loop while the story goes on. A request fails when the client
does not get a 200 with a prediction; nothing is sent twice.
"""

import asyncio
import contextlib
import heapq
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp

FEEDBACK_BATCH = 50
CONNECTIONS = 8
TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Departure:
    """A flight as the client sees it: what it asks, when, and what it will know when."""

    event_time: datetime
    body: bytes
    label: int | None
    """None for a diverted flight, which never gets a label."""
    label_time: datetime | None


@dataclass
class Tally:
    """What the client counted."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    labelled: int = 0
    failures: list[str] = field(default_factory=list[str])
    versions: dict[str, int] = field(default_factory=dict[str, int])
    clock: datetime | None = None
    """Event time of the newest request: the replay's own now."""


class Replay:
    """The application whose requests the model answers."""

    def __init__(
        self, base_url: str, model: str, departures: Iterable[Departure], rate: float
    ) -> None:
        self.tally = Tally()
        self._infer = f"{base_url}/v2/models/{model}/infer"
        self._feedback = f"{base_url}/v2/models/{model}/feedback"
        self._departures = departures
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="replay")
        self._due: list[tuple[datetime, int, str, int]] = []

    def start(self) -> None:
        """Begin to send; returns at once."""
        self._thread.start()

    def stop(self) -> Tally:
        """Let the requests in flight end, and return the tally."""
        self._stop.set()
        self._thread.join()
        return self.tally

    async def _run(self) -> None:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS * 4)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            queue: asyncio.Queue[Departure] = asyncio.Queue(maxsize=CONNECTIONS)
            workers = [asyncio.create_task(self._work(session, queue)) for _ in range(CONNECTIONS)]
            labels = asyncio.create_task(self._feed(session))
            await self._pace(queue)
            await queue.join()
            for task in (*workers, labels):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _pace(self, queue: asyncio.Queue[Departure]) -> None:
        """Offers departures at the rate; a slow service delays them, none is skipped."""
        begun = time.monotonic()
        for number, departure in enumerate(self._departures):
            if self._stop.is_set():
                return
            ahead = begun + number / self._rate - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            await queue.put(departure)
            self.tally.clock = departure.event_time

    async def _work(self, session: aiohttp.ClientSession, queue: asyncio.Queue[Departure]) -> None:
        while True:
            departure = await queue.get()
            await self._ask(session, departure)
            queue.task_done()

    async def _ask(self, session: aiohttp.ClientSession, departure: Departure) -> None:
        self.tally.sent += 1
        headers = {"content-type": "application/json"}
        try:
            async with session.post(self._infer, data=departure.body, headers=headers) as response:
                answer: dict[str, Any] = await response.json()
                if response.status != 200:
                    self._fail(f"{response.status} {answer}")
                    return
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self._fail(f"{type(error).__name__}: {error}")
            return
        self.tally.answered += 1
        version = str(answer.get("model_version", ""))
        self.tally.versions[version] = self.tally.versions.get(version, 0) + 1
        if departure.label is not None and departure.label_time is not None:
            receipt = str(answer["parameters"]["prediction_id"])
            due = (departure.label_time, self.tally.sent, receipt, departure.label)
            heapq.heappush(self._due, due)

    def _fail(self, what: str) -> None:
        self.tally.failed += 1
        if len(self.tally.failures) < 20:
            self.tally.failures.append(what)

    async def _feed(self, session: aiohttp.ClientSession) -> None:
        """Sends each outcome once the replay's clock has passed the flight's arrival."""
        while True:
            batch: list[dict[str, object]] = []
            while self._due and self._arrived(self._due[0][0]) and len(batch) < FEEDBACK_BATCH:
                arrival, _, receipt, label = heapq.heappop(self._due)
                batch.append(
                    {"prediction_id": receipt, "label": label, "label_time": arrival.isoformat()}
                )
            if not batch:
                await asyncio.sleep(0.05)
                continue
            async with session.post(self._feedback, json={"labels": batch}) as response:
                answer = await response.json()
                if response.status == 200:
                    self.tally.labelled += int(answer["accepted"])

    def _arrived(self, arrival: datetime) -> bool:
        return self.tally.clock is not None and arrival <= self.tally.clock
