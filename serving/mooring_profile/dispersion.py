"""How much more shares vary over time than independent rows would make them.

Two causes are told apart, because the detector treats them differently. *Within* a block of time
neighbouring rows depend on each other (one customer, five rows; a daily cycle): the design effect,
by which counts are divided. *Between* blocks the world itself moves (weekdays, weather): a
seasonal deviation, which becomes tolerance.
"""

from dataclasses import dataclass

import numpy as np

from mooring_profile.blocks import MIN_BLOCK_ROWS, MIN_BLOCKS
from mooring_profile.fields import FloatArray, IntArray

_SHARE_FLOOR = 1e-12


@dataclass(frozen=True)
class Dispersion:
    """What `measure_dispersion` found.

    Attributes:
        design_effect: variance over that of independent rows within a block, >= 1.
        seasonal: size of the deviations of whole blocks beyond sampling noise, 0 to 1.
    """

    design_effect: float
    seasonal: float


INDEPENDENT = Dispersion(design_effect=1.0, seasonal=0.0)


def measure_dispersion(table: IntArray, block_of_run: IntArray, *, cumulative: bool) -> Dispersion:
    """Measures the dispersion of the shares of a stream's levels over time.

    Args:
        table: int64 [runs, levels], rows of each level in each run; levels >= 2.
        block_of_run: int64 [runs], the block of each run.
        cumulative: shares of `<= level` (ordered values) rather than of each level.
    """
    levels = table.shape[1]
    sizes = table.sum(axis=1)
    of_block = np.bincount(block_of_run, weights=sizes)
    filled = (sizes > 0) & (of_block[block_of_run] >= MIN_BLOCK_ROWS)
    kept = table[filled]
    hits = np.cumsum(kept, axis=1)[:, :-1] if cumulative else kept
    # The eigenvalues of the Cramer-von Mises statistic give 0.8 for cumulative shares; 2 is the
    # value for a single share and an upper limit for several.
    spread = 0.8 if cumulative and levels > 2 else 2.0
    return _dispersion_of(hits, sizes[filled], block_of_run[filled], spread)


def _dispersion_of(
    hits: IntArray, sizes: IntArray, block_of_run: IntArray, spread: float
) -> Dispersion:
    _, block, runs = np.unique(block_of_run, return_inverse=True, return_counts=True)
    if runs.size == 0:
        return INDEPENDENT
    block_sizes = np.bincount(block, weights=sizes).astype(np.float64)
    block_hits = np.zeros((runs.size, hits.shape[1]))
    np.add.at(block_hits, block, hits)
    shares = block_hits / block_sizes[:, None]
    within = ((hits / sizes[:, None] - shares[block]) ** 2 * sizes[:, None]).sum()
    expected = ((runs - 1)[:, None] * shares * (1 - shares)).sum()
    freedom = int((runs - 1).sum())
    design_effect = _design_effect(within, expected, freedom, spread)
    return Dispersion(design_effect, _seasonal(shares, block_sizes, design_effect, spread))


def _design_effect(within: float, expected: float, freedom: int, spread: float) -> float:
    """Variance ratio, raised by its standard error; 1 when it is not clearly above 1."""
    if freedom < 10 or expected <= _SHARE_FLOOR:
        return 1.0
    ratio = within / expected
    error = float(np.sqrt(spread / freedom))
    if ratio <= 1 + 2 * error:
        return 1.0
    return float(ratio * (1 + error))


def _seasonal(shares: FloatArray, sizes: FloatArray, design_effect: float, spread: float) -> float:
    """99th percentile of the blocks' largest deviations, with the sampling noise taken out."""
    blocks = sizes.size
    if blocks < MIN_BLOCKS:
        return 0.0
    overall = (shares * sizes[:, None]).sum(axis=0) / sizes.sum()
    deviation = shares - overall
    noise = design_effect * overall * (1 - overall) / sizes[:, None]
    observed, expected = (deviation**2).mean(axis=0), noise.mean(axis=0)
    # Blocks count as different where all shares together, or one alone, vary clearly more than
    # sampling makes them.
    together = observed.sum() > expected.sum() * (1 + 3 * np.sqrt(spread / blocks))
    alone = observed > expected * (1 + 5 * np.sqrt(2 / blocks))
    variance = np.where(together | alone, np.maximum(0.0, observed - expected), 0.0)
    # Deviations scaled to the between-block variance: what they would be without noise.
    reliability = variance / np.maximum(variance + noise, _SHARE_FLOOR)
    largest = (np.abs(deviation) * np.sqrt(reliability)).max(axis=1)
    return float(np.quantile(largest, 0.99, method="higher"))
