"""Dividing requests: exact shares, users that stay, answers that come too late to be given."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_serving.arms import Outcome, Role
from mooring_serving.forward import FORWARD_PORT, service_addresses
from mooring_serving.http.client import Address
from mooring_serving.routing import Draws, Route, admits, plan_request, sticky_share
from mooring_serving.workers.board import BOARD_CELLS, Board

HEADER = "x-user-id"
USERS = [f"user-{number}".encode() for number in range(20_000)]


def highest() -> float:
    """A draw that forwards nothing: what is forwarded was not left to chance."""
    return 1.0


def sticky(weight: float, phase: str = "9c1e40aa12bd.7/1") -> Route:
    return Route(phase=phase, weight_percent=weight, sticky_header=HEADER)


def forwarded(route: Route, user: bytes) -> bool:
    return plan_request(route, highest, {HEADER.encode(): user}).forward


def limits(n: int, share: float) -> tuple[float, float]:
    """Counts outside of which a share is off: five standard errors, one in 1.7 million."""
    error = 5 * math.sqrt(n * share * (1 - share))
    return n * share - error, n * share + error


@pytest.mark.parametrize("weight", [1, 5, 25, 50, 99])
@pytest.mark.parametrize("pods", [1, 2, 7])
def test_share_is_exact_at_any_number_of_pods(weight: int, pods: int) -> None:
    """No pod knows of another, and none rounds: 5 % of 2 pods is 5 %."""
    draws = [Draws(np.random.default_rng(seed)) for seed in range(pods)]
    route = Route(phase="a.1/1", weight_percent=weight)
    n = 40_000
    count = sum(plan_request(route, draws[number % pods]).forward for number in range(n))
    lowest, highest = limits(n, weight / 100)
    assert lowest <= count <= highest


@pytest.mark.parametrize("weight", [1, 5, 25, 50, 99])
def test_share_of_users_is_that_of_the_weight(weight: int) -> None:
    count = sum(forwarded(sticky(weight), user) for user in USERS)
    lowest, highest = limits(len(USERS), weight / 100)
    assert lowest <= count <= highest


@given(st.binary(max_size=200), st.integers(0, 6), st.lists(st.floats(0, 100), min_size=1))
def test_user_stays_at_the_candidate_while_the_weight_only_grows(
    user: bytes, step: int, weights: list[float]
) -> None:
    seen = [
        forwarded(sticky(weight, f"9c1e40aa12bd.7/{step + number}"), user)
        for number, weight in enumerate(sorted(weights))
    ]
    assert seen == sorted(seen), "never back to stable"


def test_another_rollout_divides_the_users_anew() -> None:
    first, second = (
        {user for user in USERS if forwarded(sticky(10, f"9c1e40aa12bd.{seq}/0"), user)}
        for seq in (7, 8)
    )
    lowest, highest = limits(len(USERS), 0.01)
    assert lowest <= len(first & second) <= highest, "independent: a tenth of a tenth"


def test_share_of_a_user_is_what_the_contract_says() -> None:
    """Fixed by value: pods of two releases must divide the same users the same way."""
    assert sticky_share("9c1e40aa12bd.7/1", b"user-1") == sticky_share(
        "9c1e40aa12bd.7/4", b"user-1"
    )
    assert sticky_share("9c1e40aa12bd.7/1", b"user-1") == 0.7117875385184943


@pytest.mark.parametrize("headers", [None, {}, {b"x-other": b"1"}], ids=["none", "empty", "others"])
def test_request_without_the_header_is_divided_at_random(headers: Any) -> None:
    assert plan_request(sticky(50), lambda: 0.49, headers).forward
    assert not plan_request(sticky(50), lambda: 0.51, headers).forward


CURRENT = {
    "stable that forwards there": (
        Route(phase="b.1/0", candidate_revision="b", weight_percent=5), True),
    "stable that forwards to another": (
        Route(phase="c.2/0", candidate_revision="c", weight_percent=5), False),
    "stable after the verdict": (Route(), False),
    "stable that shadows again": (
        Route(phase="b.1/0", candidate_revision="b", shadow_percent=5), False),
    "retired in favour of it": (Route(role=Role.RETIRED, stable_revision="b"), True),
    "retired in favour of another": (Route(role=Role.RETIRED, stable_revision="a"), False),
    "retired by an older operator": (Route(role=Role.RETIRED), True),
    "candidate": (Route(role=Role.CANDIDATE), False),
}  # fmt: skip


@pytest.mark.parametrize(("current", "given_"), CURRENT.values(), ids=CURRENT.keys())
def test_answer_is_given_only_when_the_route_still_leads_there(
    current: Route, *, given_: bool
) -> None:
    assert admits(current, "b") is given_


def test_outcomes_that_say_nothing_about_the_candidate_blame_nobody() -> None:
    blameless = {outcome for outcome in Outcome if not outcome.blames}
    assert blameless == {Outcome.MISROUTED, Outcome.SHORT_CIRCUITED, Outcome.OVERTAKEN}


def test_pods_forward_to_the_services_of_their_deployment_alone() -> None:
    resolve = service_addresses("delays", "flights")
    stable = Address("delays.flights.svc", FORWARD_PORT)
    candidate = Address("delays-candidate.flights.svc", FORWARD_PORT)
    assert tuple(resolve(Role.STABLE)) == (candidate,)
    assert tuple(resolve(Role.RETIRED)) == (stable, candidate)
    assert tuple(resolve(Role.CANDIDATE)) == ()
    assert tuple(service_addresses(None, "flights")(Role.RETIRED)) == ()


@pytest.mark.parametrize(
    "route",
    [
        Route(),
        Route(Role.RETIRED, stable_revision="9c1e40aa12bd", deadline_seconds=5.0),
        Route(phase="9c1e40aa12bd.7/19", candidate_revision="9c1e40aa12bd", weight_percent=12.5,
              sticky_header="x-" + "u" * 62),
        Route(phase="p" * 94 + "/1", candidate_revision="c" * 63, stable_revision="s" * 63,
              sticky_header="h" * 64),
    ],
)  # fmt: skip
def test_workers_read_the_route_that_the_supervisor_wrote(route: Route) -> None:
    board = Board(bytearray(BOARD_CELLS * 8))
    board.set(Route(Role.RETIRED, stable_revision="x" * 63, sticky_header="y" * 64), expires_at=1.0)
    board.set(route, expires_at=7.0)
    board.publish_connections(0, 3)
    assert board.read() == (4, route, 7.0)
