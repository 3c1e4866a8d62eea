"""`spec.runtime` as environment variables of the server; contract §3. Pure.

Absent fields give no variable: the server's own default holds, and an operator upgrade that
changes a default moves no pod.
"""

import math
from dataclasses import dataclass
from datetime import timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.runtime import Limits, Runtime
from mooring_operator.core.decision import Manifest

LIMIT_PREFIX = "MOORING_LIMIT_"
IN_FLIGHT_SECONDS = 20
"""How long a terminating pod works on what it had accepted, when deadlines are shorter."""


@dataclass(frozen=True)
class Span:
    """A duration of the spec and the server's variable for it.

    Attributes:
        path: Below `spec.runtime`.
        variable: Of the server.
        unit: What the variable counts in.
        most: Longest that the server accepts.
        zero: Whether no time at all is accepted.
    """

    path: str
    variable: str
    unit: timedelta
    most: str
    zero: bool = False


_SECOND = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)
SPANS = (
    Span("deadline", "MOORING_DEADLINE_MS", _MILLISECOND, "10m"),
    Span("batching.maxWait", "MOORING_BATCH_MAX_WAIT_MS", _MILLISECOND, "1s", zero=True),
    Span("limits.headerTimeout", f"{LIMIT_PREFIX}HEADER_SECONDS", _SECOND, "10m"),
    Span("limits.receiveTimeout", f"{LIMIT_PREFIX}RECEIVE_SECONDS", _SECOND, "1h"),
    Span("limits.idleTimeout", f"{LIMIT_PREFIX}IDLE_SECONDS", _SECOND, "24h"),
    Span("limits.connectionAge", f"{LIMIT_PREFIX}CONNECTION_SECONDS", _SECOND, "7d"),
)
NUMBERS = {
    "workers": "MOORING_WORKERS",
    "threads": "MOORING_THREADS",
    "warmup.requests": "MOORING_WARMUP_REQUESTS",
    "batching.maxRows": "MOORING_BATCH_MAX_ROWS",
    "batching.maxQueue": "MOORING_BATCH_MAX_QUEUE",
} | {
    f"limits.{field.alias}": f"{LIMIT_PREFIX}{name.upper()}"
    for name, field in Limits.model_fields.items()
    if not name.endswith(("_timeout", "_age"))
}
"""Paths below `spec.runtime` whose number is the variable's."""


def runtime_environment(runtime: Runtime) -> dict[str, str]:
    """The server's variables that a runtime sets, sorted by name."""
    values = {
        variable: str(number)
        for path, variable in NUMBERS.items()
        if (number := _value(runtime, path)) is not None
    }
    for span in SPANS:
        text = _value(runtime, span.path)
        # What the server would not start with is told to the user instead: `runtime_problem`.
        if text is not None and _problem(span, str(text)) is None:
            values[span.variable] = f"{parse_duration(str(text)) / span.unit:.12g}"
    if in_flight_seconds(runtime) > IN_FLIGHT_SECONDS:
        values[f"{LIMIT_PREFIX}DRAIN_IN_FLIGHT_SECONDS"] = str(in_flight_seconds(runtime))
    return dict(sorted(values.items()))


def in_flight_seconds(runtime: Runtime) -> int:
    """How long a terminating pod may work on what it accepted: no shorter than the deadline."""
    if runtime.deadline is None or _problem(SPANS[0], runtime.deadline) is not None:
        return IN_FLIGHT_SECONDS
    return max(IN_FLIGHT_SECONDS, math.ceil(parse_duration(runtime.deadline).total_seconds()) + 1)


def runtime_problem(runtime: Runtime) -> str | None:
    """Which duration the server would not accept, with the remedy; None when all are fine."""
    for span in SPANS:
        text = _value(runtime, span.path)
        problem = None if text is None else _problem(span, str(text))
        if problem is not None:
            return problem
    return None


def _problem(span: Span, text: str) -> str | None:
    length = parse_duration(text)
    if length > parse_duration(span.most):
        return f"spec.runtime.{span.path} is {text}: set at most {span.most}, or leave it out"
    if length == timedelta() and not span.zero:
        return f"spec.runtime.{span.path} is {text}: set more than 0s, or leave it out"
    return None


def _value(runtime: Runtime, path: str) -> int | str | None:
    """The field at a path of wire names."""
    *parents, last = path.split(".")
    node: Manifest = runtime.to_wire()
    for name in parents:
        node = node[name]
    return node.get(last)
