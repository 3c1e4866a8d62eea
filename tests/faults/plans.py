"""Which plans there are: every crash point, and a spread of all other faults, always the same."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from tests.faults.plan import EventKey, Fault, Plan, What, WriteKey
from tests.faults.run import Reference
from tests.faults.scenarios import BEGINS_WITH

T = TypeVar("T")
STREAMS_EACH = 26
"""Stream plans and stale lists of each scenario: twelve times that is above 300."""
ANSWERS_EACH = 12
PARTITIONS = 50
_DARK_SECONDS = (1.0, 4.0, 8.0, 12.0)
_LASTING = {What.DELAYED: 2.0, What.MERGED: 1.5}
_BY_EVENT = (
    What.DELAYED,
    What.REORDERED,
    What.MERGED,
    What.DROPPED,
    What.GONE,
    What.CLOSED,
    What.BROKEN,
)
_ANSWERS = (What.CONFLICT, What.THROTTLED, What.FAILED, What.LOST_ANSWER, What.RESET)


def crashes(references: Mapping[str, Reference]) -> Iterator[Plan]:
    """Before and after every write, but those of the story that a scenario begins with."""
    for scenario, reference in references.items():
        begun = references.get(BEGINS_WITH.get(scenario, ""))
        known = set(() if begun is None else begun.writes)
        for key in reference.writes:
            if key not in known:
                yield Plan(scenario, Fault(What.KILL_BEFORE, key))
                yield Plan(scenario, Fault(What.KILL_AFTER, key))


def streams(references: Mapping[str, Reference]) -> Iterator[Plan]:
    """Delayed, reordered, merged, dropped and cut streams, and stale lists after a restart."""
    for scenario, reference in references.items():
        every = [
            Fault(what, EventKey(plural, nth), seconds=_LASTING.get(what, 0.0))
            for plural, count in sorted(reference.events.items())
            if plural != "namespaces"
            for nth in range(1, count + 1)
            for what in _BY_EVENT
        ]
        stale = [
            Fault(What.STALE, later, since=earlier) for earlier, later in _pairs(reference.writes)
        ]
        chosen = _some(scenario, every, STREAMS_EACH - 6) + _some(scenario, stale, 6)
        yield from (Plan(scenario, fault) for fault in chosen)


def refusals(references: Mapping[str, Reference]) -> Iterator[Plan]:
    """Error answers to writes, some of them three times in a row."""
    for scenario, reference in references.items():
        faults = [
            Fault(what, key, times=times)
            for key in reference.writes
            for what in _ANSWERS
            for times in ((1, 3) if what in _ANSWERS[:3] else (1,))
        ]
        yield from (Plan(scenario, fault) for fault in _some(scenario, faults, ANSWERS_EACH))


def partitions(references: Mapping[str, Reference]) -> Iterator[Plan]:
    """The operator is cut off from the API server, and connections live on or do not."""
    every = [
        Plan(scenario, Fault(what, key, seconds=seconds))
        for scenario, reference in references.items()
        for key in reference.writes
        for what in (What.PARTITION, What.DEAD)
        for seconds in _DARK_SECONDS
    ]
    yield from _some("partitions", every, PARTITIONS)


def _pairs(writes: Sequence[WriteKey]) -> Iterator[tuple[WriteKey, WriteKey]]:
    """An earlier and a later write: the world goes back over what was between them."""
    for index, later in enumerate(writes):
        for distance in (1, 4, 12):
            if index >= distance:
                yield writes[index - distance], later


def _some(seed: str, items: Sequence[T], count: int) -> list[T]:
    """So many of them, always the same."""
    if len(items) <= count:
        return list(items)
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    return [items[i] for i in sorted(rng.choice(len(items), count, replace=False))]
