"""`decide` by values: what one look says in each situation that the simulations pass by."""

from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.conditions import ConditionType
from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.api.model import Model
from mooring_operator.api.monitoring_status import DriftedFeature, DriftStatus
from mooring_operator.core.conditions import condition_of
from mooring_operator.core.decision import Decision, Route, RouteRole
from mooring_operator.core.memory import remember
from mooring_operator.core.observation import (
    DeploymentObservation,
    LossCounts,
    PhaseCounts,
    RevisionObservation,
)
from mooring_operator.ids import Revision
from tests.builders.decided import MINUTE, decided
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
from tests.builders.resources import EPOCH, deployment, model, spec, version_status

V1 = Revision(ref("v1").revision)
V2 = Revision(ref("v2").revision)


def reason(decision: Decision[ModelDeploymentStatus], type_: str) -> tuple[str, str]:
    condition = next(c for c in decision.status.conditions if c.type == type_)
    return condition.status.value, condition.reason


def serving() -> ModelDeploymentStatus:
    return status(stable=stable("v1"), desired=ref("v1"))


def test_nothing_is_decided_when_the_resource_is_being_deleted() -> None:
    going = deployment(spec("v1"), serving().to_wire(), deleted=EPOCH)
    decision = decided(DeploymentObservation(going, "prod", None, {}))
    assert decision.status == going.status
    assert decision.children == decision.prune == decision.events == ()


def test_stable_is_ready_with_all_columns_when_its_pods_are() -> None:
    heard = telemetry(labelled=LossCounts(3210, 314.58, 60.0))
    observation = look(serving(), pods("v1"), telemetry=heard)
    after = decided(observation).status
    assert condition_of(after.conditions, ConditionType.STALLED) is None
    assert (after.version, after.ready, after.phase) == ("v1", "2/2", "Stable")
    assert (after.environment, after.replicas) == ("prod", 2)
    assert after.quality is not None
    assert after.quality.shown == "0.098 (n=3210)"
    assert after.weight == ""
    assert after.selector == f"mooring.dev/deployment=delays,mooring.dev/revision={V1}"


@pytest.mark.parametrize(
    ("seen", "type_", "why"),
    [
        (pods("v1", ready=1), "Reconciling", "NotEnoughPods"),
        (pods("v1", ready=2, updated=1), "Reconciling", "NotEnoughPods"),
        (pods("v1", ready=0, failure="image cannot be pulled"), "Stalled", "NoHealthyRevision"),
    ],
    ids=["a pod is missing", "a change of the template rolls", "no pod can start"],
)
def test_stable_is_not_ready_when_pods_are_missing(
    seen: RevisionObservation, type_: str, why: str
) -> None:
    observation = look(serving(), seen)
    assert reason(decided(observation), type_) == ("True", why)


def test_weight_column_shows_the_achieved_of_the_asked_for_share() -> None:
    now = candidate("v2", step=1)
    counts = {phase_of(now): PhaseCounts(stable=arm(950), candidate=arm(50))}
    before = status(stable=stable("v1"), desired=ref("v2"), candidate=now)
    observation = look(
        before,
        pods("v1"),
        pods("v2", 1, 1),
        wire_spec=spec("v2"),
        telemetry=telemetry(phases=counts),
    )
    decision = decided(observation)
    assert decision.status.weight == "5/5%"
    assert decision.routes[V1] == Route(RouteRole.STABLE, phase_of(now), V2, 5, 0)
    assert decision.routes[V2] == Route(RouteRole.CANDIDATE)


def rolling_back(step_started_at: timedelta = MINUTE) -> ModelDeploymentStatus:
    falling = candidate(
        "v2",
        "RollingBack",
        step_started_at=EPOCH + step_started_at,
        rollback_reason="ErrorsIncreased",
        rollback_evidence="errors +9 points",
    )
    return status(stable=stable("v1"), desired=ref("v2"), candidate=falling)


FORWARDING = Route(RouteRole.STABLE, "p/0", V2, 5, 0)
SILENT = Route(RouteRole.STABLE)


@pytest.mark.parametrize(
    ("routes", "heard_after", "now", "gone"),
    [
        ((SILENT, SILENT), 61, 62, True),
        ((SILENT, FORWARDING), 61, 62, False),
        ((SILENT, None), 61, 62, False),
        ((), 61, 62, False),
        ((SILENT, SILENT), 60, 62, False),
        ((SILENT, SILENT), 30, 62, False),
        ((FORWARDING, FORWARDING), 61, 119, False),
        ((FORWARDING, FORWARDING), 61, 120, True),
    ],
    ids=[
        "all pods acknowledged weight 0",
        "one pod still forwards",
        "one pod has not answered since the operator started",
        "no pod is known",
        "the acknowledgements are as old as the rollback",
        "the acknowledgements are older than the rollback",
        "the time to live has not passed",
        "the time to live has passed",
    ],
)
def test_candidate_is_dropped_only_when_no_stable_pod_can_forward(
    routes: tuple[Route | None, ...], heard_after: int, now: int, *, gone: bool
) -> None:
    heard = telemetry(at=EPOCH + timedelta(seconds=heard_after), routes={V1: routes})
    observation = look(
        rolling_back(), pods("v1"), pods("v2", 1, 1), wire_spec=spec("v2"), telemetry=heard
    )
    decision = decided(observation, timedelta(seconds=now))
    assert (decision.status.candidate is None) is gone
    assert [ref.name for ref in decision.prune] == ([f"delays-{V2}"] if gone else [])
    assert decision.routes[V1] == SILENT
    if gone:
        last = decision.status.last_rollback
        assert last is not None
        assert (last.id, last.from_revision, last.seconds) == ("r-2", V2, float(now))
        assert reason(decision, "Stalled") == ("True", "RolledBack")
        assert reason(decision, "RolledBack") == ("True", "ErrorsIncreased")


def test_rollback_is_finished_when_the_spec_names_nothing_that_exists() -> None:
    observation = look(
        rolling_back(), pods("v1"), pods("v2", 1, 1), wire_spec=spec("v9"), telemetry=telemetry()
    )
    decision = decided(observation, timedelta(minutes=3))
    assert decision.status.candidate is None
    assert [entry.version for entry in decision.status.quarantine] == ["v2"]
    assert reason(decision, "Stalled") == ("True", "VersionNotFound")


@pytest.mark.parametrize(
    ("token", "tried"),
    [
        (V2, True),
        (f"{V2}0123456789", True),
        (f"{V2}@again", True),
        (f"{V2}@", False),
        (V2[:8], False),
        (V1, False),
        ("true", False),
        ("", False),
    ],
    ids=["hash", "longer hash", "nonce", "empty nonce", "short", "another", "no hash", "none"],
)
def test_quarantined_revision_is_tried_when_the_token_names_it(token: str, *, tried: bool) -> None:
    heard = telemetry(at=EPOCH + 2 * MINUTE)
    seen = (pods("v1"), pods("v2", 1, 1))
    ended = decided(
        look(rolling_back(), *seen, wire_spec=spec("v2"), telemetry=heard), 3 * MINUTE
    ).status
    observation = look(
        ended, pods("v1"), wire_spec=spec("v2"), annotations={"mooring.dev/retry": token}
    )
    decision = decided(observation, 4 * MINUTE)
    assert (decision.status.candidate is not None) is tried
    assert decision.status.handled.retry == token, "looked at once, whatever became of it"
    assert bool(decision.status.quarantine) is not tried
    if tried:
        assert decision.status.candidate is not None
        assert decision.status.candidate.seq == 3, "counted apart from the first try"


def test_candidate_keeps_its_share_when_its_version_is_verified_again() -> None:
    before = status(stable=stable("v1"), desired=ref("v2"), candidate=candidate("v2", step=1))
    observation = look(
        before,
        pods("v1"),
        pods("v2", 1, 1),
        wire_spec=spec("v2"),
        registry=model("v1", version_status("v2", "Verifying")),
        telemetry=telemetry(),
    )
    decision = decided(observation)
    assert reason(decision, "Reconciling") == ("True", "AwaitingModel")
    assert decision.routes[V1].weight_percent == 5


def test_candidate_is_withdrawn_when_its_version_is_refused() -> None:
    before = status(stable=stable("v1"), desired=ref("v2"), candidate=candidate("v2", step=1))
    observation = look(
        before,
        pods("v1"),
        pods("v2", 1, 1),
        wire_spec=spec("v2"),
        registry=model("v1", version_status("v2", "Refused", reason="FileCorrupt")),
    )
    decision = decided(observation)
    assert reason(decision, "Reconciling") == ("True", "Withdrawing")
    assert decision.routes[V1].weight_percent == 0
    assert decision.status.quarantine == []


@pytest.mark.parametrize(
    ("wire", "registry", "type_", "why"),
    [
        (spec("v9"), model("v1", declared=("v9",)), "Reconciling", "AwaitingModel"),
        (spec("v9"), model("v1"), "Stalled", "VersionNotFound"),
        (spec("v2"), model(version_status("v2", "Pending")), "Reconciling", "AwaitingModel"),
        (spec("v2"), model(version_status("v2", "Refused")), "Stalled", "VersionRefused"),
        (spec(channel="live"), model("v1"), "Stalled", "ChannelNotFound"),
        (
            spec(channel="live"),
            model("v1", declared_channels=("live",)),
            "Reconciling",
            "AwaitingModel",
        ),
        (
            spec("v1", rollout={"analysis": {"latencyThreshold": "2s"}}),
            model("v1"),
            "Stalled",
            "InvalidSpec",
        ),
    ],
    ids=[
        "declared, not seen by the registry",
        "unknown",
        "pending",
        "refused",
        "no such channel",
        "channel without a version",
        "threshold beyond what pods measure",
    ],
)
def test_nothing_starts_and_stable_serves_when_the_spec_does_not_resolve(
    wire: dict[str, Any], registry: Model, type_: str, why: str
) -> None:
    observation = look(serving(), pods("v1"), wire_spec=wire, registry=registry)
    decision = decided(observation)
    assert reason(decision, type_) == ("True", why)
    assert reason(decision, "Available") == ("True", "StableServing")
    assert decision.status.candidate is None
    assert decision.status.desired is None
    assert any(child["metadata"]["name"] == f"delays-{V1}" for child in decision.children)


def test_revision_is_the_same_when_two_versions_are_the_same_package() -> None:
    twin = version_status("v1-again") | {"digest": ref("v1").digest}
    observation = look(
        serving(), pods("v1"), wire_spec=spec("v1-again"), registry=model("v1", twin)
    )
    decision = decided(observation)
    assert reason(decision, "Ready")[0] == "True"
    message = condition_of(decision.status.conditions, ConditionType.READY)
    assert message is not None
    assert "v1-again is the same package" in message.message


def drift(verdict: str, *names: str, revision: str = V1) -> DriftStatus:
    features = [DriftedFeature(name=name, kind="input", effect=0.3) for name in names]
    return DriftStatus(revision=revision, verdict=verdict, features=features, rows=500)


WATCHED = spec("v1", monitoring={"drift": {}})


@pytest.mark.parametrize(
    ("seen", "coverage", "expected", "column"),
    [
        (None, 1.0, ("Unknown", "NoData"), "-"),
        (drift("NoData"), 1.0, ("Unknown", "NoData"), "-"),
        (drift("WithinTolerance"), 1.0, ("False", "WithinTolerance"), "No"),
        (drift("WithinTolerance"), 0.5, ("Unknown", "LowCoverage"), "No"),
        (drift("Drifted", "dep_delay"), 1.0, ("True", "InputDrift"), "Yes"),
        (drift("Drifted", "@score"), 1.0, ("True", "PredictionDrift"), "Yes"),
        (drift("Drifted", "@score", "dep_delay"), 1.0, ("True", "InputDrift"), "Yes"),
        (drift("Drifted", "dep_delay", revision=V2), 1.0, ("Unknown", "NoData"), "-"),
    ],
    ids=["none", "no data", "within", "low coverage", "input", "score", "both", "other revision"],
)
def test_drift_condition_says_what_the_watch_found(
    seen: DriftStatus | None, coverage: float, expected: tuple[str, str], column: str
) -> None:
    heard = telemetry(drift=seen, coverage=coverage)
    decision = decided(look(serving(), pods("v1"), wire_spec=WATCHED, telemetry=heard))
    assert reason(decision, "Drifted") == expected
    assert decision.status.drifted == column


def test_drift_stays_latched_until_another_revision_serves() -> None:
    alarmed = serving().model_copy(update={"drift": drift("Drifted", "dep_delay")})
    calm = telemetry(drift=drift("WithinTolerance"))
    observation = look(alarmed, pods("v1"), wire_spec=WATCHED, telemetry=calm)
    assert reason(decided(observation), "Drifted") == ("True", "InputDrift")
    moved = status(stable=stable("v2"), drift=drift("Drifted", "dep_delay"))
    observation = look(moved, pods("v2"), wire_spec=WATCHED | spec("v2"), telemetry=calm)
    assert reason(decided(observation), "Drifted")[0] == "Unknown"


def test_memory_is_ignored_when_it_cannot_be_read() -> None:
    lost = look(None, pods("v1"), memory="{not json")
    decision = decided(lost)
    assert decision.status.stable is not None, "its pods are ready: the first revision again"
    assert decision.prune == ()


def test_status_is_rebuilt_with_candidate_and_quarantine_when_it_is_lost() -> None:
    before = rolling_back()
    memory = remember(before)
    decision = decided(
        look(None, pods("v1"), pods("v2", 1, 1), wire_spec=spec("v2"), memory=memory)
    )
    assert decision.status.stable == before.stable
    assert decision.status.candidate == before.candidate
    assert reason(decision, "Reconciling") == ("True", "RollingBack")


def test_undecided_time_does_not_pass_while_the_operator_is_away() -> None:
    """The clock stands still from the last look that saw anything, not from the restart."""
    now = candidate("v2", step=1)
    counts = {phase_of(now): PhaseCounts(stable=arm(95), candidate=arm(5))}
    seen = (pods("v1"), pods("v2", 1, 1))
    wire = spec("v2", rollout={"analysis": {"maxDuration": "10m", "onUndecided": "Rollback"}})
    first = decided(
        look(
            status(stable=stable("v1"), desired=ref("v2"), candidate=now),
            *seen,
            wire_spec=wire,
            telemetry=telemetry(phases=counts),
        ),
        2 * MINUTE,
    ).status
    away = decided(look(first, *seen, wire_spec=wire), 120 * MINUTE).status
    assert away.candidate is not None
    assert away.candidate.held_since == EPOCH + 2 * MINUTE
    back = look(
        away,
        *seen,
        wire_spec=wire,
        telemetry=telemetry(at=EPOCH + 121 * MINUTE, phases=counts),
    )
    after = decided(back, 121 * MINUTE)
    assert reason(after, "Reconciling") == ("True", "Analysing")
    assert after.status.candidate is not None
    assert after.status.candidate.held_seconds == 119 * 60
