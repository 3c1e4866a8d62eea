"""river: ADWIN, one for each numeric column, row by row.

As shipped: delta 0.002. The strength of a window is -log10 of the smallest delta of a grid at which
a detector of that delta alarmed within the window. Missing values are left out; categories it
cannot judge. ADWIN keeps no reference: it is fed the reference first, as a warm-up.
"""

import importlib
import math
from typing import Any

import numpy as np
from drift_case_files import Case, Judged, judge_all

_drift: Any = importlib.import_module("river.drift")
DELTAS = (0.002, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-15)
WARM_UP = 10_000


def judge(case: Case) -> Judged | None:
    """Each column by detectors of its own."""
    numeric = [int(index) for index in np.flatnonzero(~case.categorical)]
    if not numeric:
        return None
    windows = len(case.rows) // case.window
    columns = len(case.categorical)
    alarms = [[False] * columns for _ in range(windows)]
    strengths = [[0.0] * columns for _ in range(windows)]
    for index in numeric:
        for delta in DELTAS:
            for window in _alarmed(case, index, delta):
                strengths[window][index] = max(strengths[window][index], -math.log10(delta))
                alarms[window][index] |= delta == DELTAS[0]
    return alarms, strengths


def _alarmed(case: Case, index: int, delta: float) -> list[int]:
    detector = _drift.ADWIN(delta=delta)
    for value in case.reference[-WARM_UP:, index].tolist():
        if not math.isnan(value):
            detector.update(value)
    found: list[int] = []
    for window, rows in enumerate(case.windows()):
        alarmed = False
        for value in rows[:, index].tolist():
            if not math.isnan(value):
                detector.update(value)
                alarmed |= bool(detector.drift_detected)
        if alarmed:
            found.append(window)
    return found


if __name__ == "__main__":
    judge_all("river", judge)
