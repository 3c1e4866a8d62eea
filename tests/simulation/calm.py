"""How a simulated world comes to rest, so that where a deployment ends can be compared."""

from tests.builders.resources import model
from tests.simulation import drawn
from tests.simulation.cluster import Behaviour
from tests.simulation.world import World

QUIET = 45
"""Ticks in which a deployment stands still after which nothing more is expected: longer than any
wait of the drawn specs, stopped clocks included, but a soak, which moves nothing."""
READY = 12
"""Such ticks of a deployment that is Ready with the pods of one revision: longer than the looks
in which a fault of it would show."""
LONGEST = 360


def calm(world: World) -> None:
    """Everybody answers, pods have room, start and do well, nobody interferes, requests flow."""
    world.metrics_lost, world.drift, world.crash_at, world.foreign = False, None, None, ()
    world.model = model(*drawn.VERSIONS, channels={drawn.CHANNEL: "v1"})
    world.cluster.gateway.turn_to("")
    world.cluster.traffic.per_tick, world.cluster.traffic.labelled = 600, 0.5
    world.cluster.make_room(world.now)
    for version in drawn.VERSIONS:
        world.cluster.behave(version, Behaviour(), world.now)
    for workload in world.cluster.workloads.values():
        world.cluster.silence(workload.revision, 0)


def settle(world: World) -> None:
    """Ticks until the deployment has stood still for long.

    Raises:
        AssertionError: it does not come to rest.
    """
    quiet, before = 0, world.outcome()
    for _ in range(LONGEST):
        world.tick()
        now = world.outcome()
        quiet, before = quiet + 1 if now == before else 0, now
        if quiet == QUIET or (quiet == READY and _is_ready(world)):
            return
    last = "\n".join(world.transcript.lines[-8:])
    raise AssertionError(f"no rest after {LONGEST} ticks: {world.standing}\n{last}")


def _is_ready(world: World) -> bool:
    return world.standing.startswith("Ready/") and len(world.cluster.workloads) == 1
