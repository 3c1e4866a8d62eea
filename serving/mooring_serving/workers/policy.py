"""When a worker that ended is started again, and when the pod gives up. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

HEALTHY_SECONDS = 10.0
"""A worker that answered for so long was well: what ended it starts a new count."""
MOST_POINTS = 10
"""Points in a row with which the pod gives up: 2 for an end before the worker had answered, 1 for
one soon after. Five workers in a row that do not even load, or ten that die soon."""
_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 10.0


@dataclass(slots=True)
class Crashes:
    """The recent ends of one place's workers.

    Attributes:
        points: Points in a row.
    """

    points: int = 0

    def report(self, answered_seconds: float | None) -> None:
        """A worker ended without having been told to.

        Args:
            answered_seconds: How long it had accepted requests, None when it never did.
        """
        if answered_seconds is not None and answered_seconds >= HEALTHY_SECONDS:
            self.points = 0
        self.points += 2 if answered_seconds is None else 1

    @property
    def hopeless(self) -> bool:
        """Whether to give up."""
        return self.points >= MOST_POINTS

    def delay_seconds(self, draw: Callable[[], float]) -> float:
        """Pause before the next start: doubling, and between a half and one and a half of that.

        Args:
            draw: Uniform in [0, 1), so that workers killed together do not load together.
        """
        pause = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2 ** max(0, self.points - 1))
        return pause * (0.5 + draw())
