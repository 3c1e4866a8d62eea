"""Predictions and labels by cohort: which one a label counts in, bounds, merging over workers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mooring_serving.arms import Arm
from mooring_serving.cohorts import MOST_COHORTS, CohortRule
from mooring_serving.counters import Counters
from mooring_serving.feedback import FeedbackDesk
from mooring_serving.losses import LossRule, Task
from mooring_serving.receipts import ReceiptWriter
from mooring_serving.totals import read_totals

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
REVISION = "1" * 12
RULE = CohortRule(3600, REVISION)
HOUR = timedelta(hours=1)


def key(moment: datetime, revision: str = REVISION) -> str:
    return f"{revision}/{int(moment.timestamp())}"


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def cohorts(counters: Counters) -> Mapping[str, Any]:
    document: Any = counters.to_json()["cohorts"]
    return document


def receipt(moment: datetime, predicted: list[float], revision: str = REVISION) -> str:
    writer = ReceiptWriter("m", "v1", revision, key=None)
    return writer.write(
        writer.next_id(),
        event_time=moment.isoformat(),
        rows=len(predicted),
        predicted=predicted,
        side=(Arm.STABLE, None),
    )


def label(counters: Counters, text: str, values: list[int], now: datetime) -> None:
    desk = FeedbackDesk(
        LossRule(Task.BINARY, (0, 1), 1, 1.0), counters, None, model="m", key=None, memory=100
    )
    document = {"labels": [{"prediction_id": text, "label": values}]}
    answer = desk.accept(document, limit=10, now=now, admit=lambda _: True)
    assert answer["accepted"] == 1, answer


def test_label_counts_in_the_cohort_of_its_prediction_when_it_comes_days_later() -> None:
    counters = Counters(1, cohorts=RULE)
    assert counters.cohorts is not None
    counters.cohorts.count_predicted([(microseconds(NOON), 4)])
    text = receipt(NOON + timedelta(minutes=59), [0.9, 0.8, 0.1, 0.2])
    label(counters, text, [1, 0, 1, 0], NOON + 30 * HOUR)
    found = cohorts(counters)[key(NOON)]
    assert (found["rows"], found["n"]) == (4, 4)
    assert found["confusion"] == {"tp": 1, "fp": 1, "fn": 1, "tn": 1}
    assert found["lossSum"] == pytest.approx(0.01 + 0.64 + 0.81 + 0.04)


def test_label_of_another_revision_counts_for_that_one() -> None:
    counters = Counters(1, cohorts=RULE)
    label(counters, receipt(NOON, [0.9], "2" * 12), [1], NOON)
    assert list(cohorts(counters)) == [key(NOON, "2" * 12)]


@pytest.mark.parametrize(
    ("ahead", "dated", "counted"), [(1, False, False), (1, True, True), (0, False, True)]
)
def test_label_of_a_time_to_come_counts_only_where_clients_say_the_time(
    ahead: int, dated: bool, counted: bool
) -> None:
    counters = Counters(1, cohorts=CohortRule(3600, REVISION, dated=dated))
    label(counters, receipt(NOON + ahead * HOUR, [0.9]), [1], NOON)
    assert bool(cohorts(counters)) is counted


@pytest.mark.parametrize("dated", [False, True])
@pytest.mark.parametrize(
    "moment", [NOON + HOUR + timedelta(seconds=1), datetime(9999, 12, 31, tzinfo=UTC)]
)
def test_receipt_of_the_far_future_is_refused_and_pushes_no_cohort_out(
    moment: datetime, dated: bool
) -> None:
    counters = Counters(1, cohorts=CohortRule(3600, REVISION, dated=dated))
    desk = FeedbackDesk(
        LossRule(Task.BINARY, (0, 1), 1, 1.0), counters, None, model="m", key=None, memory=100
    )
    document = {"labels": [{"prediction_id": receipt(moment, [0.9]), "label": [1]}]}
    answer: Any = desk.accept(document, limit=10, now=NOON, admit=lambda _: True)
    assert "more than an hour after this pod's clock" in answer["rejected"][0]["error"]
    label(counters, receipt(NOON - 40 * HOUR, [0.9]), [1], NOON)
    assert set(cohorts(counters)) == {key(NOON - 40 * HOUR)}


def test_label_too_far_back_counts_in_no_cohort() -> None:
    counters = Counters(1, cohorts=RULE)
    assert counters.cohorts is not None
    counters.cohorts.count_predicted([(microseconds(NOON), 1)])
    label(counters, receipt(NOON - MOST_COHORTS * HOUR, [0.9]), [1], NOON)
    label(counters, receipt(NOON - (MOST_COHORTS - 1) * HOUR, [0.9]), [1], NOON)
    assert set(cohorts(counters)) == {key(NOON), key(NOON - (MOST_COHORTS - 1) * HOUR)}


def test_request_whose_receipt_carries_no_values_is_in_no_cohort() -> None:
    counters = Counters(1, cohorts=RULE)
    assert counters.cohorts is not None
    counters.cohorts.count_predicted([(microseconds(NOON), 65), (microseconds(NOON), 64)])
    assert cohorts(counters)[key(NOON)]["rows"] == 64


def test_cohorts_of_worker_processes_add() -> None:
    apart = [Counters(1, cohorts=RULE), Counters(1, cohorts=RULE)]
    for counters in apart:
        assert counters.cohorts is not None
        counters.cohorts.count_predicted([(microseconds(NOON), 3)])
    label(apart[0], receipt(NOON, [0.9]), [0], NOON)
    label(apart[1], receipt(NOON, [0.4]), [0], NOON)
    document: Any = read_totals([counters.memory for counters in apart]).to_json()["cohorts"]
    found = document[key(NOON)]
    assert (found["rows"], found["n"]) == (6, 2)
    assert found["lossSum"] == pytest.approx(0.97)
    assert found["lossSquaredSum"] == pytest.approx(0.81**2 + 0.16**2)
    assert found["confusion"] == {"tp": 0, "fp": 1, "fn": 0, "tn": 1}


def test_nothing_is_counted_by_cohort_when_nobody_asks_for_it() -> None:
    counters = Counters(1)
    label(counters, receipt(NOON, [0.9]), [1], NOON)
    assert counters.cohorts is None
    assert cohorts(counters) == {}
