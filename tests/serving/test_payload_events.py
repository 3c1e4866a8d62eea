"""Payload events as a real sink gets them, read by the CloudEvents SDK; and a sink that fails."""

import importlib
import json
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mooring_serving.log.errors import EventsUrlInvalid
from mooring_serving.log.event_sender import (
    QUEUE_EXCHANGES,
    EventCounts,
    EventSender,
    check_address,
    parse_target,
)
from mooring_serving.log.events import REQUEST_TYPE, RESPONSE_TYPE, EventOrigin, Exchange
from mooring_serving.log.settings import EventMode, EventSettings
from mooring_serving.receipts import parse_receipt
from tests.serving.running_server import await_true, running
from tests.serving.served_packages import cancer_package, cancer_rows

_binding: Any = importlib.import_module("cloudevents.core.bindings.http")

ORIGIN = EventOrigin("flight-delay", "flights", {"mooring-model-version": 'v"1" 100%'})
REQUEST, RESPONSE = b'{"inputs": [{"name": "x"}]}', b'{"outputs": []}'


@dataclass
class Sink:
    """A local HTTP server and what it got."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict[str, str])
    port: int = 0
    got: list[tuple[str, dict[str, str], bytes]] = field(
        default_factory=list[tuple[str, dict[str, str], bytes]]
    )
    connections: set[Any] = field(default_factory=set[Any])
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    def events(self) -> list[Any]:
        """What the SDK reads."""
        return [_binding.from_http_event(_binding.HTTPMessage(h, b)) for _, h, b in self.got]


@contextmanager
def running_sink(status: int = 202, **headers: str) -> Generator[Sink]:
    sink = Sink(status, headers)
    sink.hold.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sink.hold.wait(10)
            sink.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            sink.connections.add(self.client_address)
            self.send_response(sink.status)
            for name, value in sink.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield sink
    finally:
        sink.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


def exchange(number: int = 0, size: int = 0, **more: Any) -> Exchange:
    return Exchange(f"id-{number}", REQUEST + b" " * size, RESPONSE, 1_700_000_000.25, **more)


@contextmanager
def sending(url: str, **settings: Any) -> Generator[EventSender]:
    sender = EventSender(EventSettings(url=url, **settings), ORIGIN, monotonic=time.monotonic)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop(2)


@pytest.mark.parametrize("mode", list(EventMode))
def test_pair_of_events_is_read_by_the_sdk(mode: EventMode) -> None:
    with running_sink() as sink, sending(sink.url, mode=mode) as sender:
        sender.offer(exchange(7, endpoint="canary"))
        await_true(lambda: len(sink.got) == 2, what="both events")
        request, response = sink.events()
    assert (request.get_type(), response.get_type()) == (REQUEST_TYPE, RESPONSE_TYPE)
    assert request.get_id() == response.get_id() == "id-7"
    assert request.get_specversion() == "1.0"
    assert request.get_source() == "/flights/flight-delay"
    assert request.get_time().isoformat() == "2023-11-14T22:13:20.250000+00:00"
    assert request.get_data() == {"inputs": [{"name": "x"}]}
    assert response.get_data() == {"outputs": []}
    names = ("inferenceservicename", "namespace", "component", "endpoint", "metadata")
    assert [request.get_extension(name) for name in names] == [
        "flight-delay",
        "flights",
        "predictor",
        "canary",
        '{"mooring-model-version": ["v\\"1\\" 100%"]}',
    ]


def test_binary_mode_is_the_form_of_kserve() -> None:
    with running_sink() as sink, sending(sink.url) as sender:
        sender.offer(exchange())
        await_true(lambda: len(sink.got) == 2, what="both events")
    path, headers, body = sink.got[0]
    assert (path, body) == ("/events", REQUEST)
    assert headers["content-type"] == "application/json"
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-type"] == "org.kubeflow.serving.inference.request"
    assert headers["host"] == f"127.0.0.1:{sink.port}"


def test_payload_that_is_no_json_stays_as_it_is() -> None:
    kind = "application/octet-stream"
    for mode in EventMode:
        with running_sink() as sink, sending(sink.url, mode=mode) as sender:
            sender.offer(Exchange("a", b"\0\xff", b"\xfe\1", 0.0, kind, kind))
            await_true(lambda sink=sink: len(sink.got) == 2, what="both events")
            assert [event.get_data() for event in sink.events()] == [b"\0\xff", b"\xfe\1"]


def test_many_exchanges_share_two_connections() -> None:
    with running_sink() as sink, sending(sink.url) as sender:
        for number in range(50):
            sender.offer(exchange(number))
        await_true(lambda: sender.counts.sent == 100, what="all events")
    assert len(sink.connections) <= 2


def test_offers_beyond_the_queue_are_dropped_and_counted_and_never_wait() -> None:
    with running_sink() as sink, sending(sink.url) as sender:
        sink.hold.clear()
        began = time.monotonic()
        for number in range(QUEUE_EXCHANGES + 50):
            sender.offer(exchange(number))
        assert time.monotonic() - began < 0.5
        assert 2 * 48 <= sender.counts.dropped <= 2 * 50
        sink.hold.set()
        await_true(lambda: sender.counts.sent >= 2 * QUEUE_EXCHANGES, what="the rest")


def test_offers_beyond_the_bytes_are_dropped() -> None:
    with running_sink() as sink, sending(sink.url) as sender:
        sink.hold.clear()
        for number in range(10):
            sender.offer(exchange(number, size=4 << 20))
        assert sender.counts.dropped >= 2 * 4
        sink.hold.set()


@pytest.mark.parametrize("status", [301, 307, 400, 500])
def test_answer_other_than_2xx_is_a_failure_and_opens_the_circuit(status: int) -> None:
    with (
        running_sink() as elsewhere,
        running_sink(status, location=elsewhere.url) as sink,
        sending(sink.url) as sender,
    ):
        for number in range(60):
            sender.offer(exchange(number))
        await_true(
            lambda: sender.counts.failed + sender.counts.dropped == 120, what="all to be counted"
        )
        counts = sender.counts
    assert counts.sent == 0
    assert 20 <= counts.failed <= 22  # the circuit opens; the second event of a pair is not tried
    assert elsewhere.got == []  # no redirect is followed


def test_sink_that_is_away_costs_nothing_but_counts() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with sending(f"http://127.0.0.1:{port}/") as sender:
        for number in range(40):
            sender.offer(exchange(number))
        await_true(lambda: sender.counts.failed + sender.counts.dropped == 80, what="the counts")


def test_sample_of_events_is_decided_by_the_id() -> None:
    with running_sink() as sink, sending(sink.url, sample=0.25) as sender:
        for number in range(100):
            sender.offer(exchange(number))
        await_true(lambda: sender.counts.sent + sender.counts.sampled_out == 200, what="all")
        assert 20 < sender.counts.sent < 90


def test_stop_drops_and_counts_what_the_sink_does_not_take_in_time() -> None:
    with running_sink() as sink:
        sink.hold.clear()
        sender = EventSender(EventSettings(url=sink.url), ORIGIN, monotonic=time.monotonic)
        sender.start()
        for number in range(10):
            sender.offer(exchange(number))
        sender.stop(0.1)
        assert sender.counts.dropped >= 16
        sink.hold.set()


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",  # noqa: S104 - to be refused
        "224.0.0.1",
    ],
)
def test_metadata_and_link_local_addresses_are_refused(address: str) -> None:
    assert check_address(address) is not None


@pytest.mark.parametrize("address", ["127.0.0.1", "10.96.0.7", "::1", "fd00::1", "93.184.216.34"])
def test_other_addresses_are_the_users_choice(address: str) -> None:
    assert check_address(address) is None


def test_address_is_refused_after_resolution_and_counted() -> None:
    with sending("http://169.254.169.254/latest") as sender:
        sender.offer(exchange())
        await_true(lambda: sender.counts.failed == 1, what="the failure")
        assert sender.counts == EventCounts(failed=1, dropped=1)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "http:///x",
        "http://user@x/",
        "http://user:secret@x/",
        "http://x/?q=1",
        "http://x/#f",
        "http://x:port/",
        "x",
    ],
)
def test_url_is_refused_when_it_is_none_to_post_to(url: str) -> None:
    with pytest.raises(EventsUrlInvalid) as refused:
        parse_target(url)
    assert "secret" not in str(refused.value)


def test_target_keeps_port_and_path_and_ipv6() -> None:
    assert parse_target("https://sink.ns.svc").authority == "sink.ns.svc"
    target = parse_target("http://[::1]:8080/a/b")
    assert (target.authority, target.path, target.port) == ("[::1]:8080", "/a/b", 8080)


def test_served_requests_and_answers_arrive_as_events_and_refused_ones_do_not() -> None:
    values = cancer_rows(1)
    tensor = {"name": "input", "datatype": "FP64", "shape": [1, 30], "data": values.tolist()}
    with running_sink() as sink:
        settings = {"MOORING_PREDICTION_LOG": json.dumps({"events": {"url": sink.url}})}
        with running(cancer_package(), environment=settings) as server:
            answer = server.post("/v2/models/cancer/infer", {"inputs": [tensor]})
            assert server.post("/v2/models/cancer/infer", {"inputs": []}).status_code == 400
            url = server.url("/v2/models/cancer/infer")
            # One pair after the other: several senders make no promise about their order.
            await_true(lambda: len(sink.got) == 2, what="the first pair of events")
            named = server.client.post(url, json={"inputs": [tensor]}, headers={"ce-id": "mine"})
            await_true(lambda: len(sink.got) == 4, what="the second pair of events")
            request, response, *second = sink.events()
    assert request.get_data() == {"inputs": [tensor]}
    assert response.get_data() == answer.json()
    assert (
        request.get_id()
        == response.get_id()
        == parse_receipt(answer.json()["parameters"]["prediction_id"], None).id
    )
    assert [event.get_id() for event in second] == ["mine", "mine"]
    assert second[1].get_data() == named.json()


def test_predictions_are_not_delayed_when_the_sink_hangs() -> None:
    values = cancer_rows(1)
    tensor = {"name": "input", "datatype": "FP64", "shape": [1, 30], "data": values.tolist()}
    with running_sink() as sink:
        sink.hold.clear()
        settings = {"MOORING_PREDICTION_LOG": json.dumps({"events": {"url": sink.url}})}
        with running(cancer_package(), environment=settings) as server:
            slowest = 0.0
            for _ in range(QUEUE_EXCHANGES + 100):
                answer = server.post("/v2/models/cancer/infer", {"inputs": [tensor]})
                assert answer.status_code == 200
                slowest = max(slowest, answer.elapsed.total_seconds())
            lines = server.metrics().splitlines()
            sink.hold.set()
    told = [line for line in lines if "payload_events_total" in line and '"dropped"' in line]
    assert float(told[0].rsplit(" ", 1)[-1]) >= 2 * 90
    assert slowest < 1.0  # a sender waits 5 s for this sink
