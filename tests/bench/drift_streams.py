"""Named streams of traffic for the drift benchmarks: the same rows, seeds and windows for everyone.

A stream has a reference (what a model was trained on) and endless windows that follow it, both
functions of a seed. Without a `Change` the windows are stationary: an alarm on them is false.
Imported by the benchmarks of our detector and by those of its rivals; imports no detector.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

FEATURES = tuple(f"f{index}" for index in range(20))
WINDOW_ROWS = 200
DAY_ROWS = 2400
CATEGORIES = np.array([f"c{rank}" for rank in range(100)], dtype=object)
ZIPF = 1 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum()
CLUSTER = 5
MISSING_SHARE = 0.3
DAILY_AMPLITUDE = 0.5

Draw = Callable[[np.random.Generator, int, int], Any]
"""From a generator, the number of the first row and a number of rows: [rows, len(FEATURES)]."""


class StreamName(StrEnum):
    """The streams; 20 independent features each."""

    NORMAL = "normal"
    LOGNORMAL = "lognormal"
    HEAVY_TAILS = "t3"
    """Student's t with 3 degrees of freedom."""
    ZIPF = "zipf100"
    """100 categories with shares in proportion to 1 / rank."""
    MISSING = "missing30"
    """Normal, 30 % of the values missing."""
    CLUSTERS = "clusters5"
    """Normal, each row five times in a row (a user who sends five requests)."""
    DAILY = "daily"
    """Normal; the mean of every second feature swings by half a standard deviation over a day
    of 2,400 rows, each with a phase of its own."""


@dataclass(frozen=True)
class Change:
    """A change of one numeric feature, in units of its standard normal scale.

    Attributes:
        window: index of the first changed window, from 0.
        shift: what is added to each value.
        scale: what each value is multiplied by before.
        feature: which one.
    """

    window: int
    shift: float = 0.0
    scale: float = 1.0
    feature: str = "f7"


@dataclass(frozen=True)
class Reference:
    """The table that a detector learns from.

    Attributes:
        columns: a column [rows] per feature, in order of time.
        categorical: whether the values are text (all features alike).
        blocks: int64 [rows], the block of time of each row; None when no time is known.
    """

    columns: dict[str, Any]
    categorical: bool
    blocks: Any

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return int(self.columns[FEATURES[0]].size)


@dataclass(frozen=True)
class _Recipe:
    draw: Draw
    reference_rows: int = 10_000
    block_rows: int = 200


def _normal(rng: np.random.Generator, _first: int, rows: int) -> Any:
    return rng.normal(size=(rows, len(FEATURES)))


def _lognormal(rng: np.random.Generator, _first: int, rows: int) -> Any:
    return rng.lognormal(size=(rows, len(FEATURES)))


def _heavy_tails(rng: np.random.Generator, _first: int, rows: int) -> Any:
    return rng.standard_t(3, size=(rows, len(FEATURES)))


def _zipf(rng: np.random.Generator, _first: int, rows: int) -> Any:
    return CATEGORIES[rng.choice(ZIPF.size, size=(rows, len(FEATURES)), p=ZIPF)]


def _missing(rng: np.random.Generator, _first: int, rows: int) -> Any:
    values = rng.normal(size=(rows, len(FEATURES)))
    values[rng.random(values.shape) < MISSING_SHARE] = np.nan
    return values


def _clusters(rng: np.random.Generator, _first: int, rows: int) -> Any:
    users = -(-rows // CLUSTER)
    return np.repeat(rng.normal(size=(users, len(FEATURES))), CLUSTER, axis=0)[:rows]


def _daily(rng: np.random.Generator, first: int, rows: int) -> Any:
    day = (np.arange(first, first + rows) % DAY_ROWS) / DAY_ROWS
    phase = np.arange(len(FEATURES)) / len(FEATURES)
    amplitude = np.where(np.arange(len(FEATURES)) % 2 == 0, DAILY_AMPLITUDE, 0.0)
    swing = amplitude * np.sin(2 * np.pi * (day[:, None] + phase))
    return rng.normal(size=(rows, len(FEATURES))) + swing


_RECIPES: dict[StreamName, _Recipe] = {
    StreamName.NORMAL: _Recipe(_normal),
    StreamName.LOGNORMAL: _Recipe(_lognormal),
    StreamName.HEAVY_TAILS: _Recipe(_heavy_tails),
    StreamName.ZIPF: _Recipe(_zipf),
    StreamName.MISSING: _Recipe(_missing),
    StreamName.CLUSTERS: _Recipe(_clusters, reference_rows=20_000, block_rows=500),
    StreamName.DAILY: _Recipe(_daily, reference_rows=42 * DAY_ROWS, block_rows=WINDOW_ROWS),
}


def reference_of(name: StreamName, seed: int) -> Reference:
    """Draws the reference table of a stream: 10,000 rows, more where time blocks need them."""
    recipe = _RECIPES[name]
    rows = recipe.reference_rows
    table = recipe.draw(np.random.default_rng((seed, 0)), 0, rows)
    return Reference(
        columns=_columns(table),
        categorical=table.dtype == object,
        blocks=np.arange(rows) // recipe.block_rows,
    )


def windows_of(
    name: StreamName, seed: int, *, rows: int = WINDOW_ROWS, change: Change | None = None
) -> Iterator[dict[str, Any]]:
    """Draws endless windows that follow the reference of the same stream and seed.

    Args:
        name: which stream.
        seed: which run.
        rows: rows of a window; a multiple of 5 keeps clusters whole.
        change: what changes and when; None for stationary traffic. Numeric streams only.

    Yields:
        A column [rows] per feature.
    """
    recipe = _RECIPES[name]
    rng = np.random.default_rng((seed, 1))
    first, window = recipe.reference_rows, 0
    while True:
        columns = _columns(recipe.draw(rng, first, rows))
        if change is not None and window >= change.window:
            columns[change.feature] = columns[change.feature] * change.scale + change.shift
        yield columns
        first, window = first + rows, window + 1


def _columns(table: Any) -> dict[str, Any]:
    return {feature: table[:, index] for index, feature in enumerate(FEATURES)}
