"""`spec.predictionLog` tells the server what it knows, within the bounds that it accepts."""

from typing import Any

import pytest

from mooring_operator.api.prediction_log import PredictionLog
from mooring_operator.core.manifests.log import JOURNAL_LIMIT, log_environment, log_problem
from mooring_serving.limits import WorkLimits
from mooring_serving.log.settings import EventMode, LogSettings
from mooring_serving.settings import ServerSettings, read_settings

URI = "s3://logs/here"


def settings_of(wire: dict[str, Any]) -> ServerSettings:
    log = PredictionLog.model_validate({"uri": URI, **wire})
    told = {item["name"]: item["value"] for item in log_environment(log) if "value" in item}
    return read_settings(told)


def test_server_reads_every_field_as_it_was_meant() -> None:
    settings = settings_of(
        {
            "sample": 0.25,
            "fields": {
                "include": ["a", "b"],
                "hash": ["größe"],
                "saltSecretName": "mooring-salt",
            },
            "retention": "30d",
            "rotate": {"rows": 100, "size": "99Mi", "age": "5m"},
            "events": {"url": "http://sink.ns.svc/", "sample": 0.5, "mode": "Structured"},
        }
    )
    log = settings.prediction_log
    assert settings.prediction_log_uri == URI
    assert log is not None
    assert (log.sample, log.include, log.hash) == (0.25, ("a", "b"), ("größe",))
    assert log.retention_seconds == 30 * 86_400
    assert (log.rotate.rows, log.rotate.bytes, log.rotate.seconds) == (100, 99 << 20, 300)
    assert log.events is not None
    assert (log.events.url, log.events.sample) == ("http://sink.ns.svc/", 0.5)
    assert log.events.mode is EventMode.STRUCTURED


@pytest.mark.parametrize(
    "wire",
    [
        {"sample": 0.0},
        {"sample": 1.0},
        {"retention": "1d"},
        {"rotate": {"rows": 1, "size": "1Mi", "age": "1s"}},
        {"rotate": {"rows": 10_000_000, "size": "99Mi", "age": "1h"}},
        {"fields": {"exclude": ["x" * 253]}},
    ],
)
def test_server_starts_with_the_extremes(wire: dict[str, Any]) -> None:
    assert log_problem(PredictionLog.model_validate({"uri": URI, **wire})) is None
    assert isinstance(settings_of(wire).prediction_log, LogSettings)


def test_server_uses_its_own_defaults_for_what_is_left_out() -> None:
    assert settings_of({}).prediction_log is None


def test_disk_of_the_log_is_twice_what_may_wait_on_it() -> None:
    """A segment is there as journal and as Parquet while it is compressed."""
    assert f"{2 * WorkLimits().log_disk_bytes >> 20}Mi" == JOURNAL_LIMIT
