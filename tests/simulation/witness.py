"""Who looks on: each status of a simulated resource as a tool at the API server sees it.

A tool sees the object after each change of its spec and after each write of its status, and knows
nothing else. Nobody looks on unless `watched_by` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mooring_operator.api.group import Kind

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass(frozen=True)
class Sighting:
    """One look at a resource, with what is true of its world at that moment."""

    kind: Kind
    generation: int
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    asked: str | None = None
    """Of a deployment: the version that spec and Model ask for; None: nothing that exists."""
    serving: int = 0
    """Of a deployment: ready pods of the stable revision."""


Look = Callable[[Sighting], None]
_LOOK: ContextVar[Look | None] = ContextVar("look", default=None)


@contextmanager
def watched_by(look: Look) -> Generator[None]:
    """Everything that is shown meanwhile goes to `look`."""
    token = _LOOK.set(look)
    try:
        yield
    finally:
        _LOOK.reset(token)


def show(seen: Sighting) -> None:
    """Shows a resource to whoever looks on."""
    look = _LOOK.get()
    if look is not None:
        look(seen)


def sighting_of(world: World) -> Sighting:
    """The deployment of a world as the API server has it now."""
    assert world.spec is not None
    reference: Mapping[str, str] = world.spec["model"]
    pointers = () if world.model is None else world.model.status.channels
    by_channel = {pointer.name: pointer.version for pointer in pointers}
    return Sighting(
        kind=Kind.MODEL_DEPLOYMENT,
        generation=world.generation,
        spec=world.spec,
        status=world.status,
        asked=reference.get("version") or by_channel.get(reference.get("channel", "")),
        serving=0 if world.stable is None else len(world.stable.ready(world.now)),
    )
