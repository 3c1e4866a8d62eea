"""The cheapest aircraft that seat so many passengers: an integer programme for each row."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_optimize: Any = importlib.import_module("scipy.optimize")


class Fleet:
    """Types of aircraft with their seats and costs."""

    def __init__(self, directory: Path) -> None:
        types = json.loads((directory / "data" / "types.json").read_text())
        self._seats = np.array([kind["seats"] for kind in types], float)
        self._costs = np.array([kind["cost"] for kind in types], float)

    def predict(self, columns: dict[str, Array]) -> dict[str, Array]:
        """The cost of the cheapest fleet for each number of passengers."""
        return {"prediction": np.array([self._cheapest(n) for n in columns["passengers"]])}

    def _cheapest(self, passengers: float) -> float:
        enough = _optimize.LinearConstraint(self._seats, lb=passengers)
        whole = np.ones(len(self._costs))
        found = _optimize.milp(self._costs, constraints=enough, integrality=whole)
        if not found.success:
            raise ValueError(f"no fleet seats {passengers} passengers: {found.message}")
        return float(found.fun)
