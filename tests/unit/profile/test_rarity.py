from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mooring_profile.rarity import MISS, share_limits

stats: Any = scipy_stats  # scipy has no annotations


def test_limits_are_where_the_divergence_exhausts_the_budget() -> None:
    hits, rows = np.array([0.0, 3.0, 50.0]), 10_000.0
    lower, upper = share_limits(hits, rows)
    budget = np.log(2 * 3 / MISS) / rows
    for limits in (lower[1:], upper[1:]):
        shares = hits[1:] / rows
        found = [
            stats.entropy([share, 1 - share], [limit, 1 - limit])
            for share, limit in zip(shares, limits, strict=True)
        ]
        assert found == pytest.approx([budget] * 2, rel=1e-6)
    assert lower[0] == pytest.approx(0, abs=1e-12)
    assert upper[0] == pytest.approx(1 - np.exp(-budget), rel=1e-6)


@pytest.mark.parametrize("hits", [1, 10, 100])
def test_limits_contain_the_exact_ones_of_clopper_and_pearson(hits: int) -> None:
    lower, upper = share_limits(np.array([float(hits)]), 20_000.0)
    exact = stats.binomtest(hits, 20_000).proportion_ci(1 - MISS, method="exact")
    assert lower[0] <= exact.low
    assert exact.high <= upper[0] <= 1.6 * exact.high


def test_limits_of_all_bins_hold_together_in_nearly_all_references() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([0.0005, 0.001, 0.002, 0.005, 0.009])
    missed = 0
    for _ in range(1000):
        drawn = rng.multinomial(5000, [*truth, 1 - truth.sum()])[:-1]
        lower, upper = share_limits(drawn.astype(np.float64), 5000.0)
        missed += not ((lower <= truth) & (truth <= upper)).all()
    assert missed <= stats.binom.ppf(0.999, 1000, MISS)
