from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize as scipy_optimize

from mooring_profile.alternatives import (
    SHAPES,
    largest_expectation,
    shape_scores,
    shape_weights,
    taut_string,
)

optimize: Any = scipy_optimize  # scipy has no annotations


def band_of(reference: Any, tolerance: float) -> tuple[Any, Any]:
    shares = (np.cumsum(reference)[:-1] + 0.5) / (reference.sum() + 1)
    return np.maximum(shares - tolerance, 0), np.minimum(shares + tolerance, 1)


def worst_expectation(e_values: Any, low: Any, high: Any) -> float:
    """The largest expectation over the band, by linear programming."""
    sums = np.tril(np.ones((low.size, e_values.size)))
    found = optimize.linprog(
        -e_values,
        A_ub=np.concatenate([sums, -sums]),
        b_ub=np.concatenate([high, -low]),
        A_eq=np.ones((1, e_values.size)),
        b_eq=[1.0],
    )
    return float(-found.fun)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 500), min_size=3, max_size=12).filter(lambda counts: sum(counts) > 50),
    st.floats(0.001, 0.3),
)
def test_no_normal_distribution_expects_more_than_one(counts: list[int], tolerance: float) -> None:
    reference = np.array(counts)
    scores = shape_scores(reference, tolerance)
    if scores is None:
        return
    low, high = band_of(reference, tolerance)
    for shape in range(SHAPES):
        e_values = np.exp(scores[:, shape])
        # The certificate allows for cumulative shares that fall, so it may be above the optimum.
        assert worst_expectation(e_values, low, high) <= 1 + 1e-7
        assert largest_expectation(e_values, low, high) <= 1 + 1e-9


def test_e_values_are_as_large_as_any_could_be_when_the_reference_is_even() -> None:
    reference = np.concatenate([[0], np.full(30, 300), [0]])
    scores = shape_scores(reference, 0.02)
    assert scores is not None
    low, high = band_of(reference, 0.02)
    for shape in range(SHAPES):
        assert worst_expectation(np.exp(scores[:, shape]), low, high) == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_string_is_the_nearest_normal_distribution_when_an_optimiser_looks_for_it(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(7, 3.0)), rng.dirichlet(np.full(7, 3.0))
    shares = np.cumsum(p)[:-1]
    low, high = np.maximum(shares - 0.05, 0), np.minimum(shares + 0.05, 1)
    nearest = np.diff(taut_string(np.cumsum(q)[:-1], low, high), prepend=0.0, append=1.0)

    def divergence(cells: Any) -> float:
        return float(-(q * np.log(np.maximum(cells, 1e-12))).sum())

    found = optimize.minimize(
        divergence,
        p,
        bounds=[(1e-9, 1)] * 7,
        constraints=[
            optimize.LinearConstraint(np.ones((1, 7)), 1, 1),
            optimize.LinearConstraint(np.tril(np.ones((6, 7))), low, high),
        ],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-13},
    )
    assert nearest == pytest.approx(found.x, abs=2e-4)
    assert -(q * np.log(nearest)).sum() <= found.fun + 1e-9


def test_string_is_straight_when_the_alternative_is_normal() -> None:
    at = np.array([0.2, 0.5, 0.9])
    assert taut_string(at, at - 0.05, at + 0.05) == pytest.approx(at)


def test_alternative_within_the_tolerance_scores_nothing() -> None:
    reference = np.concatenate([[0], np.full(30, 300), [0]])
    scores = shape_scores(reference, 0.05)
    assert scores is not None
    assert not scores[:, :2].any()  # 0.12 sd moves no share by more than 0.048
    assert scores[:, 2:].any(axis=0).all()
    assert shape_scores(reference, 0.95) is None


def test_weights_of_the_shapes_sum_to_one() -> None:
    assert shape_weights().sum() == pytest.approx(1)
    assert shape_weights().shape == (SHAPES,)
    assert (shape_weights() > 0).all()
