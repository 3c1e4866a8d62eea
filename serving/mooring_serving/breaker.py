"""A circuit breaker for forwards: when they pile up failing, stop trying for a while. Pure."""

from collections import deque
from enum import StrEnum


class Circuit(StrEnum):
    """Whether forwards are tried."""

    CLOSED = "Closed"
    """Tried."""
    OPEN = "Open"
    """Not tried until the pause is over."""
    HALF_OPEN = "HalfOpen"
    """One is being tried to find out."""


class CircuitBreaker:
    """Opens when at least half of the last `window` forwards failed. Owned by the event loop.

    Args:
        window: Forwards looked at; small, since each failure costs a client the deadline.
        pause_seconds: How long to stop before trying one again.
    """

    def __init__(self, *, window: int = 20, pause_seconds: float = 5.0) -> None:
        self._window = window
        self._pause_seconds = pause_seconds
        self._failures: deque[bool] = deque(maxlen=window)
        self._state = Circuit.CLOSED
        self._retry_at = 0.0

    @property
    def state(self) -> Circuit:
        """The state after the last report."""
        return self._state

    def allows(self, now: float) -> bool:
        """Whether a forward may be tried at monotonic time `now`; an open one lets one through."""
        match self._state:
            case Circuit.CLOSED:
                return True
            case Circuit.OPEN if now >= self._retry_at:
                self._state = Circuit.HALF_OPEN
                return True
            case _:
                return False

    def report(self, now: float, *, failed: bool) -> None:
        """Tell how a forward ended."""
        if self._state is Circuit.HALF_OPEN:
            self._failures.clear()
            self._state = Circuit.CLOSED
            if failed:
                self._open(now)
            return
        self._failures.append(failed)
        if len(self._failures) == self._window and sum(self._failures) * 2 >= self._window:
            self._open(now)

    def reset(self) -> None:
        """Forget the past: another candidate is behind the address."""
        self._failures.clear()
        self._state = Circuit.CLOSED

    def _open(self, now: float) -> None:
        self._state = Circuit.OPEN
        self._retry_at = now + self._pause_seconds
        self._failures.clear()
