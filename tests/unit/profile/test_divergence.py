from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mooring_profile.divergence import StabilityIndex

stats: Any = scipy_stats  # scipy has no annotations


def debiased_psi(
    reference: Any, window: Any, *, design_effect: float, ordered: bool
) -> float | None:
    index = StabilityIndex(reference, design_effect=design_effect, ordered=ordered)
    return index.of(window)


def test_index_is_the_symmetric_divergence_of_scipy_less_its_bias() -> None:
    reference = np.array([400, 300, 200, 100])
    window = np.array([100, 150, 150, 100])
    p = (reference + 0.5) / 1002
    q = (window + 0.5) / 502
    expected = stats.entropy(p, q) + stats.entropy(q, p) - 3 * (1 / 1000 + 1 / 500)
    found = debiased_psi(reference, window, design_effect=1.0, ordered=False)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "unordered"])
def test_index_is_zero_on_average_without_drift(ordered: bool) -> None:
    rng = np.random.default_rng(0)
    shares = np.full(30, 1 / 30)
    found = [
        debiased_psi(
            rng.multinomial(10_000, shares),
            rng.multinomial(400, shares),
            design_effect=1.0,
            ordered=ordered,
        )
        for _ in range(300)
    ]
    values = np.array(found, dtype=np.float64)
    # chi-squared theory (Yurdakul 2018): sd of (1/n + 1/m) chi2(9).
    assert abs(values.mean()) < 3 * (1 / 400 + 1e-4) * np.sqrt(18) / np.sqrt(300)


def test_index_is_absent_when_rows_are_few_or_cells_one() -> None:
    reference = np.full(10, 100)
    assert debiased_psi(reference, np.full(10, 19), design_effect=1.0, ordered=True) is None
    assert debiased_psi(reference, np.full(10, 30), design_effect=2.0, ordered=True) is None
    single = debiased_psi(np.array([500]), np.array([500]), design_effect=1.0, ordered=True)
    assert single is None


def test_rarest_categories_share_a_cell_when_unordered() -> None:
    reference = np.array([1] * 5 + [100] * 9)
    window = np.array([0] * 5 + [50] * 9)
    found = debiased_psi(reference, window, design_effect=1.0, ordered=False)
    assert found is not None
    assert abs(found) < 0.05
