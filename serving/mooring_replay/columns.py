"""Which columns of two tables are watched, how, and why the others are not.

Judged by the first rows of each table. Columns that cannot stand still whatever the world does
(identifiers, clocks, counters, the label of the file) would alarm for nothing; they are left out
and told, with the option that watches them all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mooring_profile.document import SCORE_STREAM, FeatureKind
from mooring_replay.errors import ReplayRefused
from mooring_replay.settings import ReplaySettings
from mooring_replay.tables import CellType, TableFile, type_of

HEAD_ROWS = 100_000
MIN_ROWS = 100
"""Below this many rows nobody can tell an identifier from a measurement."""
IDENTIFIER_SHARE = 0.5
"""Text of which more than this share of the rows is different names rows, not categories."""


@dataclass(frozen=True)
class Unwatched:
    """A column that is not watched.

    Attributes:
        column: its name.
        reason: why.
        remedy: how to watch it all the same.
    """

    column: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Plan:
    """What is watched.

    Attributes:
        kinds: the columns watched as features, in the reference's order.
        score: the column watched as the model's output.
        text: columns that hold text in the reference.
        unwatched: all the others of both tables.
    """

    kinds: dict[str, FeatureKind]
    score: str | None
    text: frozenset[str]
    unwatched: tuple[Unwatched, ...]

    def column_of(self, feature: str) -> str:
        """The column behind a feature of the profile: the score's has a name of its own."""
        return self.score if feature == SCORE_STREAM and self.score is not None else feature

    @property
    def columns(self) -> list[str]:
        """The columns to read."""
        return [*self.kinds, *([] if self.score is None else [self.score])]


def plan_columns(reference: TableFile, stream: TableFile, settings: ReplaySettings) -> Plan:
    """Decides what is watched.

    Raises:
        ReplayRefused: a named column is not there, the reference has no rows, or nothing can be
            watched.
    """
    _check_named(reference, stream, settings)
    before, after = reference.head(HEAD_ROWS), stream.head(min(HEAD_ROWS, settings.window))
    if before.empty:
        raise ReplayRefused(f"{reference.path} has no rows", "give the rows that are normal")
    kinds: dict[str, FeatureKind] = {}
    unwatched: list[Unwatched] = []
    text: set[str] = set()
    for name in reference.columns:
        cells = type_of(before[name])
        if cells is CellType.TEXT:
            text.add(name)
        if name == settings.score:
            continue
        verdict = _reason(name, stream, settings)
        if verdict is None and name not in settings.features:
            verdict = _nature(name, cells, before[name], after.get(name))
        if verdict is not None:
            unwatched.append(verdict)
            continue
        named = name in settings.categorical or cells in (CellType.TEXT, CellType.BOOLEAN)
        kinds[name] = FeatureKind.CATEGORICAL if named else FeatureKind.NUMERIC
    unwatched += [
        Unwatched(name, "the reference has no such column", "add it to the reference")
        for name in stream.columns
        if name not in reference.columns
    ]
    for name in settings.segments:
        if name not in kinds:
            told = next(
                (item.reason for item in unwatched if item.column == name), "it is the score"
            )
            raise ReplayRefused(
                f"--segment names {name!r}, which is not watched: {told}", "watch it with --feature"
            )
    if not kinds and settings.score is None:
        told = "; ".join(f"{item.column}: {item.reason}" for item in unwatched[:10])
        raise ReplayRefused(f"no column can be watched ({told})", "name columns with --feature")
    return Plan(kinds, settings.score, frozenset(text), tuple(unwatched))


def _check_named(reference: TableFile, stream: TableFile, settings: ReplaySettings) -> None:
    """Every column that an option names is there."""
    score = () if settings.score is None else (settings.score,)
    time = () if settings.time_column is None else (settings.time_column,)
    both: Sequence[tuple[str, tuple[str, ...]]] = (
        ("--feature", settings.features),
        ("--score", score),
    )
    for option, names in (
        *both,
        ("--categorical", settings.categorical),
        ("--time-column", time),
        ("--ignore", settings.ignored),
        ("--segment", settings.segments),
    ):
        _check(reference, option, names)
    for option, names in both:
        _check(stream, option, names)


def _check(table: TableFile, option: str, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in table.columns:
            raise ReplayRefused(
                f"{table.path} has no column {name!r}, which {option} names; "
                f"it has {list(table.columns)}",
                f"correct {option}, or the table",
            )


def _reason(name: str, stream: TableFile, settings: ReplaySettings) -> Unwatched | None:
    """Why a column is left out whatever it holds."""
    if name in settings.ignored:
        return Unwatched(name, "--ignore names it", "leave it out of --ignore")
    if name == settings.time_column:
        return Unwatched(name, "--time-column names it", "name another time column")
    if settings.features and name not in settings.features:
        return Unwatched(name, "--feature does not name it", f"add --feature {name}")
    if name not in stream.columns:
        return Unwatched(
            name,
            "the stream has no such column (a label that is known later?)",
            "add it to the stream",
        )
    return None


def _nature(name: str, cells: CellType, before: Any, after: Any) -> Unwatched | None:
    """Why a column cannot stand still; None when it can."""
    if cells is CellType.OTHER:
        return Unwatched(name, f"it holds {cells.value}", "make it numbers or text")
    if cells is CellType.TIME:
        return Unwatched(name, "it holds times", f"give --time-column {name} to learn from it")
    reason = _own_value(cells, before) or _rising(cells, before, after) or _label(before, after)
    if reason is None:
        return None
    return Unwatched(name, reason, f"name all columns to watch with --feature, {name} among them")


def _own_value(cells: CellType, before: Any) -> str | None:
    """An identifier: each row has a value of its own."""
    rows = int(before.notna().sum())
    if rows < MIN_ROWS:
        return None
    if cells is CellType.INTEGER and bool(before.is_unique):
        return "every row has a number of its own: an identifier"
    if cells is CellType.TEXT and int(before.nunique()) > IDENTIFIER_SHARE * rows:
        return "nearly every row has a text of its own"
    return None


def _rising(cells: CellType, before: Any, after: Any) -> str | None:
    """A clock or a counter: it never falls in the reference, and the stream goes on above it."""
    numbers = (CellType.INTEGER, CellType.NUMBER)
    if cells not in numbers or type_of(after) not in numbers or len(before) < MIN_ROWS:
        return None
    values = before.to_numpy(dtype=np.float64, na_value=np.nan)
    later = after.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isnan(values).any() or np.unique(values).size <= 2:
        return None
    if bool((np.diff(values) >= 0).all()) and bool((later >= values[-1]).all()):
        return "it rises from row to row, on and on in the stream: a clock or a counter"
    return None


def _label(before: Any, after: Any) -> str | None:
    """The name of the table, such as `reference` and `analysis`."""
    old, new = _only(before), _only(after)
    if old is None or new is None or old == new:
        return None
    return (
        f"always {old!r} in the reference and {new!r} from the stream's first row on: it seems to "
        "name the table"
    )


def _only(series: Any) -> object | None:
    """The only value of a column without missing ones."""
    if series is None or len(series) < MIN_ROWS or bool(series.isna().any()):
        return None
    values: list[object] = series.astype(object).unique().tolist()
    return values[0] if len(values) == 1 else None
