"""Complete lists: at the start, every ten minutes or so, and whenever a stream is doubted.

A stream is doubted when it seems blind, when the API server was away, and each time that the watch
begins anew: from then on it tells everything, but not what happened between our list and that.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import chain

from mooring_operator.core.decision import Manifest
from mooring_operator.errors import MooringError, NotFound, Refused
from mooring_operator.io.clock import Clock
from mooring_operator.io.kube import KubeClient
from mooring_operator.io.resources import OPTIONAL, WATCHED, ResourceType
from mooring_operator.reconcile.ingest import Ingest
from mooring_operator.reconcile.streams import Streams

log = logging.getLogger(__name__)
_LOOK_SECONDS = 15.0
_RETRY_SECONDS = 2.0
_ABSENT_SECONDS = 60.0
"""How often it is looked whether the API server has an optional kind by now."""


class Resync:
    """Lists all watched kinds and hands them to the cache."""

    def __init__(
        self,
        kube: KubeClient,
        ingest: Ingest,
        streams: Streams,
        clock: Clock,
        *,
        namespaces: tuple[str, ...],
        patience: timedelta,
    ) -> None:
        self._kube, self._ingest, self._streams = kube, ingest, streams
        self._clock, self._namespaces = clock, namespaces
        self._patience = patience.total_seconds()
        self._doubted: set[str] = set()
        self._doubt = asyncio.Event()
        self.complete = False
        """Whether every kind was listed once: decisions may be made."""
        self._present: dict[str, ResourceType] = {}
        """Optional kinds that the API server has."""
        self._looked_at = clock.monotonic()
        """When it was last looked for those that it has not."""
        self.on_kinds: Callable[[], None] = _nobody_watches
        """Called when it has others than before: they must be watched from now on, or no more."""

    @property
    def watched(self) -> tuple[ResourceType, ...]:
        """The kinds that are listed and watched."""
        return (*WATCHED, *self._present.values())

    async def find_optional(self) -> None:
        """Returns when it is known which optional kinds there are."""
        for type_ in OPTIONAL:
            while not await self._list(type_):
                await self._clock.sleep(_RETRY_SECONDS)

    async def watches_begun(self, seconds: float) -> None:
        """Returns when every kind is watched, or after so many seconds.

        A list after that needs no other one: the first pass over thousands of objects is made once.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self._doubted) < len(self.watched):
                    self._doubt.clear()
                    await self._doubt.wait()
        self._doubt.set()

    async def first(self) -> None:
        """Returns when every kind was listed; tries for as long as it takes."""
        for type_ in self.watched:
            while not await self._list(type_):
                await self._clock.sleep(_RETRY_SECONDS)
        self.complete = True

    def doubt(self, *kinds: str) -> None:
        """Has these kinds listed at once; without any: all, and everybody looks again."""
        self._doubted |= set(kinds or (type_.kind for type_ in self.watched))
        self._doubt.set()

    async def run(self, interval: timedelta, jitter: Callable[[], float]) -> None:
        """Lists everything each `interval` (spread by 20 %), and suspects in between."""
        while True:
            end = self._clock.monotonic() + interval.total_seconds() * (0.9 + 0.2 * jitter())
            while (left := end - self._clock.monotonic()) > 0:
                await self._until_doubt(min(_LOOK_SECONDS, left))
                await self._resolve()
                await self._look_for_absent()
            for type_ in self.watched:
                await self._list(type_)
            self._ingest.wake_all()

    async def _look_for_absent(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at < _ABSENT_SECONDS:
            return
        self._looked_at = now
        for type_ in OPTIONAL:
            if type_.kind not in self._present:
                await self._list(type_)

    async def _until_doubt(self, seconds: float) -> None:
        """Returns after so many seconds, or as soon as there is a doubt."""
        doubt = asyncio.ensure_future(self._doubt.wait())
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({doubt, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            doubt.cancel()
            timer.cancel()

    async def _resolve(self) -> None:
        """Lists what is doubted; what cannot be listed stays so."""
        self._doubt.clear()
        suspects = self._streams.suspects(self._clock.monotonic(), self._patience)
        doubted = frozenset(self._doubted)
        asked = [type_ for type_ in self.watched if type_.kind in doubted or type_.kind in suspects]
        failed = [type_ for type_ in asked if not await self._list(type_)]
        if len(doubted) >= len(self.watched):
            # After an outage: nobody waits until its own pause is over.
            self._ingest.wake_all()
        if failed:
            await self._clock.sleep(_RETRY_SECONDS)
            self._doubt.set()

    async def _list(self, type_: ResourceType) -> bool:
        doubted = type_.kind in self._doubted
        self._doubted.discard(type_.kind)  # what is doubted from now on needs another list
        began = self._clock.now()
        items: list[Iterable[Manifest]] = []
        horizons: list[int] = []
        everywhere = not self._namespaces or not type_.namespaced
        try:
            for namespace in ("",) if everywhere else self._namespaces:
                listing = await self._kube.list(type_, namespace)
                items.append(listing.items)
                version = listing.resource_version
                horizons.append(int(version) if version.isdigit() else 0)
        except MooringError as error:
            if type_.optional and isinstance(error, NotFound | Refused):
                log.info("%s are not used: %s", type_.plural, error)
                self._has(type_, served=False)
                return True
            log.warning("could not list %s: %s", type_.plural, error)
            if doubted:
                self._doubted.add(type_.kind)
            return False
        lost = self._ingest.listed(type_.kind, chain(*items), str(min(horizons)), began)
        if lost:
            log.warning("%d deletions of %s were not told by the watch", lost, type_.plural)
        if type_.optional:
            self._has(type_, served=True)
        return True

    def _has(self, type_: ResourceType, *, served: bool) -> None:
        """Takes in whether the API server has an optional kind."""
        if served:
            self._present[type_.kind] = type_
        else:
            self._present.pop(type_.kind, None)
        if self._ingest.served(type_.kind, served=served):
            self.on_kinds()


def _nobody_watches() -> None:
    """What happens when there are other kinds, until somebody wants to know."""
