"""The runtime watch of a stable revision: what it fails and whether its pods are gone. Pure.

A fault is raised when 8 of the last 10 looks are bad, and it goes when 8 of 10 are better by a
margin: a level that sits on its limit would flip 700 times a day at single looks, and once so
(simulated, delivery research 3.7). The looks are kept in memory only: a restarted operator looks
ten times again before it says anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mooring_operator.ids import Revision

LOOKS = 10
ENOUGH = 8
LEAST_REQUESTS = 20
"""Requests that a look at shares waits for: of fewer, one failure is more than any limit."""
BETTER = 0.02
"""How far below its limit a share must be to count as better; half of a small limit."""
_EARLY = 0.9
"""Part of the interval after which a round counts as the next look: rounds are never exact."""


@dataclass(frozen=True)
class Answered:
    """Requests of one source (a pod since its boot), and those among them that the model failed."""

    requests: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Look:
    """What one round saw of the stable revision.

    Attributes:
        revision: the stable one.
        sources: cumulative counts by source.
        ready: its pods that serve.
        now: when.
    """

    revision: Revision
    sources: Mapping[str, Answered]
    ready: int
    now: datetime


@dataclass(frozen=True)
class RuntimeWatch:
    """The watch of one revision after some looks.

    Attributes:
        revision: whose.
        at: when the last look was.
        seen: what each source had counted by then.
        waiting: requests since the last look at shares.
        shares: failed / all requests of the last looks, oldest first.
        gone: whether no pod served, in the last looks.
        failing: whether it fails too many requests.
        down: whether its pods are gone.
    """

    revision: Revision
    at: datetime
    seen: Mapping[str, Answered] = field(default_factory=dict[str, Answered])
    waiting: Answered = Answered()
    shares: tuple[float, ...] = ()
    gone: tuple[bool, ...] = ()
    failing: bool = False
    down: bool = False

    @property
    def is_faulty(self) -> bool:
        """Whether anything is wrong with it."""
        return self.failing or self.down


def fold(
    watch: RuntimeWatch | None, look: Look, *, limit: float, interval: timedelta
) -> RuntimeWatch:
    """The watch after a look.

    Args:
        watch: before it; None, or another revision's: this look is where counting begins.
        look: what was seen.
        limit: share of failed requests that is too much.
        interval: time between looks; a look that comes earlier changes nothing.
    """
    if watch is None or watch.revision != look.revision:
        return RuntimeWatch(look.revision, look.now, seen=dict(look.sources))
    if look.now - watch.at < _EARLY * interval:
        return watch
    gone = (*watch.gone, look.ready == 0)[-LOOKS:]
    after = replace(
        watch,
        at=look.now,
        seen=dict(look.sources),
        gone=gone,
        down=_latched(gone, [not value for value in gone], raised=watch.down),
    )
    waiting = _sum([watch.waiting, *_since(watch.seen, look.sources)])
    if waiting.requests < LEAST_REQUESTS:
        return replace(after, waiting=waiting)
    shares = (*watch.shares, waiting.failed / waiting.requests)[-LOOKS:]
    better = max(limit - BETTER, limit / 2)
    bad, good = [share > limit for share in shares], [share < better for share in shares]
    failing = _latched(bad, good, raised=watch.failing)
    return replace(after, waiting=Answered(), shares=shares, failing=failing)


def _latched(bad: Sequence[bool], good: Sequence[bool], *, raised: bool) -> bool:
    return sum(good) < ENOUGH if raised else sum(bad) >= ENOUGH


def _since(before: Mapping[str, Answered], now: Mapping[str, Answered]) -> list[Answered]:
    """What each source counted since; a pod that started again is another source."""
    differences: list[Answered] = []
    for name, counts in now.items():
        known = before.get(name, Answered())
        requests, failed = counts.requests - known.requests, counts.failed - known.failed
        if requests > 0 and 0 <= failed <= requests:
            differences.append(Answered(requests, failed))
    return differences


def _sum(parts: Sequence[Answered]) -> Answered:
    return Answered(sum(part.requests for part in parts), sum(part.failed for part in parts))
