"""What a user sees: when a change of a spec was observed, and when it was Ready again.

Times are the benchmark's own, from before a change was sent to when the watch told of the answer,
so the API server's share is in them.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.bench.operator_api import GROUP, Api, Object


class NotSettled(Exception):
    """Something did not come about in time."""


@dataclass
class Latencies:
    """Seconds from a change to what was waited for."""

    observed: list[float] = field(default_factory=list[float])
    """To `status.observedGeneration` of the change's generation."""
    ready: list[float] = field(default_factory=list[float])
    """To Ready of that generation."""


@dataclass(frozen=True)
class _Change:
    generation: int
    at: float


class Observer:
    """Watches one of our kinds. `run` until cancelled."""

    def __init__(self, api: Api, plural: str) -> None:
        self._api, self._path = api, f"{GROUP}/{plural}"
        self._unobserved: dict[str, _Change] = {}
        self._unready: dict[str, _Change] = {}
        self._seen: dict[str, tuple[int, int, bool]] = {}
        self._news = asyncio.Event()
        self.latencies = Latencies()
        self.last_news = 0.0
        """When the last thing waited for happened, monotonic seconds."""

    async def run(self) -> None:
        """Lists, then watches."""
        items, version = await self._api.items(self._path)
        for item in items:
            self._see(item)
        async for kind, item in self._api.watch(self._path, version):
            if kind != "DELETED":
                self._see(item)

    def changed(self, key: str, generation: int, at: float) -> None:
        """A spec was changed: its latency counts from `at`."""
        change = _Change(generation, at)
        self._unobserved[key] = self._unready[key] = change
        if key in self._seen:
            self._judge(key, *self._seen[key])

    def forget_latencies(self) -> Latencies:
        """What was measured; begins anew."""
        found, self.latencies = self.latencies, Latencies()
        return found

    @property
    def settled(self) -> int:
        """Objects that are Ready with their present generation."""
        return sum(
            1 for generation, seen, ready in self._seen.values() if ready and seen == generation
        )

    @property
    def open(self) -> int:
        """Changes that are not Ready yet."""
        return len(self._unready)

    async def until(self, happened: Callable[[], bool], seconds: float, what: str) -> None:
        """Returns when it happened; asked whenever there is news.

        Raises:
            NotSettled: it did not happen in time.
        """
        try:
            async with asyncio.timeout(seconds):
                while not happened():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            waiting = list(self._unready)[:3]
            raise NotSettled(
                f"{what} not in {seconds:.0f} s: {self.settled} of {len(self._seen)} settled, "
                f"{len(self._unobserved)} unobserved, {len(self._unready)} not Ready {waiting}"
            ) from None

    def _see(self, item: Object) -> None:
        metadata, status = item["metadata"], item.get("status", {})
        key = f"{metadata['namespace']}/{metadata['name']}"
        observed = status.get("observedGeneration", 0)
        ready = any(
            one["type"] == "Ready" and one["status"] == "True"
            for one in status.get("conditions", ())
        )
        self._seen[key] = (metadata["generation"], observed, ready)
        self._judge(key, metadata["generation"], observed, ready)
        self._news.set()

    def _judge(self, key: str, generation: int, observed: int, ready: bool) -> None:
        now = time.monotonic()
        change = self._unobserved.get(key)
        if change is not None and observed >= change.generation:
            del self._unobserved[key]
            self.latencies.observed.append(now - change.at)
            self.last_news = now
        change = self._unready.get(key)
        if change is not None and observed >= change.generation and ready:
            del self._unready[key]
            self.latencies.ready.append(now - change.at)
            self.last_news = now
