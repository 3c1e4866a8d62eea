"""Principal components of a table, and the reconstruction error of rows under them.

Fitted where a profile is built, applied where rows are counted. A row's error is the Euclidean
distance of its standardised values from their projection on the components (as in NannyML); it does
not depend on the rows that are counted with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mooring_profile.binning import Column, SingleArray, single
from mooring_profile.feature import FeatureProfile
from mooring_profile.fields import FloatArray
from mooring_profile.multivariate import MultivariateProfile

EXPLAINED = 0.9
"""So many components are kept as explain this share of the variance; the error has the rest."""
MOST_ROWS = 50_000
"""More rows than these, evenly spread, do not make the components better."""
_BLOCK = 2048
_LARGEST = float(np.finfo(np.float32).max)
_DIGITS = 6
"""Sums of a row may differ in their last bit with the rows beside it; rounding takes that away."""


@dataclass(frozen=True, eq=False)
class Components:
    """Fitted principal components, see `MultivariateProfile`; arrays of float64.

    Attributes:
        features: names, in the order of the arrays.
        median: [features].
        mean: [features].
        scale: [features], > 0.
        directions: [components, features].
        explained: share of the variance.
    """

    features: tuple[str, ...]
    median: FloatArray
    mean: FloatArray
    scale: FloatArray
    directions: FloatArray
    explained: float

    @cached_property
    def beyond(self) -> FloatArray:
        """Directions orthogonal to the components, [features - components, features].

        What a row has along them is what the components do not reconstruct.
        """
        basis = np.linalg.qr(self.directions.T, mode="complete").Q
        return basis[:, self.directions.shape[0] :].T

    @classmethod
    def of(cls, profile: MultivariateProfile) -> "Components":
        """Reads those of a profile."""
        return cls(
            features=profile.features,
            median=np.array(profile.median),
            mean=np.array(profile.mean),
            scale=np.array(profile.scale),
            directions=np.array(profile.components).reshape(-1, len(profile.features)),
            explained=profile.explained,
        )

    def profile(self, error: FeatureProfile) -> MultivariateProfile:
        """Returns the profile, given that of the error."""
        return MultivariateProfile(
            features=self.features,
            median=tuple(self.median.tolist()),
            mean=tuple(self.mean.tolist()),
            scale=tuple(self.scale.tolist()),
            components=tuple(tuple(row) for row in self.directions.tolist()),
            explained=self.explained,
            error=error,
        )

    def errors(self, columns: Mapping[str, Column], rows: int) -> FloatArray:
        """Returns the reconstruction error of each row, float64 [rows].

        Args:
            columns: columns [rows]; one that is absent is missing in every row.
            rows: how many.
        """
        found = np.empty(rows)
        for start in range(0, rows, _BLOCK):
            stop = min(rows, start + _BLOCK)
            cut = {name: columns[name][start:stop] for name in self.features if name in columns}
            found[start:stop] = self._errors(cut, stop - start)
        return found

    def _errors(self, columns: Mapping[str, Column], rows: int) -> FloatArray:
        values = np.full((len(self.features), rows), np.nan, dtype=np.float32)
        with np.errstate(over="ignore"):
            for place, name in enumerate(self.features):
                if name in columns:
                    column = columns[name]
                    values[place] = column if column.dtype.kind == "f" else single(column)
        # All features at once: a call of numpy for each costs more than its numbers.
        standard = _filled(values, self.median[:, None])
        with np.errstate(over="ignore", invalid="ignore"):
            standard -= self.mean[:, None]
            standard /= self.scale[:, None]
            along = self.beyond @ standard
            found: FloatArray = np.sqrt(np.einsum("ij,ij->j", along, along))
        usable: FloatArray = np.minimum(np.nan_to_num(found, nan=_LARGEST), _LARGEST)
        return usable.round(_DIGITS)


def fit_components(columns: Mapping[str, Column]) -> Components | str:
    """Fits the components of numeric columns [rows] to at most `MOST_ROWS` of their rows.

    Returns:
        The components, or why there are none.
    """
    names: list[str] = []
    filled: list[FloatArray] = []
    medians: list[float] = []
    for name, column in columns.items():
        step = -(-column.size // MOST_ROWS)
        values = single(column[::step])
        finite = values[np.isfinite(values)]
        if not finite.size or finite.min() == finite.max():
            continue
        median = float(np.median(finite.astype(np.float64)))
        names.append(name)
        medians.append(median)
        filled.append(_filled(values, median))
    if len(names) < 2:
        return "fewer than two numeric features vary"
    table = np.stack(filled)
    mean, scale = table.mean(axis=1), table.std(axis=1)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        return "numeric features vary beyond what can be squared"
    table -= mean[:, None]
    table /= scale[:, None]
    values, vectors = np.linalg.eigh(table @ table.T / table.shape[1])
    shares = np.cumsum(values[::-1]) / values.sum()
    kept = min(int(np.searchsorted(shares, EXPLAINED)) + 1, len(names) - 1)
    directions = vectors[:, ::-1][:, :kept].T
    # The sign of a direction is free: the largest number of each is taken as positive.
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(kept), largest])[:, None]
    return Components(
        features=tuple(names),
        median=np.array(medians),
        mean=mean,
        scale=scale,
        directions=np.ascontiguousarray(directions),
        explained=float(shares[kept - 1]),
    )


def _filled(values: SingleArray, median: FloatArray | float) -> FloatArray:
    """Values with the median where they are missing or infinite."""
    return np.where(np.isfinite(values), values, np.asarray(median, dtype=np.float64))
