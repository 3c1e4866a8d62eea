"""Generated HTTP messages with faults of framing: 4xx for each that the judge finds malformed."""

import json
import os
import random
import re
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.serving.http_judge import Malformed, Message, make_message, read_message
from tests.serving.request_judge import Column, Invalid, Model, judge_json
from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package, cancer_table

MESSAGES = int(os.environ.get("MOORING_GENERATED", "700"))
SEED = int(os.environ.get("MOORING_SEED", "20261124"))
INFER = b"/v2/models/cancer/infer"
TENSOR = {"name": "input", "datatype": "FP64", "shape": [1, 30], "data": [1.0] * 30}
BODY = json.dumps({"inputs": [TENSOR]}).encode()
CANCER = Model(
    tuple(Column(name, "number") for name in cancer_table().drop(columns="benign").columns),
    ("label", "probability"),
)
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n((?:[^\r]+\r\n)*)\r\n")


@pytest.fixture(scope="module")
def pod() -> Iterator[Server]:
    with running(cancer_package()) as server:
        yield server
        assert server.client.get(server.url("/v2/health/ready")).status_code == 200
        assert server.refusals()["Internal"] == 0


def exchange(server: Server, data: bytes) -> bytes:
    """Send, end our side, and read until the server ends its own."""
    with socket.create_connection(("127.0.0.1", server.http), timeout=10) as opened:
        opened.sendall(data)
        opened.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := opened.recv(65_536):
            received += chunk
        return received


def first_answer(received: bytes) -> tuple[int, bytes]:
    """Status and body of the first final answer."""
    received = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head = ANSWER.match(received)
    assert head is not None, received[:200]
    length = re.search(rb"content-length: (\d+)", head[2])
    end = head.end() + (int(length[1]) if length is not None else 0)
    return int(head[1]), received[head.end() : end]


def expected(message: Message) -> set[int]:
    """Statuses that a well-formed message may be answered with."""
    if message.target != INFER or message.method != b"POST":
        return {200, 204, 400, 404, 405, 415}
    deciding = {b"content-encoding", b"inference-header-content-length", b"transfer-encoding"}
    if message.headers.keys() & (deciding - {b"transfer-encoding"}):
        return {400, 415}
    if message.headers.get(b"content-type", b"application/json") != b"application/json":
        return {415}
    try:
        judge_json(message.body, CANCER)
    except Invalid:
        return {400}
    return {200}


def test_generated_messages_are_judged_as_the_standard_says(pod: Server) -> None:
    counts: Counter[str] = Counter()
    for number in range(MESSAGES):
        draw = random.Random(f"{SEED}-{number}")  # noqa: S311 - for tests, seeded
        data = make_message(draw, INFER, BODY)
        if not data:
            continue
        try:
            verdict: Message | str = read_message(data)
        except Malformed as malformed:
            verdict = str(malformed)
        status, body = first_answer(exchange(pod, data))
        where = f"message {number}: {str(verdict)[:200]}; {status} {body[:300]!r}; sent {data!r}"
        if isinstance(verdict, Message):
            assert status in expected(verdict), where
            counts["well-formed"] += 1
        else:
            assert 400 <= status < 500, where
            counts["malformed"] += 1
        if status >= 400 and not data.startswith(b"HEAD"):
            document = json.loads(body)
            assert list(document) == ["error"], where
            assert 8 < len(document["error"]) < 700, where
    print(dict(counts))
    assert min(counts.values()) > MESSAGES / 10, "both kinds must be there"
