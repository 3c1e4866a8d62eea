"""Losses, the blocked interval against an independent computation, and the verdict's rule."""

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_training.comparison import (
    Metric,
    Rule,
    Verdict,
    block_numbers,
    blocked_interval,
    class_log_loss,
    compare,
    judge,
)

RULE = Rule(alpha=0.05, min_effect=0.01, min_blocks=5)


def test_interval_is_students_and_widened_when_equal_blocks_alternate_about_their_mean() -> None:
    means = np.array([1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0])
    blocks = np.repeat(np.arange(10), 4)
    interval = blocked_interval(means[blocks], blocks, alpha=0.05)
    assert interval is not None
    # Student's t with 9 degrees, and the variance of an AR(1) mean with rho 0.3 for 10 blocks.
    weighted = sum((1 - lag / 10) * 0.3**lag for lag in range(1, 10))
    inflation = (1 + 2 * weighted) / (1 - 2 / 9 * weighted)
    half = 2.2621571628 * means.std(ddof=1) * math.sqrt(inflation / 10)
    assert interval == pytest.approx((2.0 - half, 2.0 + half))


def test_interval_is_wider_when_neighbouring_blocks_are_alike() -> None:
    blocks = np.repeat(np.arange(10), 4)
    alternating = np.array([1.0, 3.0] * 5)[blocks]
    in_a_row = np.array([1.0] * 5 + [3.0] * 5)[blocks]
    unlike = blocked_interval(alternating, blocks, alpha=0.05)
    alike = blocked_interval(in_a_row, blocks, alpha=0.05)
    assert unlike is not None
    assert alike is not None
    assert alike[1] - alike[0] > 1.5 * (unlike[1] - unlike[0])


def test_interval_does_not_shrink_when_each_row_is_repeated() -> None:
    rng = np.random.default_rng(1)
    blocks = np.repeat(np.arange(8), 10)
    differences = rng.normal(size=8)[blocks]
    once = blocked_interval(differences, blocks, alpha=0.05)
    often = blocked_interval(np.repeat(differences, 9), np.repeat(blocks, 9), alpha=0.05)
    assert once is not None
    assert often == pytest.approx(once)


def test_interval_is_absent_when_there_is_one_block() -> None:
    assert blocked_interval(np.ones(5), np.zeros(5, np.int64), alpha=0.05) is None
    assert blocked_interval(np.ones(0), np.zeros(0, np.int64), alpha=0.05) is None


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=30),
    st.integers(2, 6),
    st.floats(0.001, 0.4),
)
def test_interval_holds_the_mean_and_mirrors(
    values: list[float], blocks: int, alpha: float
) -> None:
    differences = np.array(values)
    numbers = np.arange(len(values)) % blocks
    interval = blocked_interval(differences, numbers, alpha=alpha)
    mirrored = blocked_interval(-differences, numbers, alpha=alpha)
    assert interval is not None
    assert mirrored is not None
    assert interval[0] <= differences.mean() + 1e-9
    assert interval[1] >= differences.mean() - 1e-9
    assert mirrored == pytest.approx((-interval[1], -interval[0]), abs=1e-9)


@pytest.mark.parametrize(
    ("interval", "blocks", "verdict"),
    [
        ((0.02, 0.05), 5, Verdict.ACCEPTED),
        ((0.01, 0.05), 5, Verdict.INCONCLUSIVE),
        ((-0.02, 0.05), 5, Verdict.INCONCLUSIVE),
        ((-0.05, 0.01), 5, Verdict.REJECTED),
        ((-0.05, -0.02), 5, Verdict.REJECTED),
        ((0.02, 0.05), 4, Verdict.INCONCLUSIVE),
        ((-0.05, -0.02), 4, Verdict.INCONCLUSIVE),
        (None, 1, Verdict.INCONCLUSIVE),
    ],
)
def test_verdict_follows_from_where_the_interval_lies(
    interval: tuple[float, float] | None, blocks: int, verdict: Verdict
) -> None:
    assert judge(interval, blocks=blocks, rule=RULE) is verdict


def test_challenger_is_rejected_when_it_answers_as_the_champion_does() -> None:
    losses = np.linspace(0.1, 0.9, 60)
    same = compare(losses, losses, np.repeat(np.arange(6), 10), metric=Metric.LOG_LOSS, rule=RULE)
    assert same.verdict is Verdict.REJECTED
    assert (same.effect, same.lower, same.upper) == (0.0, 0.0, 0.0)


def test_log_loss_is_bounded_when_the_class_was_ruled_out_or_is_unknown() -> None:
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0], [0.25, 0.75]])
    losses = class_log_loss(probabilities, np.array([1, -1, 1]))
    assert losses == pytest.approx([-math.log(1e-6), -math.log(1e-6), -math.log(0.75)])


def test_blocks_are_counted_from_the_test_windows_start() -> None:
    hour = 3_600_000_000
    times = np.array([5, 28, 29, 52, 53]) * hour
    numbers = block_numbers(times, start_us=5 * hour, block=timedelta(days=1))
    assert numbers.tolist() == [0, 0, 1, 1, 2]
