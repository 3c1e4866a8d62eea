"""`decide` by values: rollouts that are held, fail late, or have nothing to fall back on."""

from dataclasses import replace

import pytest

from mooring_operator.api.deployment_status import (
    BudgetStatus,
    ModelDeploymentStatus,
    RetiredRevision,
    RevertStatus,
    Trigger,
)
from mooring_operator.api.monitoring_status import DriftedFeature, DriftStatus
from mooring_operator.core.decision import Route, RouteRole
from mooring_operator.core.observation import (
    PhaseCounts,
    RevisionObservation,
)
from mooring_operator.core.revision import reference_fields
from mooring_operator.ids import Revision
from tests.builders.decided import MINUTE, decided, standing
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
from tests.builders.resources import EPOCH, model, spec

V1, V2 = Revision(ref("v1").revision), Revision(ref("v2").revision)


def rolling(stage: str, **fields: object) -> ModelDeploymentStatus:
    moving = candidate("v2", stage, **fields)
    return status(stable=stable("v1"), desired=ref("v2"), candidate=moving)


def test_nothing_starts_when_a_new_deployment_is_paused() -> None:
    decision = decided(look(None, wire_spec=spec("v1", paused=True)))
    assert standing(decision) == "Reconciling/UserPaused"
    assert decision.children == ()
    assert decision.status.candidate is None


def test_name_that_two_deployments_need_is_told_with_both_and_what_to_do() -> None:
    both = ("Service delays-candidate", "Service delays")
    observation = look(
        status(stable=stable("v1"), desired=ref("v1")),
        pods("v1"),
        foreign=both,
        rivals={both[0]: "ModelDeployment delays-candidate"},
    )
    decision = decided(observation)
    assert standing(decision) == "Stalled/NameConflict"
    (stalled,) = [c for c in decision.status.conditions if c.type == "Stalled"]
    assert "Service delays-candidate belongs to ModelDeployment delays-candidate" in stalled.message
    assert "another metadata.name" in stalled.message
    assert "Service delays exists and is not this deployment's" in stalled.message


def test_name_of_another_deployment_alone_is_told_without_a_stranger() -> None:
    taken = "Service delays-candidate"
    decision = decided(
        look(
            status(stable=stable("v1"), desired=ref("v1")),
            pods("v1"),
            foreign=(taken,),
            rivals={taken: "ModelDeployment delays-candidate"},
        )
    )
    (stalled,) = [c for c in decision.status.conditions if c.type == "Stalled"]
    assert taken in stalled.message
    assert "is not this deployment's" not in stalled.message


def test_new_version_is_held_back_when_the_deployment_is_paused() -> None:
    before = status(stable=stable("v1"), desired=ref("v1"))
    decision = decided(look(before, pods("v1"), wire_spec=spec("v2", paused=True)))
    assert standing(decision) == "Reconciling/UserPaused"
    assert decision.status.candidate is None


def test_ready_candidate_gets_no_traffic_when_the_rollout_is_paused() -> None:
    seen = (pods("v1"), pods("v2", 1, 1))
    decision = decided(look(rolling("Starting"), *seen, wire_spec=spec("v2", paused=True)))
    assert standing(decision) == "Reconciling/UserPaused"
    assert decision.routes[V1].weight_percent == decision.routes[V1].shadow_percent == 0


def test_roles_are_not_swapped_when_the_rollout_is_paused() -> None:
    seen = (pods("v1"), pods("v2"))
    before = rolling("Promoting", step=2)
    heard = telemetry()
    held = decided(look(before, *seen, wire_spec=spec("v2", paused=True), telemetry=heard))
    assert standing(held) == "Reconciling/UserPaused"
    freed = decided(look(before, *seen, wire_spec=spec("v2"), telemetry=heard))
    assert standing(freed) == "Ready/Promoted"


def test_candidate_is_rolled_back_when_it_fails_while_it_is_promoted() -> None:
    before = rolling("Promoting", step=2)
    assert before.candidate is not None
    counts = {phase_of(before.candidate): PhaseCounts(arm(900), arm(300, errors=90))}
    seen = (pods("v1"), pods("v2", 1, 2))
    heard = telemetry(phases=counts)
    decision = decided(look(before, *seen, wire_spec=spec("v2"), telemetry=heard))
    assert standing(decision) == "Reconciling/RollingBack"
    assert decision.routes[V1].weight_percent == 0


@pytest.mark.parametrize(
    ("after", "expected"),
    [(9, "Reconciling/Promoting"), (10, "Stalled/ProgressDeadlineExceeded")],
    ids=["before the deadline", "at the deadline"],
)
def test_promotion_stalls_and_keeps_its_share_when_pods_are_missing(
    after: int, expected: str
) -> None:
    seen = (pods("v1"), pods("v2", 1, 2, failure="no capacity"))
    before = rolling("Promoting", step=2)
    observation = look(before, *seen, wire_spec=spec("v2"), telemetry=telemetry())
    decision = decided(observation, after * MINUTE)
    assert standing(decision) == expected
    assert decision.routes[V1].weight_percent == 25


def test_first_revision_keeps_its_pods_when_the_model_goes_away() -> None:
    first = status(candidate=candidate("v1", "Initializing", seq=1), desired=ref("v1"))
    decision = decided(look(first, pods("v1", 0), registry=model()))
    assert standing(decision) == "Stalled/VersionNotFound"
    assert decision.status.candidate is not None
    assert decision.children


def test_new_revision_is_analysed_although_another_one_is_warm() -> None:
    """The warm one has the lower hash: only the same revision returns without analysis."""
    warm = ref("v2")
    assert warm.revision < ref("v3").revision
    retired = RetiredRevision.model_validate(
        reference_fields(warm) | {"keep_until": EPOCH + 60 * MINUTE}
    )
    before = status(stable=stable("v1"), retired=retired, desired=ref("v1"))
    decision = decided(look(before, pods("v1"), pods("v2"), wire_spec=spec("v3")))
    assert standing(decision) == "Reconciling/CandidateStarting"
    assert decision.status.retired == retired


def test_word_that_a_revision_waits_for_nothing_is_kept_while_its_model_is_away() -> None:
    budget = BudgetStatus(rolled_back_at=[EPOCH], admitted=ref("v2").revision)
    before = status(stable=stable("v1"), desired=ref("v1"), budget=budget)
    decision = decided(look(before, pods("v1"), wire_spec=spec("v9")))
    assert standing(decision) == "Stalled/VersionNotFound"
    assert decision.status.budget is not None
    assert decision.status.budget.admitted == ref("v2").revision


def test_withheld_candidate_without_an_earlier_shadow_gets_nothing() -> None:
    before = rolling("Analysing", withheld=True, metrics_missing_since=EPOCH)
    wire = spec("v2", rollout={"steps": [{"weight": 10}]})
    silent = telemetry(fresh=False)
    seen = (pods("v1"), pods("v2", 1, 1))
    decision = decided(look(before, *seen, wire_spec=wire, telemetry=silent))
    told = decision.routes[V1]
    assert (told.weight_percent, told.shadow_percent) == (0, 0)
    assert told.candidate_revision is None
    assert decision.status.weight == "0%"


def test_return_to_the_former_revision_waits_for_its_pods_without_traffic() -> None:
    retired = RetiredRevision.model_validate(
        reference_fields(ref("v1")) | {"keep_until": EPOCH + 60 * MINUTE}
    )
    before = status(stable=stable("v2"), retired=retired, desired=ref("v2"))
    decision = decided(look(before, pods("v2"), pods("v1", 1, 2), wire_spec=spec("v1")))
    assert standing(decision) == "Reconciling/Promoting"
    assert decision.routes[Revision(ref("v2").revision)].weight_percent == 0
    assert decision.status.retired is None
    assert decision.prune == ()


@pytest.mark.parametrize(("minutes", "kept"), [(59, True), (60, False)])
def test_former_revision_goes_when_its_time_is_over(minutes: int, *, kept: bool) -> None:
    retired = RetiredRevision.model_validate(
        reference_fields(ref("v1")) | {"keep_until": EPOCH + 60 * MINUTE}
    )
    serving = stable("v2", soaked_at=EPOCH)
    before = status(stable=serving, retired=retired, desired=ref("v2"))
    decision = decided(look(before, pods("v2"), pods("v1"), wire_spec=spec("v2")), minutes * MINUTE)
    assert (decision.status.retired is not None) is kept
    assert bool(decision.prune) is not kept
    assert decision.requeue_after == (MINUTE if kept else None)


@pytest.mark.parametrize(
    ("seen", "minutes", "expected"),
    [
        (None, 60, "Reconciling/CandidateStarting"),
        (pods("v2", 0, 1), 9, "Reconciling/CandidateStarting"),
        (pods("v2", 0, 1, created_at=EPOCH + 55 * MINUTE), 60, "Reconciling/CandidateStarting"),
        (pods("v2", 0, 1), 10, "Stalled/RolledBack"),
        (pods("v2", 1, 1), 60, "Reconciling/Analysing"),
    ],
    ids=[
        "never created: the operator was away",
        "in time",
        "created late: the operator was away",
        "too late",
        "ready, however late the operator looks",
    ],
)
def test_start_is_judged_from_when_the_pods_were_asked_for(
    seen: RevisionObservation | None, minutes: int, expected: str
) -> None:
    others = () if seen is None else (seen,)
    observation = look(
        rolling("Starting"), pods("v1"), *others, wire_spec=spec("v2"), telemetry=telemetry()
    )
    assert standing(decided(observation, minutes * MINUTE)) == expected


def test_step_is_clamped_when_an_edit_leaves_fewer_steps() -> None:
    wire = spec("v2", rollout={"steps": [{"weight": 7}]})
    seen = (pods("v1"), pods("v2", 1, 1))
    observation = look(rolling("Analysing", step=2), *seen, wire_spec=wire, telemetry=telemetry())
    decision = decided(observation)
    assert standing(decision) == "Reconciling/Analysing"
    assert decision.routes[V1].weight_percent == 7


def test_every_metric_passed_is_not_enough_when_the_last_step_saw_too_few_rows() -> None:
    before = rolling("Analysing", step=2)
    assert before.candidate is not None
    counts = {
        phase_of(before.candidate, 1): PhaseCounts(arm(40_000), arm(20_000)),
        phase_of(before.candidate): PhaseCounts(arm(300), arm(100)),
    }
    wire = spec("v2", rollout={"analysis": {"maxDuration": "1h"}})
    seen = (pods("v1"), pods("v2", 1, 1))
    observation = look(before, *seen, wire_spec=wire, telemetry=telemetry(phases=counts))
    assert standing(decided(observation)) == "Reconciling/Analysing"
    late = decided(observation, 60 * MINUTE)
    assert standing(late) == "Stalled/AnalysisUndecided"
    assert any("too few rows" in note.message for note in late.events)


def test_data_quality_is_false_when_values_are_bad() -> None:
    found = [DriftedFeature(name="carrier", kind="unseen", effect=0.2)]
    watch = DriftStatus(revision=V1, verdict="WithinTolerance", rows=9, data_quality=found)
    wire = spec("v1", monitoring={"drift": {}})
    before = status(stable=stable("v1"), desired=ref("v1"))
    observation = look(before, pods("v1"), wire_spec=wire, telemetry=telemetry(drift=watch))
    conditions = {c.type: c for c in decided(observation).status.conditions}
    assert conditions["DataQuality"].status.value == "False"
    assert "carrier (unseen)" in conditions["DataQuality"].message
    assert conditions["Drifted"].status.value == "False"


@pytest.mark.parametrize(
    ("step", "stable_requests", "candidate_requests", "stands"),
    [
        (1, 1900, 100, "next"),
        (1, 1990, 10, "Reconciling/SampleRatioMismatch"),
        (2, 60_000, 20_000, "Ready/Promoted"),
        (2, 60_000, 12_000, "Reconciling/SampleRatioMismatch"),
        (2, 40_000, 40_000, "Reconciling/SampleRatioMismatch"),
    ],
)
def test_rollout_is_held_when_the_arms_do_not_get_their_announced_shares(
    step: int, stable_requests: int, candidate_requests: int, stands: str
) -> None:
    rollout = {
        "steps": [
            {"shadow": 100, "minRows": 10},
            {"weight": 5, "minRows": 10},
            {"weight": 25, "minRows": 10},
        ]
    }
    before = rolling("Analysing", step=step, analysis_started_at=EPOCH)
    key = phase_of(candidate("v2", step=step), rollout=rollout)
    counts = {key: PhaseCounts(stable=arm(stable_requests), candidate=arm(candidate_requests))}
    decision = decided(
        look(
            before, pods("v1"), pods("v2"),
            wire_spec=spec("v2", rollout=rollout), telemetry=telemetry(phases=counts),
        )
    )  # fmt: skip
    moving = decision.status.candidate
    if stands == "Ready/Promoted":
        assert standing(decision) == stands
        return
    assert moving is not None
    if stands == "next":
        assert moving.step == step + 1
    else:
        assert (moving.step, moving.stage) == (step, "Analysing")
        assert standing(decision) == stands
        found = decision.status.analysis
        assert found is not None
        assert found.sample_ratio is not None
        assert found.sample_ratio.observed == candidate_requests


def test_failing_candidate_is_rolled_back_although_its_share_is_not_kept() -> None:
    before = rolling("Analysing", step=1, analysis_started_at=EPOCH)
    counts = {
        phase_of(candidate("v2", step=1)): PhaseCounts(
            stable=arm(5000), candidate=arm(100, errors=90)
        )
    }
    seen = look(
        before, pods("v1"), pods("v2"),
        wire_spec=spec("v2"), telemetry=telemetry(phases=counts),
    )  # fmt: skip
    moving = decided(seen).status.candidate
    assert moving is not None
    assert moving.rollback_reason == "ErrorsIncreased"


def test_held_rollout_says_why_when_its_time_is_over() -> None:
    before = rolling("Analysing", step=1, analysis_started_at=EPOCH)
    counts = {phase_of(candidate("v2", step=1)): PhaseCounts(stable=arm(9900), candidate=arm(100))}
    wire = spec("v2", rollout={"analysis": {"maxDuration": "1m"}})
    seen = look(before, pods("v1"), pods("v2"), wire_spec=wire, telemetry=telemetry(phases=counts))
    decision = decided(seen)
    assert standing(decision) == "Stalled/AnalysisUndecided"
    (stalled,) = [c for c in decision.status.conditions if c.type == "Stalled"]
    assert "100 of 10000 requests" in stalled.message


@pytest.mark.parametrize(
    ("disagreements", "allowed", "stands"),
    [
        (900, 0.2, "Reconciling/PredictionsDiffer"),
        (900, 0.5, "step 1"),
        (10, 0.2, "step 1"),
        (900, None, "step 1"),
    ],
)
def test_rollout_is_held_when_the_shadow_disagrees_more_than_is_allowed(
    disagreements: int, allowed: float | None, stands: str
) -> None:
    before = rolling("Analysing", step=0, analysis_started_at=EPOCH)
    shadow = replace(arm(2000), disagreements=disagreements)
    counts = {phase_of(candidate("v2")): PhaseCounts(stable=arm(2000), shadow=shadow)}
    analysis = {} if allowed is None else {"maxDisagreement": allowed}
    decision = decided(
        look(
            before, pods("v1"), pods("v2"),
            wire_spec=spec("v2", rollout={"analysis": analysis}),
            telemetry=telemetry(phases=counts),
        )
    )  # fmt: skip
    moving = decision.status.candidate
    assert moving is not None
    if stands == "step 1":
        assert moving.step == 1
    else:
        assert moving.step == 0
        assert standing(decision) == stands
        found = decision.status.analysis
        assert found is not None
        assert found.disagreement is not None
        assert found.disagreement.lower > 0.2


@pytest.mark.parametrize("left", [False, True])
def test_candidate_whose_traffic_is_taken_says_why(*, left: bool) -> None:
    forwarding = {V1: (Route(RouteRole.STABLE, "p", V2, 5, 0),) * 2}
    leaving = RevertStatus.model_validate(
        reference_fields(ref("v1"))
        | {"trigger": Trigger.MANUAL, "reason": "Manual", "evidence": "said so", "at": EPOCH}
    )
    before = rolling("Withdrawing").model_copy(update={"revert": leaving if left else None})
    observation = look(
        before, pods("v1"), pods("v2"),
        wire_spec=spec("v1"), telemetry=telemetry(routes=forwarding),
    )  # fmt: skip
    decision = decided(observation, MINUTE / 3)
    assert standing(decision) == "Reconciling/Withdrawing"
    (told,) = (c.message for c in decision.status.conditions if c.type == "Ready")
    assert told.endswith("stable is left" if left else "the spec asks for another revision")
