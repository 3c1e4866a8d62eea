"""nannyml's synthetic car loans (Apache-2.0), from its wheel in the cache outside the checkout.

50,000 rows of reference with labels, 50,000 rows to analyse of which those from row 25,000 on have
drifted: car_value, loan_length, repaid_loan_on_prev_car, salary_range and the score y_pred_proba,
but not debt_to_income_ratio, driver_tenure and size_of_downpayment. In the `dq` tables values are
missing or unknown from row 25,000 on as well. The wheel is pinned by its digest and never
installed into an environment of ours.
"""

from enum import StrEnum
from pathlib import Path

from tests.bench.environments import wheel_contents

CHANGE_ROW = 25_000
"""Rows before the change."""
DRIFTED = frozenset(
    {"car_value", "loan_length", "repaid_loan_on_prev_car", "salary_range", "y_pred_proba"}
)
UNDRIFTED = frozenset({"debt_to_income_ratio", "driver_tenure", "size_of_downpayment"})
_WHEEL = (
    "nannyml==0.13.1",
    "sha256:cf5f4a33489834ae6773cb1baa33a0f98c0a3ee6ed9b43049478b25ce22fe869",
)


class CarLoanTable(StrEnum):
    """The files, by what follows `synthetic_car_loan_`."""

    REFERENCE = "reference"
    """With `repaid`, the label."""
    ANALYSIS = "analysis"
    """Without it."""
    LABELS = "analysis_target"
    """`id` and `repaid` of the analysed rows."""
    FAULTY_REFERENCE = "dq_reference"
    FAULTY_ANALYSIS = "dq_analysis"


def car_loan(table: CarLoanTable) -> Path:
    """The CSV file of a table.

    Raises:
        EnvironmentUnavailable: The wheel could not be fetched.
    """
    data = wheel_contents(*_WHEEL) / "nannyml" / "datasets" / "data"
    return data / f"synthetic_car_loan_{table.value}.csv"
