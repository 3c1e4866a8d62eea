"""Users that stay, verdicts that overtake answers, and flips: real servers that forward."""

import base64
import contextlib
import json
import signal
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.serving.forwarding import CANDIDATE, StubPeer, http_answer, outcomes, outputs, request
from tests.serving.grpc_client import connected, matrix_request
from tests.serving.running_server import Server, await_true, running
from tests.serving.served_packages import cancer_package, cancer_rows

STABLE = "aaaaaaaaaaaa"
PATH = "/v2/models/cancer/infer"
USERS = 120
GOOD = http_answer(outputs([1], [0.5]))
MISDIRECTED = http_answer({"error": "another revision"}, "421 Misdirected Request")


def server(revision: str, **more: Any) -> contextlib.AbstractContextManager[Server]:
    """A pod of a revision."""
    version = {STABLE: "v1", CANDIDATE: "v2"}[revision]
    package = cancer_package() if revision == STABLE else cancer_package("shifted")
    return running(package, MOORING_REVISION=revision, MOORING_VERSION=version, **more)


@pytest.fixture(scope="module")
def trio() -> Generator[tuple[Server, Server, Server]]:
    """Two stable pods and a candidate."""
    with (
        server(CANDIDATE, MOORING_POD_UID="pod-3") as candidate,
        server(STABLE, peer=candidate.forward) as one,
        server(STABLE, peer=candidate.forward, MOORING_POD_UID="pod-2") as two,
    ):
        yield one, two, candidate


def weigh(pods: tuple[Server, ...], weight: float, step: int, **route: Any) -> None:
    for pod in pods:
        pod.sync(
            phase=f"{CANDIDATE}.2/{step}",
            candidateRevision=CANDIDATE,
            weightPercent=weight,
            deadlineMs=5000,
            **route,
        )


def answered_by(pod: Server, user: str) -> str:
    answer = pod.post(PATH, request(), **{"X-User-Id": user})
    assert answer.status_code == 200, answer.text
    return answer.headers["mooring-revision"]


def test_user_gets_the_same_revision_in_every_pod_and_keeps_it_while_the_weight_grows(
    trio: tuple[Server, Server, Server],
) -> None:
    one, two, _ = trio
    users = [f"user-{number}" for number in range(USERS)]
    before: set[str] = set()
    for step, weight in enumerate((10, 40, 80)):
        weigh((one, two), weight, step, stickyHeader="x-user-id")
        seen = {user for user in users if answered_by(one, user) == CANDIDATE}
        assert seen == {user for user in users if answered_by(two, user) == CANDIDATE}
        assert before <= seen, "nobody went back"
        # Five standard errors of a share of 120 users.
        error = 5 * (USERS * weight / 100 * (1 - weight / 100)) ** 0.5
        assert abs(len(seen) - USERS * weight / 100) <= error
        before = seen


def test_call_with_the_header_as_metadata_goes_where_the_request_went(
    trio: tuple[Server, Server, Server],
) -> None:
    one, two, _ = trio
    weigh((one, two), 50, 1, stickyHeader="x-user-id")
    with connected(one.grpc) as client:
        for user in (f"user-{number}" for number in range(20)):
            _, headers = client.infer_with_call(
                matrix_request(cancer_rows(1)), metadata=(("x-user-id", user),)
            )
            assert headers["mooring-revision"] == answered_by(two, user)


def test_requests_without_the_header_are_divided_at_random(
    trio: tuple[Server, Server, Server],
) -> None:
    one, two, candidate = trio
    weigh((one, two), 50, 2, stickyHeader="x-user-id")
    before = candidate.sync()["requests"]
    for pod in (one, two):
        for _ in range(100):
            assert pod.post(PATH, request()).status_code == 200
    assert 65 <= candidate.sync()["requests"] - before <= 135


def test_candidate_answers_no_forward_from_the_verdict_on(
    trio: tuple[Server, Server, Server],
) -> None:
    """Last of the trio's tests: the stable pod does not know of the verdict yet."""
    one, _, candidate = trio
    weigh((one,), 100, 3)
    candidate.sync(role="Retired", stableRevision=STABLE)
    before = candidate.sync(role="Retired", stableRevision=STABLE)["requests"]
    misrouted = outcomes(one).get("misrouted", 0)
    for _ in range(5):
        assert one.post(PATH, request()).headers["mooring-revision"] == STABLE
    assert candidate.sync(role="Retired", stableRevision=STABLE)["requests"] == before
    assert outcomes(one)["misrouted"] == misrouted + 5
    arms = one.sync(phase=f"{CANDIDATE}.2/3", candidateRevision=CANDIDATE)["phases"]
    assert arms[f"{CANDIDATE}.2/3"]["candidate"]["requests"] == 0, "nobody is blamed"


def test_pods_behind_a_gateway_count_the_requests_that_came_to_them() -> None:
    phase = f"{CANDIDATE}.2/1"
    with (
        server(CANDIDATE, MOORING_POD_UID="pod-2") as candidate,
        server(STABLE, peer=candidate.forward) as stable,
    ):
        stable.sync(phase=phase)
        candidate.sync(role="Candidate", phase=phase)
        for pod, count in ((stable, 5), (candidate, 3)):
            for _ in range(count):
                assert pod.post(PATH, request()).status_code == 200
        wrong = request() | {"outputs": [{"name": "nothing"}]}
        assert candidate.post(PATH, wrong).status_code == 400, "no fault of the model"
        by_stable = stable.sync(phase=phase)["phases"][phase]
        seen = candidate.sync(role="Candidate", phase=phase)
        by_candidate = seen["phases"][phase]
        receipt = candidate.post(PATH, request()).json()["parameters"]["prediction_id"]
    assert (by_stable["stable"]["requests"], by_stable["candidate"]["requests"]) == (5, 0)
    assert (by_candidate["stable"]["requests"], by_candidate["candidate"]["requests"]) == (0, 3)
    assert (by_candidate["candidate"]["errors"], seen["requests"]) == (0, 3)
    assert "answers" not in by_candidate["candidate"], "its bins are no other pod's"
    padded = receipt.partition(".")[0]
    told = json.loads(base64.urlsafe_b64decode(padded + "=" * (-len(padded) % 4)))
    assert (told["a"], told["ph"]) == ("candidate", phase)


def test_candidate_whose_operator_fell_silent_counts_for_no_step() -> None:
    with server(CANDIDATE) as candidate:
        candidate.sync(role="Candidate", phase=f"{CANDIDATE}.2/1")
        candidate.sync(role="Candidate")
        assert candidate.post(PATH, request()).status_code == 200
        assert candidate.sync(role="Candidate")["phases"] == {}


def test_answer_on_its_way_is_thrown_away_when_the_verdict_overtakes_it() -> None:
    with (
        server(CANDIDATE, MOORING_POD_UID="pod-2") as candidate,
        server(STABLE, peer=candidate.forward) as stable,
        ThreadPoolExecutor(1) as threads,
    ):
        weigh((stable,), 100, 0)
        candidate.process.send_signal(signal.SIGSTOP)
        asked = threads.submit(lambda: httpx.post(stable.url(PATH), json=request(), timeout=10))
        await_true(lambda: in_flight(stable) == 1, what="a forward")
        stable.sync()
        candidate.process.send_signal(signal.SIGCONT)
        answer = asked.result(10)
        assert (answer.status_code, answer.headers["mooring-revision"]) == (200, STABLE)
        assert outcomes(stable) == {"overtaken": 1}


def in_flight(pod: Server) -> int:
    line = next(
        line
        for line in pod.metrics().splitlines()
        if line.startswith("mooring_requests_in_flight{")
    )
    return int(float(line.rpartition(" ")[2]))


# Flips


def retire(pod: Server, **route: Any) -> dict[str, Any]:
    return pod.sync(role="Retired", stableRevision=CANDIDATE, **route)


def test_retired_pods_reach_stable_by_the_second_service_while_the_first_lags() -> None:
    """The first one still leads to another retired pod, which refuses at once."""
    with (
        server(CANDIDATE, MOORING_POD_UID="pod-3") as stable,
        server(STABLE, MOORING_POD_UID="pod-2") as other,
        server(STABLE, peer=(other.forward, stable.forward)) as retired,
    ):
        before = retire(retired)
        assert retired.post(PATH, request()).headers["mooring-revision"] == CANDIDATE
        assert other.sync()["requests"] == 0, "told nothing yet, it would have answered"
        assert other.refusals()["NotFound"] == 1
        retire(other)
        answers = [retired.post(PATH, request()) for _ in range(20)]
        assert {answer.headers["mooring-revision"] for answer in answers} == {CANDIDATE}
        assert {answer.headers["connection"] for answer in answers} == {"close"}
        assert max(answer.elapsed.total_seconds() for answer in answers) < 1.0
        with connected(retired.grpc) as client:
            _, headers = client.infer_with_call(matrix_request(cancer_rows(1)))
            assert headers["mooring-revision"] == CANDIDATE
        after = retire(retired)
        assert after["requests"] == before["requests"]
        assert (retire(other)["requests"], after["retiredAnswers"]) == (0, 0)
        assert stable.sync()["requests"] == 22


def test_retired_pod_looks_again_until_a_service_leads_to_stable() -> None:
    with (
        StubPeer(MISDIRECTED) as peer,
        server(STABLE, peer=(peer.port, peer.port)) as retired,
        ThreadPoolExecutor(1) as threads,
    ):
        retire(retired, deadlineMs=8000)
        began = time.monotonic()
        asked = threads.submit(lambda: httpx.post(retired.url(PATH), json=request(), timeout=10))
        threading.Timer(0.4, setattr, (peer, "answer", GOOD)).start()
        answer = asked.result(10)
        assert answer.headers["mooring-revision"] == CANDIDATE
        assert 0.3 < time.monotonic() - began < 3.0
        assert retire(retired)["retiredAnswers"] == 0


def test_pod_stops_looking_for_stable_when_it_is_stable_again() -> None:
    """Two flips within a second: neither Service leads to the revision in between any more."""
    with (
        StubPeer(MISDIRECTED) as peer,
        server(STABLE, peer=peer.port) as pod,
        ThreadPoolExecutor(1) as threads,
    ):
        retire(pod, deadlineMs=9000)
        asked = threads.submit(lambda: httpx.post(pod.url(PATH), json=request(), timeout=10))
        await_true(lambda: in_flight(pod) == 1, what="a request that looks for stable")
        pod.sync()
        answer = asked.result(3)
        assert answer.headers["mooring-revision"] == STABLE
        assert pod.sync()["retiredAnswers"] == 0, "it answers as the stable one"


def test_retired_pod_answers_itself_and_says_so_when_no_service_leads_to_stable() -> None:
    with StubPeer(MISDIRECTED) as peer, server(STABLE, peer=peer.port) as retired:
        retire(retired, deadlineMs=200)
        answer = retired.post(PATH, request())
        assert answer.headers["mooring-revision"] == STABLE
        snapshot = retire(retired)
        assert (snapshot["requests"], snapshot["retiredAnswers"]) == (1, 1)
        pinned = retired.post("/v2/models/cancer/versions/v1/infer", request())
        assert pinned.headers["mooring-revision"] == STABLE
        assert retire(retired)["retiredAnswers"] == 1, "asked for by name"
        told = [line for line in retired.metrics().splitlines() if "retired_answers_total{" in line]
        assert [line.rpartition(" ")[2] for line in told] == ["1.0"]


def test_retired_pod_drains_without_answering_itself() -> None:
    """A demoted revision's pods are deleted in the end, with connections still open."""
    with (
        server(CANDIDATE, MOORING_POD_UID="pod-2") as stable,
        server(STABLE, peer=stable.forward, MOORING_DRAIN_SECONDS="2") as retired,
    ):
        retire(retired)
        retired.terminate()
        await_true(lambda: not is_ready(retired), what="draining")
        assert retired.post(PATH, request()).headers["mooring-revision"] == CANDIDATE


def is_ready(pod: Server) -> bool:
    answer = pod.client.get(pod.managed("/readyz"))
    assert answer.status_code in (200, 503), json.dumps(answer.text)
    return answer.status_code == 200
