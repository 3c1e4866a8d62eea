"""alibi-detect: its detector for tables, Kolmogorov-Smirnov and chi-squared tests.

As shipped: p < 0.05, Bonferroni's correction over the columns; a column is named when its own
p-value is below that. The strength is -log10 of the p-value. It cannot take missing values. Its
online detectors need torch or tensorflow and hours of bootstrap; they are left out.
"""

import importlib
import warnings
from typing import Any

import numpy as np
from drift_case_files import Case, Judged, judge_all

_drift: Any = importlib.import_module("alibi_detect.cd")


def judge(case: Case) -> Judged | None:
    """Each window against the reference."""
    if np.isnan(case.reference).any() or np.isnan(case.rows).any():
        return None
    named = {int(index): None for index in np.flatnonzero(case.categorical)}
    detector = _drift.TabularDrift(
        case.reference.astype(np.float32), p_val=0.05, categories_per_feature=named or None
    )
    alarms: list[list[bool]] = []
    strengths: list[list[float]] = []
    for rows in case.windows():
        data = detector.predict(rows.astype(np.float32))["data"]
        values = np.maximum(data["p_val"], 1e-300)
        alarms.append((values < data["threshold"]).tolist())
        strengths.append((-np.log10(values)).tolist())
    return alarms, strengths


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    judge_all("alibi-detect", judge)
