"""The quickest connection between two airports of a network: Dijkstra on mean air times."""

import csv
import functools
import heapq
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Edges = dict[str, dict[str, float]]


class Connections:
    """The network, with a node for each airport."""

    def __init__(self, directory: Path) -> None:
        self._edges: Edges = {}
        with (directory / "data" / "routes.csv").open(newline="") as stream:
            for origin, dest, minutes in csv.reader(stream):
                self._edges.setdefault(origin, {})[dest] = float(minutes)
                self._edges.setdefault(dest, {})[origin] = float(minutes)
        settings = json.loads((directory / "data" / "settings.json").read_text())
        self._change: float = settings["change_minutes"]
        self._elsewhere: float = settings["unknown_minutes"]
        self._from = functools.cache(self._distances)

    def predict(self, columns: dict[str, Array]) -> dict[str, Array]:
        """Minutes in the air and between flights; a fixed number for unknown airports."""
        pairs = zip(columns["origin"], columns["dest"], strict=True)
        minutes = [self._from(origin).get(dest, self._elsewhere) for origin, dest in pairs]
        return {"prediction": np.array(minutes)}

    def _distances(self, origin: str) -> dict[str, float]:
        best: dict[str, float] = {}
        waiting = [(0.0, origin)]
        while waiting:
            so_far, airport = heapq.heappop(waiting)
            if airport in best:
                continue
            best[airport] = so_far
            change = self._change if so_far else 0.0
            for following, minutes in self._edges.get(airport, {}).items():
                if following not in best:
                    heapq.heappush(waiting, (so_far + change + minutes, following))
        return best
