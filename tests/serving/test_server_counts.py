"""Counters are exact, feedback is counted once, and the prediction log is complete."""

import importlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.running_server import Server, await_true, running
from tests.serving.served_packages import (
    cancer_package,
    cancer_rows,
    cancer_table,
    mixed_package,
    regression_package,
)

_dataset: Any = importlib.import_module("pyarrow.dataset")
KEY = "an authenticating key of some length"


@pytest.fixture(scope="module")
def pod() -> Iterator[Server]:
    with running(cancer_package()) as server:
        yield server


def request(rows: int = 1, **more: object) -> dict[str, Any]:
    values = cancer_rows(rows)
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": values.tolist()}
    return {"inputs": [tensor], **more}


def predict(server: Server, rows: int = 1, **more: object) -> dict[str, Any]:
    answer = server.post("/v2/models/cancer/infer", request(rows, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()


def receipt(server: Server, rows: int = 1) -> str:
    return predict(server, rows)["parameters"]["prediction_id"]


def give(server: Server, *labels: Mapping[str, object], model: str = "cancer") -> dict[str, Any]:
    answer = server.post(f"/v2/models/{model}/feedback", {"labels": list(labels)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def total(counts: dict[str, Any]) -> int:
    return sum(counts["bins"]) + sum(count for key, count in counts.items() if key != "bins")


def test_each_row_is_in_the_sketches_exactly_once_under_concurrent_load() -> None:
    with running(cancer_package()) as server:

        def send(worker: int) -> int:
            with httpx.Client() as client:
                for number in range(60):
                    rows = 1 + (worker + number) % 7
                    url = server.url("/v2/models/cancer/infer")
                    assert client.post(url, json=request(rows)).status_code == 200
            return sum(1 + (worker + number) % 7 for number in range(60))

        with ThreadPoolExecutor(8) as threads:
            rows = sum(threads.map(send, range(8)))
        snapshot = server.sync()
        assert (snapshot["requests"], snapshot["rows"]) == (480, rows)
        assert (snapshot["sketchedRows"], snapshot["droppedRows"]) == (rows, 0)
        assert {total(counts) for counts in snapshot["counts"].values()} == {rows}
        assert 'mooring_rows_total{environment="local",model="cancer"' in server.metrics()


def test_rows_beyond_the_recorders_limit_are_counted_as_dropped() -> None:
    with running(
        cancer_package(), arguments=["--work", json.dumps({"recorder_rows": 50})]
    ) as server:
        for _ in range(5):
            predict(server, 200)
        predict(server, 50)
        snapshot = server.sync()
        assert snapshot["rows"] == 1050
        assert (snapshot["sketchedRows"], snapshot["droppedRows"]) == (50, 1000)


def test_refused_requests_are_not_counted_as_answered(pod: Server) -> None:
    before = pod.sync()
    assert pod.post("/v2/models/cancer/infer", {"inputs": []}).status_code == 400
    after = pod.sync()
    assert (after["requests"], after["errors"]) == (before["requests"], before["errors"])


def test_missing_values_are_predicted_and_counted_missing() -> None:
    with running(mixed_package()) as server:
        inputs = [
            {"name": "carrier", "datatype": "BYTES", "shape": [2], "data": ["AA", "B6"]},
            {"name": "distance", "datatype": "FP64", "shape": [2], "data": [None, 1e9]},
            {"name": "hour", "datatype": "INT64", "shape": [2], "data": [3, 4]},
            {"name": "weekend", "datatype": "BOOL", "shape": [2], "data": [True, False]},
        ]
        assert server.post("/v2/models/flights/infer", {"inputs": inputs}).status_code == 200
        counts = server.sync()["counts"]
        assert (counts["distance"]["missing"], counts["distance"]["above"]) == (1, 1)
        assert {total(stream) for stream in counts.values()} == {2}


def test_label_is_counted_with_its_loss(pod: Server) -> None:
    before = pod.sync()["labelled"]
    document = predict(pod)
    probability = document["outputs"][1]["data"][0]
    label = {"prediction_id": document["parameters"]["prediction_id"], "label": 0}
    assert give(pod, label) == {"accepted": 1, "duplicate": 0, "rejected": []}
    after = pod.sync()["labelled"]
    assert after["n"] == before["n"] + 1
    assert after["lossSum"] - before["lossSum"] == pytest.approx(probability**2)


def test_first_label_of_a_receipt_wins(pod: Server) -> None:
    text = receipt(pod, 2)
    before = pod.sync()
    assert give(pod, {"prediction_id": text, "label": [0, 1]})["accepted"] == 1
    second = give(
        pod, {"prediction_id": text, "label": [1, 1]}, {"prediction_id": text, "label": [0, 0]}
    )
    assert second == {"accepted": 0, "duplicate": 2, "rejected": []}
    after = pod.sync()
    assert after["labelled"]["n"] == before["labelled"]["n"] + 2
    assert after["labelsDuplicate"] == before["labelsDuplicate"] + 2


def test_label_of_some_rows_counts_those_rows(pod: Server) -> None:
    before = pod.sync()["labelled"]["n"]
    give(pod, {"prediction_id": receipt(pod, 3), "label": [0, None, 1]})
    assert pod.sync()["labelled"]["n"] == before + 2


def test_large_request_has_a_receipt_without_values_and_no_loss(pod: Server) -> None:
    before = pod.sync()["labelled"]["n"]
    text = receipt(pod, 65)
    assert give(pod, {"prediction_id": text, "label": [1] * 65})["accepted"] == 1
    assert pod.sync()["labelled"]["n"] == before


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        pytest.param({}, "prediction_id", id="nothing"),
        pytest.param({"prediction_id": 3, "label": 1}, "prediction_id", id="a number"),
        pytest.param({"prediction_id": "made up", "label": 1}, "malformed", id="made up"),
        pytest.param({"prediction_id": "e30=.-", "label": 1}, "malformed", id="empty document"),
        pytest.param({"prediction_id": "x" * 70_000, "label": 1}, "too long", id="very long"),
        pytest.param({"prediction_id": "ok", "label": 2}, "label must be", id="unknown class"),
        pytest.param({"prediction_id": "ok", "label": "1"}, "label must be", id="class as text"),
        pytest.param({"prediction_id": "ok", "label": True}, "label must be", id="class as flag"),
        pytest.param({"prediction_id": "ok", "label": [1, 0]}, "2 values", id="too many"),
        pytest.param({"prediction_id": "ok", "label": None}, "missing", id="null"),
        pytest.param({"prediction_id": "ok", "label": {}}, "label must be", id="an object"),
        pytest.param(
            {"prediction_id": "ok", "label": 1, "label_time": "today"}, "label_time", id="no time"
        ),
        pytest.param(
            {"prediction_id": "ok", "label": 1, "label_time": "2026-01-01T00:00:00"},
            "label_time",
            id="time without offset",
        ),
    ],
)
def test_label_is_rejected_with_its_reason(
    pod: Server, label: dict[str, object], reason: str
) -> None:
    if label.get("prediction_id") == "ok":
        label = label | {"prediction_id": receipt(pod)}
    before = pod.sync()["labelsRejected"]
    result = give(pod, label)
    assert (result["accepted"], result["rejected"][0]["index"]) == (0, 0)
    assert reason in result["rejected"][0]["error"]
    assert pod.sync()["labelsRejected"] == before + 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"labels": {}}', b'{"labels": []}', b"NaN"])
def test_feedback_without_labels_is_400(pod: Server, body: bytes) -> None:
    assert pod.client.post(pod.url("/v2/models/cancer/feedback"), content=body).status_code == 400


def test_feedback_flood_is_429_with_retry_after() -> None:
    with running(cancer_package()) as server:
        empty: dict[str, object] = {}
        document = {"labels": [empty] * 4096}
        answers = [server.post("/v2/models/cancer/feedback", document) for _ in range(8)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert refused[0].headers["retry-after"] == "1"


def test_authenticated_receipt_is_taken_and_a_forged_one_is_not() -> None:
    with (
        running(cancer_package(), MOORING_RECEIPT_KEY=KEY) as server,
        running(cancer_package()) as stranger,
    ):
        assert give(server, {"prediction_id": receipt(server), "label": 1})["accepted"] == 1
        forged = give(server, {"prediction_id": receipt(stranger), "label": 1})
        assert "not authentic" in forged["rejected"][0]["error"]


def test_receipt_of_another_model_is_rejected(pod: Server) -> None:
    with running(regression_package()) as other:
        result = give(other, {"prediction_id": receipt(pod), "label": 1.0}, model="diabetes")
        assert "model 'cancer'" in result["rejected"][0]["error"]


def read_log(root: Path, stream: str) -> list[dict[str, Any]]:
    folder = root / "tests" / "cancer" / stream
    files = sorted(str(path) for path in folder.rglob("*.parquet"))
    return _dataset.dataset(files, format="parquet").to_table().to_pylist()


def test_prediction_log_holds_each_row_of_each_request_after_a_drain(tmp_path: Path) -> None:
    with running(
        cancer_package(),
        MOORING_PREDICTION_LOG_URI=f"file://{tmp_path}",
        MOORING_EVENT_TIME="Request",
    ) as server:
        server.sync(phase="bbbbbbbbbbbb/1")
        moment = "2013-01-05T10:30:00.25Z"
        first = predict(server, 3, parameters={"event_time": moment})
        for _ in range(40):
            predict(server, 5)
        text = first["parameters"]["prediction_id"]
        label = {"prediction_id": text, "label": [1, 0, 1], "label_time": "2013-01-05T12:00:00Z"}
        assert give(server, label)["accepted"] == 1
        assert server.stop() == 0
    rows = read_log(tmp_path, "predictions")
    assert len(rows) == 203
    assert {row["arm"] for row in rows} == {"stable"}
    assert {row["phase"] for row in rows} == {"bbbbbbbbbbbb/1"}
    assert {row["revision"] for row in rows} == {"aaaaaaaaaaaa"}
    old = [row for row in rows if row["event_time"].year == 2013]
    assert [row["row"] for row in old] == [0, 1, 2]
    assert old[0]["event_time"].isoformat() == "2013-01-05T10:30:00.250000+00:00"
    table = cancer_table()
    assert [row["f.mean_radius"] for row in old] == table["mean_radius"][:3].tolist()
    assert [row["score"] for row in old] == pytest.approx(first["outputs"][1]["data"])
    labels = read_log(tmp_path, "labels")
    assert [(row["row"], row["label"], row["label_value"]) for row in labels] == [
        (0, "1", 1.0),
        (1, "0", 0.0),
        (2, "1", 1.0),
    ]
    assert {row["prediction_id"] for row in labels} == {old[0]["prediction_id"]}


def test_prediction_log_closes_a_segment_by_age_while_running(tmp_path: Path) -> None:
    with running(
        cancer_package(),
        MOORING_PREDICTION_LOG_URI=f"file://{tmp_path}",
        MOORING_PREDICTION_LOG=json.dumps({"rotate": {"seconds": 1}}),
    ) as server:
        predict(server, 2)
        await_true(lambda: list(tmp_path.rglob("*.parquet")) != [], seconds=20, what="the segment")
        assert len(read_log(tmp_path, "predictions")) == 2


def test_event_time_is_arrival_unless_the_deployment_opts_in(pod: Server) -> None:
    import base64

    document = predict(pod, parameters={"event_time": "2013-01-05T10:30:00Z"})
    encoded = document["parameters"]["prediction_id"].partition(".")[0]
    assert not json.loads(base64.urlsafe_b64decode(encoded))["t"].startswith("2013")


@pytest.mark.parametrize("moment", ["yesterday", "2013-01-05", 5, True, "2999-01-05T00:00:00Z"])
def test_event_time_of_another_form_is_400(moment: object) -> None:
    with running(cancer_package(), MOORING_EVENT_TIME="Request") as server:
        answer = server.post("/v2/models/cancer/infer", request(parameters={"event_time": moment}))
        assert (answer.status_code, "event_time" in answer.text) == (400, True)


def test_predictions_go_on_when_the_log_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the log wants a directory")
    with running(cancer_package(), MOORING_PREDICTION_LOG_URI=f"file://{blocked}") as server:
        for _ in range(20):
            predict(server, 1)
        assert server.stop() == 0
