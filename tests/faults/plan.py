"""Fault plans as values: what goes wrong, where, and for how long."""

import re
from dataclasses import dataclass
from enum import StrEnum

_HASH = re.compile(r"-[0-9a-f]{8}(?=$|-)")


class What(StrEnum):
    """The faults that the proxy can bring about."""

    KILL_BEFORE = "kill-before"
    """SIGKILL in place of forwarding a write."""
    KILL_AFTER = "kill-after"
    """SIGKILL when the write is done and its answer not yet told."""
    CONFLICT = "409"
    """A write is answered 409 and not done."""
    THROTTLED = "429"
    """The same with 429 and Retry-After."""
    FAILED = "500"
    LOST_ANSWER = "commit-then-504"
    """A write is done and answered 504."""
    RESET = "reset"
    """A write is done, and the connection closed instead of an answer."""
    GONE = "410"
    """The watch ends, the event on its way is lost, and it must list anew."""
    DELAYED = "delayed"
    """A kind's stream stands still for a while from an event on."""
    REORDERED = "reordered"
    """An event comes after its successor on the stream."""
    MERGED = "merged"
    """Of the events of a while only the last of each object is told."""
    DROPPED = "dropped"
    """One event is never told, and the stream goes on."""
    CLOSED = "closed"
    """Every watch is cut at an event."""
    BROKEN = "watch-500"
    """The watch tells an error that is not 410."""
    STALE = "stale"
    """Killed after a write; the successor's first lists show the world before an earlier write."""
    PARTITION = "partition"
    """Nothing passes for a while; connections live on."""
    DEAD = "partition-dead"
    """Nothing passes for a while, and connections that lived then stay silent for ever."""


BY_EVENT = frozenset(
    {
        What.GONE,
        What.DELAYED,
        What.REORDERED,
        What.MERGED,
        What.DROPPED,
        What.CLOSED,
        What.BROKEN,
    }
)


@dataclass(frozen=True, order=True)
class WriteKey:
    """Which write: its verb, its object, and which one of its like."""

    verb: str
    object: str
    """`plural/name` with the subresource, and without what differs from run to run."""
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.verb} {self.object} #{self.nth}"


@dataclass(frozen=True, order=True)
class EventKey:
    """Which watch event: of a plural, counted from the operator's first list on."""

    plural: str
    nth: int

    def __str__(self) -> str:
        return f"{self.plural} event {self.nth}"


@dataclass(frozen=True)
class Fault:
    """What goes wrong once in a run.

    Attributes:
        what: the fault.
        at: where it strikes.
        seconds: how long it lasts, where it lasts.
        times: writes in a row that are answered with the error.
        since: of `STALE`: the write before which the stale lists were taken.
    """

    what: What
    at: WriteKey | EventKey
    seconds: float = 0.0
    times: int = 1
    since: WriteKey | None = None

    def __str__(self) -> str:
        lasting = f" for {self.seconds:g} s" if self.seconds else ""
        repeated = f" x{self.times}" if self.times > 1 else ""
        return f"{self.what} at {self.at}{lasting}{repeated}"


@dataclass(frozen=True)
class Plan:
    """One run: a scenario and a fault. Without a fault it is the reference."""

    scenario: str
    fault: Fault | None = None

    @property
    def name(self) -> str:
        return self.scenario if self.fault is None else f"{self.scenario}: {self.fault}"


def stable_name(name: str) -> str:
    """A name without its short hashes: those of runs hold a uid, which differs from run to run."""
    return _HASH.sub("-HASH", name)
