"""A challenger that is no better is accepted at most as often as announced; a better one is.

Each data set is a test window of 7 to 42 days of 60 to 200 rows. How much each model loses differs
from day to day by 0.02 nats, and a day takes after the one before it (first-order autoregression
with correlation 0.3, as between the daily differences of two models on the flights of 2013); rows
differ by 0.1 nats beside that. Where both models lose the same on average, accepting the challenger
is an error. With alpha 0.05 it may happen in 2.5 % of the data sets; a test of n = 2,000 data sets
allows the 99.9 % point of the binomial law, 73 acceptances (3.65 %).
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from mooring_training.comparison import Metric, Rule, Verdict, compare

stats: Any = scipy_stats  # scipy has no annotations

Floats = NDArray[np.float64]

DATA_SETS = 2000
ALPHA = 0.05
RULE = Rule(alpha=ALPHA, min_effect=0.0, min_blocks=5)
CORRELATION = 0.3
WEEKS = pytest.mark.parametrize("days", [7, 14, 21])


def days_in_a_row(rng: np.random.Generator, days: int) -> Floats:
    """What a model loses on each day beside its mean, in nats."""
    values = rng.normal(size=days)
    for day in range(1, days):
        values[day] = CORRELATION * values[day - 1] + np.sqrt(1 - CORRELATION**2) * values[day]
    return 0.02 * values


def window(
    rng: np.random.Generator, days: int, *, gain: float = 0.0
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Losses of champion and challenger, and the day of each row.

    Args:
        rng: Source of the data set.
        days: Length of the test window.
        gain: By how much the challenger is better in truth, in nats.
    """
    blocks = np.repeat(np.arange(days), rng.integers(60, 200, days))
    hard = rng.gamma(2.0, 0.25, len(blocks))
    champion = hard + days_in_a_row(rng, days)[blocks] + rng.normal(0.0, 0.07, len(blocks))
    challenger = hard + days_in_a_row(rng, days)[blocks] + rng.normal(0.0, 0.07, len(blocks))
    return champion, challenger - gain, blocks


def limit(data_sets: int) -> float:
    return float(stats.binom.ppf(0.999, data_sets, ALPHA / 2))


def accepted_by_blocks(days: int, *, data_sets: int, seed: int, gain: float = 0.0) -> int:
    rng = np.random.default_rng(seed)
    verdicts = [
        compare(*window(rng, days, gain=gain), metric=Metric.LOG_LOSS, rule=RULE).verdict
        for _ in range(data_sets)
    ]
    return verdicts.count(Verdict.ACCEPTED)


@WEEKS
def test_equal_challenger_is_accepted_as_rarely_as_announced_when_days_are_alike(
    days: int,
) -> None:
    assert accepted_by_blocks(days, data_sets=DATA_SETS, seed=days) <= limit(DATA_SETS)


@WEEKS
def test_equal_challenger_is_accepted_far_too_often_when_rows_are_taken_as_observations(
    days: int,
) -> None:
    # Why there are blocks: Student's interval over the rows of the same data sets.
    rng = np.random.default_rng(days)
    accepted = 0
    for _ in range(400):
        champion, challenger, _ = window(rng, days)
        differences = champion - challenger
        error = float(stats.sem(differences))
        quantile = float(stats.t.ppf(1 - ALPHA / 2, len(differences) - 1))
        accepted += float(differences.mean()) > quantile * error
    assert accepted > 4 * limit(400)


def test_equal_challenger_is_accepted_too_often_when_rows_are_resampled() -> None:
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(100):
        champion, challenger, _ = window(rng, 7)
        differences = champion - challenger
        picks = rng.integers(0, len(differences), (300, len(differences)))
        lower = np.quantile(differences[picks].mean(axis=1), ALPHA / 2)
        accepted += bool(lower > 0)
    assert accepted > 2 * limit(100)


@pytest.mark.parametrize(
    ("days", "gain"), [(7, 0.06), (14, 0.035), (21, 0.03), (42, 0.02)], ids=str
)
def test_better_challenger_is_accepted_when_its_gain_stands_out_from_the_days(
    days: int, gain: float
) -> None:
    # At least 4 of 5, less three standard errors of the 400 data sets.
    assert accepted_by_blocks(days, data_sets=400, seed=days, gain=gain) >= 0.74 * 400


def test_worse_challenger_is_never_accepted() -> None:
    assert accepted_by_blocks(21, data_sets=400, seed=3, gain=-0.02) == 0
