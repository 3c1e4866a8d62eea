"""Evidence over time: a lane for each column, one line where all of them alarm."""

from collections.abc import Sequence

import numpy as np

from mooring_profile import StreamKind
from mooring_profile.fields import FloatArray
from mooring_replay.report.readings import Reading, evidence_of
from mooring_replay.report.svg import Scale, bottom_axis, drawing, line, number, path, words
from mooring_replay.result import Replay

WIDTH = 1040.0
LANE = 34.0
LEFT, RIGHT = 220.0, 150.0
TOP = 22.0
MOST = 1.35
"""Evidence beyond this part of the threshold is drawn as this much."""
POINTS = 400


def evidence_lanes(found: Replay, readings: Sequence[Reading], kind: StreamKind) -> str:
    """The chart of some columns."""
    across = Scale(0, found.rows, LEFT, WIDTH - RIGHT)
    height = TOP + LANE * len(readings) + 28
    marks: list[str] = []
    for place, reading in enumerate(readings):
        marks += _lane(found, reading, kind, across, TOP + LANE * place)
    marks += bottom_axis(across, TOP + LANE * len(readings) + 4, 8, number)
    marks.append(words((LEFT, 12), "evidence that the column changed; dashed: alarm", "t"))
    marks.append(words((LEFT - 12, height - 8), "row", "t", "end"))
    return drawing(WIDTH, height, marks, "Evidence of change over time, a lane for each column")


def _lane(
    found: Replay, reading: Reading, kind: StreamKind, across: Scale, top: float
) -> list[str]:
    base = top + LANE - 4
    up = Scale(0, MOST, base, top + 2)
    alarm = reading.alarm_of(kind)
    rows, levels = _thinned(found, evidence_of(found, reading, kind))
    points = [(across(row), up(min(level, MOST))) for row, level in zip(rows, levels, strict=True)]
    look = "quiet" if alarm is None else ("quality" if kind is StreamKind.DATA_QUALITY else "now")
    area = [(points[0][0], base), *points, (points[-1][0], base)]
    marks = [
        path(area, f"area {look}", closed=True),
        path(points, f"stroke {look}"),
        line((across.start, up(1.0)), (across.end, up(1.0)), "threshold"),
        line((across.start, base), (across.end, base), "axis"),
        words((LEFT - 12, base - 8), _short(reading.name), "name", "end"),
    ]
    if alarm is None:
        marks.append(words((across.end + 10, base - 8), "no change", "t"))
        return marks
    x = across(alarm.row)
    begun = across(alarm.change_row)
    marks += [
        line((begun, top + 2), (begun, base), f"begun {look}"),
        f'<circle class="dot {look}" cx="{x:.1f}" cy="{up(1.0):.1f}" r="4">'
        f"<title>alarm at row {alarm.row:,}; changed since about row {alarm.change_row:,}</title>"
        "</circle>",
        words((across.end + 10, base - 8), f"alarm at row {alarm.row:,}", f"told {look}"),
    ]
    return marks


def _thinned(found: Replay, levels: FloatArray) -> tuple[list[float], list[float]]:
    """At most `POINTS` points, each the largest of its windows."""
    each = -(-levels.size // POINTS)
    starts = np.arange(0, levels.size, each)
    highest = np.maximum.reduceat(levels, starts)
    rows = [float(found.last_row(min(int(s) + each, levels.size))) for s in starts]
    return [0.0, *rows], [0.0, *highest.tolist()]


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:29]}…"
