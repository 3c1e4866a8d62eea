"""Which trials are made, how long, and which one is chosen."""

import importlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from mooring_model.schema import Datatype, InputKind, InputSpec, ModelSchema, OutputSpec, Task
from mooring_training.tuning import Choice, Family, Trial, champion_trial, trials, tune
from tests.builders.training_log import moment

pandas: Any = importlib.import_module("pandas")

SCHEMA = ModelSchema(
    task=Task.BINARY,
    target="late",
    classes=(0, 1),
    positive_class=1,
    inputs=(InputSpec(name="delay", datatype=Datatype.FP64, kind=InputKind.NUMERIC),),
    outputs=(
        OutputSpec(name="label", datatype=Datatype.INT64),
        OutputSpec(name="probability", datatype=Datatype.FP64),
    ),
)
SMALL = Trial(Family.TREES, {"max_iter": 3, "min_samples_leaf": 5})
LINEAR = Trial(Family.LINEAR, {"C": 1.0})


def table(rows: int = 400, *, late_from: float = 0.0) -> Any:
    """A tenth of a day a row; no row is late before a share of them."""
    rng = np.random.default_rng(4)
    delay = rng.normal(size=rows)
    late = (delay + rng.normal(scale=0.5, size=rows) > 0) & (np.arange(rows) >= late_from * rows)
    times = pandas.to_datetime([moment(at / 10) for at in range(rows)], utc=True).as_unit("us")
    return pandas.DataFrame({"delay": delay, "event_time": times, "late": late.astype(np.int64)})


def tuned(*candidates: Trial, rows: Any = None, up: bool = False, hours: int = 12) -> Choice:
    return tune(
        table() if rows is None else rows,
        SCHEMA,
        iter(candidates),
        embargo=timedelta(hours=hours),
        seed=1,
        time_is_up=lambda: up,
    )


@pytest.mark.parametrize("limit", [1, 2, 3, 12])
def test_trials_are_as_many_as_allowed_different_and_drawn_alike(limit: int) -> None:
    one, other = (list(trials(SMALL, limit=limit, rng=np.random.default_rng(5))) for _ in range(2))
    assert one == other
    assert len(one) == limit
    assert one[0] == SMALL
    assert all(one.count(trial) == 1 for trial in one)


def test_tuning_stops_after_its_first_trial_when_time_is_up() -> None:
    drawn: list[Trial] = []

    def endless() -> Iterator[Trial]:
        for trial in (SMALL, LINEAR):
            drawn.append(trial)
            yield trial

    choice = tuned(*endless(), up=True)
    assert (choice.trial, choice.trials) == (SMALL, 1)


def test_tuning_chooses_alike_when_it_is_done_again() -> None:
    choice = tuned(SMALL, LINEAR)
    assert choice == tuned(SMALL, LINEAR)
    assert (choice.trial, choice.trials) == (LINEAR, 2)


def test_perfect_trial_is_kept_when_another_follows() -> None:
    schema = ModelSchema(
        task=Task.REGRESSION,
        target="late",
        inputs=SCHEMA.inputs,
        outputs=(OutputSpec(name="prediction", datatype=Datatype.FP64),),
    )
    choice = tune(
        table().assign(late=5.0),
        schema,
        iter([SMALL, LINEAR]),
        embargo=timedelta(0),
        seed=1,
        time_is_up=lambda: False,
    )
    assert choice == Choice(SMALL, 0.0, 2)


def test_fold_is_left_out_when_its_older_rows_have_one_class() -> None:
    choice = tuned(LINEAR, SMALL, rows=table(late_from=0.7))
    assert choice.loss is not None  # of the second fold alone
    assert tuned(LINEAR, SMALL, rows=table(late_from=0.9)) == Choice(LINEAR, None, 1)


def test_first_trial_is_taken_unjudged_when_there_are_too_few_rows() -> None:
    assert tuned(SMALL, LINEAR, rows=table(60)) == Choice(SMALL, None, 1)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ({}, None),
        ({"max_iter": 1000, "C": 1.0}, None),
        ({"family": "forest", "max_iter": 5}, None),
        ({"max_iter": 0, "max_leaf_nodes": True, "learning_rate": -1.0}, None),
        (
            {"max_iter": 60, "learning_rate": 0.1, "l2_regularization": "x"},
            Trial(Family.TREES, {"max_iter": 60, "learning_rate": 0.1}),
        ),
        (
            {"family": "linear", "C": 0.1, "halfLifeDays": 14.0},
            Trial(Family.LINEAR, {"C": 0.1}, 14),
        ),
        (SMALL.to_parameters(), SMALL),
    ],
)
def test_champions_trial_is_what_an_estimator_takes(
    recorded: dict[str, object], expected: Trial | None
) -> None:
    assert champion_trial(recorded) == expected
