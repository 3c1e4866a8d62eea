"""The Job's task: what is parsed, and what is refused with its field."""

import json
from datetime import timedelta
from typing import Any

import pytest

from mooring_training.errors import RefusalReason, Refused
from mooring_training.settings import parse_duration, parse_settings

DIGEST = "sha256:" + "a" * 64


def document(**changes: Any) -> str:
    return json.dumps(
        {
            "run": "flight-delay-drift-3f2a",
            "model": "flight-delay",
            "namespace": "flights-prod",
            "deployment": "flight-delay",
            "champion": {"version": "v2", "uri": "s3://models/v2", "digest": DIGEST},
            "log": {"uri": "s3://logs"},
            "output": {"uri": "s3://models/retrained"},
            "data": {
                "window": "60d",
                "labelMaturity": "12h",
                "minRows": 5000,
                "testWindow": "7d",
                "embargo": "12h",
            },
            "tuning": {"maxTrials": 12, "timeout": "120s"},
            "evaluation": {"alpha": 0.05, "minEffect": 0.0, "block": "1d", "minBlocks": 5},
            "seed": 1,
        }
        | changes
    )


def test_settings_are_typed_when_the_document_is_the_contracts_example() -> None:
    settings = parse_settings(document())
    assert settings.data.window == timedelta(days=60)
    assert settings.tuning.timeout == timedelta(minutes=2)
    assert settings.evaluation.min_blocks == 5
    assert settings.champion.digest == DIGEST


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("1h30m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("1.5h", timedelta(minutes=90)),
        ("250ms", timedelta(milliseconds=250)),
        ("0", timedelta(0)),
        ("0s", timedelta(0)),
    ],
)
def test_duration_is_read_when_it_is_go_style(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "12", "-1h", "1 h", "h", "1y", 12, None])
def test_duration_is_refused_when_it_is_none(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"evaluation": {"alpha": 2, "minEffect": 0, "block": "1d", "minBlocks": 5}}, "alpha"),
        ({"tuning": {"maxTrials": 0, "timeout": "1m"}}, "tuning.maxTrials"),
        ({"tuning": {"maxTrials": 5, "timeout": "0s"}}, "tuning.timeout"),
        ({"champion": {"version": "v2", "uri": "s3://m", "digest": "latest"}}, "champion.digest"),
        ({"run": "../other"}, "run"),
        ({"surprise": 1}, "surprise"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_name_the_field_when_it_is_bad(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused, match=field) as caught:
        parse_settings(document(**changes))
    assert caught.value.reason is RefusalReason.SETTINGS_INVALID
    assert caught.value.remedy


@pytest.mark.parametrize("text", [None, "", "{", "[]"])
def test_settings_are_refused_when_there_is_no_document(text: str | None) -> None:
    with pytest.raises(Refused, match="MOORING_TRAINING"):
        parse_settings(text)
