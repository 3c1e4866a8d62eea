from datetime import timedelta

import pytest

from mooring_operator.settings import OperatorSettings, SettingInvalid


def test_promised_defaults() -> None:
    settings = OperatorSettings.from_environment({})
    assert settings.serving_image == "ghcr.io/mooring-dev/serving:0.1.0"
    assert settings.namespace == "mooring-system"
    assert settings.leader_election
    assert (settings.lease_seconds, settings.renew_seconds, settings.retry_seconds) == (15, 10, 2)
    assert settings.watch_namespaces == ()
    assert settings.drain == timedelta(seconds=20)


def test_environment_overrides() -> None:
    settings = OperatorSettings.from_environment(
        {
            "MOORING_WATCH_NAMESPACES": "a, b,",
            "MOORING_LEADER_ELECTION": "false",
            "MOORING_WORKERS": "4",
            "MOORING_SYNC_TTL": "2.5",
            "PATH": "/bin",
        }
    )
    assert settings.watch_namespaces == ("a", "b")
    assert not settings.leader_election
    assert settings.workers == 4
    assert settings.sync_ttl == timedelta(seconds=2.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOORING_WORKERS", "many"),
        ("MOORING_LEADER_ELECTION", "perhaps"),
        ("MOORING_SYNC_TTL", "1m"),
        ("MOORING_RENEW_SECONDS", "20"),
    ],
)
def test_unreadable_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingInvalid, match=name):
        OperatorSettings.from_environment({name: value})
