"""The load generators tell the truth: against small real servers whose behaviour is known."""

import contextlib
import http.server
import importlib
import itertools
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.bench.closed_loop import CLOSED, run_load
from tests.bench.exchanges import BAD_CALL, GOOD, GrpcLoad, HttpLoad, build_request
from tests.bench.models import matrix
from tests.bench.open_loop import Arrivals, run_arrivals
from tests.bench.payloads import GRPC_PATH, Protocol, build_load, infer_message

_grpc: Any = importlib.import_module("grpc")

Status = Callable[[int], int]


@contextlib.contextmanager
def answering(status: Status) -> Generator[HttpLoad]:
    """An HTTP server whose n-th answer has the status that `status` gives for n; 0 hangs up."""
    numbers = itertools.count()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            answer = status(next(numbers))
            if answer == CLOSED:
                self.close_connection = True
                return
            # One write: two would wait for the client's delayed acknowledgement.
            self.wfile.write(b"HTTP/1.1 %d Said\r\ncontent-length: 2\r\n\r\n{}" % answer)

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            port = server.server_port
            yield HttpLoad(port, build_request("/", b"{}", port=port))
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def calling(answer: Callable[[bytes, Any], bytes]) -> Generator[int]:
    """A gRPC server whose one method gives `answer`; yields its port."""

    class Handler(_grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            if handler_call_details.method != GRPC_PATH:
                return None
            return _grpc.unary_unary_rpc_method_handler(answer)

    server = _grpc.server(ThreadPoolExecutor(4), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def test_statuses_are_counted_apart_when_half_of_the_answers_are_refusals() -> None:
    with answering(lambda number: GOOD if number % 2 else 503) as load:
        result = run_load(load, connections=2, seconds=0.3)
    assert result.good > 10
    assert abs(result.good - result.statuses[503]) <= 2
    assert result.failures == result.statuses[503]


def test_closed_connections_are_opened_again_and_counted() -> None:
    with answering(lambda number: CLOSED if number % 10 == 9 else GOOD) as load:
        result = run_load(load, connections=2, seconds=0.3)
    assert result.statuses[CLOSED] >= 1
    assert result.good > 5 * result.statuses[CLOSED]


def test_open_loop_charges_a_stall_to_every_request_that_waited() -> None:
    stalled = threading.Lock()

    def status(number: int) -> int:
        with stalled:  # one answer at a time, and one of them takes long
            time.sleep(0.3 if number == 40 else 0)
        return GOOD

    with answering(status) as load:
        arrivals = Arrivals(rate=200, seconds=1.0, connections=16)
        result = run_arrivals(load, arrivals, np.random.default_rng(1))
    assert result.unsent == 0
    assert result.good == result.requests > 150
    assert result.p50_ms is not None
    assert result.p99_ms is not None
    assert result.p99_ms > 200  # about 60 requests were due meanwhile
    assert result.p50_ms < result.p99_ms / 2


def test_open_loop_gives_up_requests_that_find_no_connection() -> None:
    def status(number: int) -> int:
        time.sleep(0.1)
        return GOOD

    with answering(status) as load:
        arrivals = Arrivals(rate=200, seconds=0.5, connections=2, patience_seconds=0.2)
        result = run_arrivals(load, arrivals, np.random.default_rng(1))
    assert result.unsent > 60
    assert result.good < 20


def test_grpc_calls_outlast_the_first_window_of_the_connection() -> None:
    message = infer_message(matrix(64))
    assert len(message) > 15_000

    def answer(request: bytes, _: Any) -> bytes:
        return b"ok" if request == message else b""

    with calling(answer) as port:
        load = build_load(Protocol.GRPC, {"grpc": port}, matrix(64))
        result = run_load(load, connections=2, seconds=0.5)
    assert result.good > 20
    assert result.failures == 0


def test_grpc_errors_are_bad_calls() -> None:
    def refuse(_: bytes, context: Any) -> bytes:
        context.abort(_grpc.StatusCode.INVALID_ARGUMENT, "refused")
        return b""

    with calling(refuse) as port:
        load = GrpcLoad(port, GRPC_PATH, infer_message(matrix(1)))
        result = run_load(load, connections=1, seconds=0.2)
    assert result.good == 0
    assert result.statuses[BAD_CALL] > 1


def test_load_needs_the_port_of_its_protocol() -> None:
    with pytest.raises(KeyError):
        build_load(Protocol.GRPC, {"http": 1}, matrix(1))
