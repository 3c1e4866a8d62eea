"""The prediction log of a real server: killed, sampled, hashed, with a store that is away."""

import http.client
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from mooring_serving.log.sampling import is_sampled
from mooring_serving.log.segments import FLUSH_SECONDS
from tests.serving.running_server import ROOT, Server, await_true, running
from tests.serving.served_packages import cancer_package, cancer_table, mixed_package

_dataset: Any = importlib.import_module("pyarrow.dataset")
SALT = "a salt of enough bytes"
BOUND_SECONDS = 0.25
"""What contracts §6 promises."""


def request(rows: int = 1) -> dict[str, Any]:
    values = cancer_table().drop(columns="benign").to_numpy()[:rows]
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": values.tolist()}
    return {"inputs": [tensor]}


def flight(carrier: str = "AA") -> dict[str, Any]:
    return {
        "inputs": [
            {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": [carrier]},
            {"name": "distance", "datatype": "FP64", "shape": [1], "data": [733.0]},
            {"name": "hour", "datatype": "INT64", "shape": [1], "data": [3]},
            {"name": "weekend", "datatype": "BOOL", "shape": [1], "data": [True]},
        ]
    }


def log_rows(server: Server, log: str = "predictions") -> dict[str, int]:
    """Rows by outcome, and those waiting, as the metrics say."""
    rows: dict[str, int] = {}
    for family in text_string_to_metric_families(server.metrics()):
        for sample in family.samples:
            if sample.labels.get("log") == log:
                outcome = sample.labels.get("outcome", "waiting")
                rows[outcome] = int(sample.value)
    return rows


def table(root: Path, stream: str = "predictions", name: str = "cancer") -> Any:
    files = sorted(str(path) for path in (root / "tests" / name / stream).rglob("*.parquet"))
    return _dataset.dataset(files, format="parquet").to_table()


class Load:
    """Clients that send until the server is gone; counts the answers that came."""

    def __init__(self, server: Server, clients: int, rows: int) -> None:
        self.answered = 0
        self.sent = 0
        self._lock = threading.Lock()
        self._port = server.http
        self._body = json.dumps(request(rows)).encode()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while True:
            try:
                with self._lock:
                    self.sent += 1
                connection.request("POST", "/v2/models/cancer/infer", self._body)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return
            assert answer.status == 200
            with self._lock:
                self.answered += 1

    def rate(self, seconds: float) -> float:
        """Requests answered a second, over the next `seconds`."""
        before, began = self.answered, time.monotonic()
        time.sleep(seconds)
        return (self.answered - before) / (time.monotonic() - began)

    def join(self) -> None:
        """Wait for the end."""
        for thread in self._threads:
            thread.join(20)


def test_killed_server_loses_at_most_a_quarter_second_of_rows_and_counts_them(
    tmp_path: Path,
) -> None:
    store, journal = tmp_path / "store", tmp_path / "journal"
    variables = {
        "MOORING_PREDICTION_LOG_URI": f"file://{store}",
        "MOORING_PREDICTION_LOG_JOURNAL": str(journal),
        "MOORING_PREDICTION_LOG": json.dumps({"rotate": {"seconds": 1.0}}),
    }
    answered = sent = 0
    lost: list[int] = []
    bounds: list[float] = []
    recovered = 0
    rows: dict[str, int] = {}
    for _ in range(3):
        with running(cancer_package(), environment=variables) as server:
            load = Load(server, clients=4, rows=2)
            time.sleep(0.5)
            bounds.append(load.rate(1.0) * 2 * BOUND_SECONDS)
            server.process.kill()
            load.join()
            answered, sent = answered + load.answered * 2, sent + load.sent * 2
        with running(cancer_package(), environment=variables) as server:
            await_true(lambda: log_rows(server)["waiting"] == 0, what="recovery")
            rows = log_rows(server)
            lost.append(rows["lost"] - sum(lost))
            assert rows["recovered"] > recovered
            recovered = rows["recovered"]
            assert server.stop() == 0
    offered = rows["written"] + rows["recovered"] + rows["lost"]
    assert rows["dropped"] == 0
    assert answered <= offered <= sent  # a request may be logged and its answer not have come
    in_flight = 4 * 2
    assert all(one <= bound + in_flight for one, bound in zip(lost, bounds, strict=True)), (
        lost,
        bounds,
    )
    written = table(store).select(["prediction_id", "row"]).to_pandas()
    assert len(written) == len(written.drop_duplicates()) == rows["written"] + rows["recovered"]
    assert FLUSH_SECONDS < BOUND_SECONDS


def test_hashed_field_shows_its_value_nowhere(tmp_path: Path, capfd: Any) -> None:
    marker = "customer-4711-secret"
    store, journal = tmp_path / "store", tmp_path / "journal"
    variables = {
        "MOORING_PREDICTION_LOG_URI": f"file://{store}",
        "MOORING_PREDICTION_LOG_JOURNAL": str(journal),
        "MOORING_PREDICTION_LOG": json.dumps({"hash": ["carrier"], "exclude": ["hour"]}),
        "MOORING_PREDICTION_LOG_SALT": SALT,
        "MOORING_DEPLOYMENT": "flights",
    }
    with running(mixed_package(), environment=variables) as server:
        for carrier in (marker, marker, "AA"):
            answer = server.post("/v2/models/flights/infer", flight(carrier))
            assert answer.status_code == 200
        await_true(lambda: any(journal.rglob("*.journal")), what="the journal")
        time.sleep(2 * FLUSH_SECONDS)
        seen = [path.read_bytes() for path in journal.rglob("*") if path.is_file()]
        seen.append(server.metrics().encode())
        assert server.stop() == 0
    seen += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    seen += [stream.encode() for stream in capfd.readouterr()]
    assert not [text for text in seen if marker.encode() in text or SALT.encode() in text]
    logged = table(store, name="flights")
    hashes = logged["h.carrier"].to_pylist()
    assert hashes[0] == hashes[1] != hashes[2]
    assert {len(value) for value in hashes} == {32}
    features = [name for name in logged.column_names if name.startswith("f.")]
    assert features == ["f.distance", "f.weekend"]


def test_sampled_log_holds_what_the_ids_say_and_all_labels(tmp_path: Path) -> None:
    variables = {
        "MOORING_PREDICTION_LOG_URI": f"file://{tmp_path}",
        "MOORING_PREDICTION_LOG": json.dumps({"sample": 0.3}),
    }
    with running(cancer_package(), environment=variables) as server:
        labels: list[dict[str, Any]] = []
        for _ in range(100):
            answer = server.post("/v2/models/cancer/infer", request(1)).json()
            labels.append({"prediction_id": answer["parameters"]["prediction_id"], "label": 1})
        server.post("/v2/models/cancer/feedback", {"labels": labels})
        counted = log_rows(server)
        assert "prediction_log_sample{" in server.metrics()
        assert server.stop() == 0
    logged = set(table(tmp_path)["prediction_id"].to_pylist())
    everything = set(table(tmp_path, "labels")["prediction_id"].to_pylist())
    assert len(everything) == 100
    assert logged == {name for name in everything if is_sampled(name, 0.3)}
    assert counted["sampled_out"] == 100 - len(logged) > 0
    facts = table(tmp_path).schema.metadata
    assert facts[b"mooring.sample"] == b"0.3"


def test_server_ends_with_the_remedy_when_a_field_is_to_be_hashed_without_a_salt(
    tmp_path: Path,
) -> None:
    variables = {
        "MOORING_PREDICTION_LOG_URI": f"file://{tmp_path}",
        "MOORING_PREDICTION_LOG": json.dumps({"hash": ["carrier"]}),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.serving.server_process", str(mixed_package())],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "saltSecretName" in ended.stderr
    assert "Traceback" not in ended.stderr
