"""gRPC clients while a pod ends, retires or forwards: no call is lost, each counted once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tests.serving.grpc_client import connected, health_pb2, matrix_request, pb, read_output
from tests.serving.http2_wire import ACK, SETTINGS, wired
from tests.serving.running_server import Server, await_true, running
from tests.serving.served_packages import cancer_package, cancer_rows

CANDIDATE = "bbbbbbbbbbbb"
PHASE = f"{CANDIDATE}/1"
INFER = "/inference.GRPCInferenceService/ModelInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"


def readiness(server: Server) -> int:
    return server.client.get(server.managed("/readyz")).status_code


def test_drain_loses_no_call_of_concurrent_clients() -> None:
    """Some clients keep their channel, which follows the GOAWAYs; some open one for each call."""
    with running(cancer_package(), MOORING_DRAIN_SECONDS="2") as server:
        leave = threading.Event()
        begun = threading.Barrier(13)

        def call_and_count(number: int) -> tuple[int, int]:
            sent = answered = 0
            body = matrix_request(cancer_rows(1 + number % 4))
            begun.wait()
            while not leave.is_set():
                with connected(server.grpc) as client:
                    for _ in range(1 if number % 3 == 0 else 1_000_000):
                        if leave.is_set():
                            break
                        sent += 1
                        answered += len(client.infer(body).outputs) == 2
            return sent, answered

        with ThreadPoolExecutor(12) as threads:
            clients = [threads.submit(call_and_count, number) for number in range(12)]
            begun.wait()
            time.sleep(0.5)  # traffic before the signal; there is no condition to await
            server.terminate()
            await_true(lambda: readiness(server) == 503, seconds=1.5, what="not ready")
            time.sleep(0.5)  # endpoints take a while to leave every proxy
            leave.set()
            results = [client.result() for client in clients]
        assert server.process.wait(20) == 0
    sent = sum(result[0] for result in results)
    assert sent == sum(result[1] for result in results)
    assert sent > 100


def test_calls_in_flight_are_answered_when_the_server_ends_at_once() -> None:
    """Predictions of 1,000 rows by 200 trees wait for each other; the drain has no accepting
    time, so that the signal comes while most of them wait.
    """
    body = matrix_request(np.tile(cancer_rows(500), (2, 1))).SerializeToString()
    with running(cancer_package("forest")) as server, connected(server.grpc) as client:
        client.call("ServerLive", pb.ServerLiveRequest())
        first = threading.Event()

        def on_done(_: object) -> None:
            first.set()

        calls: list[Any] = [
            client.raw("ModelInfer").future(body, timeout=30)  # type: ignore[attr-defined]
            for _ in range(40)
        ]
        for call in calls:
            call.add_done_callback(on_done)
        assert first.wait(20)
        server.terminate()
        answers = [pb.ModelInferResponse.FromString(call.result()) for call in calls]
        assert [list(answer.outputs[0].shape) for answer in answers] == [[1000]] * 40
        assert server.process.wait(20) == 0


def test_draining_server_asks_to_leave_twice_and_names_the_last_call() -> None:
    with (
        running(cancer_package(), MOORING_DRAIN_SECONDS="2") as server,
        wired(server.grpc) as wire,
    ):
        wire.call(1, LIVE, b"")
        assert wire.answer(1).status == 0
        server.terminate()
        found = wire.read()
        while found is not None and not wire.goaways:
            found = wire.read()
        # The client had sent this before it read the first GOAWAY: it is still answered.
        wire.call(3, LIVE, b"")
        answered = wire.answer(3).status
        assert answered == 0
        assert wire.ended() == 0
        assert wire.goaways == [((1 << 31) - 1, 0), (3, 0)]


def test_connection_that_has_said_nothing_yet_reads_settings_before_it_is_asked_to_leave() -> None:
    """A client sends its preface when its connection stands; the drain may come between."""
    with (
        running(cancer_package(), MOORING_DRAIN_SECONDS="2") as server,
        wired(server.grpc, greet=False) as silent,
        wired(server.grpc) as later,
    ):
        later.call(1, LIVE, b"")
        assert later.answer(1).status == 0  # so the earlier connection is accepted too
        server.terminate()
        first = silent.read_frame()
        assert first is not None
        assert (first.kind, first.flags & ACK) == (SETTINGS, 0)
        silent.greet()
        silent.call(1, LIVE, b"")
        assert silent.answer(1).status == 0
        assert silent.ended() == 0


def test_draining_server_is_live_not_ready_and_still_answers_new_connections() -> None:
    with running(cancer_package(), MOORING_DRAIN_SECONDS="2") as server:
        server.terminate()
        await_true(lambda: readiness(server) == 503, what="not ready")
        with connected(server.grpc) as client:
            assert client.call("ServerLive", pb.ServerLiveRequest()).live
        with connected(server.grpc) as client:
            assert not client.call("ServerReady", pb.ServerReadyRequest()).ready
        with connected(server.grpc) as client:
            status = client.call("Check", health_pb2.HealthCheckRequest()).status
            assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        with connected(server.grpc) as client:
            assert client.infer(matrix_request(cancer_rows(1))).outputs


def test_candidate_answers_forwarded_calls_and_each_is_counted_once() -> None:
    with (
        running(
            cancer_package("shifted"),
            MOORING_REVISION=CANDIDATE,
            MOORING_VERSION="v2",
            MOORING_POD_UID="pod-2",
        ) as candidate,
        running(cancer_package(), peer=candidate.forward) as stable,
        connected(stable.grpc) as client,
    ):
        own = read_output(client.infer(matrix_request(cancer_rows(3))), "probability")
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, weightPercent=100)
        for raw in (True, False):
            request = matrix_request(cancer_rows(3), raw=raw, id="f-1")
            answer, headers = client.infer_with_call(request)
            assert (answer.model_version, headers["mooring-model-version"]) == ("v2", "v2")
            assert headers["mooring-revision"] == CANDIDATE
            assert answer.id == "f-1"
            assert bool(answer.raw_output_contents) is raw
            assert read_output(answer, "probability") != own
        receipt = answer.parameters["prediction_id"].string_param
        label = {"labels": [{"prediction_id": receipt, "label": [1, 0, 1]}]}
        assert stable.post("/v2/models/cancer/feedback", label).json()["accepted"] == 1
        pinned = client.infer(matrix_request(cancer_rows(3), model_version="v1"))
        assert pinned.model_version == "v1"
        counted = stable.sync(phase=PHASE, candidateRevision=CANDIDATE)["phases"][PHASE]
        assert counted["candidate"]["requests"] == 2
        assert counted["candidate"]["errors"] == 0
        assert candidate.sync()["requests"] == 2


def test_call_is_answered_by_the_stable_model_when_the_candidate_is_gone() -> None:
    with running(cancer_package(), peer=9) as stable, connected(stable.grpc) as client:
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, weightPercent=100)
        answers = [client.infer(matrix_request(cancer_rows(1))) for _ in range(5)]
        assert {answer.model_version for answer in answers} == {"v1"}
        counted = stable.sync(phase=PHASE, candidateRevision=CANDIDATE)["phases"][PHASE]
        assert counted["candidate"]["fellBack"] == 5


def test_retired_pod_answers_and_sends_its_clients_away() -> None:
    with running(cancer_package(), peer=9) as retired:
        retired.sync(role="Retired")
        with wired(retired.grpc) as wire:
            wire.call(1, INFER, matrix_request(cancer_rows(1)).SerializeToString())
            assert wire.answer(1).status == 0
            assert wire.ended() == 0
            assert wire.goaways == [((1 << 31) - 1, 0), (1, 0)]
        with connected(retired.grpc) as client:
            for _ in range(10):
                assert client.infer(matrix_request(cancer_rows(1))).outputs
