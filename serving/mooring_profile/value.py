"""What decisions are worth to the business: a value for each kind of right and wrong.

From labelled counts (`cohorts`) or from expected ones (`quality`). Pure.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mooring_profile.calibration import CalibrationMap
from mooring_profile.confusion import Confusion
from mooring_profile.errors import CountsInvalid
from mooring_profile.expectation import expected_value
from mooring_profile.fields import FloatArray


@dataclass(frozen=True)
class ValueMatrix:
    """Value of one row by decision and truth, in `unit`; costs are negative.

    Attributes:
        tp: predicted positive, is positive.
        fp: predicted positive, is negative.
        fn: predicted negative, is positive.
        tn: predicted negative, is negative.
        unit: for people, such as `EUR`.
    """

    tp: float
    fp: float
    fn: float
    tn: float
    unit: str

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.tp, self.fp, self.fn, self.tn)):
            raise CountsInvalid("A value of the matrix is not finite; give four finite numbers")


@dataclass(frozen=True)
class Worth:
    """What some rows were worth.

    Attributes:
        rows: how many.
        per_row: mean value of a row, in units of the matrix.
        lower: lower end of the interval of the mean, pointwise at the confidence asked for.
        upper: upper end.
        total: value of all rows together.
        unit: of all of these.
        labelled: whether it rests on labels; otherwise it is expected from scores and blind to
            concept drift.
    """

    rows: float
    per_row: float
    lower: float
    upper: float
    total: float
    unit: str
    labelled: bool

    @property
    def message(self) -> str:
        """One sentence for people."""
        basis = "labels" if self.labelled else "scores without labels, blind to concept drift"
        return (
            f"{self.per_row:.4g} {self.unit} a row ({self.lower:.4g} to {self.upper:.4g}), "
            f"{self.total:.6g} {self.unit} over {self.rows:.0f} rows; from {basis}"
        )


def labelled_worth(
    confusion: Confusion,
    matrix: ValueMatrix,
    *,
    design_effect: float = 1.0,
    confidence: float = 0.95,
) -> Worth | None:
    """Returns what labelled rows were worth; None without rows.

    The interval is that of the mean of rows like these (multinomial variance, normal limits).

    Raises:
        CountsInvalid: a negative count, or confidence or design effect out of range.
    """
    counts = np.array([confusion.tp, confusion.fp, confusion.fn, confusion.tn])
    if (counts < 0).any():
        raise CountsInvalid(f"A count is below 0: {confusion}")
    rows = float(counts.sum())
    z = _z(confidence, design_effect)
    if rows == 0:
        return None
    values = np.array([matrix.tp, matrix.fp, matrix.fn, matrix.tn])
    mean = float(counts @ values) / rows
    variance = float(counts @ (values - mean) ** 2) / rows
    sd = math.sqrt(variance * design_effect / rows)
    return Worth(rows, mean, mean - z * sd, mean + z * sd, mean * rows, matrix.unit, labelled=True)


def estimated_worth(
    calibration: CalibrationMap,
    rows: FloatArray,
    matrix: ValueMatrix,
    *,
    confidence: float = 0.95,
) -> Worth | None:
    """Returns what labels of scored rows are expected to say they were worth; None without rows.

    Args:
        calibration: of a binary model's score.
        rows: float64 [bins + 2], `calibration.cells_of` the counts.
        matrix: the values.
        confidence: of the interval that labels of these very rows would fall into.

    Raises:
        CountsInvalid: confidence out of its range.
    """
    z = _z(confidence, 1.0)
    total = float(rows.sum())
    if total <= 0:
        return None
    picked = calibration.selected
    hit = picked * matrix.tp + (1 - picked) * matrix.fn
    miss = picked * matrix.fp + (1 - picked) * matrix.tn
    found = expected_value(calibration, rows, hit, miss)
    lower, upper = found.value - z * found.sd, found.value + z * found.sd
    value = found.value * total
    return Worth(total, found.value, lower, upper, value, matrix.unit, labelled=False)


def _z(confidence: float, design_effect: float) -> float:
    if not 0 < confidence < 1:
        raise CountsInvalid(f"confidence is {confidence}; it must lie between 0 and 1")
    if not design_effect >= 1:
        raise CountsInvalid(f"design_effect is {design_effect}; it must be 1 or more")
    return NormalDist().inv_cdf((1 + confidence) / 2)
