"""Predictions and labels by cohort: which one a label counts in, bounds, merging over workers."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile import FeatureKind, SketchRecorder
from mooring_profile.build import ProfilePlan, build_profile
from mooring_serving.arms import Arm
from mooring_serving.cohorts import MOST_COHORTS, CohortRule, PredictedRows
from mooring_serving.counters import Counters
from mooring_serving.feedback import FeedbackDesk
from mooring_serving.losses import LossRule, Task
from mooring_serving.receipts import ReceiptWriter
from mooring_serving.row_segments import RowSegments
from mooring_serving.totals import read_totals

SEGMENTED = build_profile(
    {
        "carrier": np.array(["AA", "UA"] * 2000, dtype=object),
        "hour": np.array([1.0, 2.0] * 2000),
    },
    {"carrier": FeatureKind.CATEGORICAL, "hour": FeatureKind.NUMERIC},
    score=None,
    blocks=None,
    plan=ProfilePlan(segments=("carrier", "hour")),
)
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


def receipt(
    moment: datetime,
    predicted: list[float],
    revision: str = REVISION,
    segments: Sequence[int] = (),
) -> str:
    writer = ReceiptWriter("m", "v1", revision, key=None)
    return writer.write(
        writer.next_id(),
        event_time=moment.isoformat(),
        rows=len(predicted),
        predicted=predicted,
        side=(Arm.STABLE, None),
        segments=segments,
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
    counters.cohorts.count_predicted([PredictedRows(microseconds(NOON), 4)])
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
    counters.cohorts.count_predicted([PredictedRows(microseconds(NOON), 1)])
    label(counters, receipt(NOON - MOST_COHORTS * HOUR, [0.9]), [1], NOON)
    label(counters, receipt(NOON - (MOST_COHORTS - 1) * HOUR, [0.9]), [1], NOON)
    assert set(cohorts(counters)) == {key(NOON), key(NOON - (MOST_COHORTS - 1) * HOUR)}


def test_request_whose_receipt_carries_no_values_is_in_no_cohort() -> None:
    counters = Counters(1, cohorts=RULE)
    assert counters.cohorts is not None
    counters.cohorts.count_predicted(
        [PredictedRows(microseconds(NOON), 65), PredictedRows(microseconds(NOON), 64)]
    )
    assert cohorts(counters)[key(NOON)]["rows"] == 64


def test_cohorts_of_worker_processes_add() -> None:
    apart = [Counters(1, cohorts=RULE), Counters(1, cohorts=RULE)]
    for counters in apart:
        assert counters.cohorts is not None
        counters.cohorts.count_predicted([PredictedRows(microseconds(NOON), 3)])
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


def test_rows_and_labels_count_in_each_of_their_segments() -> None:
    counters = Counters(1, cohorts=RULE)
    assert counters.cohorts is not None
    counters.cohorts.count_predicted([PredictedRows(microseconds(NOON), 3, [0b101, 0b100, 0])])
    label(counters, receipt(NOON, [0.9, 0.2, 0.5], segments=[0b101, 0b100, 0]), [1, 1, 0], NOON)
    found = cohorts(counters)[key(NOON)]
    assert (found["rows"], found["n"]) == (3, 3)
    assert found["confusion"] == {"tp": 1, "fp": 1, "fn": 1, "tn": 0}
    first, third = found["segments"]["0"], found["segments"]["2"]
    assert set(found["segments"]) == {"0", "2"}
    assert first == pytest.approx([1, 1, 0.01, 0.0001, 1, 0, 0, 0])
    assert third == pytest.approx([2, 2, 0.65, 0.0001 + 0.64**2, 1, 0, 1, 0])


def test_segments_of_another_revision_are_not_told_apart() -> None:
    counters = Counters(1, cohorts=RULE)
    label(counters, receipt(NOON, [0.9], "2" * 12, segments=[1]), [1], NOON)
    found = cohorts(counters)[key(NOON, "2" * 12)]
    assert found["n"] == 1
    assert "segments" not in found


def test_segments_of_worker_processes_add() -> None:
    apart = [Counters(1, cohorts=RULE), Counters(1, cohorts=RULE)]
    for counters, segments in zip(apart, ([1], [3]), strict=True):
        assert counters.cohorts is not None
        counters.cohorts.count_predicted([PredictedRows(microseconds(NOON), 1, segments)])
        label(counters, receipt(NOON, [0.9], segments=segments), [0], NOON)
    document: Any = read_totals([counters.memory for counters in apart]).to_json()["cohorts"]
    found = document[key(NOON)]["segments"]
    assert found["0"] == pytest.approx([2, 2, 1.62, 2 * 0.81**2, 0, 2, 0, 0])
    assert found["1"] == pytest.approx([1, 1, 0.81, 0.81**2, 0, 1, 0, 0])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(["AA", "UA", "ZZ", None]), min_size=1, max_size=30),
    st.lists(st.sampled_from([1.0, 2.0, 3.0, float("nan")]), min_size=30, max_size=30),
)
def test_segments_of_rows_are_those_that_the_recorder_counts(
    carriers: list[str | None], hours: list[float]
) -> None:
    rows = len(carriers)
    columns = {"carrier": np.array(carriers, dtype=object), "hour": np.array(hours[:rows])}
    recorder = SketchRecorder(SEGMENTED)
    recorder.record(columns, None)
    counted = recorder.snapshot().counts
    found = RowSegments(SEGMENTED).of(columns, rows, None)
    for place, part in enumerate(SEGMENTED.segments):
        inside = sum(segments >> place & 1 for segments in found)
        assert counted[part.streams[0].name].rows == inside


def test_column_that_is_absent_puts_no_row_into_its_segments() -> None:
    names = [str(part.segment) for part in SEGMENTED.segments]
    found = RowSegments(SEGMENTED).of({"hour": np.array([[1.0], [9.0]])}, 2, None)
    assert found == [1 << names.index("hour=1"), 0]
