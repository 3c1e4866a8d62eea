"""The few marks that the charts are made of, as SVG. Colours are classes of the page's style."""

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Point = tuple[float, float]


def escape(text: object) -> str:
    """Text as it may stand in HTML and SVG."""
    return html.escape(str(text), quote=True)


def drawing(width: float, height: float, marks: Iterable[str], label: str) -> str:
    """An SVG element that fills the width it is given."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(marks)}</svg>"
    )


def line(start: Point, end: Point, look: str) -> str:
    """A straight line."""
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{look}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def box(corner: Point, size: Point, look: str, told: str = "") -> str:
    """A rectangle; `told` appears where the pointer rests."""
    (x, y), (width, height) = corner, size
    title = f"<title>{escape(told)}</title>" if told else ""
    return (
        f'<rect class="{look}" x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" '
        f'height="{max(0.0, height):.1f}">{title}</rect>'
    )


def path(points: Sequence[Point], look: str, *, closed: bool = False) -> str:
    """A line through points, or the area within them."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<{"polygon" if closed else "polyline"} class="{look}" points="{steps}"/>'


def words(place: Point, text: str, look: str = "t", anchor: str = "start") -> str:
    """Text at a point."""
    x, y = place
    return (
        f'<text class="{look}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


@dataclass(frozen=True)
class Scale:
    """A straight scale from values to places in a drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """About `count` round values within the scale."""
        span = self.high - self.low
        if not span > 0:
            return [self.low]
        rough = span / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * part for part in (1, 2, 5, 10) if power * part >= rough)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [step * index for index in range(first, last + 1)]


def bottom_axis(scale: Scale, y: float, count: int, told: Callable[[float], str]) -> list[str]:
    """Ticks and their values below a chart."""
    marks = [line((scale.start, y), (scale.end, y), "axis")]
    for tick in scale.ticks(count):
        x = scale(tick)
        # A value at the very end would be cut off by the drawing's edge.
        anchor = "end" if x > scale.end - 12 else "middle"
        marks += [line((x, y), (x, y + 4), "axis"), words((x, y + 16), told(tick), anchor=anchor)]
    return marks


def number(value: float) -> str:
    """A number as briefly as its size allows."""
    size = abs(value)
    if size >= 1e9 or (0 < size < 1e-3):
        return f"{value:.3g}"
    if size >= 1e6:
        return f"{value / 1e6:.4g}M"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def percent(share: float) -> str:
    """A share in percent."""
    if 0 < share < 0.001:
        return f"{100 * share:.2g} %"
    return f"{100 * share:.1f} %"
