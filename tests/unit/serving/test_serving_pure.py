"""The pure rooms of the server: lifecycle, breaker, routing, losses, counters, settings."""

from typing import Any

import numpy as np
import pytest

from mooring_serving.arms import Arm, Outcome, Role
from mooring_serving.breaker import Circuit, CircuitBreaker
from mooring_serving.clock import format_microseconds, parse_time, to_microseconds
from mooring_serving.counters import Counters
from mooring_serving.feedback import TokenBucket
from mooring_serving.lifecycle import Event, ImpossibleTransition, State, advance
from mooring_serving.losses import LabelInvalid, LossRule, Task
from mooring_serving.routing import Draws, Route, RouteTable, plan_request
from mooring_serving.settings import EventTime, SettingsInvalid, read_settings

BINARY = LossRule(Task.BINARY, (0, 1), 1, 1.0)
WORDS = LossRule(Task.BINARY, ("late", "on time"), "late", 1.0)
WINE = LossRule(Task.MULTICLASS, (0, 1, 2), None, 1.0)
NUMBER = LossRule(Task.REGRESSION, (), None, 50.0)


def test_life_runs_from_loading_to_stopped() -> None:
    state = State.LOADING
    for event in (Event.WARMED, Event.OPENED, Event.TERMINATED, Event.TERMINATED, Event.CLOSED):
        state = advance(state, event)
    assert state is State.STOPPED


@pytest.mark.parametrize("state", [State.LOADING, State.WARM])
def test_life_ends_at_once_when_terminated_before_ready(state: State) -> None:
    assert advance(state, Event.TERMINATED) is State.STOPPED


def test_life_refuses_events_that_cannot_happen() -> None:
    with pytest.raises(ImpossibleTransition, match="Opened cannot happen while Draining"):
        advance(State.DRAINING, Event.OPENED)


def test_breaker_opens_when_half_of_the_window_failed() -> None:
    breaker = CircuitBreaker(window=4, pause_seconds=5)
    for failed in (False, True, False, True):
        assert breaker.allows(0)
        breaker.report(0, failed=failed)
    assert breaker.state is Circuit.OPEN
    assert not breaker.allows(4.9)


def test_breaker_lets_one_through_after_the_pause_and_closes_when_it_works() -> None:
    breaker = CircuitBreaker(window=2, pause_seconds=5)
    for _ in range(2):
        breaker.report(0, failed=True)
    assert breaker.allows(5)
    assert not breaker.allows(5)
    breaker.report(5, failed=False)
    assert breaker.state is Circuit.CLOSED


def test_breaker_opens_again_when_the_one_fails() -> None:
    breaker = CircuitBreaker(window=2, pause_seconds=5)
    for _ in range(2):
        breaker.report(0, failed=True)
    assert breaker.allows(5)
    breaker.report(6, failed=True)
    assert not breaker.allows(10.9)
    assert breaker.allows(11)


def test_route_loses_its_weights_and_phase_when_it_expires() -> None:
    table = RouteTable()
    table.set(Route(phase="abc/1", weight_percent=100), expires_at=10)
    assert table.current(9.9).weight_percent == 100
    expired = table.current(10)
    assert (expired.weight_percent, expired.shadow_percent, expired.phase) == (0, 0, None)


def test_retired_pod_stays_retired_when_its_route_expires() -> None:
    table = RouteTable()
    table.set(Route(role=Role.RETIRED), expires_at=10)
    assert table.current(1000).role is Role.RETIRED


@pytest.mark.parametrize(
    ("route", "draw", "shadow_draw", "expected"),
    [
        (Route(), 0.0, 0.0, (False, False)),
        (Route(phase="a/1", weight_percent=5), 0.0499, 0.0, (True, False)),
        (Route(phase="a/1", weight_percent=5), 0.05, 0.0, (False, False)),
        (Route(phase="a/1", shadow_percent=100), 0.0, 0.99, (False, True)),
        (Route(phase="a/1", weight_percent=50, shadow_percent=50), 0.6, 0.4, (False, True)),
        (Route(role=Role.CANDIDATE, phase="a/1", weight_percent=100), 0.0, 0.0, (False, False)),
        (Route(role=Role.RETIRED), 0.9, 0.9, (True, False)),
    ],
)
def test_plan_follows_the_route(
    route: Route, draw: float, shadow_draw: float, expected: tuple[bool, bool]
) -> None:
    draws = iter([draw, shadow_draw])
    plan = plan_request(route, lambda: next(draws))
    assert (plan.forward, plan.mirror) == expected


def test_draws_are_the_generators_uniform_numbers() -> None:
    draws = Draws(np.random.default_rng(7))
    drawn = [draws() for _ in range(5000)]
    assert min(drawn) >= 0
    assert max(drawn) < 1
    assert abs(float(np.mean(drawn)) - 0.5) < 0.02


@pytest.mark.parametrize(
    ("rule", "label", "predicted", "loss"),
    [
        (BINARY, 1, 0.75, 0.0625),
        (BINARY, 0, 0.75, 0.5625),
        (WORDS, "late", 1.0, 0.0),
        (WORDS, "on time", 1.0, 1.0),
        (WINE, 1, [0.25, 0.5, 0.25], (0.0625 + 0.25 + 0.0625) / 2),
        (WINE, 0, [0.0, 1.0, 0.0], 1.0),
        (NUMBER, 10.0, 35.0, 0.5),
        (NUMBER, 10.0, 1000.0, 1.0),
    ],
)
def test_loss_is_the_papers_score_within_zero_and_one(
    rule: LossRule, label: object, predicted: float | list[float], loss: float
) -> None:
    assert rule.loss(rule.check(label), predicted) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("rule", "label"),
    [(BINARY, 2), (BINARY, True), (BINARY, "1"), (WORDS, 1), (NUMBER, "3"), (NUMBER, True)],
)
def test_label_is_refused_when_it_cannot_belong_to_the_model(rule: LossRule, label: object) -> None:
    with pytest.raises(LabelInvalid, match="label must be"):
        rule.check(label)


def test_latency_falls_into_the_bucket_of_its_upper_bound() -> None:
    counters = Counters(phase_limit=1)
    for milliseconds in (0.2, 1.0, 1.1, 1000.0, 5000.0):
        counters.count_answer(rows=1, milliseconds=milliseconds, phase=None)
    counts = counters.read().latency_counts
    assert counts == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_counters_keep_a_bounded_number_of_phases_and_drop_the_oldest() -> None:
    counters = Counters(phase_limit=2)
    for phase in ("a/0", "b/0", "c/0"):
        counters.count_answer(rows=1, milliseconds=1, phase=phase)
    phases: Any = counters.to_json()["phases"]
    assert sorted(phases) == ["b/0", "c/0"]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.ANSWERED, (1, 0, 0, 0, 0)),
        (Outcome.LATE, (1, 1, 1, 1, 0)),
        (Outcome.INVALID, (1, 1, 1, 0, 1)),
        (Outcome.REFUSED, (1, 1, 1, 0, 0)),
        (Outcome.MISROUTED, (0, 0, 0, 0, 0)),
        (Outcome.SHORT_CIRCUITED, (0, 0, 0, 0, 0)),
    ],
)
def test_forward_is_charged_to_the_candidate_unless_it_never_reached_it(
    outcome: Outcome, expected: tuple[int, ...]
) -> None:
    counters = Counters(phase_limit=2)
    counters.count_answer(rows=1, milliseconds=1, phase="a/1")
    counters.count_forward(outcome, rows=3, milliseconds=None, phase="a/1")
    document: Any = counters.to_json()["phases"]
    arm = document["a/1"][Arm.CANDIDATE.value]
    found = tuple(arm[key] for key in ("requests", "errors", "fellBack", "late", "invalidOutputs"))
    assert found == expected


def test_token_bucket_refuses_beyond_its_burst_and_refills_with_time() -> None:
    bucket = TokenBucket(rate=10, size=20, tokens=20, filled_at=0)
    assert bucket.take(20, 0)
    assert not bucket.take(1, 0)
    assert bucket.take(10, 1)


def test_settings_have_the_promised_defaults() -> None:
    settings = read_settings({})
    assert settings.drain_seconds == 5
    assert settings.event_time is EventTime.ARRIVAL
    assert settings.model is settings.sync_keys is settings.prediction_log_uri is None


def test_settings_name_the_variable_that_cannot_be_used() -> None:
    with pytest.raises(SettingsInvalid, match="MOORING_DRAIN_SECONDS"):
        read_settings({"MOORING_DRAIN_SECONDS": "soon"})
    with pytest.raises(SettingsInvalid, match="MOORING_VERSION"):
        read_settings({"MOORING_VERSION": "v1\r\nset-cookie: a"})
    with pytest.raises(SettingsInvalid, match="MOORING_EVENT_TIME"):
        read_settings({"MOORING_EVENT_TIME": "Sometimes"})


@pytest.mark.parametrize(
    "text",
    [
        "2013-01-05T10:30:00.250000Z",
        "1970-01-01T00:00:00.000000Z",
        "1969-12-31T23:59:59.999999Z",
        "2099-12-31T23:59:59.000001Z",
    ],
)
def test_time_is_written_as_it_was_read(text: str) -> None:
    assert format_microseconds(to_microseconds(parse_time(text))) == text
