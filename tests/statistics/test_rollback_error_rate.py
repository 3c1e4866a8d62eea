"""False rollbacks and false promotions stay below alpha although every look is used.

Each scenario simulates rollouts whose totals are looked at after every window of 200 requests. The
stated limit is exact: the upper 99 % Clopper-Pearson limit of the measured rate is below alpha.
First the totals by which the operator judges, then the windows of `mooring compare replay`; more
runs of both and of the usual rules: `make bench-compare`.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mooring_profile import ErrorBudget, ProportionWindow, Verdict, WindowTest
from mooring_profile.betting import Moments, log_better, log_worse
from tests.bench.comparison_simulation import (
    NEVER,
    WORLDS,
    first_look,
    half_above_baseline,
    repeated_z_test,
    simulate,
    window_evidence,
)
from tests.bench.comparison_simulation import steady as quiet

stats: Any = scipy_stats  # scipy has no annotations

ALPHA = 0.05
REQUESTS = 200
PART = 250

Rates = np.ndarray[Any, np.dtype[np.float64]]


def steady(windows: int) -> Rates:
    return np.full(windows, 0.02)


def tripled(windows: int) -> Rates:
    return np.where(np.arange(windows) < windows // 3, 0.02, 0.06)


def jumping(windows: int) -> Rates:
    """Three times worse in every second stretch of three windows: in the middle of each step."""
    return np.where(np.arange(windows) // 3 % 2 == 0, 0.02, 0.06)


def daily(windows: int) -> Rates:
    return 0.02 * (1 + 0.8 * np.sin(np.arange(windows) / windows * 6 * np.pi))


@dataclass(frozen=True)
class Rollout:
    """Rates of errors per window, and the steps (share of the candidate, windows) of a rollout."""

    stable: Rates
    candidate: Rates
    margin: float
    steps: list[tuple[float, int]] = field(default_factory=lambda: [(0.05, 20)])
    hint: bool = True
    runs: int = 1000


def totals(rollout: Rollout, runs: int, rng: np.random.Generator) -> tuple[Moments, Moments, Any]:
    """Totals [runs, windows, strata] of each arm at each look, and the announced shares."""
    length = len(rollout.stable)
    share = np.concatenate([np.full(n, w) for w, n in rollout.steps])
    step = np.repeat(np.arange(len(rollout.steps)), [n for _, n in rollout.steps])
    n_c = rng.binomial(REQUESTS, share, size=(runs, length))
    k_c = rng.binomial(n_c, rollout.candidate)
    k_s = rng.binomial(REQUESTS - n_c, rollout.stable)
    inside = step[:, None] == np.arange(len(rollout.steps))

    def cumulated(counts: Any) -> Any:
        return np.cumsum(counts[..., None] * inside, axis=1).astype(np.float64)

    hits_s, hits_c = cumulated(k_s), cumulated(k_c)
    stable = Moments(cumulated(REQUESTS - n_c), hits_s, hits_s)
    candidate = Moments(cumulated(n_c), hits_c, hits_c)
    hints = np.array([w if rollout.hint else np.nan for w, _ in rollout.steps])
    return stable, candidate, np.broadcast_to(hints, hits_s.shape)


def ever(rollout: Rollout, *, runs: int, seed: int, worse: bool = True) -> int:
    """Number of runs in which the evidence ever reached 1 / alpha."""
    rng = np.random.default_rng(seed)
    evidence = log_worse if worse else log_better
    reached = 0
    for _ in range(runs // PART):
        logs = evidence(*totals(rollout, PART, rng), rollout.margin)
        reached += int((logs >= -np.log(ALPHA)).any(axis=1).sum())
    return reached


def upper_limit(hits: int, runs: int) -> float:
    return float(stats.beta.ppf(0.99, hits + 1, runs - hits))


THREE_STEPS = [(0.05, 8), (0.25, 6), (0.5, 6)]


@pytest.mark.parametrize(
    "rollout",
    [
        Rollout(steady(20), steady(20), 0.0, runs=2000),
        Rollout(tripled(20), tripled(20), 0.0, runs=2000),
        Rollout(daily(20), daily(20), 0.0, [(0.5, 20)]),
        Rollout(tripled(20), tripled(20), 0.0, THREE_STEPS),
        Rollout(jumping(20), jumping(20), 0.0, THREE_STEPS, runs=2000),
        Rollout(tripled(20), tripled(20), 0.0, [(0.25, 20)], hint=False),
    ],
    ids=[
        "steady world at 5 %",
        "world three times worse at 5 %",
        "daily cycle at 50 %",
        "world three times worse over three steps",
        "world that jumps within each of three steps",
        "world three times worse, share not announced",
    ],
)
def test_equal_candidate_is_seldom_rolled_back_however_often_one_looks(rollout: Rollout) -> None:
    assert upper_limit(ever(rollout, runs=rollout.runs, seed=11), rollout.runs) < ALPHA


def test_candidate_exactly_at_the_margin_is_seldom_rolled_back_or_promoted() -> None:
    rollout = Rollout(tripled(20), tripled(20) + 0.02, 0.02, [(0.25, 20)])
    assert upper_limit(ever(rollout, runs=1000, seed=12), 1000) < ALPHA
    assert upper_limit(ever(rollout, runs=1000, seed=13, worse=False), 1000) < ALPHA


def test_this_calibration_would_show_it_when_arms_saw_different_worlds() -> None:
    # Not randomised: the candidate gets the second half of the day. Nothing can save that.
    rollout = Rollout(steady(20), tripled(20), 0.0, [(0.25, 20)])
    assert ever(rollout, runs=PART, seed=14) > 0.5 * PART


@pytest.mark.parametrize(
    ("rollout", "windows"),
    [
        (Rollout(steady(40), steady(40) * 5, 0.0, [(0.05, 40)]), 15),
        (Rollout(steady(40), steady(40) * 5, 0.02, [(0.05, 40)]), 22),
        (Rollout(steady(40), steady(40) * 5, 0.0, [(0.5, 40)]), 5),
        (Rollout(steady(40), steady(40) * 2, 0.0, [(0.5, 40)]), 20),
    ],
    ids=[
        "10 against 2 % at 5 %",
        "10 against 2 % at 5 %, margin 2 points",
        "10 against 2 % at 50 %",
        "4 against 2 % at 50 %",
    ],
)
def test_worse_candidate_is_rolled_back_within_minutes(rollout: Rollout, windows: int) -> None:
    logs = log_worse(*totals(rollout, 250, np.random.default_rng(15)), rollout.margin)
    reached = logs >= -np.log(ALPHA)
    first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, 41)
    assert float(np.median(first)) <= windows
    assert float(np.quantile(first, 0.9)) <= 2 * windows


def test_equal_candidate_is_promoted_when_errors_are_rare() -> None:
    world = np.full(40, 0.002)
    rollout = Rollout(world, world, 0.02, [(0.25, 40)])
    logs = log_better(*totals(rollout, 250, np.random.default_rng(16)), rollout.margin)
    first = (logs >= -np.log(ALPHA)).argmax(axis=1) + 1
    assert float(np.median(first)) <= 20
    assert bool((logs >= -np.log(ALPHA)).any(axis=1).all())


# --- windows, as `mooring compare replay` judges them -----------------------------------------


def false_verdicts(
    world: Rates, share: float, *, excess: float = 0.0, worse: bool = True, seed: int = 21
) -> int:
    """Of 1,000 runs, those that ever reach 1 / alpha against a candidate exactly at the margin."""
    rng = np.random.default_rng(seed)
    seen = simulate(world, world + excess, share, 1000, rng)
    logs = window_evidence(seen, excess, worse=worse)
    return int((first_look(logs >= -np.log(ALPHA)) < NEVER).sum())


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("world", sorted(WORLDS))
def test_equal_candidate_is_seldom_rolled_back_by_windows_in_any_world(
    world: str, share: float
) -> None:
    assert upper_limit(false_verdicts(WORLDS[world](120), share), 1000) < ALPHA


def test_candidate_exactly_at_the_margin_is_seldom_judged_by_windows() -> None:
    world = WORLDS["three times worse"](100)
    for worse in (True, False):
        found = false_verdicts(world, 0.25, excess=0.02, worse=worse)
        assert upper_limit(found, 1000) < ALPHA


def test_errors_that_come_in_bursts_are_not_blamed_on_the_candidate() -> None:
    # An outage takes whole stretches of requests: rows depend on each other, arms are random.
    rng = np.random.default_rng(22)
    world = np.where(rng.random(120) < 0.05, 0.8, 0.01)
    assert upper_limit(false_verdicts(world, 0.05), 1000) < ALPHA


def test_usual_rules_roll_equal_candidates_back_where_ours_does_not() -> None:
    world = WORLDS["three times worse"](120)
    seen = simulate(world, world, 0.05, 300, np.random.default_rng(23))
    assert (first_look(half_above_baseline(seen)) < NEVER).mean() > 0.9
    assert (first_look(repeated_z_test(seen, ALPHA)) < NEVER).mean() > 3 * ALPHA


@pytest.mark.parametrize(
    ("rate", "share", "margin", "median", "p90"),
    [
        (0.1, 0.05, 0.002, 10, 22),
        (0.1, 0.05, 0.01, 14, 30),
        (0.1, 0.5, 0.002, 3, 5),
        (0.04, 0.5, 0.002, 30, 55),
    ],
)
def test_worse_candidate_is_rolled_back_by_windows_within_minutes(
    rate: float, share: float, margin: float, median: int, p90: int
) -> None:
    seen = simulate(quiet(100), np.full(100, rate), share, 300, np.random.default_rng(24))
    first = first_look(window_evidence(seen, margin) >= -np.log(0.01))
    assert float(np.median(first)) <= median
    assert float(np.quantile(first, 0.9, method="higher")) <= p90


def test_simulated_evidence_is_that_of_the_test_people_run() -> None:
    seen = simulate(quiet(30), np.full(30, 0.08), 0.05, 2, np.random.default_rng(25))
    expected = window_evidence(seen, 0.002)
    for run in range(2):
        judge = WindowTest.begin(alpha=0.01, margin=0.002)
        for at in range(30):
            counts = (seen.stable_n, seen.stable_k, seen.candidate_n, seen.candidate_k)
            judge = judge.after(ProportionWindow(*(int(item[run, at]) for item in counts)))
            found = judge.comparison()
            assert found.log_evidence == pytest.approx(float(expected[run, at]))
            assert (found.verdict is Verdict.FAIL) == (expected[run, at] >= -np.log(0.01))


def test_all_metrics_together_stay_within_one_budget() -> None:
    # Errors, invalid outputs, slow answers and a fourth that follows the first.
    metrics = {"errors": 0.02, "invalidOutputs": 0.005, "latency": 0.1}
    budget = ErrorBudget.even(ALPHA, [*metrics, "retries"])
    rolled_back = np.zeros(1000, dtype=bool)
    for number, (name, rate) in enumerate(metrics.items()):
        world = np.full(80, rate)
        seen = simulate(world, world, 0.25, 1000, np.random.default_rng((26, number)))
        logs = window_evidence(seen, 0.0)
        rolled_back |= (logs >= -np.log(budget.part(name))).any(axis=1)
        if name == "errors":
            rolled_back |= (logs >= -np.log(budget.part("retries"))).any(axis=1)
    assert upper_limit(int(rolled_back.sum()), 1000) < ALPHA
