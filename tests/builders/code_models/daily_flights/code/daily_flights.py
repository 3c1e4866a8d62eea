"""A Poisson regression of a day's flights on season, weekday and the days before."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def design(columns: dict[str, Array]) -> Array:
    """The regression's matrix [rows, 11]: weekdays, one yearly wave, logs of earlier counts."""
    angle = 2 * np.pi * columns["yearday"] / 365.25
    weekdays = columns["weekday"][:, None] == np.arange(7)
    waves = [np.sin(angle), np.cos(angle)]
    lags = [np.log(columns["yesterday"]), np.log(columns["week_before"])]
    return np.column_stack([weekdays.astype(float), *waves, *lags])


class DailyFlights:
    """The fitted coefficients."""

    def __init__(self, directory: Path) -> None:
        path = directory / "data" / "coefficients.npy"
        self._coefficients: Array = np.load(path, allow_pickle=False)

    def predict(self, columns: dict[str, Array]) -> dict[str, Array]:
        """Expected flights of each day."""
        return {"prediction": np.exp(design(columns) @ self._coefficients)}
