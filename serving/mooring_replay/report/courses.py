"""A column over time: where its values lay, or how large its categories were."""

from collections.abc import Callable, Sequence

from mooring_profile import FeatureCounts, StreamKind
from mooring_replay.report.readings import Reading, category_shares, quantiles
from mooring_replay.report.svg import (
    Scale,
    bottom_axis,
    drawing,
    line,
    number,
    path,
    percent,
    words,
)

WIDTH, HEIGHT = 500.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 16.0, 30.0
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
MIN_ROWS = 20
SHOWN = 4
LANE_HEIGHT = 92.0
LABELS = 112.0


def quantile_course(reading: Reading, rows: int) -> str:
    """Median, quartiles and deciles over time, against the reference's."""
    points = [
        (time, quantiles(reading, counts, LEVELS))
        for time, counts in zip(reading.times, reading.over_time, strict=True)
        if counts.present >= MIN_ROWS
    ]
    normal = quantiles(reading, reading.profile.counts, LEVELS)
    lows, highs = [q[0] for _, q in points], [q[-1] for _, q in points]
    low, high = min([*lows, normal[0]]), max([*highs, normal[-1]])
    across, up = _scales(rows, low, high, HEIGHT)
    marks = _frame(across, up, number)
    for inner, outer in ((0, 4), (1, 3)):
        upper = [(across(time), up(q[outer])) for time, q in points]
        lower = [(across(time), up(q[inner])) for time, q in points]
        marks.append(path([*upper, *reversed(lower)], "area now", closed=True))
    for level in (1, 2, 3):
        y = up(normal[level])
        marks.append(line((across.start, y), (across.end, y), "normal"))
    marks.append(path([(across(time), up(q[2])) for time, q in points], "stroke now"))
    marks += _begun(reading, across, HEIGHT)
    return drawing(WIDTH, HEIGHT, marks, f"Quantiles of {reading.name} over time")


def category_course(reading: Reading, rows: int) -> str:
    """Shares of the categories that moved most, over time."""
    before = dict(category_shares(reading, reading.profile.counts))
    after = dict(category_shares(reading, reading.after))
    ranked = sorted(before, key=lambda name: -abs(after[name] - before[name]))[:SHOWN]
    chosen = [name for name in ranked if max(before[name], after[name]) > 0]
    lines = {
        name: _share_points(reading, lambda counts, name=name: _share(reading, counts, name))
        for name in chosen
    }
    values = [share for points in lines.values() for _, share in points]
    top = max([*values, *(before[name] for name in chosen), 1e-3])
    across, up = _scales(rows, 0.0, top, HEIGHT, room=LABELS)
    heights = _apart([up(after[name]) for name in chosen])
    marks = _frame(across, up, percent)
    for place, name in enumerate(chosen):
        y = up(before[name])
        look = f"c{place}"
        points = [(across(time), up(share)) for time, share in lines[name]]
        marks += [
            line((across.start, y), (across.end, y), f"normal {look}"),
            path(points, f"stroke {look}"),
            words((across.end + 8, heights[place] + 4), _short(name), f"told {look}"),
        ]
    marks += _begun(reading, across, HEIGHT)
    return drawing(WIDTH, HEIGHT, marks, f"Shares of {reading.name} over time")


def share_course(
    reading: Reading, rows: int, part: Callable[[FeatureCounts], float], normal: float
) -> str:
    """One share of data quality over time, against its normal share."""
    points = _share_points(reading, part)
    high = max([*(share for _, share in points), normal, 0.01]) * 1.1
    across, up = _scales(rows, 0.0, high, LANE_HEIGHT)
    marks = _frame(across, up, percent, ticks=3)
    y = up(normal)
    marks.append(line((across.start, y), (across.end, y), "normal"))
    marks.append(path([(across(time), up(share)) for time, share in points], "stroke quality"))
    alarm = reading.alarm_of(StreamKind.DATA_QUALITY)
    if alarm is not None:
        x = across(alarm.change_row)
        marks.append(line((x, TOP), (x, LANE_HEIGHT - BOTTOM), "begun quality"))
    return drawing(WIDTH, LANE_HEIGHT, marks, f"A share of {reading.name} over time")


def _share(reading: Reading, counts: FeatureCounts, name: str) -> float:
    return dict(category_shares(reading, counts))[name]


def _share_points(
    reading: Reading, part: Callable[[FeatureCounts], float]
) -> Sequence[tuple[int, float]]:
    return [
        (time, part(counts))
        for time, counts in zip(reading.times, reading.over_time, strict=True)
        if counts.rows > 0
    ]


def _apart(heights: Sequence[float]) -> list[float]:
    """The heights of labels, moved down where two would lie on each other."""
    placed = dict.fromkeys(range(len(heights)), 0.0)
    free = TOP
    for place in sorted(placed, key=lambda index: heights[index]):
        placed[place] = max(free, heights[place])
        free = placed[place] + 14
    return list(placed.values())


def _short(name: str) -> str:
    return name if len(name) <= 15 else f"{name[:14]}…"


def _scales(
    rows: int, low: float, high: float, height: float, *, room: float = RIGHT
) -> tuple[Scale, Scale]:
    air = (high - low) * 0.06 or 0.5
    bottom = low if low == 0 else low - air
    return Scale(0, rows, LEFT, WIDTH - room), Scale(bottom, high + air, height - BOTTOM, TOP)


def _frame(across: Scale, up: Scale, told: Callable[[float], str], *, ticks: int = 6) -> list[str]:
    marks: list[str] = []
    for tick in up.ticks(ticks):
        y = up(tick)
        marks.append(line((across.start, y), (across.end, y), "grid"))
        marks.append(words((across.start - 6, y + 4), told(tick), "t", "end"))
    return [*marks, *bottom_axis(across, up.start, 5, number)]


def _begun(reading: Reading, across: Scale, height: float) -> list[str]:
    alarm = reading.alarm_of(StreamKind.DRIFT)
    if alarm is None:
        return []
    x = across(alarm.change_row)
    right = x < (across.start + across.end) / 2
    return [
        line((x, TOP), (x, height - BOTTOM), "begun now"),
        words(
            (x + 5 if right else x - 5, TOP + 8),
            f"since about row {alarm.change_row:,}",
            "t",
            "start" if right else "end",
        ),
    ]
