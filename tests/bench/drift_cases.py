"""The cases of `make bench-drift`: the same references, windows and seeds for everyone."""

import importlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.drift_streams import (
    CATEGORIES,
    FEATURES,
    WINDOW_ROWS,
    Change,
    StreamName,
    reference_of,
    windows_of,
)
from tests.statistics.car_loan import CarLoanTable, car_loan

_pandas: Any = importlib.import_module("pandas")

QUIET = 10
"""Windows before a change."""
CHANGES = {"shift": Change(QUIET, shift=0.25), "scale": Change(QUIET, scale=1.5)}
CAR_LOAN_WINDOW = 250
CAR_LOAN_COLUMNS = (
    "car_value", "salary_range", "debt_to_income_ratio", "loan_length", "repaid_loan_on_prev_car",
    "size_of_downpayment", "driver_tenure", "y_pred_proba", "y_pred",
)  # fmt: skip
_NAMED = frozenset({"salary_range", "repaid_loan_on_prev_car", "size_of_downpayment"})


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        calibration: runs and windows of the stationary normal stream that thresholds are matched
            on.
        stationary: runs and windows of each stationary stream.
        delays: runs of each change.
        patience: windows after the change until a run counts as never found.
        trivial: rows of the reference and of the stream with a trivial shift.
    """

    calibration: tuple[int, int] = (2, 500)
    stationary: tuple[int, int] = (1, 60)
    delays: int = 12
    patience: int = 40
    trivial: tuple[int, int] = (500_000, 1_000_000)


SMOKE = Sizes((1, 100), (1, 20), 2, 20, (50_000, 100_000))


def write_cases(directory: Path, sizes: Sizes) -> None:
    """Writes every case as a file that needs nothing but numpy to be read."""
    runs, windows = sizes.calibration
    for run in range(runs):
        _write(directory / f"calibration-{run}.npz", StreamName.NORMAL, 9000 + run, windows)
    runs, windows = sizes.stationary
    for name, run in itertools.product(StreamName, range(runs)):
        _write(directory / f"stationary-{name.value}-{run}.npz", name, 100 + run, windows)
    for (what, change), run in itertools.product(CHANGES.items(), range(sizes.delays)):
        _write(
            directory / f"{what}-{run}.npz", StreamName.NORMAL, 500 + run,
            QUIET + sizes.patience, change,
        )  # fmt: skip
    _write_trivial(directory / "trivial-0.npz", sizes)
    _write_car_loan(directory / "carloan-0.npz")


def _write(
    path: Path, name: StreamName, seed: int, windows: int, change: Change | None = None
) -> None:
    reference = reference_of(name, seed)
    rows = itertools.islice(windows_of(name, seed, change=change), windows)
    np.savez(
        path,
        reference=_matrix(reference.columns),
        rows=np.concatenate([_matrix(columns) for columns in rows]),
        categorical=np.full(len(FEATURES), reference.categorical),
        window=WINDOW_ROWS,
        blocks=reference.blocks,
        restart=True,
    )


def _matrix(columns: dict[str, Any]) -> Any:
    """[rows, columns]; a category is its rank."""
    values = [columns[name] for name in FEATURES]
    if values[0].dtype == object:
        ranks = {category: rank for rank, category in enumerate(CATEGORIES.tolist())}
        values = [np.array([ranks[item] for item in column.tolist()]) for column in values]
    return np.stack([column.astype(np.float64) for column in values], axis=1)


def _write_trivial(path: Path, sizes: Sizes) -> None:
    rng = np.random.default_rng(77)
    reference, rows = (rng.normal(size=(count, 5)) for count in sizes.trivial)
    rows[:, 0] += 0.02
    window = len(rows) // 10
    np.savez(
        path,
        reference=reference,
        rows=rows,
        categorical=np.zeros(5, dtype=bool),
        window=window,
        blocks=np.arange(len(reference)) // 1000,
        restart=True,
    )


def _write_car_loan(path: Path) -> None:
    tables = [
        _pandas.read_csv(car_loan(table))[list(CAR_LOAN_COLUMNS)]
        for table in (CarLoanTable.REFERENCE, CarLoanTable.ANALYSIS)
    ]
    both = _pandas.concat(tables, ignore_index=True)
    for name in _NAMED:
        both[name] = both[name].factorize(sort=True)[0]
    matrix = both.to_numpy(dtype=np.float64)
    first = len(tables[0])
    np.savez(
        path,
        reference=matrix[:first],
        rows=matrix[first:],
        categorical=np.array([name in _NAMED for name in CAR_LOAN_COLUMNS]),
        window=CAR_LOAN_WINDOW,
        blocks=np.arange(first) // CAR_LOAN_WINDOW,
        restart=False,
    )
