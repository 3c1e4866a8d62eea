"""NannyML: the univariate drift calculator with its default methods and thresholds.

Its chunks are the windows. The strength is how many standard deviations of the reference's chunks
the value is above their mean; as shipped, 3 of them alarm.
"""

import importlib
import logging
import warnings
from typing import Any

import numpy as np
from drift_case_files import Case, Judged, judge_all

_pandas: Any = importlib.import_module("pandas")
_nannyml: Any = importlib.import_module("nannyml")


def judge(case: Case) -> Judged:
    """All windows at once, as the calculator wants them."""
    names = [f"x{index}" for index in range(len(case.categorical))]
    named = [name for name, is_text in zip(names, case.categorical, strict=True) if is_text]
    calculator = _nannyml.UnivariateDriftCalculator(
        column_names=names, treat_as_categorical=named or None, chunk_size=case.window
    )
    calculator.fit(_frame(case, case.reference, names))
    result = calculator.calculate(_frame(case, case.rows, names)).to_df()
    period = result[("chunk", "chunk", "period")]
    now, before = result[period == "analysis"], result[period == "reference"]
    alarms: list[Any] = []
    strengths: list[Any] = []
    for name in names:
        key = (name, "jensen_shannon", "value")
        usual = before[key].astype(float)
        spread = max(float(usual.std(ddof=0)), 1e-12)
        strengths.append((now[key].astype(float) - float(usual.mean())) / spread)
        alarms.append(now[(name, "jensen_shannon", "alert")].astype(bool))
    return np.array(alarms).T.tolist(), np.nan_to_num(np.array(strengths)).T.tolist()


def _frame(case: Case, rows: Any, names: list[str]) -> Any:
    columns: dict[str, Any] = {}
    for index, name in enumerate(names):
        values = rows[:, index]
        if case.categorical[index]:
            texts = [None if np.isnan(value) else f"c{int(value)}" for value in values]
            values = np.array(texts, dtype=object)
        columns[name] = values
    return _pandas.DataFrame(columns)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    judge_all("nannyml", judge)
