import json
import math
from collections import defaultdict
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mooring_profile import (
    CountsInvalid,
    MeanStratum,
    ProportionStratum,
    Verdict,
    betting,
    compare_means,
    compare_proportions,
)
from mooring_profile.betting import Moments, log_better, log_worse

stats: Any = scipy_stats  # scipy has no annotations


def moments(n: Any, total: Any, squares: Any) -> Moments:
    return Moments(
        *(np.atleast_1d(np.asarray(item, dtype=np.float64)) for item in (n, total, squares))
    )


def arms(n_s: int, k_s: int, n_c: int, k_c: int) -> tuple[Moments, Moments]:
    return moments(n_s, k_s, k_s), moments(n_c, k_c, k_c)


def losses(rng: np.random.Generator, n: int, mean: float, variance: float = 0.04) -> Any:
    shape = mean * (1 - mean) / variance - 1
    return rng.beta(mean * shape, (1 - mean) * shape, n)


def mean_stratum(stable: Any, candidate: Any, weight: float | None = None) -> MeanStratum:
    return MeanStratum(
        stable.size,
        float(stable.sum()),
        float((stable**2).sum()),
        candidate.size,
        float(candidate.sum()),
        float((candidate**2).sum()),
        weight,
    )


# --- the evidence -----------------------------------------------------------------------------


def expected_fortune(
    rates: list[tuple[float, float]], share: float, delta: float, hint: float
) -> float:
    """Exact expectation after len(rates) rows with (stable, candidate) rates p_t, by recursion."""
    law: dict[tuple[int, int, int], float] = {(0, 0, 0): 1.0}
    for stable, candidate in rates:
        after: dict[tuple[int, int, int], float] = defaultdict(float)
        for (n_c, k_c, k_s), mass in law.items():
            after[n_c + 1, k_c + 1, k_s] += mass * share * candidate
            after[n_c + 1, k_c, k_s] += mass * share * (1 - candidate)
            after[n_c, k_c, k_s + 1] += mass * (1 - share) * stable
            after[n_c, k_c, k_s] += mass * (1 - share) * (1 - stable)
        law = after
    n_c, k_c, k_s = (
        np.array(column, dtype=np.float64)[:, None] for column in zip(*law, strict=True)
    )
    n_s = len(rates) - n_c
    logs = log_worse(
        Moments(n_s, k_s, k_s), Moments(n_c, k_c, k_c), np.full(n_c.shape, hint), delta
    )
    return float((np.exp(logs) * np.array(list(law.values()))).sum())


@pytest.mark.parametrize("hint", [0.1, 0.5, math.nan], ids=["right", "wrong", "none"])
@pytest.mark.parametrize(
    "rates",
    [
        [(0.1, 0.1)] * 14,
        [(0.02, 0.02)] * 7 + [(0.9, 0.9)] * 7,
        [(0.0, 0.0), (1.0, 1.0)] * 7,
    ],
    ids=["constant world", "world that breaks down", "alternating world"],
)
def test_evidence_has_expectation_at_most_one_when_arms_are_equal(
    rates: list[tuple[float, float]], hint: float
) -> None:
    assert expected_fortune(rates, 0.1, 0.0, hint) <= 1 + 1e-9


@pytest.mark.parametrize("delta", [-0.3, -0.02, 0.02, 0.3])
def test_evidence_has_expectation_at_most_one_at_the_margin(delta: float) -> None:
    for start in (0.31, 0.5, 0.69):
        world = [(start, start + delta)] * 8 + [(0.5, 0.5 + delta)] * 6
        assert expected_fortune(world, 0.2, delta, 0.2) <= 1 + 1e-9
        assert expected_fortune(world, 0.2, delta, math.nan) <= 1 + 1e-9


@given(st.integers(1, 15), st.integers(1, 15), st.floats(0.01, 0.9), st.floats(0, 0.1))
@settings(max_examples=25, deadline=None)
def test_evidence_has_expectation_at_most_one_for_any_allocation_when_means_are_constant(
    n_s: int, n_c: int, rate: float, delta: float
) -> None:
    k_s, k_c = np.meshgrid(np.arange(n_s + 1), np.arange(n_c + 1), indexing="ij")
    law = stats.binom.pmf(k_s, n_s, rate) * stats.binom.pmf(k_c, n_c, rate + delta)
    stable = Moments(
        *(np.asarray(item, np.float64)[..., None] for item in (np.full(k_s.shape, n_s), k_s, k_s))
    )
    candidate = Moments(
        *(np.asarray(item, np.float64)[..., None] for item in (np.full(k_s.shape, n_c), k_c, k_c))
    )
    for hint in (0.05, math.nan):
        logs = log_worse(stable, candidate, np.full(stable.n.shape, hint), delta)
        assert float((np.exp(logs) * law).sum()) <= 1 + 1e-9


def fortune_row_by_row(stable: Any, candidate: Any, hint: float | None, delta: float) -> float:
    """The definition in `betting`, row by row, with the prior on w integrated by scipy."""
    n_c, n = candidate.size, candidate.size + stable.size
    observed = n_c / n

    def at(w: Any, m: float, f: float) -> Any:
        k = f * np.minimum(w / (m + delta), (1 - w) / (1 - m))
        log = n_c * np.log(w / observed) + stable.size * np.log((1 - w) / (1 - observed))
        for value in candidate:
            log = log + np.log(1 + k / w * (value - m - delta))
        for value in stable:
            log = log + np.log(1 - k / (1 - w) * (value - m))
        return np.exp(log)

    low, high = max(0.0, -delta), min(1.0, 1 - delta)
    grid = np.linspace(1e-4, 1 - 1e-4, 2001)
    prior = stats.beta.pdf(grid, 0.5, 0.5)
    share = 0.0 if hint is None else betting.ANNOUNCED_SHARE
    total = 0.0
    for f, bet_weight in zip(betting.BETS, betting.BET_WEIGHTS, strict=True):
        for u, centre_weight in zip(betting.CENTRES, betting.CENTRE_WEIGHTS, strict=True):
            m = min(max(low + u * (high - low), 1e-9), 1 - 1e-9)
            value = (1 - share) * float(np.trapezoid(at(grid, m, f) * prior, grid))
            if hint is not None:
                value += share * at(hint, m, f)
            total += bet_weight * centre_weight * value
    return math.log(total)


@pytest.mark.parametrize("hint", [None, 0.25])
def test_evidence_of_hits_is_what_the_definition_gives(hint: float | None) -> None:
    stable = np.repeat([0.0, 1.0], [55, 5])
    candidate = np.repeat([0.0, 1.0], [12, 8])
    weight = np.array([math.nan if hint is None else hint])
    found = float(log_worse(*arms(60, 5, 20, 8), weight, 0.02))
    assert found == pytest.approx(fortune_row_by_row(stable, candidate, hint, 0.02), abs=0.02)


def test_evidence_of_losses_is_at_most_what_the_rows_give() -> None:
    rng = np.random.default_rng(0)
    stable, candidate = losses(rng, 60, 0.1), losses(rng, 20, 0.4)
    item = mean_stratum(stable, candidate)
    found = float(
        log_worse(
            moments(item.stable_n, item.stable_sum, item.stable_squared_sum),
            moments(item.candidate_n, item.candidate_sum, item.candidate_squared_sum),
            np.array([0.25]),
            0.05,
        )
    )
    rows = fortune_row_by_row(stable, candidate, 0.25, 0.05)
    assert rows - 3 < found <= rows + 0.02


def test_prior_weights_sum_to_one() -> None:
    assert betting.BET_WEIGHTS.sum() == pytest.approx(1)
    assert betting.CENTRE_WEIGHTS.sum() == pytest.approx(1)


def test_worse_and_better_mirror_each_other() -> None:
    weight = np.array([0.1])
    worse = log_better(*arms(900, 800, 100, 60), weight, -0.05)
    # Exchanging hits and misses turns "better by" into "worse by", up to the guesses at the mean.
    mirrored = log_worse(*arms(900, 100, 100, 40), weight, 0.05)
    assert worse > 5
    assert mirrored > 5


# --- the verdicts -----------------------------------------------------------------------------


def test_candidate_fails_when_its_loss_is_three_times_as_high() -> None:
    rng = np.random.default_rng(1)
    for weight in (None, 0.05):
        stratum = mean_stratum(losses(rng, 1900, 0.1), losses(rng, 100, 0.3), weight)
        found = compare_means([stratum], alpha=0.05, margin=0.05)
        assert found.verdict is Verdict.FAIL
        assert found.lower > 0.05
        assert found.estimate == pytest.approx(0.2, abs=0.05)
        assert (found.n_stable, found.n_candidate) == (1900, 100)


@pytest.mark.parametrize("stable_rows", [2_000, 38_000])
def test_candidate_passes_when_its_loss_is_the_same_over_2000_rows(stable_rows: int) -> None:
    rng = np.random.default_rng(2)
    stratum = mean_stratum(losses(rng, stable_rows, 0.15), losses(rng, 2000, 0.15))
    for alpha in (0.05, 0.01):
        found = compare_means([stratum], alpha=alpha, margin=0.05)
        assert found.verdict is Verdict.PASS
        assert found.lower < 0 < found.upper < 0.05


def test_candidate_passes_when_nothing_went_wrong_in_500_rows() -> None:
    found = compare_proportions([ProportionStratum(5000, 0, 500, 0)], alpha=0.05, margin=0.02)
    assert found.verdict is Verdict.PASS
    assert found.estimate == 0.0


@pytest.mark.parametrize(("rows", "weight"), [(300, None), (200, 0.05)])
def test_candidate_fails_within_a_few_hundred_rows_when_it_errs_five_times_as_often(
    rows: int, weight: float | None
) -> None:
    stratum = ProportionStratum(19 * rows, 38 * rows // 100, rows, rows // 10, weight)
    found = compare_proportions([stratum], alpha=0.05, margin=0.02)
    assert found.verdict is Verdict.FAIL
    assert found.log_evidence >= math.log(20)


def test_comparison_is_undecided_without_rows_of_both_arms() -> None:
    for strata in ([], [ProportionStratum(100, 3, 0, 0)], [ProportionStratum(0, 0, 5, 5)]):
        found = compare_proportions(strata, alpha=0.05, margin=0.0)
        assert found.verdict is Verdict.UNDECIDED
        assert found.estimate is None
        assert (found.lower, found.upper) == (-1.0, 1.0)
        assert found.log_evidence == pytest.approx(0.0, abs=1e-9)
    assert found.n_candidate == 5


def test_evidence_of_several_steps_adds_up() -> None:
    step = ProportionStratum(950, 19, 50, 5, 0.05)
    one = compare_proportions([step], alpha=0.05, margin=0.0)
    three = compare_proportions([step] * 3, alpha=0.05, margin=0.0)
    assert three.log_evidence > 2 * one.log_evidence > 0
    assert three.n_candidate == 150
    assert three.lower > one.lower


def test_mixing_steps_does_not_blame_the_candidate_for_a_world_that_worsened() -> None:
    # Errors went from 1 % to 10 % as the candidate's share went from 5 % to 50 %: the arms'
    # totals over both steps differ by 4 points although they are equal within each.
    steps = [
        ProportionStratum(9500, 95, 500, 5, 0.05),
        ProportionStratum(5000, 500, 5000, 500, 0.5),
    ]
    found = compare_proportions(steps, alpha=0.05, margin=0.0)
    pooled = ProportionStratum(14_500, 595, 5500, 505)
    assert found.verdict is Verdict.UNDECIDED
    assert found.estimate == pytest.approx(0.0)
    assert compare_proportions([pooled], alpha=0.05, margin=0.0).verdict is Verdict.FAIL


@st.composite
def stratum(draw: st.DrawFn) -> ProportionStratum:
    n_s, n_c = draw(st.integers(0, 400)), draw(st.integers(0, 400))
    return ProportionStratum(
        n_s,
        draw(st.integers(0, n_s)),
        n_c,
        draw(st.integers(0, n_c)),
        draw(st.none() | st.floats(0.01, 0.99)),
    )


@settings(max_examples=20, deadline=None)
@given(
    st.lists(stratum(), max_size=3),
    st.sampled_from([0.0, 0.02, 0.2, -0.1]),
    st.randoms(use_true_random=False),
)
def test_verdict_follows_from_the_limits_and_not_from_the_order_of_steps(
    items: list[ProportionStratum], margin: float, random: Any
) -> None:
    found = compare_proportions(items, alpha=0.05, margin=margin)
    assert -1 <= found.lower <= found.upper <= 1
    assert (found.verdict is Verdict.FAIL) == (found.lower > margin)
    assert (found.verdict is Verdict.PASS) == (found.upper < margin)
    json.dumps(asdict(found), allow_nan=False)
    shuffled = random.sample(items, len(items))
    assert compare_proportions(shuffled, alpha=0.05, margin=margin) == found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_totals_never_claim_more_than_rows_would(seed: int, limit: float, part: float) -> None:
    values = np.random.default_rng(seed).random(30) ** 3
    bet = np.array([[[part / limit]]])
    arm = moments(30, values.sum(), (values**2).sum())
    found = betting.smallest_log_fortune(arm, bet, np.array([[limit]]))
    assert float(found.squeeze()) <= float(np.log1p(bet * (values - limit)).sum()) + 1e-9


@pytest.mark.parametrize(
    ("item", "alpha", "margin", "message"),
    [
        (ProportionStratum(10, 11, 10, 0), 0.05, 0.0, r"strata\[0\] has more hits"),
        (ProportionStratum(10, 1, 10, 0, 1.0), 0.05, 0.0, "weight is 1"),
        (ProportionStratum(10, 1, 10, 0), 1.0, 0.0, "alpha is 1"),
        (ProportionStratum(10, 1, 10, 0), 0.05, 2.0, "margin is 2"),
    ],
)
def test_comparison_is_refused_when_an_input_is_out_of_range(
    item: ProportionStratum, alpha: float, margin: float, message: str
) -> None:
    with pytest.raises(CountsInvalid, match=message):
        compare_proportions([item], alpha=alpha, margin=margin)


@pytest.mark.parametrize(
    "stratum",
    [
        MeanStratum(10, 11.0, 1.0, 10, 1.0, 0.5),
        MeanStratum(10, 1.0, 0.5, 10, 1.0, 1.5),
        MeanStratum(10, 1.0, 0.5, 10, 5.0, 0.1),
        MeanStratum(-1, 0.0, 0.0, 10, 1.0, 0.5),
    ],
)
def test_means_are_refused_when_no_losses_have_such_totals(stratum: MeanStratum) -> None:
    with pytest.raises(CountsInvalid, match="clip the losses"):
        compare_means([stratum], alpha=0.05, margin=0.0)
