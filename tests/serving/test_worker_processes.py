"""Worker processes: what is counted, what a kill costs, and who sees a route, in real processes."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.running_server import ROOT, Server, await_true, running
from tests.serving.served_packages import cancer_package, cancer_rows

INFER = "/v2/models/cancer/infer"
THREE = ("--workers", "3")


def request(rows: int = 1) -> dict[str, Any]:
    values = cancer_rows(rows)
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": values.tolist()}
    return {"inputs": [tensor]}


def workers_of(server: Server) -> list[int]:
    """The process ids of its workers."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def metric(server: Server, name: str) -> float:
    """The sum of a metric's samples."""
    families = text_string_to_metric_families(server.metrics())
    found = [
        sample.value for family in families for sample in family.samples if sample.name == name
    ]
    assert found, name
    return sum(found)


def total(counts: Mapping[str, Any]) -> int:
    return sum(counts["bins"]) + sum(count for key, count in counts.items() if key != "bins")


class Load:
    """Clients that go on until `stop`; half of them keep their connection."""

    def __init__(self, server: Server, clients: int = 6) -> None:
        self._server = server
        self._leaving = threading.Event()
        self._threads = ThreadPoolExecutor(clients)
        self._clients = [self._threads.submit(self._run, number) for number in range(clients)]

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()

    def stop(self) -> tuple[Counter[str], int]:
        """Outcomes, and the rows of answered requests."""
        self._leaving.set()
        results = [client.result() for client in self._clients]
        self._threads.shutdown()
        outcomes: Counter[str] = Counter()
        for result in results:
            outcomes += result[0]
        return outcomes, sum(result[1] for result in results)

    def _run(self, number: int) -> tuple[Counter[str], int]:
        outcomes: Counter[str] = Counter()
        answered_rows = 0
        kept = 5 if number % 2 else 0
        limits = httpx.Limits(max_keepalive_connections=kept)
        with httpx.Client(timeout=20, limits=limits) as client:
            while not self._leaving.is_set():
                rows = 1 + (number + outcomes.total()) % 5
                try:
                    answer = client.post(self._server.url(INFER), json=request(rows))
                except httpx.TransportError:
                    outcomes["lost"] += 1
                    continue
                outcomes[str(answer.status_code)] += 1
                answered_rows += rows if answer.status_code == 200 else 0
        return outcomes, answered_rows


@pytest.fixture(scope="module")
def pod() -> Iterator[Server]:
    with running(cancer_package(), arguments=THREE) as server:
        yield server


def test_requests_of_all_workers_are_counted_once_and_rows_are_in_the_sketches(pod: Server) -> None:
    before = pod.sync()
    with Load(pod) as load:
        time.sleep(1.5)  # traffic; there is no condition to await
        outcomes, rows = load.stop()
    after = pod.sync()
    assert list(outcomes) == ["200"]
    assert after["requests"] - before["requests"] == outcomes["200"]
    assert after["rows"] - before["rows"] == rows
    assert after["sketchedRows"] + after["droppedRows"] == after["rows"]
    assert {total(counts) for counts in after["counts"].values()} == {after["sketchedRows"]}
    assert metric(pod, "mooring_workers_ready") == 3
    assert metric(pod, "mooring_request_latency_seconds_count") == after["requests"]


def test_connections_are_shared_out_evenly(pod: Server) -> None:
    with ThreadPoolExecutor(12) as threads:
        clients = [httpx.Client() for _ in range(12)]
        for answer in [threads.submit(c.get, pod.url("/v2/health/live")) for c in clients]:
            assert answer.result().status_code == 200
        counts = [
            len([link for link in Path(f"/proc/{pid}/fd").iterdir() if _is_connection(link)])
            for pid in workers_of(pod)
        ]
        for client in clients:
            client.close()
    assert max(counts) - min(counts) <= 3, counts


def test_every_metric_is_in_the_documents_table_and_no_other(pod: Server) -> None:
    page = (ROOT / "operator/docs/metrics.md").read_text().split("# Metrics of the operator")[0]
    documented = {
        line.split("`")[1] for line in page.splitlines() if line.startswith("| `mooring_")
    }
    families = list(text_string_to_metric_families(pod.metrics()))
    named = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in families
    }
    assert named == documented
    base = {"model", "version", "revision", "environment", "track"}
    assert all(base <= set(sample.labels) for family in families for sample in family.samples)


def _is_connection(link: Path) -> bool:
    try:
        return str(link.readlink()).startswith("socket:")
    except OSError:
        return False


def test_route_is_acknowledged_when_every_worker_has_it(pod: Server) -> None:
    """The peer is closed: a request that is forwarded is counted so."""
    with running(cancer_package(), peer=9, arguments=THREE) as server:
        server.sync(phase="bbbbbbbbbbbb.1/1", weightPercent=100, deadlineMs=200)
        for _ in range(12):  # each on a connection of its own, so that each worker gets some
            assert httpx.post(server.url(INFER), json=request()).status_code == 200
        snapshot = server.sync(phase="bbbbbbbbbbbb.1/1", weightPercent=0)
        assert snapshot["phases"]["bbbbbbbbbbbb.1/1"]["stable"]["requests"] < 12
        tried = metric(server, "mooring_forwards_total")
        assert tried == 12
        for _ in range(6):
            assert httpx.post(server.url(INFER), json=request()).status_code == 200
        assert metric(server, "mooring_forwards_total") == tried


def test_route_is_not_acknowledged_while_a_worker_does_not_take_it() -> None:
    with running(cancer_package(), arguments=THREE) as server:
        assert server.sync()["acknowledged"] == {"epoch": 1, "counter": 1}
        stopped = workers_of(server)[0]
        os.kill(stopped, signal.SIGSTOP)
        started = time.monotonic()
        answer = server.send(server.payload())
        assert (answer.status_code, "not every worker" in answer.text) == (503, True)
        assert time.monotonic() - started < 2
        os.kill(stopped, signal.SIGCONT)
        assert server.sync()["acknowledged"] == {"epoch": 1, "counter": 3}


def test_label_is_judged_once_whichever_workers_it_reaches(pod: Server) -> None:
    before = pod.sync()
    answer = httpx.post(pod.url(INFER), json=request()).json()
    label = {"prediction_id": answer["parameters"]["prediction_id"], "label": 0}
    verdicts: Counter[str] = Counter()
    for _ in range(9):
        taken = httpx.post(pod.url("/v2/models/cancer/feedback"), json={"labels": [label]})
        verdicts += Counter({key: taken.json()[key] for key in ("accepted", "duplicate")})
    assert verdicts == {"accepted": 1, "duplicate": 8}
    after = pod.sync()
    assert after["labelled"]["n"] == before["labelled"]["n"] + 1
    assert after["labelsDuplicate"] == before["labelsDuplicate"] + 8
    refused = httpx.post(pod.url("/v2/models/cancer/feedback"), json={"labels": []})
    assert (refused.status_code, list(refused.json())) == (400, ["error"])


def test_kill_of_a_worker_costs_only_what_it_was_answering_and_no_count_falls() -> None:
    with running(cancer_package(), arguments=THREE) as server, Load(server) as load:
        before = server.sync()
        kills = 3
        for _ in range(kills):
            time.sleep(0.3)  # traffic between the kills
            deaths = metric(server, "mooring_worker_deaths_total")
            os.kill(workers_of(server)[0], signal.SIGKILL)
            await_true(
                lambda deaths=deaths: metric(server, "mooring_worker_deaths_total") > deaths,
                what="the death noticed",
            )
            assert server.client.get(server.managed("/readyz")).status_code == 200
            now = server.sync()
            for key in ("requests", "rows", "sketchedRows", "droppedRows"):
                assert now[key] >= before[key], key
            before = now
            await_true(
                lambda: metric(server, "mooring_workers_ready") == 3, seconds=20, what="all back"
            )
        outcomes, rows = load.stop()
        after = server.sync()
        in_flight = 6  # one for each client
        assert set(outcomes) <= {"200", "lost"}
        assert outcomes["lost"] <= kills * in_flight
        assert outcomes["200"] <= after["requests"] <= outcomes["200"] + outcomes["lost"]
        assert rows <= after["rows"]
        assert after["sketchedRows"] + after["droppedRows"] == after["rows"]
        assert {total(counts) for counts in after["counts"].values()} == {after["sketchedRows"]}
        assert metric(server, "mooring_worker_deaths_total") == kills
        assert metric(server, "mooring_requests_lost_total") <= outcomes["lost"]
        assert outcomes["lost"] <= metric(server, "mooring_connections_lost_total")


def test_drain_of_all_workers_loses_no_request() -> None:
    with (
        running(cancer_package(), arguments=THREE, MOORING_DRAIN_SECONDS="2") as server,
        Load(server) as load,
    ):
        time.sleep(0.5)  # traffic before the signal
        server.terminate()
        ready = server.managed("/readyz")
        await_true(lambda: server.client.get(ready).status_code == 503, what="not ready")
        time.sleep(0.5)  # endpoints take a while to leave every proxy
        outcomes, _ = load.stop()
        assert server.process.wait(20) == 0
    assert list(outcomes) == ["200"]
    assert outcomes["200"] > 50


def test_connection_in_the_queue_outlives_the_only_worker_that_could_take_it() -> None:
    """All workers are stopped, so that connections wait; then all are killed."""
    with running(cancer_package(), arguments=("--workers", "2")) as server:
        pids = workers_of(server)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        with ThreadPoolExecutor(5) as threads:
            waiting = [
                threads.submit(httpx.post, server.url(INFER), json=request(), timeout=30)
                for _ in range(5)
            ]
            time.sleep(0.3)  # the kernel has taken the connections
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            assert [answer.result().status_code for answer in waiting] == [200] * 5
        assert server.sync()["requests"] == 5


def test_pod_is_not_ready_while_no_worker_is_left_and_ready_again_after() -> None:
    with running(cancer_package(), arguments=("--workers", "2")) as server:
        for pid in workers_of(server):
            os.kill(pid, signal.SIGKILL)
        ready = server.managed("/readyz")
        await_true(lambda: server.client.get(ready).status_code == 503, what="not ready")
        assert server.client.get(server.managed("/livez")).status_code == 200
        await_true(
            lambda: server.client.get(ready).status_code == 200, seconds=20, what="ready again"
        )
        assert httpx.post(server.url(INFER), json=request()).status_code == 200


def test_worker_above_its_memory_limit_refuses_work_but_answers_health() -> None:
    limit = str(32 * 1024 * 1024)
    package = cancer_package("forest")
    with running(package, arguments=("--workers", "2"), MOORING_MEMORY_PER_WORKER=limit) as server:
        refusing = metric(server, "mooring_workers_over_memory")
        answers = [httpx.post(server.url(INFER), json=request()) for _ in range(6)]
        assert refusing == 2
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        assert httpx.get(server.url("/v2/health/live")).status_code == 200
        await_true(lambda: metric(server, "mooring_requests_over_memory_total") == 6)


def test_server_ends_with_the_cause_when_the_package_cannot_be_loaded(tmp_path: Path) -> None:
    import shutil
    import subprocess
    import sys

    broken = tmp_path / "broken"
    shutil.copytree(cancer_package(), broken)
    model = broken / "model.onnx"
    model.write_bytes(model.read_bytes()[:-10])
    ended = subprocess.run(
        [sys.executable, "-m", "tests.serving.server_process", str(broken), *THREE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "model.onnx" in ended.stderr
    assert "Traceback" not in ended.stderr
