"""Time, as a parameter: the only module of this package that asks the system what time it is."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """Two clocks.

    Attributes:
        monotonic: Seconds that never go back, for ages and deadlines.
        wall: Seconds since the epoch, for what people and other machines read.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

    def now(self) -> datetime:
        """The wall clock as an aware UTC datetime."""
        return datetime.fromtimestamp(self.wall(), UTC)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with a `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@functools.lru_cache(maxsize=1024)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def format_microseconds(microseconds: int) -> str:
    """Microseconds since the epoch as RFC 3339 in UTC; most calls are about the same second."""
    second, fraction = divmod(microseconds, 1_000_000)
    return f"{_format_second(second)}.{fraction:06d}Z"


def to_microseconds(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return round(moment.timestamp() * 1_000_000)


def parse_time(text: str) -> datetime:
    """An RFC 3339 time with its offset.

    Raises:
        ValueError: Not such a time, or without an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text[:40]!r} has no offset; write it in UTC with a Z")
    return moment.astimezone(UTC)
