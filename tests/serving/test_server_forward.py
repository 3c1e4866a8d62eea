"""Forwarding to a candidate that is a second real server process: it never costs a request."""

import contextlib
import itertools
import json
import signal
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.forwarding import (
    CANDIDATE,
    StubPeer,
    http_answer,
    outcomes,
    outputs,
    request,
)
from tests.serving.running_server import Server, await_true, running
from tests.serving.served_packages import cancer_package

PHASE = f"{CANDIDATE}/1"
STEPS = itertools.count(2)


@contextlib.contextmanager
def pair(candidate: Path, **environment: str) -> Generator[tuple[Server, Server]]:
    """A stable pod that forwards to a candidate pod."""
    with (
        running(
            candidate,
            MOORING_REVISION=environment.pop("revision", CANDIDATE),
            MOORING_VERSION="v2",
            MOORING_POD_UID="pod-2",
        ) as second,
        running(cancer_package(), peer=second.forward, environment=environment) as first,
    ):
        yield first, second


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Server, Server]]:
    """One pair for the tests that leave both processes well; each takes a phase of its own."""
    with pair(cancer_package("shifted")) as servers:
        yield servers


def new_phase() -> str:
    return f"{CANDIDATE}/{next(STEPS)}"


def ask(server: Server, count: int, rows: int = 1) -> list[httpx.Response]:
    answers = [server.post("/v2/models/cancer/infer", request(rows)) for _ in range(count)]
    assert [answer.status_code for answer in answers] == [200] * count
    return answers


def arms(server: Server, phase: str = PHASE) -> dict[str, Any]:
    """Read the counters without changing the route: the same route again."""
    return server.sync(phase=phase, candidateRevision=CANDIDATE)["phases"][phase]


def test_candidate_answers_its_share_and_each_request_is_counted_once() -> None:
    with pair(cancer_package("shifted")) as (stable, candidate):
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, weightPercent=40)
        candidate.sync(role="Candidate", phase=PHASE)
        answers = ask(stable, 300)
        by_version = [answer.headers["mooring-model-version"] for answer in answers]
        share = by_version.count("v2")
        assert 80 < share < 160
        counted = arms(stable)
        assert counted["stable"]["requests"] == 300 - share
        assert counted["candidate"]["requests"] == share
        assert counted["candidate"]["errors"] == counted["candidate"]["fellBack"] == 0
        assert sum(counted["candidate"]["latencyMs"]["counts"]) == share
        assert sum(counted["candidate"]["answers"]) == share
        assert sum(counted["stable"]["answers"]) == 300 - share
        assert candidate.sync()["requests"] == share
        assert stable.sync()["requests"] == 300 - share
        first = next(
            answer for answer in answers if answer.headers["mooring-revision"] == CANDIDATE
        )
        assert first.json()["model_version"] == "v2"


def test_receipt_of_a_forwarded_answer_names_the_candidates_arm_and_phase(
    shared: tuple[Server, Server],
) -> None:
    stable, _ = shared
    phase = new_phase()
    stable.sync(phase=phase, candidateRevision=CANDIDATE, weightPercent=100)
    receipt = ask(stable, 1)[0].json()["parameters"]["prediction_id"]
    label = {"labels": [{"prediction_id": receipt, "label": 1}]}
    assert stable.post("/v2/models/cancer/feedback", label).json()["accepted"] == 1
    assert stable.sync()["labels"][phase]["candidate"]["n"] == 1


def test_client_gets_the_stable_answer_when_the_candidate_is_gone() -> None:
    with pair(cancer_package("shifted")) as (stable, candidate):
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, weightPercent=100)
        ask(stable, 3)
        candidate.process.kill()
        candidate.process.wait(5)
        answers = ask(stable, 10)
        assert {answer.headers["mooring-model-version"] for answer in answers} == {"v1"}
        counted = arms(stable)
        assert counted["candidate"]["fellBack"] == counted["candidate"]["errors"] == 10
        assert counted["stable"]["requests"] == 0
        assert outcomes(stable) == {"answered": 3, "refused": 10}


def test_client_gets_the_stable_answer_in_time_when_the_candidate_is_late() -> None:
    with pair(cancer_package("shifted")) as (stable, candidate):
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, weightPercent=100, deadlineMs=100)
        candidate.process.send_signal(signal.SIGSTOP)
        answers = ask(stable, 5)
        assert {answer.headers["mooring-model-version"] for answer in answers} == {"v1"}
        assert all(answer.elapsed.total_seconds() < 1.0 for answer in answers)
        counted = arms(stable)
        assert counted["candidate"]["late"] == 5
        candidate.process.send_signal(signal.SIGCONT)
        # The candidate wakes up and answers what nobody waits for: it must not count it.
        await_true(
            lambda: candidate.client.get(candidate.url("/v2/health/live")).status_code == 200
        )
        assert candidate.sync()["requests"] == 0
        assert stable.sync()["requests"] == 5


def test_breaker_stops_forwarding_when_fallbacks_pile_up() -> None:
    with running(cancer_package(), peer=9) as stable:
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, weightPercent=100)
        ask(stable, 50)
        ended = outcomes(stable)
        assert ended["refused"] == 20
        assert ended["short_circuited"] == 30
        counted = arms(stable)
        assert (counted["candidate"]["fellBack"], counted["stable"]["requests"]) == (20, 30)


def test_forward_is_misrouted_and_not_charged_when_another_revision_answers() -> None:
    with pair(cancer_package("shifted"), revision="cccccccccccc") as (stable, _):
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, weightPercent=100)
        answers = ask(stable, 5)
        assert {answer.headers["mooring-revision"] for answer in answers} == {"aaaaaaaaaaaa"}
        counted = arms(stable)
        assert (counted["candidate"]["requests"], counted["stable"]["requests"]) == (0, 5)


def test_forwarded_request_is_never_forwarded_again(shared: tuple[Server, Server]) -> None:
    """The candidate would forward everything too, to nowhere, if it forwarded what it got."""
    stable, candidate = shared
    before = outcomes(candidate)
    candidate.sync(phase="cccccccccccc/1", weightPercent=100)
    stable.sync(phase=new_phase(), candidateRevision=CANDIDATE, weightPercent=100)
    answers = ask(stable, 5)
    assert {answer.headers["mooring-model-version"] for answer in answers} == {"v2"}
    assert outcomes(candidate) == before


def test_pinned_version_is_answered_here_and_never_forwarded(
    shared: tuple[Server, Server],
) -> None:
    stable, _ = shared
    before = outcomes(stable)
    stable.sync(phase=new_phase(), candidateRevision=CANDIDATE, weightPercent=100)
    answer = stable.post("/v2/models/cancer/versions/v1/infer", request())
    assert answer.headers["mooring-model-version"] == "v1"
    assert outcomes(stable) == before


def test_client_fault_is_refused_here_and_not_charged_to_the_candidate(
    shared: tuple[Server, Server],
) -> None:
    stable, _ = shared
    before = outcomes(stable)
    stable.sync(phase=new_phase(), candidateRevision=CANDIDATE, weightPercent=100)
    assert stable.post("/v2/models/cancer/infer", {"inputs": []}).status_code == 400
    assert outcomes(stable) == before


def test_shadow_mirrors_compares_and_never_counts_as_live(shared: tuple[Server, Server]) -> None:
    stable, candidate = shared
    phase = new_phase()
    live = candidate.sync()
    answered = stable.sync(phase=phase, candidateRevision=CANDIDATE, shadowPercent=100)["requests"]
    answers = ask(stable, 20, rows=10)
    assert {answer.headers["mooring-model-version"] for answer in answers} == {"v1"}
    await_true(lambda: shadow_arm(stable, phase)["requests"] == 20, what="the mirrored requests")
    shadow = shadow_arm(stable, phase)
    assert (shadow["rows"], shadow["errors"], shadow["dropped"]) == (200, 0, 0)
    both = arms(stable, phase)
    assert sum(both["shadow"]["answers"]) == sum(both["stable"]["answers"]) == 200
    after = candidate.sync()
    assert (after["requests"], after["sketchedRows"]) == (live["requests"], live["sketchedRows"])
    assert stable.sync()["requests"] == answered + 20


def test_retired_pod_forwards_everything_and_closes_connections(
    shared: tuple[Server, Server],
) -> None:
    """Last of the shared pair's tests: the first server is a retired one afterwards."""
    retired, stable = shared
    before = retired.sync(role="Retired")["requests"], stable.sync()["requests"]
    answers = ask(retired, 5)
    assert {answer.headers["mooring-model-version"] for answer in answers} == {"v2"}
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    after = retired.sync()["requests"], stable.sync()["requests"]
    assert after == (before[0], before[1] + 5)


def test_retired_pod_answers_itself_when_the_stable_one_is_gone() -> None:
    with running(cancer_package(), peer=9) as retired:
        retired.sync(role="Retired")
        answers = ask(retired, 3)
        assert {answer.headers["mooring-model-version"] for answer in answers} == {"v1"}
        snapshot = retired.sync(role="Retired")
        assert (snapshot["requests"], snapshot["phases"]) == (3, {})


@pytest.fixture(scope="module")
def judged() -> Iterator[tuple[StubPeer, Server]]:
    """A stable pod whose candidate answers whatever a test wants."""
    with StubPeer(b"") as peer, running(cancer_package(), peer=peer.port) as stable:
        yield peer, stable


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        pytest.param(http_answer(outputs([1], [0.5])), "answered", id="usable"),
        pytest.param(http_answer({}), "invalid", id="no outputs"),
        pytest.param(http_answer(outputs([1], [None])), "invalid", id="a null"),
        pytest.param(http_answer(outputs([1, 1], [0.5, 0.5])), "invalid", id="too many rows"),
        pytest.param(http_answer(outputs([1], [])), "invalid", id="too few values"),
        pytest.param(http_answer(outputs([1], ["high"])), "invalid", id="text"),
        pytest.param(http_answer(outputs([1], [0.5]), server_ms=None), "invalid", id="no time"),
        pytest.param(http_answer(outputs([1], [0.5]), server_ms="nan"), "invalid", id="odd time"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nNaN", "invalid", id="not json"),
        pytest.param(http_answer({}, "500 Oh"), "failed", id="500"),
        pytest.param(http_answer({}, "404 Oh"), "failed", id="404"),
        pytest.param(b"SMTP ready\r\n", "refused", id="not http"),
    ],
)
def test_candidates_answer_is_judged_before_the_client_sees_it(
    judged: tuple[StubPeer, Server], answer: bytes, outcome: str
) -> None:
    peer, stable = judged
    peer.answer = answer
    phase = new_phase()
    before = outcomes(stable).get(outcome, 0)
    stable.sync(phase=phase, candidateRevision=CANDIDATE, weightPercent=100)
    found = ask(stable, 1)[0].json()["outputs"]
    assert outcomes(stable)[outcome] == before + 1
    assert (found == outputs([1], [0.5])["outputs"]) is (outcome == "answered")
    counted = arms(stable, phase)["candidate"]
    assert counted["invalidOutputs"] == (outcome == "invalid")
    assert counted["fellBack"] == (outcome != "answered")


def test_no_request_fails_while_the_candidate_is_killed_under_load() -> None:
    with pair(cancer_package("shifted")) as (stable, candidate):
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, weightPercent=50, deadlineMs=300)
        stopping = threading.Event()

        def hammer(_: int) -> list[int]:
            statuses: list[int] = []
            with httpx.Client(timeout=10) as client:
                while not stopping.is_set():
                    answer = client.post(stable.url("/v2/models/cancer/infer"), json=request())
                    statuses.append(answer.status_code)
            return statuses

        with ThreadPoolExecutor(8) as threads:
            running_clients = [threads.submit(hammer, n) for n in range(8)]
            await_true(lambda: outcomes(stable).get("answered", 0) > 50, what="forwards")
            candidate.process.kill()
            await_true(lambda: outcomes(stable).get("refused", 0) > 10, what="fallbacks")
            stopping.set()
            statuses = [status for client in running_clients for status in client.result()]
        assert set(statuses) == {200}
        counted = arms(stable)
        total = counted["stable"]["requests"] + counted["candidate"]["requests"]
        assert total == len(statuses)


def shadow_arm(server: Server, phase: str = PHASE) -> dict[str, Any]:
    """The shadow arm, the route kept."""
    snapshot = server.sync(phase=phase, candidateRevision=CANDIDATE, shadowPercent=100)
    return snapshot["phases"].get(phase, {"shadow": {"requests": 0}})["shadow"]


def test_shadow_finds_rows_in_which_the_candidate_differs() -> None:
    """The first ten rows of the table are malignant; a stub says benign for each."""
    answer = http_answer(outputs([1] * 10, [0.9] * 10))
    with StubPeer(answer) as peer, running(cancer_package(), peer=peer.port) as stable:
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, shadowPercent=100)
        ask(stable, 3, rows=10)
        await_true(lambda: shadow_arm(stable)["requests"] == 3, what="the mirrored requests")
        assert shadow_arm(stable)["disagreements"] == 30
        assert 'outcome="disagreed"' in stable.metrics()


def test_shadow_drops_and_counts_when_its_queue_is_full() -> None:
    more = ["--work", json.dumps({"shadow_queue": 2})]
    with (
        running(cancer_package("shifted"), MOORING_REVISION=CANDIDATE) as candidate,
        running(cancer_package(), peer=candidate.forward, arguments=more) as stable,
    ):
        stable.sync(phase=PHASE, candidateRevision=CANDIDATE, shadowPercent=100, deadlineMs=9000)
        candidate.process.send_signal(signal.SIGSTOP)
        answers = ask(stable, 30)
        assert all(answer.elapsed.total_seconds() < 1.0 for answer in answers)
        candidate.process.send_signal(signal.SIGCONT)
        # Four were on their way and two waited.
        await_true(lambda: shadow_arm(stable)["requests"] == 6, what="what was queued")
        assert shadow_arm(stable)["dropped"] == 24
