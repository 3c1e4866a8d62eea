"""The end of a server: no request is lost, probes tell the truth, and it exits with 0."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.running_server import ROOT, Server, await_true, running
from tests.serving.served_packages import cancer_package, cancer_rows, mixed_package


def request(rows: int = 1) -> dict[str, Any]:
    values = cancer_rows(rows)
    tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 30], "data": values.tolist()}
    return {"inputs": [tensor]}


def closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def in_flight(server: Server) -> float:
    """Requests received and not yet answered."""
    name = "mooring_requests_in_flight{"
    found = [line for line in server.metrics().splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def readiness(server: Server) -> int:
    return server.client.get(server.managed("/readyz")).status_code


def test_drain_loses_no_request_of_concurrent_clients() -> None:
    """Clients use the pod as kube-proxy lets them: new requests come until it is not ready plus
    the time that endpoints need to notice, over kept connections and over new ones.
    """
    with running(cancer_package(), MOORING_DRAIN_SECONDS="2") as server:
        leave = threading.Event()
        begun = threading.Barrier(13)

        def client_loop(number: int) -> tuple[int, int]:
            sent = answered = 0
            limits = httpx.Limits(max_keepalive_connections=0 if number % 3 == 0 else 5)
            with httpx.Client(timeout=20, limits=limits) as client:
                begun.wait()
                while not leave.is_set():
                    sent += 1
                    answer = client.post(
                        server.url("/v2/models/cancer/infer"), json=request(1 + number % 4)
                    )
                    answered += answer.status_code == 200 and len(answer.json()["outputs"]) == 2
            return sent, answered

        with ThreadPoolExecutor(12) as threads:
            clients = [threads.submit(client_loop, number) for number in range(12)]
            begun.wait()
            time.sleep(0.5)  # traffic before the signal; there is no condition to await
            server.terminate()
            await_true(lambda: readiness(server) == 503, seconds=1.5, what="not ready")
            time.sleep(0.5)  # endpoints take a while to leave every proxy
            leave.set()
            results = [client.result() for client in clients]
        assert server.process.wait(20) == 0
    sent = sum(result[0] for result in results)
    answered = sum(result[1] for result in results)
    assert sent == answered
    assert sent > 100


def test_draining_server_is_not_ready_but_live_and_answers_with_connection_close() -> None:
    with running(cancer_package(), MOORING_DRAIN_SECONDS="3") as server:
        assert readiness(server) == 200
        server.terminate()
        await_true(lambda: readiness(server) == 503, what="not ready")
        assert httpx.get(server.managed("/livez")).status_code == 200
        health = httpx.get(server.url("/v2/health/ready"))
        assert (health.status_code, health.json()) == (503, {"live": True, "ready": False})
        answer = httpx.post(server.url("/v2/models/cancer/infer"), json=request())
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert server.process.wait(20) == 0


def test_second_signal_ends_the_waiting() -> None:
    with running(cancer_package(), MOORING_DRAIN_SECONDS="60") as server:
        server.terminate()
        await_true(lambda: readiness(server) == 503, what="not ready")
        started = time.monotonic()
        server.terminate()
        assert server.process.wait(20) == 0
        assert time.monotonic() - started < 10


def test_long_request_in_hand_is_finished() -> None:
    """A thousand rows of a 200-tree forest: the signal comes while it is being predicted."""
    with running(cancer_package("forest"), MOORING_DRAIN_SECONDS="0") as server:
        body = request(500)
        body["inputs"][0]["data"] *= 2
        body["inputs"][0]["shape"] = [1000, 30]
        with ThreadPoolExecutor(4) as threads:
            answers = [
                threads.submit(
                    httpx.post, server.url("/v2/models/cancer/infer"), json=body, timeout=30
                )
                for _ in range(4)
            ]
            await_true(
                lambda: in_flight(server) == 4 or all(answer.done() for answer in answers),
                what="work in hand",
            )
            server.terminate()
            statuses = [answer.result().status_code for answer in answers]
        assert statuses == [200] * 4
        assert server.process.wait(30) == 0


def test_management_answers_while_the_loop_is_busy() -> None:
    with running(mixed_package()) as server:
        inputs = [
            {"name": "carrier", "datatype": "BYTES", "shape": [1000], "data": ["AA"] * 1000},
            {"name": "distance", "datatype": "FP64", "shape": [1000], "data": [1.0] * 1000},
            {"name": "hour", "datatype": "INT64", "shape": [1000], "data": [1] * 1000},
            {"name": "weekend", "datatype": "BOOL", "shape": [1000], "data": [True] * 1000},
        ]
        stopping = threading.Event()

        def hammer(_: int) -> None:
            with httpx.Client(timeout=30) as client:
                while not stopping.is_set():
                    url = server.url("/v2/models/flights/infer")
                    assert client.post(url, json={"inputs": inputs}).status_code == 200

        with ThreadPoolExecutor(8) as threads:
            clients = [threads.submit(hammer, number) for number in range(8)]
            slowest = 0.0
            for _ in range(20):
                answer = server.client.get(server.managed("/readyz"))
                slowest = max(slowest, answer.elapsed.total_seconds())
                assert answer.status_code == 200
            stopping.set()
            for client in clients:
                client.result()
        assert slowest < 1.0


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({"MOORING_DRAIN_SECONDS": "soon"}, 2, "MOORING_DRAIN_SECONDS"),
        ({"MOORING_PREDICTION_LOG_URI": "ftp://x"}, 1, "cannot be written"),
    ],
)
def test_command_ends_with_a_sentence_when_a_setting_cannot_be_used(
    environment: dict[str, str], code: int, said: str
) -> None:
    import os

    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from mooring_serving.command import run;"
            "from mooring_serving.options import AskedPorts;"
            "sys.exit(run(Path(sys.argv[1]), '127.0.0.1', AskedPorts(0, 0), 1))",
            str(cancer_package()),
        ],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_command_ends_with_a_sentence_when_the_package_is_corrupt(tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(cancer_package(), broken)
    model = broken / "model.onnx"
    model.write_bytes(model.read_bytes()[:-10])
    ended = subprocess.run(
        [sys.executable, "-m", "tests.serving.server_process", str(broken)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "model.onnx" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert json.dumps({}) not in ended.stdout


def test_drained_server_gives_its_last_counts_to_an_operator_that_asks_again() -> None:
    with running(cancer_package(), MOORING_LINGER_SECONDS="20") as server:
        server.sync()
        assert server.post("/v2/models/cancer/infer", request()).status_code == 200
        server.terminate()
        await_true(lambda: closed(server.http), what="the closed port")
        said: list[dict[str, Any]] = []
        while server.process.poll() is None:  # once a while, as the operator asks a leaving pod
            with contextlib.suppress(httpx.TransportError):
                said.append(server.sync())
        assert (said[-1]["requests"], said[-1]["sketchedRows"]) == (1, 1)
        assert server.process.returncode == 0


def test_drained_server_waits_for_no_operator_that_never_asked() -> None:
    with running(cancer_package(), MOORING_LINGER_SECONDS="60") as server:
        server.terminate()
        assert server.process.wait(10) == 0
