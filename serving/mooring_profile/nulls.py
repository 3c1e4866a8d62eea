"""The laws that divergences follow without drift.

For n and m independent rows the difference of two empirical distribution functions, over
sqrt(1/n + 1/m), tends to a Brownian bridge run at the reference's shares (Doob 1949, Donsker 1952).
Seen at a feature's edges only, its largest value and its area have quantiles of their own: they are
taken from paths that are simulated once, with a fixed seed. Used by `divergence` only.
"""

from functools import lru_cache

import numpy as np

from mooring_profile.fields import FloatArray

CHI_SQUARED_95 = (3.841, 5.991, 7.815, 9.488, 11.070, 12.592, 14.067, 15.507, 16.919)
"""95 % quantiles of chi-squared with 1 to 9 degrees of freedom."""
PATHS = 2000
"""The quantile's own error: sqrt(.05 * .95 / 2000) = 0.5 % of the windows."""
GRID = 512


@lru_cache(maxsize=1)
def _bridges() -> FloatArray:
    """Brownian bridges on an even grid, float64 [GRID + 1, PATHS]."""
    steps = np.random.default_rng(1949).normal(scale=GRID**-0.5, size=(GRID, PATHS))
    walk = np.concatenate([np.zeros((1, PATHS)), np.cumsum(steps, axis=0)])
    bridges = walk - np.linspace(0, 1, GRID + 1)[:, None] * walk[-1]
    bridges.setflags(write=False)
    return bridges


def bridge_quantiles(shares: FloatArray, widths: FloatArray) -> tuple[float, float]:
    """Returns the 95 % quantiles of a bridge's largest value and of its area.

    Args:
        shares: float64 [edges], the reference's shares below each edge.
        widths: float64 [edges - 1], distances between the edges.
    """
    paths = _bridges()[np.rint(shares * GRID).astype(np.int64)]
    areas = widths @ area_between(paths[:-1], paths[1:])
    return (
        float(np.quantile(np.abs(paths).max(axis=0), 0.95)),
        float(np.quantile(areas, 0.95)),
    )


def area_between(left: FloatArray, right: FloatArray) -> FloatArray:
    """Returns the area, per unit of width, between 0 and a straight line from left to right."""
    both = np.abs(left) + np.abs(right)
    crossing = (left**2 + right**2) / np.maximum(2 * both, 1e-300)
    return np.where(left * right >= 0, both / 2, crossing)
