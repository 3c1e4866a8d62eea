"""What decisions are worth: exact from labels, expected from scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile.confusion import Confusion
from mooring_profile.errors import CountsInvalid
from mooring_profile.quality import expected_confusion
from mooring_profile.value import ValueMatrix, estimated_worth, labelled_worth
from tests.unit.profile.test_quality import BASE, LABELS, REFERENCE, STREAM, counts_of

LOAN = ValueMatrix(tp=120.0, fp=-900.0, fn=-60.0, tn=0.0, unit="EUR")
COUNTS = st.integers(0, 1000)


def test_worth_of_labels_is_the_mean_value_of_the_rows_with_its_interval() -> None:
    found = labelled_worth(Confusion(tp=50, fp=5, fn=10, tn=35), LOAN)
    assert found is not None
    values = np.repeat([120.0, -900.0, -60.0, 0.0], [50, 5, 10, 35])
    assert found.per_row == pytest.approx(values.mean())
    assert found.total == pytest.approx(values.sum())
    assert found.upper - found.per_row == pytest.approx(1.959964 * values.std() / 10)
    assert "EUR a row" in found.message
    wider = labelled_worth(Confusion(50, 5, 10, 35), LOAN, design_effect=4.0)
    assert wider is not None
    assert wider.upper - wider.lower == pytest.approx(2 * (found.upper - found.lower))


@settings(deadline=None)
@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_worth_lies_between_the_smallest_and_the_largest_value(
    tp: int, fp: int, fn: int, tn: int
) -> None:
    found = labelled_worth(Confusion(tp, fp, fn, tn), LOAN)
    if tp + fp + fn + tn == 0:
        assert found is None
        return
    assert found is not None
    assert -900 <= found.per_row <= 120
    assert found.lower <= found.per_row <= found.upper


def test_estimated_worth_is_that_of_the_expected_counts_and_near_that_of_the_labels() -> None:
    rows = REFERENCE.map.cells_of(counts_of(STREAM, BASE))
    found = estimated_worth(REFERENCE.map, rows, LOAN)
    exact = labelled_worth(expected_confusion(REFERENCE.map, rows), LOAN)
    assert found is not None
    assert exact is not None
    assert found.per_row == pytest.approx(exact.per_row)
    picked = BASE >= 0.5
    truth = np.select(
        [picked & LABELS, picked & ~LABELS, ~picked & LABELS], [120.0, -900.0, -60.0], 0.0
    )
    assert found.lower <= truth.mean() <= found.upper
    assert found.per_row == pytest.approx(truth.mean(), abs=1.0)
    assert "blind to concept drift" in found.message


def test_ratios_without_a_base_are_absent() -> None:
    nothing = Confusion(0, 0, 0, 0)
    assert nothing.accuracy is None
    assert nothing.f1 is None
    found = Confusion(tp=30, fp=10, fn=20, tn=40)
    assert (found.precision, found.recall, found.accuracy) == (0.75, 0.6, 0.7)


def test_nothing_is_worth_nothing_and_impossible_numbers_are_refused() -> None:
    assert labelled_worth(Confusion(0, 0, 0, 0), LOAN) is None
    assert estimated_worth(REFERENCE.map, np.zeros(REFERENCE.map.rows.size), LOAN) is None
    with pytest.raises(CountsInvalid, match="below 0"):
        labelled_worth(Confusion(-1, 0, 0, 2), LOAN)
    with pytest.raises(CountsInvalid, match="confidence"):
        labelled_worth(Confusion(1, 0, 0, 2), LOAN, confidence=0.0)
    with pytest.raises(CountsInvalid, match="design_effect"):
        labelled_worth(Confusion(1, 0, 0, 2), LOAN, design_effect=0.5)
    with pytest.raises(CountsInvalid, match="finite"):
        ValueMatrix(float("nan"), 0, 0, 0, "EUR")
