"""The Job's task as one frozen value, parsed once from `MOORING_TRAINING` (contracts §7).

Everything inside is valid by type: durations are `timedelta`, bounds are checked, a bad field is
refused with its path. Nothing else in this package reads the environment.
"""

import math
import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from mooring_training.errors import RefusalReason, Refused

VARIABLE = "MOORING_TRAINING"

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])")
LONGEST = timedelta(days=36_500)
"""Longer durations are mistakes, and would leave the calendar when counted back from a row."""


def parse_duration(text: object) -> timedelta:
    """Read a Go-style duration; days (`d`) and weeks (`w`) are allowed too.

    Args:
        text: One or more number-unit pairs, such as `90s`, `1h30m`, `7d`. `"0"` is zero.

    Raises:
        ValueError: Anything else, negative durations and those beyond `LONGEST` included.
    """
    if text == "0":
        return timedelta(0)
    if not isinstance(text, str) or not text or _PART.sub("", text):
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 12h or 7d")
    seconds = math.fsum(float(n) * _UNIT_SECONDS[unit] for n, unit in _PART.findall(text))
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text[:40]!r} is longer than {LONGEST.days} days")
    return timedelta(seconds=seconds)


def _positive(value: object) -> timedelta:
    duration = parse_duration(value)
    if duration <= timedelta(0):
        raise ValueError("must be longer than 0")
    return duration


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[timedelta, BeforeValidator(_positive)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Uri = Annotated[str, Field(pattern=r"^[a-z0-9]+://.+", max_length=2048)]


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class ChampionSettings(_Settings):
    """The version that the challenger has to beat."""

    version: str = Field(min_length=1, max_length=253)
    uri: Uri
    digest: Digest


class StoreSettings(_Settings):
    """A place in an object store or on a mounted claim."""

    uri: Uri


class DataSettings(_Settings):
    """Which rows of the log are used, all in event time."""

    window: PositiveDuration
    """How far back rows are taken, counted from the newest mature row."""
    label_maturity: Duration
    """Rows younger than this are left out, since their label may still come."""
    min_rows: int = Field(ge=1, le=100_000_000)
    """Fewest labelled rows of the window, before the split."""
    test_window: PositiveDuration
    """The newest part of the window, kept for the comparison."""
    embargo: Duration
    """A gap before the test window, so that no training label came from its time."""


class TuningSettings(_Settings):
    """How long to look for hyperparameters."""

    max_trials: int = Field(ge=1, le=1000)
    timeout: PositiveDuration
    """No trial starts after this; the trial that runs is finished."""


class EvaluationSettings(_Settings):
    """When a challenger counts as better."""

    alpha: float = Field(gt=0, lt=0.5)
    """One minus the confidence of the two-sided interval."""
    min_effect: float = Field(allow_inf_nan=False)
    """Smallest gain worth a new version, in the metric's unit."""
    block: PositiveDuration
    """Rows of one block count as one observation; it should cover their dependence."""
    min_blocks: int = Field(ge=2, le=10_000)
    """Fewer blocks with rows give `Inconclusive`."""


class TrainingSettings(_Settings):
    """One run of one RetrainPolicy."""

    run: Name
    model: Name
    namespace: Name
    deployment: Name
    champion: ChampionSettings
    log: StoreSettings
    output: StoreSettings
    data: DataSettings
    tuning: TuningSettings
    evaluation: EvaluationSettings
    seed: Literal[None] | Annotated[int, Field(ge=0, le=2**31 - 1)] = None
    """Seed of every random choice; absent means 0, never the clock."""


def parse_settings(text: str | None) -> TrainingSettings:
    """Parse the value of `MOORING_TRAINING`.

    Raises:
        Refused: The variable is absent, not JSON, or a field is bad; the message names each.
    """
    remedy = (
        "the operator writes this variable; correct the RetrainPolicy's field of that name, "
        "or run the operator and the training image of the same release"
    )
    if not text:
        raise Refused(RefusalReason.SETTINGS_INVALID, f"{VARIABLE} is not set", remedy=remedy)
    try:
        return TrainingSettings.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in e['loc']) or 'document'}: {e['msg']}"
            for e in error.errors(include_url=False, include_input=False)
        )
        raise Refused(
            RefusalReason.SETTINGS_INVALID, f"{VARIABLE}: {problems}", remedy=remedy
        ) from error
