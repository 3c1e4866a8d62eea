"""The tables and the plot of `make bench-drift`."""

import math
from collections.abc import Mapping
from typing import Any

from mooring_replay.report.svg import drawing, line, words

WIDTH, HEIGHT = 820, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 46, 50
_STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#30343b}.t{font-size:12px;fill:#6b7280}"
    ".axis{stroke:#c9ccd2}circle{stroke-width:2}.ours{fill:#d4500c;"
    "stroke:#d4500c}.rival{fill:#5b6572;stroke:#5b6572}circle.open{fill:#fff}.h{font-weight:600;font-size:15px}"
    "</style><rect width='100%' height='100%' fill='#fff'/>"
)


def print_tables(found: Mapping[str, Any]) -> None:
    """All tables as text."""
    tools: Mapping[str, Any] = found["tools"]
    streams = list(next(iter(tools.values()))["falseAlarms"])
    for rule in ("shipped", "matched"):
        told = "as shipped" if rule == "shipped" else "at the threshold matched on normal streams"
        print(f"\n(a) stationary windows with any alarm, {told}: alarms/windows")
        print(f"{'':<24}" + "".join(f"{name:>12}" for name in streams))
        for name, tool in tools.items():
            cells = (_counted(tool["falseAlarms"][stream][rule]) for stream in streams)
            print(f"{name:<24}" + "".join(f"{cell:>12}" for cell in cells))
    for change, told in (("shift", "0.25 sd"), ("scale", "scale x 1.5")):
        print(f"\n(b) {told} in 1 of 20 columns: windows to the first alarm, mean ± standard error")
        print(f"{'':<24}{'as shipped':>30}{'matched':>34}")
        for name, tool in tools.items():
            print(f"{name:<24}" + "".join(f"{_waited(tool[change][r]):>34}" for r in _RULES))
    print("\n(c) car loans, windows of 250 rows, as shipped")
    for name, tool in tools.items():
        loans = tool["carLoans"]
        rows = ", ".join(
            f"{column} {row or 'never'}" for column, row in loans["rowsUntilNamed"].items()
        )
        print(
            f"{name:<24}{loans['falseWindows']} of {loans['cleanWindows']} clean windows alarm "
            f"({loans['falseColumnWindows']} columns), undrifted columns later "
            f"{loans['undriftedAlarmsAfter']} times; rows until named: {rows}"
        )
    print("\n(d) 0.02 sd in a million rows, as shipped; time of a window of 200 rows x 20")
    for name, tool in tools.items():
        alarms, windows = tool["trivial"]
        told = f"{alarms} of {windows} windows alarm"
        print(f"{name:<24}{told:<28}{1000 * tool['secondsAWindow']:>10.2f} ms")


_RULES = ("shipped", "matched")


def _counted(rate: Mapping[str, Any] | None) -> str:
    return "cannot" if rate is None else f"{rate['alarms']}/{rate['windows']}"


def _waited(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "cannot"
    told = f"{found['mean']:.1f} ± {found['standard_error']:.1f}"
    return f"{told}, found {found['found']}/{found['runs']}, named {found['named']}"


def plot(found: Mapping[str, Any]) -> str:
    """False alarms against delay for the shift: as shipped (open) and matched (filled)."""
    across = _Log(0.5, 1000, LEFT, WIDTH - RIGHT)
    up = _Log(0.9, 70, HEIGHT - BOTTOM, TOP)
    marks = [_STYLE, words((LEFT, 24), "0.25 sd in 1 of 20 columns, windows of 200 rows", "h")]
    for value in (1, 10, 100, 1000):
        marks.append(line((across(value), TOP), (across(value), HEIGHT - BOTTOM), "axis"))
        marks.append(words((across(value), HEIGHT - BOTTOM + 18), f"{value}", "t", "middle"))
    for value in (1, 2, 5, 10, 20, 50):
        marks.append(line((LEFT, up(value)), (WIDTH - RIGHT, up(value)), "axis"))
        marks.append(words((LEFT - 8, up(value) + 4), f"{value}", "t", "end"))
    marks.append(
        words((LEFT, HEIGHT - 10), "false alarms in 1,000 stationary windows (0 drawn at 0.5)", "t")
    )
    marks.append(words((LEFT, TOP - 8), "windows until found", "t"))
    dots = [dot for name, tool in found["tools"].items() for dot in _dots(name, tool, across, up)]
    marks += _labelled(dots)
    legend = "open: as shipped; filled: matched on 1,000 normal windows"
    marks.append(words((WIDTH - RIGHT, TOP - 8), legend, "t", "end"))
    body = drawing(WIDTH, HEIGHT, marks, "False alarms against delay")
    return body.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _dots(
    name: str, tool: Mapping[str, Any], across: "_Log", up: "_Log"
) -> list[tuple[float, float, str, str]]:
    """Places, looks and names of a tool's two dots."""
    found: list[tuple[float, float, str, str]] = []
    for rule in _RULES:
        rate, waited = tool["calibration"][rule], tool["shift"][rule]
        if rate is None or waited is None:
            continue
        share = 1000 * rate["alarms"] / rate["windows"]
        ours = "ours" if name == "mooring" else "rival"
        look = f"open {ours}" if rule == "shipped" else ours
        found.append((across(max(0.5, share)), up(waited["mean"]), look, name))
    return found


def _labelled(dots: list[tuple[float, float, str, str]]) -> list[str]:
    """The dots with their names, moved down where two would lie on each other."""
    marks: list[str] = []
    placed: list[tuple[float, float]] = []
    for x, y, look, name in sorted(dots, key=lambda dot: dot[1]):
        label = y
        while any(abs(x - a) < 110 and abs(label - b) < 14 for a, b in placed):
            label += 2
        placed.append((x, label))
        marks += [
            f'<circle class="{look}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
            words((x + 9, label + 4), name, "t"),
        ]
    return marks


class _Log:
    """A logarithmic scale."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._span = low, high / low
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        part = math.log(value / self._low) / math.log(self._span)
        return self._start + part * (self._end - self._start)
