import json
from typing import Any

import pytest

from mooring_operator.reconcile.pod_reports import ending_of, failure_of, is_ready
from tests.unit.shell.objects import pod

REFUSAL = {
    "verdict": "Refused",
    "reason": "DigestMismatch",
    "message": "manifest.json has another digest",
    "remedy": "push it again",
}


def _ended(name: str, code: int, message: object = "", reason: str = "Error") -> dict[str, Any]:
    text = message if isinstance(message, str) else json.dumps(message)
    return {
        "name": name,
        "state": {"terminated": {"exitCode": code, "reason": reason, "message": text}},
    }


def _waiting(name: str, reason: str, message: str = "", last: int | None = None) -> dict[str, Any]:
    status: dict[str, Any] = {
        "name": name,
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    if last is not None:
        status["lastState"] = {"terminated": {"exitCode": last, "reason": "Error"}}
    return status


def _pod(*, init: list[Any] | None = None, main: list[Any] | None = None) -> dict[str, Any]:
    status = {"initContainerStatuses": init or [], "containerStatuses": main or []}
    return pod("1", "r1", ready=False, status=status)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        pytest.param(
            _pod(init=[_ended("fetch", 10, REFUSAL)]),
            "DigestMismatch: manifest.json has another digest: push it again",
            id="refused package",
        ),
        pytest.param(
            _pod(main=[_waiting("server", "ImagePullBackOff", "no such image")]),
            "container server: ImagePullBackOff: no such image",
            id="image",
        ),
        pytest.param(
            _pod(main=[_waiting("server", "CrashLoopBackOff", "back-off", last=1)]),
            "container server: Error (exit code 1)",
            id="crash loop tells what crashed",
        ),
        pytest.param(
            _pod(main=[_ended("server", 137, reason="OOMKilled")]),
            "container server: OOMKilled (exit code 137)",
            id="out of memory",
        ),
        pytest.param(
            _pod(main=[_ended("server", 1, "Traceback\nImportError: no numpy")]),
            "ImportError: no numpy",
            id="last line of output",
        ),
    ],
)
def test_reason_for_not_starting_is_told_in_words(found: dict[str, Any], words: str) -> None:
    told = failure_of([found])
    assert told is not None
    assert words in told


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(_pod(main=[_waiting("server", "ContainerCreating")]), id="being created"),
        pytest.param(_pod(main=[_waiting("server", "ErrImagePull")]), id="first pull failed"),
        pytest.param(_pod(init=[_ended("fetch", 0, {"verdict": "Fetched"})]), id="fetched"),
        pytest.param(pod("1", "r1", ready=False, status={}), id="unscheduled"),
    ],
)
def test_ordinary_waiting_is_no_failure(found: dict[str, Any]) -> None:
    assert failure_of([found]) is None


def test_ready_pod_shows_that_the_revision_can_start() -> None:
    broken = _pod(main=[_waiting("server", "CrashLoopBackOff")])
    assert failure_of([broken, pod("2", "r1")]) is None


def test_pod_on_its_way_out_is_not_ready() -> None:
    assert is_ready(pod("1", "r1"))
    assert not is_ready(pod("1", "r1", deletionTimestamp="2026-01-01T00:00:00Z"))
    assert not is_ready(pod("1", "r1", ready=False))


def test_deciding_message_is_that_of_the_last_container_that_ran() -> None:
    fetched = _ended("fetch", 0, {"verdict": "Fetched"})
    both = ending_of(_pod(init=[fetched], main=[_ended("verify", 0, {"verdict": "Verified"})]))
    assert both is not None
    assert (both.container, both.message) == ("verify", {"verdict": "Verified"})
    only = ending_of(_pod(init=[_ended("fetch", 10, REFUSAL)], main=[_waiting("verify", "Pod")]))
    assert only is not None
    assert only.message == REFUSAL


def test_crashed_container_has_no_message_although_an_earlier_one_had() -> None:
    found = ending_of(
        _pod(
            init=[_ended("fetch", 0, {"verdict": "Fetched"})],
            main=[_ended("verify", 137, reason="OOMKilled")],
        )
    )
    assert found is not None
    assert found.message is None
    assert "OOMKilled" in found.words
