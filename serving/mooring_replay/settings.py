"""What a replay is asked for. A value; the command line makes it."""

from dataclasses import dataclass
from enum import StrEnum

from mooring_replay.errors import ReplayRefused


class RowOrder(StrEnum):
    """What the order of the reference's rows means."""

    ARRIVAL = "arrival"
    """The order in which they came: neighbours may depend on each other, blocks may differ."""
    NONE = "none"
    """None (sorted or shuffled): rows are taken as independent and the world as constant."""


@dataclass(frozen=True)
class ReplaySettings:
    """What to watch and how.

    Attributes:
        window: rows judged at once, >= 1.
        false_alarm_every: announced expected number of windows between false alarms of all
            streams together, >= 1.
        tolerance: smallest difference of a share that anybody cares about, 0 to 1.
        time_column: the time of each row; None: unknown.
        order: what the order of the reference's rows means without a time column.
        features: exactly these columns, without inference; empty: all that can be watched.
        score: the column with the model's output, watched in 64 bins; None: none.
        categorical: columns whose values are names, although they look like numbers.
        ignored: columns that are not watched.
        segments: watched columns by whose most frequent values the others are watched apart.
        multivariate: whether the error of reconstructing the numeric columns is watched.
        self_test: whether the reference is replayed first, to find streams that would alarm on
            it; these are not armed.
    """

    window: int
    false_alarm_every: float
    tolerance: float = 0.02
    time_column: str | None = None
    order: RowOrder = RowOrder.ARRIVAL
    features: tuple[str, ...] = ()
    score: str | None = None
    categorical: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    multivariate: bool = False
    self_test: bool = True

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ReplayRefused(f"a window of {self.window} rows", "give --window 1 or more")
        if not 1 <= self.false_alarm_every < float("inf"):
            raise ReplayRefused(
                f"a false alarm every {self.false_alarm_every} windows",
                "give --false-alarm-every 1 or more",
            )
        if not 0 <= self.tolerance <= 1:
            raise ReplayRefused(
                f"a tolerance of {self.tolerance}", "give --tolerance within 0 and 1"
            )
