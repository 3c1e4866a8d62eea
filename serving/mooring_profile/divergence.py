"""Divergences of a window from the reference, for people to read beside the evidence; none alarms.

The usual rules of thumb ("PSI above 0.2", "Jensen-Shannon above 0.1") mean something else at each
sample size: without drift none of these numbers is 0. So the population stability index has its
bias taken out, and the others are told with the 95 % quantile that they have *without* drift at
the window's number of rows (`nulls`). Used by `edetector` only.
"""

from dataclasses import dataclass

import numpy as np

from mooring_profile.document import FeatureKind, FeatureProfile
from mooring_profile.fields import FloatArray, IntArray
from mooring_profile.nulls import CHI_SQUARED_95, area_between, bridge_quantiles
from mooring_profile.streams import flat_cells

CELLS = 10
"""Cells that PSI and Jensen-Shannon are computed over, at most."""
MIN_ROWS_PER_CELL = 20
MIN_ROWS = 50
"""Effective rows below which Kolmogorov-Smirnov and Wasserstein say nothing."""


@dataclass(frozen=True)
class Divergences:
    """How far a window's values are from the reference's, each None where it says nothing.

    Attributes:
        psi: population stability index over about 10 cells, less its bias (B - 1)(1/n + 1/m)
            (Yurdakul 2018): around 0 without drift.
        js: Jensen-Shannon distance over the same cells, natural logarithms, 0 to 0.833.
        js_null95: what `js` exceeds in 5 % of windows without drift, at these rows.
        ks: Kolmogorov-Smirnov distance over the feature's edges, 0 to 1; numeric only.
        ks_null95: likewise.
        wasserstein: Wasserstein-1 distance within the reference's range, in its standard
            deviations, values spread evenly within a bin; numeric only.
        wasserstein_null95: likewise.
    """

    psi: float | None = None
    js: float | None = None
    js_null95: float | None = None
    ks: float | None = None
    ks_null95: float | None = None
    wasserstein: float | None = None
    wasserstein_null95: float | None = None


class DivergenceReader:
    """Reads the divergences of all features of a profile at once."""

    def __init__(self, features: tuple[FeatureProfile, ...]) -> None:
        """Chooses cells and computes what is normal.

        Args:
            features: in the order in which their flat cells follow each other.
        """
        sizes = [flat_cells(item.kind, item.counts).size for item in features]
        starts = np.cumsum([0, *sizes])[:-1].tolist()
        places = [
            (index, start, item)
            for index, (start, item) in enumerate(zip(starts, features, strict=True))
            if item.counts.present > 0
        ]
        self._features = len(features)
        self._cells = _CellDivergences(places) if places else None
        ordered = [place for place in places if place[2].edges]
        self._edges = _EdgeDivergences(ordered) if ordered else None

    def of(self, cells: IntArray) -> list[Divergences]:
        """Returns the divergences of each feature for a window's flat cells."""
        found: list[dict[str, float | None]] = [{} for _ in range(self._features)]
        for part in (self._cells, self._edges):
            if part is None:
                continue
            told = part.of(cells)
            for index, values in zip(part.features, zip(*told.values(), strict=True), strict=True):
                found[index] |= dict(zip(told, values, strict=True))
        return [Divergences(**values) for values in found]


class _CellDivergences:
    """PSI and Jensen-Shannon, over at most `CELLS` cells of each feature."""

    def __init__(self, places: list[tuple[int, int, FeatureProfile]]) -> None:
        present = [flat_cells(item.kind, item.counts)[:-2] for _, _, item in places]
        groups = [
            _ordered_groups(cells) if item.kind is FeatureKind.NUMERIC else _largest_groups(cells)
            for cells, (_, _, item) in zip(present, places, strict=True)
        ]
        self.features = [index for index, _, _ in places]
        self._size = np.array([int(group.max()) + 1 for group in groups])
        self._first = np.cumsum(self._size) - self._size
        self._of_group = np.repeat(np.arange(self._size.size), self._size)
        self._group = np.concatenate(
            [group + first for group, first in zip(groups, self._first.tolist(), strict=True)]
        )
        self._cell = np.concatenate(
            [
                start + np.arange(cells.size)
                for cells, (_, start, _) in zip(present, places, strict=True)
            ]
        )
        self._deff = np.array([item.design_effect for _, _, item in places])
        self._shares, self._rows = self._joined(np.concatenate(present))
        chi_squared = np.array([0.0, *CHI_SQUARED_95])[self._size - 1]
        self._js_null = np.sqrt(chi_squared / 8)

    def of(self, cells: IntArray) -> dict[str, list[float | None]]:
        shares, rows = self._joined(cells[self._cell])
        told = (self._size >= 2) & (np.minimum(rows, self._rows) >= MIN_ROWS_PER_CELL * self._size)
        noise = 1 / np.maximum(rows, 1) + 1 / self._rows
        middle = (shares + self._shares) / 2
        p, q = self._shares, shares
        psi = self._sums((q - p) * np.log(q / p)) - (self._size - 1) * noise
        both = self._sums(p * np.log(p / middle) + q * np.log(q / middle)) / 2
        return {
            "psi": _told(psi, told),
            "js": _told(np.sqrt(np.maximum(both, 0.0)), told),
            "js_null95": _told(self._js_null * np.sqrt(noise), told),
        }

    def _joined(self, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        """Shares with half a row added to each cell (Jeffreys), and effective rows."""
        joined = np.zeros(self._of_group.size)
        joined += np.bincount(self._group, weights=counts, minlength=joined.size)
        rows = self._sums(joined)
        whole = (rows + self._size / 2)[self._of_group]
        return (joined + 0.5) / whole, rows / self._deff

    def _sums(self, values: FloatArray) -> FloatArray:
        return np.add.reduceat(values, self._first)


class _EdgeDivergences:
    """Kolmogorov-Smirnov and Wasserstein-1, from the shares below each edge."""

    def __init__(self, places: list[tuple[int, int, FeatureProfile]]) -> None:
        size = np.array([len(feature.edges) for _, _, feature in places])
        self.features = [index for index, _, _ in places]
        self._of_edge = np.repeat(np.arange(size.size), size)
        self._first = np.cumsum(size) - size
        start = np.array([start for _, start, _ in places])
        self._start, self._end = start, start + size + 1
        within = np.arange(self._of_edge.size) - self._first[self._of_edge]
        self._below = start[self._of_edge] + within + 1
        self._deff = np.array([feature.design_effect for _, _, feature in places])
        self._width = np.concatenate(
            [np.diff(np.array(feature.edges), append=feature.edges[-1]) for _, _, feature in places]
        )
        sd = [feature.sd or 0.0 for _, _, feature in places]
        self._spread = np.array([item > 0 for item in sd])
        self._sd = np.where(self._spread, np.array(sd), 1.0)
        shares: list[FloatArray] = []
        for _, _, feature in places:
            cells = flat_cells(feature.kind, feature.counts)[:-2]
            shares.append(np.cumsum(cells)[:-1] / cells.sum())
        self._shares = np.concatenate(shares)
        self._rows = np.array([feature.counts.present for _, _, feature in places]) / self._deff
        quantiles = [
            bridge_quantiles(found, np.diff(np.array(feature.edges)))
            for found, (_, _, feature) in zip(shares, places, strict=True)
        ]
        self._ks_null = np.array([ks for ks, _ in quantiles])
        self._area_null = np.array([area for _, area in quantiles]) / self._sd

    def of(self, cells: IntArray) -> dict[str, list[float | None]]:
        sums = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(cells)])
        rows = sums[self._end] - sums[self._start]
        below = sums[self._below] - sums[self._start][self._of_edge]
        apart = below / np.maximum(rows, 1)[self._of_edge] - self._shares
        effective = rows / self._deff
        told = np.minimum(effective, self._rows) >= MIN_ROWS
        noise = np.sqrt(1 / np.maximum(effective, 1) + 1 / self._rows)
        areas = self._width * area_between(apart, np.append(apart[1:], 0.0))
        area = np.add.reduceat(areas, self._first) / self._sd
        return {
            "ks": _told(np.maximum.reduceat(np.abs(apart), self._first), told),
            "ks_null95": _told(self._ks_null * noise, told),
            "wasserstein": _told(area, told & self._spread),
            "wasserstein_null95": _told(self._area_null * noise, told & self._spread),
        }


def _told(
    values: FloatArray, told: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> list[float | None]:
    return [
        value if said else None for value, said in zip(values.tolist(), told.tolist(), strict=True)
    ]


def _ordered_groups(reference: IntArray) -> IntArray:
    total = int(reference.sum())
    middle = np.cumsum(reference) - reference + reference // 2
    group = np.minimum((middle * CELLS) // max(1, total), CELLS - 1)
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def _largest_groups(reference: IntArray) -> IntArray:
    order = np.argsort(-reference, kind="stable")
    group = np.full(reference.size, min(CELLS, reference.size) - 1, dtype=np.int64)
    group[order[: CELLS - 1]] = np.arange(min(CELLS - 1, reference.size))
    return group
