"""Before and after: the distribution of a column in the reference and since its change."""

import numpy as np

from mooring_profile.fields import FloatArray
from mooring_replay.report.readings import Reading, category_shares, shares
from mooring_replay.report.svg import (
    Point,
    Scale,
    bottom_axis,
    box,
    drawing,
    number,
    path,
    percent,
    words,
)

WIDTH, HEIGHT = 500.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 14.0, 14.0, 16.0, 30.0
BARS = 40
CATEGORIES = 8
TAIL = 0.005
"""Beyond these quantiles of both distributions nothing is drawn but a sum at each end."""


def numeric_overlay(reading: Reading) -> str:
    """Two histograms over each other, the reference filled, the rows since the change outlined."""
    before, after = shares(reading.profile.counts), shares(reading.after)
    low, high = _range(reading, before, after)
    grid = np.linspace(low, high, BARS + 1)
    old, new = (_regridded(reading, values, grid) for values in (before, after))
    highest = max(float(old[1].max()), float(new[1].max()), old[0], old[2], new[0], new[2], 1e-9)
    margin = 34.0
    across = Scale(low, high, LEFT + margin, WIDTH - RIGHT - margin)
    up = Scale(0, highest, HEIGHT - BOTTOM, TOP)
    floor = up(0)
    marks = [
        path(_steps(old[1], grid, across, up), "area ref", closed=True),
        path(_steps(new[1], grid, across, up), "area now", closed=True),
        path(_steps(new[1], grid, across, up), "stroke now"),
    ]
    for place in range(BARS):
        left, right = across(grid[place]), across(grid[place + 1])
        told = (
            f"{number(grid[place])} to {number(grid[place + 1])}: "
            f"{percent(old[1][place])} before, {percent(new[1][place])} after"
        )
        marks.append(box((left, TOP), (right - left, floor - TOP), "touch", told))
    ends = ((LEFT, "below", old[0], new[0]), (WIDTH - RIGHT - 24, "above", old[2], new[2]))
    for x, name, was, now in ends:
        if max(was, now) < 2 * TAIL:
            continue
        told = f"{name} what is drawn: {percent(was)} before, {percent(now)} after"
        marks.append(box((x, up(was)), (11, floor - up(was)), "fill ref", told))
        marks.append(box((x + 12, up(now)), (11, floor - up(now)), "fill now", told))
        marks.append(words((x + 12, floor + 16), name, "t", "middle"))
    marks += bottom_axis(across, floor, 5, number)
    return drawing(WIDTH, HEIGHT, marks, f"{reading.name} before and after")


def category_bars(reading: Reading) -> str:
    """Bars in pairs, the categories that moved most first."""
    before = dict(category_shares(reading, reading.profile.counts))
    after = dict(category_shares(reading, reading.after))
    ranked = sorted(before, key=lambda name: -abs(after[name] - before[name]))[:CATEGORIES]
    # In the reference's order, so that the eye finds a category again.
    chosen = [name for name in before if name in ranked and max(before[name], after[name]) > 0]
    highest = max([*before.values(), *after.values(), 1e-9])
    pitch = 25.0
    height = TOP + pitch * max(1, len(chosen)) + 8
    across = Scale(0, highest, 150, WIDTH - 110)
    marks: list[str] = []
    for place, name in enumerate(chosen):
        y = TOP + pitch * place
        told = f"{name}: {percent(before[name])} before, {percent(after[name])} after"
        marks += [
            words((142, y + 12), name if len(name) <= 20 else f"{name[:19]}…", "name", "end"),
            box((150, y), (across(before[name]) - 150, 8), "fill ref", told),
            box((150, y + 9), (across(after[name]) - 150, 8), "fill now", told),
            words(
                (max(across(before[name]), across(after[name])) + 8, y + 13),
                f"{percent(before[name])} → {percent(after[name])}",
            ),
        ]
    return drawing(WIDTH, height, marks, f"{reading.name} before and after")


def _range(reading: Reading, before: FloatArray, after: FloatArray) -> tuple[float, float]:
    """From the lower to the upper end of what either distribution holds, without its tails."""
    edges = reading.profile.edges
    ends = [
        float(np.interp(level, np.cumsum(values)[:-1], edges))
        for values in (before, after)
        for level in (TAIL, 1 - TAIL)
    ]
    low, high = min(ends), max(ends)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _regridded(
    reading: Reading, values: FloatArray, grid: FloatArray
) -> tuple[float, FloatArray, float]:
    """Shares below a grid, in its equal bars, and above; values spread evenly within a bin."""
    edges = np.array(reading.profile.edges)
    below = np.cumsum(values)[:-1]
    # Atoms are bins of no width: np.interp takes the jump at their upper edge.
    at = np.interp(grid, edges, below)
    return float(at[0]), np.diff(at), float(1 - at[-1])


def _steps(heights: FloatArray, grid: FloatArray, across: Scale, up: Scale) -> list[Point]:
    points: list[Point] = [(across(float(grid[0])), up(0))]
    for place, height in enumerate(heights.tolist()):
        points += [
            (across(float(grid[place])), up(height)),
            (across(float(grid[place + 1])), up(height)),
        ]
    return [*points, (across(float(grid[-1])), up(0))]
