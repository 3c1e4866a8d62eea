"""How often a challenger that is no better is accepted, where days are alike inside and outside.

A/A: champion and challenger are the same learner fitted to two samples of the same world. Days
share a luck of their own, and neighbouring days share some of it. About 15 s.
"""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from mooring_training.comparison import Metric, Rule, Verdict, class_log_loss, compare

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALPHA = 0.05
GROUPS = 12
DATASETS = 1500


def world(rng: np.random.Generator, days: int, *, correlation: float) -> tuple[Floats, Ints]:
    """Group and label of each row of some days, and the day of each: [rows, 2] and [rows]."""
    luck = np.empty(days)
    luck[0] = rng.normal()
    for day in range(1, days):
        shock = math.sqrt(1 - correlation**2) * rng.normal()
        luck[day] = correlation * luck[day - 1] + shock
    day_of = np.repeat(np.arange(days), rng.poisson(40, days) + 5)
    group = rng.integers(GROUPS, size=len(day_of))
    # A day's weather shifts groups differently, so that it favours one of two models.
    reach = np.linspace(-1.0, 1.0, GROUPS)[group]
    logit = np.linspace(-2.0, 1.0, GROUPS)[group] + (0.4 + 0.8 * reach) * luck[day_of]
    label = rng.random(len(day_of)) < 1.0 / (1.0 + np.exp(-logit))
    return np.column_stack([group, label]).astype(np.float64), day_of.astype(np.int64)


def fitted(rows: Floats) -> Floats:
    """The learner: each group's smoothed share of ones, [groups]."""
    group = rows[:, 0].astype(np.int64)
    ones = np.bincount(group, weights=rows[:, 1], minlength=GROUPS)
    return (ones + 1.0) / (np.bincount(group, minlength=GROUPS) + 2.0)


def losses(model: Floats, rows: Floats) -> Floats:
    chance = model[rows[:, 0].astype(np.int64)]
    return class_log_loss(np.column_stack([1.0 - chance, chance]), rows[:, 1].astype(np.int64))


def accepted(verdicts: list[Verdict]) -> tuple[int, float]:
    """How many were accepted, and the one-sided 99 % Clopper-Pearson limit of the rate."""
    count = sum(verdict is Verdict.ACCEPTED for verdict in verdicts)
    limit = float(special.betaincinv(count + 1, len(verdicts) - count, 0.99))
    return count, limit


@pytest.mark.parametrize("blocks", [5, 7, 14])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5])
def test_equal_challenger_is_accepted_no_more_often_than_alpha(
    blocks: int, correlation: float
) -> None:
    rng = np.random.default_rng(20261124)
    rule = Rule(alpha=ALPHA, min_effect=0.0, min_blocks=5)
    verdicts: list[Verdict] = []
    for _ in range(DATASETS):
        champion, challenger = (
            fitted(world(rng, 30, correlation=correlation)[0]) for _ in range(2)
        )
        rows, day = world(rng, blocks, correlation=correlation)
        found = compare(
            losses(champion, rows),
            losses(challenger, rows),
            day,
            metric=Metric.LOG_LOSS,
            rule=rule,
        )
        verdicts.append(found.verdict)
    count, limit = accepted(verdicts)
    assert limit <= ALPHA, f"{count} of {DATASETS} accepted, 99 % limit {limit:.3f}"


def test_better_challenger_is_accepted_when_the_world_has_changed() -> None:
    rng = np.random.default_rng(7)
    rule = Rule(alpha=ALPHA, min_effect=0.0, min_blocks=5)
    found: list[Verdict] = []
    for _ in range(200):
        champion = fitted(world(rng, 30, correlation=0.3)[0])[::-1]
        challenger = fitted(world(rng, 30, correlation=0.3)[0])
        rows, day = world(rng, 14, correlation=0.3)
        verdict = compare(
            losses(champion, rows),
            losses(challenger, rows),
            day,
            metric=Metric.LOG_LOSS,
            rule=rule,
        ).verdict
        found.append(verdict)
    assert sum(verdict is Verdict.ACCEPTED for verdict in found) >= 190
