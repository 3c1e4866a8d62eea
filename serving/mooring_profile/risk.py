"""Is a bounded risk above its limit? A Shiryaev-Roberts e-detector on losses in [0, 1].

Used by `quality` (losses expected from scores) and `cohorts` (losses of labels). A gambler who bets
the part f of the largest safe bet multiplies his fortune with 1 + f (Y / limit - 1) for a row of
loss Y. As long as the mean loss is at most the limit, whatever went before, the expectation of that
factor is at most 1. Fortunes of several f follow R <- (R + 1) e and are averaged; the alarm is at
A. Then the expected number of windows to the first false alarm is at least A, and the probability
of one within t windows at most t / A (betting on means: Waudby-Smith and Ramdas 2024, J. R. Stat.
Soc. B 86; harmful shifts only: Podkopaev and Ramdas, arXiv 2110.06177; e-detectors: Shin, Ramdas,
Rinaldo, arXiv 2203.03532).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import Fields, FloatArray

BETS = np.array((0.01, 0.025, 0.06, 0.13, 0.25, 0.5, 0.75, 0.95))
"""f: parts of the largest safe bet, with their prior weights."""
BET_WEIGHTS = np.array((0.1, 0.15, 0.2, 0.2, 0.15, 0.1, 0.06, 0.04))
ONSET_BET = 3
"""Index of the bet that estimates when a change began."""
CEILING = 100.0
"""A fortune is held at this many times the threshold, so that a risk that has recovered is soon
called healthy. Holding it lower keeps the guarantee."""
REFERENCE_ALPHA = 0.01
_LARGEST_LOG = 300.0


@dataclass(frozen=True)
class LossTotals:
    """Rows, sum and sum of squares of their losses in [0, 1]."""

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def __post_init__(self) -> None:
        slack = 1e-6 * max(1.0, self.n)
        if not (-slack <= self.squares <= self.total + slack <= self.n + 2 * slack):
            raise CountsInvalid(
                f"No {self.n} losses in [0, 1] have the sum {self.total} and the sum of squares "
                f"{self.squares}; send totals of bounded losses"
            )

    def merge(self, other: "LossTotals") -> "LossTotals":
        """Adds the totals of other rows."""
        return LossTotals(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float | None:
        """Mean loss; None without rows."""
        return self.total / self.n if self.n > 0 else None

    def upper_limit(self, design_effect: float = 1.0) -> float:
        """Returns the 99 % upper limit of the mean loss, at most 1.

        Empirical Bernstein bound (Maurer and Pontil, COLT 2009, theorem 4).
        """
        n = self.n / design_effect
        if n < 2:
            return 1.0
        mean = self.total / self.n
        variance = max(0.0, self.squares / self.n - mean**2) * n / (n - 1)
        log = math.log(2 / REFERENCE_ALPHA)
        return min(1.0, mean + math.sqrt(2 * variance * log / n) + 7 * log / (3 * (n - 1)))


@dataclass(frozen=True)
class RiskPolicy:
    """What is too much, and how seldom one may be wrong.

    Attributes:
        tolerance: how far above the reference's risk is nobody's concern, 0 to 1.
        false_alarm_every: A, announced windows (or cohorts) between false alarms, > 1.
        ceiling: a risk that is too much whatever the reference had (a service level); None for
            none.
    """

    tolerance: float = 0.02
    false_alarm_every: float = 1000.0
    ceiling: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance <= 1:
            raise CountsInvalid(f"tolerance is {self.tolerance}; it must be within [0, 1]")
        if not self.false_alarm_every > 1:
            raise CountsInvalid(
                f"false_alarm_every is {self.false_alarm_every}; it must be above 1"
            )

    def limit(self, reference_upper: float) -> float | None:
        """Returns the largest risk that is fine; None where no risk could be too much."""
        relative = reference_upper + self.tolerance
        limit = relative if self.ceiling is None else min(relative, self.ceiling)
        return limit if 0 < limit < 1 else None


@dataclass(frozen=True)
class RiskState:
    """Where a monitor stands: a value, to be stored between windows.

    Attributes:
        limit: the largest risk that is fine; evidence speaks about this limit only.
        windows: how many were judged.
        fortunes: R of each bet.
        onset: log fortune of one bet since `since` (Page 1954), >= 0.
        since: name of the window from which the risk seems to be above the limit; None while it
            does not.
        losses: of the rows since then, or of the last window.
    """

    limit: float
    windows: int = 0
    fortunes: tuple[float, ...] = (0.0,) * BETS.size
    onset: float = 0.0
    since: str | None = None
    losses: LossTotals = LossTotals()

    def __post_init__(self) -> None:
        if not 0 < self.limit < 1:
            raise CountsInvalid(f"limit is {self.limit}; a risk limit lies between 0 and 1")
        if len(self.fortunes) != BETS.size or min(self.fortunes) < 0 or self.onset < 0:
            raise CountsInvalid("The state is not of this monitor; start again without it")

    @property
    def evidence(self) -> float:
        """R of the mixture; the alarm is at A."""
        return float(np.dot(BET_WEIGHTS, self.fortunes))

    def to_json(self) -> dict[str, object]:
        """Returns the JSON form."""
        return {
            "limit": self.limit,
            "windows": self.windows,
            "fortunes": list(self.fortunes),
            "onset": self.onset,
            "since": self.since,
            "losses": [self.losses.n, self.losses.total, self.losses.squares],
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> "RiskState":
        """Reads the JSON form.

        Raises:
            CountsInvalid: a field is absent or out of its range.
        """
        losses = fields.numbers("losses")
        if len(losses) != 3:
            raise fields.refuse("losses", list(losses), "three numbers")
        return cls(
            limit=fields.number("limit"),
            windows=fields.count("windows"),
            fortunes=fields.numbers("fortunes"),
            onset=fields.number("onset"),
            since=None if fields.raw("since") is None else fields.text("since"),
            losses=LossTotals(*losses),
        )


def log_e_of_totals(losses: LossTotals, limit: float) -> FloatArray:
    """Returns the smallest log e-value of each bet over all rows with these totals, [BETS].

    It is smallest when losses take the values 0 and (sum of squares) / sum (see `betting`), and
    exact for losses of 0 and 1.
    """
    if losses.total <= 0:
        return losses.n * np.log1p(-BETS)
    value = min(1.0, max(losses.squares / losses.total, losses.total / losses.n))
    count = losses.total / value
    return (losses.n - count) * np.log1p(-BETS) + count * np.log1p(BETS * (value / limit - 1))


def log_e_of_values(rows: FloatArray, values: FloatArray, limit: float) -> FloatArray:
    """Returns the log e-value of each bet, [BETS], of `rows` rows with each loss of `values`."""
    return np.log1p(BETS[:, None] * (values / limit - 1)) @ rows


def advance(
    state: RiskState, name: str, losses: LossTotals, log_e: Sequence[float] | FloatArray, top: float
) -> RiskState:
    """Returns the state after a window.

    Args:
        state: before it.
        name: of the window, for people: when it began.
        losses: of its rows; a window without rows changes nothing.
        log_e: float64 [BETS], of the window against `state.limit`, over the design effect.
        top: A.
    """
    if losses.n <= 0:
        return state
    logs = np.minimum(np.asarray(log_e, dtype=np.float64), _LARGEST_LOG)
    grown = (np.array(state.fortunes) + 1) * np.exp(logs)
    onset = max(0.0, state.onset + float(logs[ONSET_BET]))
    running = state.since is not None
    return RiskState(
        limit=state.limit,
        windows=state.windows + 1,
        fortunes=tuple(np.minimum(grown, CEILING * top).tolist()),
        onset=onset,
        since=None if onset == 0 else state.since if running else name,
        losses=state.losses.merge(losses) if running and onset > 0 else losses,
    )
