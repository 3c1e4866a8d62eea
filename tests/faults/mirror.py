"""What the API server holds, as the harness sees it: one watch a kind for all namespaces.

Conditions of the scripts wait here, and the simulator and the oracle's invariants listen here.
"""

import asyncio
from collections.abc import Callable

from mooring_operator.io.resources import RESOURCES
from tests.faults.api import AsyncApi, Object

MIRRORED = ("Model", "ModelDeployment", "RetrainPolicy", "Deployment", "Job", "Pod", "Service")
Listener = Callable[[str, Object], None]


class Namespace:
    """The objects of one namespace, and whoever waits for them to change."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._objects: dict[tuple[str, str], Object] = {}
        self._changed = asyncio.Event()
        self._listeners: list[Listener] = []

    def get(self, kind: str, name: str) -> Object | None:
        return self._objects.get((kind, name))

    def all(self, kind: str) -> list[Object]:
        return [item for (known, _), item in sorted(self._objects.items()) if known == kind]

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def take(self, type_: str, kind: str, item: Object) -> None:
        item["kind"] = kind
        key = (kind, item["metadata"]["name"])
        if type_ == "DELETED":
            self._objects.pop(key, None)
        else:
            self._objects[key] = item
        for listener in self._listeners:
            listener(type_, item)
        self.stir()

    def stir(self) -> None:
        """Makes everybody who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Whether the condition came to hold in time; looked at after every change."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await self._changed.wait()
        except TimeoutError:
            return holds()
        return True


class Mirror:
    """All namespaces."""

    def __init__(self, api: AsyncApi) -> None:
        self._api = api
        self._rooms: dict[str, Namespace] = {}

    def open(self, name: str) -> Namespace:
        room = self._rooms[name] = Namespace(name)
        return room

    def close(self, name: str) -> None:
        del self._rooms[name]

    async def run(self) -> None:
        """Watches until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in MIRRORED:
                group.create_task(self._follow(kind))

    async def _follow(self, kind: str) -> None:
        async for type_, item in self._api.watch(RESOURCES[kind].path()):
            room = self._rooms.get(item["metadata"].get("namespace", ""))
            if room is not None:
                room.take(type_, kind, item)
