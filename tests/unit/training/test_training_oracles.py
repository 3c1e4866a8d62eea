"""The split, the interval and the termination message against second computations of the same."""

import importlib
import json
import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mooring_model.schema import Datatype, InputKind, InputSpec, ModelSchema, OutputSpec, Task
from mooring_model.termination import MESSAGE_BYTES, ExitCode, message_of
from mooring_training.comparison import EXPECTED_CORRELATION, LARGEST_CORRELATION, blocked_interval
from mooring_training.errors import RefusalReason, Refused
from mooring_training.log import LogTables
from mooring_training.outcome import refused
from mooring_training.settings import DataSettings
from mooring_training.snapshot import assemble, content_digest
from tests.builders.training_log import moment

pandas: Any = importlib.import_module("pandas")
stats: Any = scipy_stats  # scipy has no annotations

SCHEMA = ModelSchema(
    task=Task.REGRESSION,
    target="minutes",
    inputs=(InputSpec(name="delay", datatype=Datatype.FP64, kind=InputKind.NUMERIC),),
    outputs=(OutputSpec(name="prediction", datatype=Datatype.FP64),),
)


def logs(hours: list[int]) -> LogTables:
    """One labelled row at each of these hours."""
    times = pandas.to_datetime([moment(hour / 24) for hour in hours], utc=True).as_unit("us")
    key = {"prediction_id": [f"{at:04x}" for at in range(len(hours))], "row": 0}
    values = np.arange(len(hours), dtype=np.float64)
    answered = {"event_time": times, "version": "v1", "arm": "stable", "f.delay": values}
    labels = {"label": "", "label_value": values, "label_time": times}
    return LogTables(pandas.DataFrame(key | answered), pandas.DataFrame(key | labels), 1, ())


def data(**hours: int) -> DataSettings:
    named = {"label_maturity": 0, "window": 2000, "test_window": 24, "embargo": 0} | hours
    durations = {name: f"{value}h" for name, value in named.items()}
    return DataSettings.model_validate({"min_rows": 1, **durations})


@settings(max_examples=40, deadline=None)
@given(
    hours=st.lists(st.integers(0, 300), min_size=2, max_size=40),
    maturity=st.integers(0, 24),
    window=st.integers(1, 300),
    test_window=st.integers(1, 100),
    embargo=st.integers(0, 48),
    known=st.none() | st.integers(0, 300),
)
def test_split_keeps_window_maturity_and_embargo_whatever_the_times(
    hours: list[int],
    maturity: int,
    window: int,
    test_window: int,
    embargo: int,
    known: int | None,
) -> None:
    chosen = data(label_maturity=maturity, window=window, test_window=test_window, embargo=embargo)
    until = None if known is None else moment(known / 24)
    try:
        made = assemble(logs(hours), SCHEMA, chosen, trained_until=until, now=moment(400))
    except Refused:
        reject()
    cutoff = max(hours) - maturity
    begin = cutoff - test_window
    if known is not None:
        begin = max(begin, known + embargo)
    inside = sorted(hour for hour in hours if cutoff - window <= hour < cutoff)
    expected = [
        [hour for hour in inside if hour < begin - embargo],
        [hour for hour in inside if hour >= begin],
    ]
    found = [
        [round((time - moment(0)) / timedelta(hours=1)) for time in part["event_time"]]
        for part in (made.train, made.test)
    ]
    assert found == expected
    if found[1]:
        assert min(found[1]) > max(found[0]) + embargo
        assert known is None or min(found[1]) >= known


def test_row_of_the_far_future_does_not_move_the_window() -> None:
    tables = logs([*range(100), 24 * 365 * 100])
    made = assemble(tables, SCHEMA, data(), trained_until=None, now=moment(5))
    assert made.record.newest == moment(99 / 24)
    assert made.record.unusable == 1


def test_rows_without_a_demanded_feature_are_left_out() -> None:
    tables = logs(list(range(100)))
    tables.predictions.loc[:9, "f.delay"] = np.nan
    made = assemble(tables, SCHEMA, data(), trained_until=None, now=moment(5))
    assert made.record.unusable == 10
    assert not made.train["f.delay"].isna().any()


def test_run_is_refused_when_nobody_was_answered() -> None:
    tables = logs([1, 2])
    empty = LogTables(tables.predictions.iloc[:0], tables.labels, 1, ())
    with pytest.raises(Refused) as caught:
        assemble(empty, SCHEMA, data(), trained_until=None, now=moment(5))
    assert caught.value.reason is RefusalReason.NOT_ENOUGH_ROWS


def test_digest_is_of_values_when_texts_are_held_as_another_type() -> None:
    plain = pandas.DataFrame({"text": np.array(["a", None], dtype=object)})
    typed = plain.astype("string").astype(object).where(plain.notna(), None)
    assert content_digest(plain, plain) == content_digest(typed, typed)


@given(
    values=st.lists(st.floats(-1, 1), min_size=12, max_size=40),
    count=st.integers(2, 9),
    alpha=st.sampled_from([0.01, 0.05, 0.2]),
)
def test_interval_is_that_of_a_jackknife_done_by_hand(
    values: list[float], count: int, alpha: float
) -> None:
    blocks = [at * count // len(values) for at in range(len(values))]
    whole = math.fsum(values) / len(values)
    away: list[float] = []
    for left_out in range(count):
        rest = [value for value, block in zip(values, blocks, strict=True) if block != left_out]
        away.append(math.fsum(rest) / len(rest) - whole)
    total = math.fsum(gap * gap for gap in away)
    assume(total > 1e-12)
    seen = math.fsum(away[at] * away[at - 1] for at in range(1, count)) / total
    rho = min(max(seen, EXPECTED_CORRELATION), LARGEST_CORRELATION)
    # The variance of an autoregression's mean, over what its sample variance is on average.
    powers = np.array([[rho ** abs(i - j) for i in range(count)] for j in range(count)])
    mean = powers.sum() / count**2
    inflation = mean * count / ((1 - mean) * count / (count - 1))
    error = math.sqrt((count - 1) / count * total * inflation)
    expected = stats.t.interval(1 - alpha, count - 1, loc=whole, scale=error)
    interval = blocked_interval(np.array(values), np.array(blocks), alpha=alpha)
    assert interval == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("text", ["a" * 5000, "ü" * 5000, "\U0001f6eb" * 5000, '"\n' * 5000])
def test_termination_message_fits_and_still_says_why_when_the_error_is_long(text: str) -> None:
    outcome = refused(Refused(RefusalReason.NO_LOG, text, remedy=text))
    assert outcome.exit_code == ExitCode.REFUSED
    data = message_of(outcome.document)
    assert len(data) <= MESSAGE_BYTES
    said = json.loads(data)
    assert said["reason"] == "NoLog"
    assert len(said["message"]) >= 100
    assert len(said["remedy"]) >= 100
