"""What a drift benchmark hands to a rival, and what it gets back. Needs numpy alone.

`python drift_NAME.py DIRECTORY` reads each `*.npz` of the directory (reference [m, columns], rows
[n, columns], categorical [columns], window), judges the rows window by window, and writes
`NAME.json`: for each case which columns alarm as shipped, and how strongly each points to drift.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One reference and one stream.

    Attributes:
        reference: float64 [m, columns]; categories are whole numbers, missing values NaN.
        rows: float64 [n, columns], whole windows.
        categorical: bool [columns].
        window: rows of a window.
    """

    reference: Any
    rows: Any
    categorical: Any
    window: int

    def windows(self) -> Iterator[Any]:
        """The windows in order, [window, columns] each."""
        for start in range(0, len(self.rows), self.window):
            yield self.rows[start : start + self.window]


Judged = tuple[list[list[bool]], list[list[float]]]
"""Alarms as shipped and strengths (larger is stronger), [windows][columns] each."""


def read_case(path: Path) -> Case:
    """One case of the directory."""
    with np.load(path) as file:
        return Case(file["reference"], file["rows"], file["categorical"], int(file["window"]))


def judge_all(name: str, judge: Callable[[Case], Judged | None]) -> None:
    """The rival's main: judges every case of the directory that the command names.

    Args:
        name: of the rival.
        judge: its judgement; None where it cannot judge such data.
    """
    directory = Path(sys.argv[1])
    found: dict[str, Any] = {}
    for path in sorted(directory.glob("*.npz")):
        started = time.monotonic()
        judged = judge(read_case(path))
        if judged is not None:
            alarms, strengths = judged
            found[path.stem] = {
                "alarms": [[bool(item) for item in window] for window in alarms],
                "strengths": [[round(float(item), 5) for item in window] for window in strengths],
                "seconds": time.monotonic() - started,
            }
    (directory / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
