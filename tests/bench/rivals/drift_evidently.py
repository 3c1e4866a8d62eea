"""Evidently: its default test for each column, called as its drift preset calls it.

A column is told as drifted when its own default threshold says so. The strength of a distance is
its part of the threshold, that of a p-value the threshold's part of it.
"""

import importlib
import warnings
from typing import Any

import numpy as np
from drift_case_files import Case, Judged, judge_all

_pandas: Any = importlib.import_module("pandas")
_stattests: Any = importlib.import_module("evidently.legacy.calculations.stattests")
_core: Any = importlib.import_module("evidently.legacy.core")


def judge(case: Case) -> Judged:
    """Each window against the reference, each column by itself."""
    columns = range(len(case.categorical))
    reference = [_series(case, case.reference, index) for index in columns]
    alarms: list[list[bool]] = []
    strengths: list[list[float]] = []
    for rows in case.windows():
        found = [_judge(case, reference[index], rows, index) for index in columns]
        alarms.append([drifted for drifted, _ in found])
        strengths.append([strength for _, strength in found])
    return alarms, strengths


def _judge(case: Case, reference: Any, rows: Any, index: int) -> tuple[bool, float]:
    kind = _core.ColumnType.Categorical if case.categorical[index] else _core.ColumnType.Numerical
    current = _series(case, rows, index)
    test = _stattests.get_stattest(reference, current, kind, None)
    result = test(reference, current, kind, None)
    score, threshold = float(result.drift_score), float(result.actual_threshold)
    rising = bool(result.drifted) == (score >= threshold)
    strength = score / threshold if rising else threshold / max(score, 1e-300)
    return bool(result.drifted), strength


def _series(case: Case, rows: Any, index: int) -> Any:
    values = rows[:, index]
    kept = values[~np.isnan(values)]
    return _pandas.Series([f"c{int(v)}" for v in kept] if case.categorical[index] else kept)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    judge_all("evidently", judge)
