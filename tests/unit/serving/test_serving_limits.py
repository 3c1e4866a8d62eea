"""Limits and settings from the environment: defaults, bounds, and names in what is refused."""

from dataclasses import fields

import pytest

from mooring_serving.limits import (
    PREFIX,
    EngineLimits,
    GrpcLimits,
    HttpLimits,
    LimitInvalid,
    TensorLimits,
    WorkLimits,
    limit_names,
    read_limits,
)
from mooring_serving.refusals import Refusal, reason_of
from mooring_serving.settings import SettingsInvalid, read_settings

KINDS = (HttpLimits, TensorLimits, WorkLimits, GrpcLimits)


def test_limits_have_their_defaults_when_the_environment_is_silent() -> None:
    assert read_limits({"PATH": "/bin", "MOORING_VERSION": "v1"}) == EngineLimits()
    assert HttpLimits().body_bytes == 8 * 1024 * 1024
    assert TensorLimits().elements == 1 << 22


def test_limits_of_all_kinds_have_different_names() -> None:
    names = list(limit_names())
    assert len(names) == len(set(names))
    assert len(names) == sum(len(fields(kind)) for kind in KINDS)


@pytest.mark.parametrize("name", list(limit_names()))
def test_every_limit_is_read_from_its_own_variable_and_bounded(name: str) -> None:
    variable = f"{PREFIX}{name.upper()}"
    default = next(
        getattr(kind, name) for kind in (kind() for kind in KINDS) if hasattr(kind, name)
    )
    limits = read_limits({variable: str(default)})
    assert limits == EngineLimits()
    for value in ("-1", "many", "1e300"):
        with pytest.raises(LimitInvalid, match=variable):
            read_limits({variable: value})


def test_limit_that_does_not_exist_is_refused_by_its_name() -> None:
    with pytest.raises(LimitInvalid, match="MOORING_LIMIT_BODY_BYTE: no such limit"):
        read_limits({"MOORING_LIMIT_BODY_BYTE": "1"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MOORING_BATCH_MAX_ROWS", "0"),
        ("MOORING_BATCH_MAX_WAIT_MS", "-1"),
        ("MOORING_BATCH_MAX_QUEUE", "none"),
        ("MOORING_THREADS", "1000"),
        ("MOORING_WORKERS", "0"),
        ("MOORING_DEADLINE_MS", "0"),
        ("MOORING_WARMUP_REQUESTS", "0"),
    ],
)
def test_setting_out_of_bounds_is_refused_by_its_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=variable):
        read_settings({variable: value})


@pytest.mark.parametrize("status", [400, 404, 405, 408, 413, 415, 429, 431, 503, 504])
def test_every_status_of_a_refusal_has_a_usual_reason(status: int) -> None:
    assert isinstance(reason_of(status), Refusal)
    assert status == 400 or reason_of(status) is not Refusal.INVALID_REQUEST
