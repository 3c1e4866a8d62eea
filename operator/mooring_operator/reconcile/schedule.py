"""Which key is worked on next: a value machine without clock, waiting or tasks.

A key waits at most once, is worked on by at most one worker, and has at most one timer. A key
that is added while it is worked on is worked on once more afterwards. What changed goes before what
is only looked over, which gets one turn in four meanwhile: a new leader looks at everything, and
whoever edits one object must not wait for the thousands that did not change.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 300.0
"""Seconds. Between them the pause doubles with each failure in a row."""
REVIEW_TURNS = 4
"""While both wait, each so-manieth turn is a review's."""
_SLACK = 64


class Schedule(Generic[KeyT]):
    """Keys that changed and keys to review, each in order of arrival; keys under work; timers."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """Takes a source of numbers in [0, 1), which spreads the pauses of keys apart."""
        self._jitter = jitter
        # A plain dict searches past all that was taken before it finds the first that is left.
        self._ready: OrderedDict[KeyT, float] = OrderedDict()
        self._review: OrderedDict[KeyT, float] = OrderedDict()
        self._turn = 0
        self._busy: set[KeyT] = set()
        self._again: set[KeyT] = set()
        self._review_again: set[KeyT] = set()
        self._due: dict[KeyT, float] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._ticket = 0
        self._failures: dict[KeyT, int] = {}

    def __len__(self) -> int:
        return len(self._ready) + len(self._review)

    def add(self, key: KeyT, now: float) -> bool:
        """Makes a key ready that may have changed; returns whether it did not wait already."""
        if key in self._busy:
            fresh = key not in self._again and key not in self._review_again
            self._again.add(key)
            self._review_again.discard(key)
            return fresh
        fresh = key not in self._ready
        since = self._review.pop(key, None)
        self._ready.setdefault(key, now if since is None else since)
        return fresh and since is None

    def review(self, key: KeyT, now: float) -> bool:
        """Makes a key ready of which no change is known; returns whether it did not wait."""
        if key in self._busy:
            fresh = key not in self._again and key not in self._review_again
            if fresh:
                self._review_again.add(key)
            return fresh
        if key in self._ready or key in self._review:
            return False
        self._review[key] = now
        return True

    def take(self, now: float) -> tuple[KeyT, float] | None:
        """Hands out the next key and the seconds that it waited; None: nothing is ready."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key, now)
        waiting = self._next_in_turn()
        if not waiting:
            return None
        key, since = waiting.popitem(last=False)
        self._busy.add(key)
        return key, now - since

    def _next_in_turn(self) -> OrderedDict[KeyT, float]:
        if not self._ready or not self._review:
            return self._ready or self._review
        self._turn = (self._turn + 1) % REVIEW_TURNS
        return self._ready if self._turn else self._review

    def _drop_replaced(self) -> None:
        """Makes the heap as small as it may be: a replaced timer would stay until it is due."""
        self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
        heapq.heapify(self._heap)

    def next_timer(self) -> float | None:
        """When the next timer is due; None: there is none."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def succeed(self, key: KeyT, now: float, again_after: float | None) -> None:
        """Ends the work on a key; the timer replaces any older one of it."""
        self._failures.pop(key, None)
        self._end(key, now, None if again_after is None else now + max(0.0, again_after))

    def fail(self, key: KeyT, now: float, at_least: float = 0.0) -> float:
        """Ends the work on a key without success; returns the seconds until the next attempt."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        exponent = min(failures, 30)
        pause = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**exponent) * (0.75 + 0.5 * self._jitter())
        pause = min(LONGEST_BACKOFF, max(pause, at_least))
        self._end(key, now, now + pause)
        return pause

    def forget(self, key: KeyT) -> None:
        """Drops the timer and the failures of a key that is no more."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def _end(self, key: KeyT, now: float, due: float | None) -> None:
        self._busy.discard(key)
        if due is None:
            self._due.pop(key, None)
        else:
            self._due[key] = due
            self._ticket += 1
            heapq.heappush(self._heap, (due, self._ticket, key))
            if len(self._heap) > 2 * len(self._due) + _SLACK:
                self._drop_replaced()
        if key in self._again:
            self._again.discard(key)
            self.add(key, now)
        elif key in self._review_again:
            self._review_again.discard(key)
            self.review(key, now)
