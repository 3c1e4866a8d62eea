"""Cron expressions in UTC: the only place that knows croniter."""

import re
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from croniter import CroniterError, croniter

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FIELDS = 5
RANDOM = re.compile(r"(?i)\b[rh]\b")
"""croniter's random and hashed fields: a schedule must not differ from look to look."""


class _Schedule(Protocol):
    def get_next(self, ret_type: type[datetime]) -> datetime: ...

    def get_prev(self, ret_type: type[datetime]) -> datetime: ...


def _schedule(expression: str, start: datetime) -> _Schedule:
    return cast("_Schedule", croniter(expression, start))


def cron_problem(expression: str) -> str | None:
    """What is wrong with an expression; None: it names times that come."""
    if len(expression.split()) != FIELDS:
        return f"{expression!r} does not have five fields"
    if RANDOM.search(expression):
        return f"{expression!r} asks for random times"
    try:
        _schedule(expression, EPOCH).get_next(datetime)
    except CroniterError as error:
        return f"{expression!r} names no time: {error}"
    return None


def last_tick(expression: str, now: datetime) -> datetime:
    """The latest scheduled time that is not after `now`; the expression must be valid."""
    whole = now.astimezone(UTC).replace(microsecond=0)
    return _schedule(expression, whole + timedelta(seconds=1)).get_prev(datetime)


def next_tick(expression: str, now: datetime) -> datetime:
    """The first scheduled time after `now`; the expression must be valid."""
    return _schedule(expression, now.astimezone(UTC)).get_next(datetime)
