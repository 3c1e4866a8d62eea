"""What the drift benchmark reads off the judgements: counts, intervals, delays. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from tests.bench.drift_cases import CAR_LOAN_COLUMNS, CAR_LOAN_WINDOW, QUIET
from tests.bench.drift_streams import FEATURES
from tests.statistics.car_loan import CHANGE_ROW, DRIFTED, UNDRIFTED

_stats: Any = scipy_stats  # scipy has no annotations
Judgements = Mapping[str, Mapping[str, Any]]
"""By case: `alarms` and `strengths`, [windows][columns]."""
CHANGED = FEATURES.index("f7")


@dataclass(frozen=True)
class AlarmRate:
    """Windows in which any column alarms, of stationary windows.

    Attributes:
        alarms: of them.
        windows: all.
        low: lower 95 % limit of alarms in 1,000 windows (Poisson, exact).
        high: upper.
    """

    alarms: int
    windows: int
    low: float
    high: float

    @classmethod
    def of(cls, alarms: int, windows: int) -> "AlarmRate":
        """Counts with their interval."""
        low = float(_stats.chi2.ppf(0.025, 2 * alarms)) / 2 if alarms else 0.0
        high = float(_stats.chi2.ppf(0.975, 2 * (alarms + 1))) / 2
        return cls(alarms, windows, 1000 * low / windows, min(1000.0, 1000 * high / windows))

    @property
    def per_thousand(self) -> float:
        """Alarms in 1,000 windows."""
        return 1000 * self.alarms / self.windows


@dataclass(frozen=True)
class Delay:
    """Windows from a change to the first alarm of any column.

    Attributes:
        mean: with runs that never alarm counted as the longest wait.
        standard_error: of the mean.
        found: runs that alarm in time.
        named: runs whose first alarm names the changed column.
        runs: all.
        quiet: alarmed windows before the change, of `QUIET * runs`.
    """

    mean: float
    standard_error: float
    found: int
    named: int
    runs: int
    quiet: int


def matched_threshold(judgements: Judgements) -> float:
    """The strength that one in a thousand windows of the calibration stream exceeds, or fewer."""
    highest = np.sort(_highest(_of(judgements, "calibration")))
    allowed = highest.size // 1000
    return float(highest[-1 - allowed])


def alarmed(case: Mapping[str, Any], threshold: float | None) -> Any:
    """Which columns alarm, bool [windows, columns]: as shipped, or above a threshold."""
    if threshold is None:
        return np.array(case["alarms"], dtype=bool)
    return np.array(case["strengths"]) > threshold


def false_alarms(judgements: Judgements, prefix: str, threshold: float | None) -> AlarmRate | None:
    """Of all windows of the cases whose names begin so; None where the tool cannot judge them."""
    found = [alarmed(case, threshold).any(axis=1) for case in _of(judgements, prefix)]
    if not found:
        return None
    windows = np.concatenate(found)
    return AlarmRate.of(int(windows.sum()), windows.size)


def delay(judgements: Judgements, prefix: str, threshold: float | None) -> Delay | None:
    """Of all runs of one change."""
    waits: list[int] = []
    found = named = quiet = 0
    for case in _of(judgements, prefix):
        alarms = alarmed(case, threshold)
        windows = alarms.any(axis=1)
        quiet += int(windows[:QUIET].sum())
        after = np.flatnonzero(windows[QUIET:])
        if after.size:
            found += 1
            named += bool(alarms[QUIET + after[0], CHANGED])
            waits.append(int(after[0]) + 1)
        else:
            waits.append(len(windows) - QUIET)
    if not waits:
        return None
    spread = float(np.std(waits, ddof=1)) / len(waits) ** 0.5 if len(waits) > 1 else 0.0
    return Delay(float(np.mean(waits)), spread, found, named, len(waits), quiet)


def car_loans(judgements: Judgements) -> dict[str, Any]:
    """Alarms as shipped before the change, rows until each drifted column is named, and others."""
    (case,) = _of(judgements, "carloan")
    alarms = alarmed(case, None)
    clean = CHANGE_ROW // CAR_LOAN_WINDOW
    watched = [CAR_LOAN_COLUMNS.index(name) for name in sorted(DRIFTED | UNDRIFTED)]
    found: dict[str, Any] = {
        "falseWindows": int(alarms[:clean, watched].any(axis=1).sum()),
        "falseColumnWindows": int(alarms[:clean, watched].sum()),
        "cleanWindows": clean,
        "undriftedAlarmsAfter": int(
            alarms[clean:, [CAR_LOAN_COLUMNS.index(name) for name in UNDRIFTED]].sum()
        ),
    }
    rows: dict[str, int | None] = {}
    for name in sorted(DRIFTED):
        after = np.flatnonzero(alarms[clean:, CAR_LOAN_COLUMNS.index(name)])
        rows[name] = int(after[0] + 1) * CAR_LOAN_WINDOW if after.size else None
    return found | {"rowsUntilNamed": rows}


def trivial(judgements: Judgements) -> tuple[int, int]:
    """Windows that alarm as shipped at a shift of 0.02 standard deviations, of all."""
    windows = np.concatenate(
        [alarmed(case, None).any(axis=1) for case in _of(judgements, "trivial")]
    )
    return int(windows.sum()), int(windows.size)


def seconds_a_window(judgements: Judgements) -> float:
    """Time of a window of 200 rows and 20 columns, the reference's preparation included."""
    cases = _of(judgements, "calibration")
    return sum(float(case["seconds"]) for case in cases) / sum(len(c["alarms"]) for c in cases)


def _of(judgements: Judgements, prefix: str) -> list[Mapping[str, Any]]:
    return [judgements[name] for name in sorted(judgements) if name.rpartition("-")[0] == prefix]


def _highest(cases: Iterable[Mapping[str, Any]]) -> Any:
    return np.concatenate([np.array(case["strengths"]).max(axis=1) for case in cases])
