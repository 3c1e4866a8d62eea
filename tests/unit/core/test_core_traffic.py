"""How requests are divided: routes, deadlines, Services, blue-green, the achieved weight."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.deployment_status import ModelDeploymentStatus, RetiredRevision
from mooring_operator.core.decision import Decision, Route, RouteRole
from mooring_operator.core.manifests.children import FLIP, children_of
from mooring_operator.core.memory import remember
from mooring_operator.core.observation import PhaseCounts
from mooring_operator.core.revision import reference_fields
from mooring_operator.core.rollout.achieved import LEAST_REQUESTS, achieved_percent
from mooring_operator.core.rollout.analysis import evaluate
from mooring_operator.core.rollout.plan import decide
from mooring_operator.core.rollout.steps import (
    candidate_deadline_ms,
    retired_deadline_ms,
    routes,
)
from mooring_operator.ids import Revision
from tests.builders.observed import (
    arm,
    candidate,
    look,
    phase_of,
    pods,
    ref,
    stable,
    status,
    telemetry,
)
from tests.builders.resources import CONFIG, EPOCH, deployment, spec

MINUTE = timedelta(minutes=1)
V1, V2 = Revision(ref("v1").revision), Revision(ref("v2").revision)
WEIGHTS = {"steps": [{"weight": 10, "minRows": 100_000}]}
BLUE_GREEN = {"mode": "BlueGreen"}


def declared(**fields: Any) -> ModelDeployment:
    return deployment(spec("v2", **fields))


def retired(version: str) -> RetiredRevision:
    fields: dict[str, Any] = dict(reference_fields(ref(version)))
    return RetiredRevision.model_validate(fields | {"keep_until": EPOCH + 60 * MINUTE})


def analysed(
    counts: PhaseCounts | None = None,
    before: ModelDeploymentStatus | None = None,
    *,
    wire: dict[str, Any] | None = None,
    now: datetime = EPOCH + MINUTE,
) -> Decision[ModelDeploymentStatus]:
    """One look at a candidate in its first and only weight."""
    trying = candidate("v2")
    known = before or status(stable=stable("v1"), desired=ref("v2"), candidate=trying)
    phases = {} if counts is None else {phase_of(trying, rollout=WEIGHTS): counts}
    observation = look(
        known,
        pods("v1"),
        pods("v2"),
        wire_spec=wire or spec("v2", rollout=WEIGHTS),
        telemetry=telemetry(phases=phases),
    )
    return decide(observation, CONFIG, now)


# Routes


@pytest.mark.parametrize(
    ("stage", "header"),
    [("Analysing", "x-user-id"), ("Promoting", "x-user-id"), ("Starting", None)],
)
def test_stable_pods_are_told_the_header_in_lower_case_while_they_forward(
    stage: str, header: str | None
) -> None:
    wire = declared(rollout=WEIGHTS, traffic={"stickyHeader": "X-User-Id"}).spec
    told = routes(status(stable=stable("v1"), candidate=candidate("v2", stage)), wire, EPOCH)
    assert told[V1].sticky_header == header


def test_candidate_refuses_what_is_forwarded_to_it_from_the_verdict_on() -> None:
    wire = declared(rollout=WEIGHTS).spec
    told = routes(
        status(stable=stable("v1"), candidate=candidate("v2", "RollingBack")), wire, EPOCH
    )
    assert told[V2] == Route(RouteRole.RETIRED, deadline_ms=5000, stable_revision=V1)
    assert told[V1] == Route(RouteRole.STABLE)
    told = routes(
        status(stable=stable("v1"), candidate=candidate("v2", "Withdrawing")), wire, EPOCH
    )
    assert told[V2] == Route(RouteRole.CANDIDATE), "nobody blames it"


def test_former_stable_pods_are_told_who_must_answer() -> None:
    told = routes(status(stable=stable("v2"), retired=retired("v1")), declared().spec, EPOCH)
    assert told[V1] == Route(RouteRole.RETIRED, deadline_ms=5000, stable_revision=V2)


@pytest.mark.parametrize(
    ("deadline", "of_candidate", "of_retired"),
    [(None, 1000, 5000), ("100ms", 50, 50), ("1s", 500, 500), ("60s", 6000, 30_000),
     ("10m", 60_000, 300_000), ("1ms", 1, 1), ("3h", 60_000, 300_000), ("1501ms", 750, 750),
     ("15001ms", 1500, 7500)],
)  # fmt: skip
def test_forwards_get_a_share_of_the_requests_deadline(
    deadline: str | None, of_candidate: int, of_retired: int
) -> None:
    wire = declared(runtime={} if deadline is None else {"deadline": deadline}).spec
    assert candidate_deadline_ms(wire) == of_candidate
    assert retired_deadline_ms(wire) == of_retired


# Services


def second_service(now: datetime, known: ModelDeploymentStatus) -> str:
    made = children_of(look(known, wire_spec=spec("v2")), known, CONFIG, now)
    (service,) = [m for m in made if m["metadata"]["name"] == "delays-candidate"]
    return service["spec"]["selector"]["mooring.dev/revision"]


def test_second_service_leads_to_whom_a_flip_will_need() -> None:
    swapped = EPOCH + MINUTE
    after = status(stable=stable("v2", since=swapped), retired=retired("v1"))
    assert second_service(swapped, after) == V2, "the nodes still lead the first one to v1"
    assert second_service(swapped + FLIP, after) == V1, "made ready for a flip back"
    back = status(stable=stable("v1", since=swapped), retired=retired("v2"))
    assert second_service(swapped, back) == V1
    trying = after.model_copy(update={"candidate": candidate("v3", "Starting")})
    assert second_service(swapped + FLIP, trying) == ref("v3").revision
    assert second_service(swapped, status(stable=stable("v1"))) == "none"
    assert second_service(swapped, status(candidate=candidate("v1", "Initializing"))) == "none"


def test_operator_looks_again_when_a_flip_is_over() -> None:
    after = status(
        stable=stable("v2", since=EPOCH + MINUTE), desired=ref("v2"), retired=retired("v1")
    )
    observation = look(after, pods("v1"), pods("v2"), wire_spec=spec("v2"), telemetry=telemetry())
    soon = decide(observation, CONFIG, EPOCH + MINUTE + timedelta(seconds=4))
    assert soon.requeue_after == timedelta(seconds=6)
    later = decide(observation, CONFIG, EPOCH + 2 * MINUTE)
    assert later.requeue_after == 58 * MINUTE


# BlueGreen


def test_blue_green_candidate_has_all_its_pods_from_the_start() -> None:
    known = status(stable=stable("v1"), desired=ref("v2"), candidate=candidate("v2", "Starting"))
    wire = spec("v2", replicas=5, traffic=BLUE_GREEN)
    made = decide(look(known, pods("v1", 5, 5), wire_spec=wire), CONFIG, EPOCH).children
    replicas = {
        m["metadata"]["name"]: m["spec"]["replicas"] for m in made if "apps" in m["apiVersion"]
    }
    assert replicas == {f"delays-{V1}": 5, f"delays-{V2}": 5}


def test_steps_that_nobody_wrote_are_those_of_the_mode() -> None:
    def steps(**fields: Any) -> list[tuple[int | None, int | None]]:
        return [(step.shadow, step.weight) for step in declared(**fields).spec.rollout.steps]

    assert steps() == [(100, None), (None, 5), (None, 25)]
    assert steps(traffic=BLUE_GREEN) == [(100, None)]
    assert steps(traffic=BLUE_GREEN, rollout={"progressDeadline": "1m"}) == [(100, None)]
    written = {"steps": [{"shadow": 10}]}
    assert steps(traffic=BLUE_GREEN, rollout=written) == [(10, None)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"traffic": BLUE_GREEN, "rollout": {"steps": [{"shadow": 9}, {"weight": 5}]}},
            ["spec.rollout.steps", "weights 5:", "0 and 100 only", "traffic.mode to Forward"],
        ),
        (
            {"traffic": BLUE_GREEN, "rollout": {"analysis": {"metrics": ["loss"]}}},
            ["spec.rollout.analysis.metrics has loss", "take loss out", "add a step with weight"],
        ),
        (
            {"rollout": {"steps": [{"shadow": 100}], "analysis": {"metrics": ["errors", "loss"]}}},
            ["never get labels"],
        ),
    ],
    ids=["a weight in blue-green", "a loss in blue-green", "a loss without a weight"],
)
def test_what_a_mode_cannot_do_is_refused_with_the_remedy(
    fields: dict[str, Any], said: list[str]
) -> None:
    known = status(stable=stable("v1"), desired=ref("v1"))
    decision = decide(look(known, pods("v1"), wire_spec=spec("v2", **fields)), CONFIG, EPOCH)
    stalled = next(c for c in decision.status.conditions if c.type == "Stalled")
    assert stalled.reason == "InvalidSpec"
    for words in said:
        assert words in stalled.message
    assert decision.status.candidate is None


# The achieved weight


def counts(own: int, forwarded: int, fell_back: int = 0, own_errors: int = 0) -> PhaseCounts:
    return PhaseCounts(stable=arm(own, own_errors), candidate=arm(forwarded, fell_back))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (counts(90, 10), (10.0, 100)),
        (counts(90, 10, fell_back=10), (0.0, 100)),
        (counts(0, 40), (100.0, 40)),
        (counts(100, 10, own_errors=10), (10.0, 100)),
        (counts(10, 9), None),
        (None, None),
    ],
    ids=["a tenth", "stable answered them all", "all", "stable failed some", "too few", "unseen"],
)
def test_achieved_weight_is_answered_by_the_candidate_of_all_answered(
    seen: PhaseCounts | None, expected: tuple[float, int] | None
) -> None:
    assert achieved_percent(seen) == expected


def test_status_and_column_say_achieved_and_asked_for_weight() -> None:
    decision = analysed(counts(1880, 120))
    assert decision.status.weight == "6/10%"
    assert decision.status.candidate is not None
    assert decision.status.candidate.weight_requested == 10
    assert decision.status.candidate.weight_achieved == 6.0
    assert analysed().status.weight == "-/10%"


def test_status_stands_while_the_achieved_weight_moves_by_chance_alone() -> None:
    first = analysed(counts(900, 100)).status
    for own, forwarded in ((1801, 199), (2720, 280), (3640, 360), (4400, 600)):
        again = analysed(counts(own, forwarded), first)
        assert again.status.weight == "10/10%", (own, forwarded)
    away = analysed(counts(9000, 500), first)
    assert away.status.weight == "5.3/10%"


def test_achieved_weight_is_kept_while_the_operator_knows_no_counters_yet() -> None:
    first = analysed(counts(900, 100)).status
    assert analysed(None, first).status.weight == "10/10%"
    steps = [{"weight": 10, "minRows": 50}, {"weight": 50, "minRows": 9000}]
    moved = analysed(counts(900, 100), first, wire=spec("v2", rollout={"steps": steps}))
    assert moved.status.weight == "-/50%", "the next step begins without a number"


def test_memory_does_not_change_with_the_achieved_weight() -> None:
    one, other = analysed(counts(900, 100)).status, analysed(counts(9000, 500)).status
    assert one.candidate != other.candidate
    assert remember(one) == remember(other)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 100), st.integers(0, 20)),
        min_size=1,
        max_size=12,
    )
)
def test_shown_weight_is_the_truth_or_close_and_looking_again_changes_nothing(
    steps: list[tuple[int, int, int]],
) -> None:
    before: ModelDeploymentStatus | None = None
    own = forwarded = fell_back = 0
    for more_own, more_forwarded, more_back in steps:
        own, forwarded = own + more_own, forwarded + more_forwarded
        fell_back = min(forwarded, fell_back + more_back)
        seen = counts(own, forwarded, fell_back)
        wire = spec("v2", rollout=WEIGHTS | {"analysis": {"metrics": ["invalidOutputs"]}})
        after = analysed(seen, before, wire=wire).status
        assert analysed(seen, after, wire=wire).status.candidate == after.candidate
        truth = achieved_percent(seen)
        assert after.candidate is not None
        shown = after.candidate.weight_achieved
        if truth is None:
            assert shown is None
        else:
            assert shown is not None
            share, answered = truth
            assert answered >= LEAST_REQUESTS
            assert abs(shown - share) <= max(300 * (0.09 / answered) ** 0.5, 2.0) + 1e-9
        before = after


# Sticky users


def test_shares_of_requests_are_not_judged_where_users_are_divided() -> None:
    trying = candidate("v2")
    lopsided = telemetry(phases={phase_of(trying, rollout=WEIGHTS): counts(500, 500)})
    rollout = declared(rollout=WEIGHTS).spec.rollout
    assert evaluate(rollout, trying, lopsided, EPOCH).sample_ratio is not None
    assert evaluate(rollout, trying, lopsided, EPOCH, sticky=True).sample_ratio is None
