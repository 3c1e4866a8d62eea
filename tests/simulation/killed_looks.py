"""P5 in a world that changes: a look that is cut off counts as a whole one or as none.

What an operator decides by may be gone when its successor looks (pods that failed do well again,
ten looks at a failing revision were in memory), and then it rightly decides otherwise. So an end
is compared with two others, of operators that died at the same moment and were away for as long:
one just before the look that was cut off, and one just after it.
"""

from copy import deepcopy

from tests.simulation.calm import calm, settle
from tests.simulation.world import World

_UNDECIDED = "Stalled/AnalysisUndecided"


def check_killed_look(world: World, after: int, ticks: int) -> None:
    """Lets time pass for the world, and kills copies of its operator meanwhile.

    Args:
        world: no operator of it is dead or about to die.
        after: side effects before the one that the operator dies at.
        ticks: in which it must come; else nothing is compared.

    Raises:
        AssertionError: the killed one ends elsewhere than both others.
    """
    killed_at = world.effects + after
    for _ in range(ticks):
        begun = deepcopy(world)
        world.tick()
        if killed_at < world.effects:
            break
    else:
        return
    first = max(look for look in world.begun if look <= killed_at)
    following = min((look for look in world.begun if look > killed_at), default=None)
    killed = _end(begun, killed_at)
    if killed_at == first:
        return  # nothing of the look was carried out
    others = [_end(begun, first), _end(begun, following)]
    if any(end.standing == _UNDECIDED for end in (killed, *others)):
        return  # still judged: when it ends depends on rows, and the killed one missed some
    ends = [other.outcome() for other in others]
    assert killed.outcome() in ends, "P5: a killed operator ends elsewhere"


def _end(begun: World, crash_at: int | None) -> World:
    """Where the world comes to rest whose operator dies in the next tick, at its end at latest."""
    end = deepcopy(begun)
    end.crash_at = crash_at
    end.tick()
    if end.down_until <= end.now:
        end.kill()
    calm(end)
    settle(end)
    return end
