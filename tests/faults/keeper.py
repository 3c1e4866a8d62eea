"""What the kubelet does for one operator: starts it, and starts it again whenever it ends."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.nursery import Child, Nursery


@dataclass
class Keeper:
    """Keeps one operator running."""

    nursery: Nursery
    environment: Mapping[str, str]
    log: Path
    on_restart: Callable[[], None]
    child: Child | None = None
    ends: list[int] = field(default_factory=list[int])
    """Exit statuses of those that ended, by themselves or killed."""
    _birth: asyncio.Task[Child] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._birth = asyncio.create_task(self.nursery.spawn(self.environment, self.log))
            self.child = child = await asyncio.shield(self._birth)
            if self.ends:
                self.on_restart()
            self.ends.append(await asyncio.shield(child.ended))

    async def kill(self) -> None:
        """kill -9 of the one that runs; returns when it is gone."""
        if self.child is not None:
            await self.child.killed()

    async def close(self) -> None:
        """Ends the one that runs or is being started. `run` was cancelled before."""
        if self._birth is not None:
            self.child = await self._birth
        await self.kill()
