"""The prediction log of a real server: killed, sampled, hashed, with a store that is away."""

import http.client
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mooring_serving.log.retention import Retention
from mooring_serving.log.sampling import is_sampled
from mooring_serving.log.segments import FLUSH_SECONDS
from mooring_serving.log.store import open_store
from mooring_training.log import read_logs
from mooring_training.places import DirectoryPlace
from tests.serving.running_server import ROOT, Server, await_true, running
from tests.serving.served_packages import cancer_package, cancer_rows, cancer_table, mixed_package
from tests.serving.stores import s3_server

_dataset: Any = importlib.import_module("pyarrow.dataset")
SALT = "a salt of enough bytes"
BOUND_SECONDS = 0.25
"""What contracts §6 promises."""


def request(rows: int = 1) -> dict[str, Any]:
    values = cancer_rows(rows)
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
    features = [name for name in cancer_table().columns if name != "benign"]
    read = read_logs(DirectoryPlace(tmp_path), "tests/cancer", features)
    assert set(read.predictions["prediction_id"]) == logged
    assert (len(read.predictions), len(read.labels), read.withheld) == (len(logged), 100, 0)


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


@pytest.mark.s3
def test_retention_deletes_old_days_of_a_bucket_and_nothing_else(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    source = tmp_path / "segment"
    source.write_bytes(b"PAR1")
    with s3_server(tmp_path / "s3") as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        (server.root / "logs").mkdir()
        store = open_store("s3://logs/flights")
        prefix = "ns/dep/predictions"
        for day in ("2026-02-01", "2026-02-20", "2026-02-21", "2026-03-01"):
            for number in range(3):
                store.put(f"{prefix}/date={day}/pod-1-0-{number}.parquet", source)
        store.put(f"{prefix}-of-others/date=2026-02-01/pod-1-0-0.parquet", source)
        retention = Retention(store, prefix, "pod-1", timedelta(days=7))
        assert retention.sweep(now) == (6, False)
        assert retention.sweep(now) == (0, False)
        left = sorted(path.parent.name for path in (server.root / "logs").rglob("*.parquet"))
    assert left == ["date=2026-02-01", *["date=2026-02-21"] * 3, *["date=2026-03-01"] * 3]


class _Slow:
    """A server that takes connections and never answers."""

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        return self._socket.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def latencies(server: Server, count: int) -> list[float]:
    """Seconds of each of `count` requests on one connection, sorted."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=10)
    body = json.dumps(request()).encode()
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        connection.request("POST", "/v2/models/cancer/infer", body)
        answer = connection.getresponse()
        answer.read()
        taken.append(time.perf_counter() - began)
        assert answer.status == 200
    connection.close()
    return sorted(taken)


@pytest.mark.s3
def test_store_that_never_answers_delays_no_prediction_and_is_counted(tmp_path: Path) -> None:
    """Alternated rounds of both servers, so that a busy machine slows both."""
    with _Slow() as port:
        variables = {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_REGION": "us-east-1",
            "MOORING_PREDICTION_LOG_URI": "s3://logs/flights",
            "MOORING_PREDICTION_LOG": json.dumps({"rotate": {"seconds": 0.2}}),
            "MOORING_PREDICTION_LOG_JOURNAL": str(tmp_path / "journal"),
            "MOORING_LIMIT_LOG_DISK_BYTES": str(1 << 20),
        }
        with (
            running(cancer_package()) as plain,
            running(cancer_package(), environment=variables) as logging,
        ):
            seconds: dict[str, list[float]] = {"plain": [], "logging": []}
            for _ in range(6):
                seconds["plain"] += latencies(plain, 400)
                seconds["logging"] += latencies(logging, 400)
            rows = log_rows(logging)
            logging.process.kill()
    p99 = {name: sorted(taken)[int(len(taken) * 0.99)] for name, taken in seconds.items()}
    assert p99["logging"] < 2 * p99["plain"] + 0.005, p99
    assert rows["written"] == 0
    assert rows["waiting"] + rows["dropped"] == 2400
    assert rows["dropped"] > 0  # the disk's limit holds 512 KiB of a stream
    used = sum(path.stat().st_size for path in (tmp_path / "journal").rglob("*.*"))
    assert used <= 1 << 20
