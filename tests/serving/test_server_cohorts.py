"""Cohorts end to end: real servers count them, the operator reads, merges and judges them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mooring_operator.ids import Revision
from mooring_operator.reconcile.cohort_sums import cohorts_of, plus, segment_cohorts_of
from mooring_operator.reconcile.snapshots import parse_snapshot
from mooring_profile.confusion import Confusion
from mooring_serving.receipts import parse_receipt
from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package, cancer_rows, segmented_package

REVISION = Revision("aaaaaaaaaaaa")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def predict(server: Server, rows: int, moment: datetime) -> dict[str, Any]:
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30]}
    document = {
        "inputs": [{**tensor, "data": cancer_rows(rows).tolist()}],
        "parameters": {"event_time": moment.isoformat()},
    }
    answer = server.post("/v2/models/cancer/infer", document)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("workers", [1, 2])
def test_label_sent_later_is_read_by_the_operator_in_the_cohort_of_its_prediction(
    workers: int,
) -> None:
    settings = {"MOORING_COHORT_SECONDS": "3600", "MOORING_EVENT_TIME": "Request"}
    arguments = ["--workers", str(workers)] if workers > 1 else []
    with running(cancer_package(), environment=settings, arguments=arguments) as server:
        first = predict(server, 4, NOON + timedelta(minutes=10))
        predict(server, 3, NOON + timedelta(minutes=70))
        label = {"prediction_id": first["parameters"]["prediction_id"], "label": [1, 1, 0, None]}
        answer = server.post("/v2/models/cancer/feedback", {"labels": [label]})
        assert answer.json()["accepted"] == 1
        snapshot = parse_snapshot(server.sync(), "pod")
    receipt = parse_receipt(first["parameters"]["prediction_id"], None)
    assert snapshot.label_sample == (receipt.id,)
    early, late = cohorts_of(plus({}, [snapshot]), REVISION, HOUR)
    assert (early.start, early.end) == (NOON, NOON + HOUR)
    assert (early.predicted, early.losses.n, late.predicted, late.losses.n) == (4, 3, 3, 0)
    assert early.confusion is not None
    assert early.confusion.rows == 3
    probabilities = first["outputs"][1]["data"]
    expected = sum((p - y) ** 2 for p, y in zip(probabilities, (1, 1, 0), strict=False))
    assert early.losses.total == pytest.approx(expected)


def test_receipt_tells_the_segment_of_a_row_to_the_label_that_comes_later() -> None:
    settings = {"MOORING_COHORT_SECONDS": "3600", "MOORING_EVENT_TIME": "Request"}
    rows = [("AA", 2.0), ("UA", 1.0), ("ZZ", -1.0), ("UA", -2.0)]
    inputs = [
        {"name": "carrier", "datatype": "BYTES", "shape": [4], "data": [row[0] for row in rows]},
        {"name": "distance", "datatype": "FP64", "shape": [4], "data": [row[1] for row in rows]},
    ]
    parameters = {"event_time": NOON.isoformat()}
    with running(segmented_package(), environment=settings) as server:
        names = [
            f"{part['column']}={part['value']}"
            for part in server.client.get(server.managed("/mooring/v1/profile")).json()["segments"]
        ]
        document = {"inputs": inputs, "parameters": parameters}
        answer = server.post("/v2/models/late/infer", document).json()
        label = {"prediction_id": answer["parameters"]["prediction_id"], "label": [1, 0, 0, None]}
        assert server.post("/v2/models/late/feedback", {"labels": [label]}).json()["accepted"] == 1
        snapshot = parse_snapshot(server.sync(), "pod")
    parts = segment_cohorts_of(plus({}, [snapshot]), REVISION, HOUR, names)
    (american,), (united,) = parts["carrier=AA"], parts["carrier=UA"]
    assert (american.predicted, american.losses.n) == (1, 1)
    assert (united.predicted, united.losses.n) == (2, 1)
    assert american.confusion == Confusion(1, 0, 0, 0)
    assert united.confusion == Confusion(0, 1, 0, 0)
    (whole,) = cohorts_of(plus({}, [snapshot]), REVISION, HOUR)
    assert (whole.predicted, whole.losses.n) == (4, 3)
