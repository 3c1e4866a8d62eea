"""`decide` by values: corners that lives reach seldom, and states that a handler refuses."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.deployment import Analysis
from mooring_operator.api.deployment_status import (
    BudgetStatus,
    ModelDeploymentStatus,
    Outcome,
    ProbeStatus,
    RetiredRevision,
    RevertStatus,
    Trigger,
)
from mooring_operator.api.group import Annotation
from mooring_operator.api.monitoring_status import JudgedQuality, QualityStatus
from mooring_operator.api.pod_settings import PodsStatus
from mooring_operator.core.decision import Decision
from mooring_operator.core.memory import remember
from mooring_operator.core.observation import PhaseCounts
from mooring_operator.core.pod_settings import wanted_settings
from mooring_operator.core.revision import reference_fields
from mooring_operator.core.rollout.analysing import progress_message
from mooring_operator.core.rollout.distribution import judge_distribution
from mooring_operator.core.rollout.plan import decide
from mooring_operator.core.rollout.plan import look as begin
from mooring_operator.core.rollout.probe import await_probe
from mooring_operator.core.rollout.revert import revert
from mooring_operator.core.rollout.settled import stay_back, wait_for_model
from mooring_operator.core.rollout.turn import Situation
from mooring_operator.core.runtime import ENOUGH, RuntimeWatch
from mooring_operator.ids import Revision
from tests.builders.decided import MINUTE, decided
from tests.builders.observed import (
    arm,
    candidate,
    entry,
    look,
    phase_of,
    pods,
    quarantined,
    ref,
    stable,
    status,
    telemetry,
)
from tests.builders.resources import CONFIG, EPOCH, deployment, spec

HOUR = timedelta(hours=1)
NARROW = {"cpu": "1", "memory": "1Gi"}
V1, V2 = Revision(ref("v1").revision), Revision(ref("v2").revision)


def condition(decision: Decision[ModelDeploymentStatus], type_: str) -> tuple[str, str]:
    found = next(c for c in decision.status.conditions if c.type == type_)
    return found.reason, found.message


def promoted(**fields: Any) -> ModelDeploymentStatus:
    """v2 was promoted in place of v1, an hour before the epoch."""
    serving = stable("v2", seq=2, reason="Promoted", since=EPOCH - HOUR)
    history = [entry("v2", 2, started_at=EPOCH - HOUR), entry("v1", 1, soaked=True)]
    known: dict[str, Any] = {"stable": serving, "desired": ref("v2"), "history": history}
    return status(**(known | fields))


def probing(**fields: Any) -> ModelDeploymentStatus:
    """v1 is compared with v2, which is suspected."""
    probe = ProbeStatus(trigger=Trigger.RUNTIME, suspicion="too many failures", shadow=100)
    older = candidate("v1", "Probing", seq=3, probe=probe, **fields)
    return promoted(candidate=older)


# What a handler refuses


def situation(before: ModelDeploymentStatus, **fields: Any) -> Situation:
    return begin(look(before, pods("v1"), **fields), CONFIG, EPOCH + MINUTE)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda: situation(status(), wire_spec=spec("v9")).desired, "names no revision"),
        (lambda: situation(status()).stable, "no stable revision"),
        (lambda: situation(status(stable=stable())).candidate, "no candidate"),
        (
            lambda: progress_message(situation(status(stable=stable(), candidate=candidate()))),
            "not judged yet",
        ),
        (
            lambda: await_probe(situation(status(stable=stable(), candidate=candidate()))),
            "no probe",
        ),
        (lambda: revert(situation(status(stable=stable()))), "no revision is being left"),
        (lambda: stay_back(situation(status(stable=stable()))), "not in quarantine"),
        (lambda: remember(status()), "no memory"),
    ],
)
def test_question_about_what_is_not_there_is_refused(act: Callable[[], object], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        act()


def test_model_is_not_waited_for_when_it_says_which_revision() -> None:
    with pytest.raises(TypeError, match="names a revision"):
        wait_for_model(situation(status(stable=stable())))


# Candidates


def test_candidate_that_does_not_start_waits_for_a_person_when_startup_takes_nothing_back() -> None:
    before = status(stable=stable(), desired=ref("v2"), candidate=candidate("v2", "Starting"))
    wire = spec("v2", rollout={"progressDeadline": "1m"}, rollback={"triggers": ["Runtime"]})
    seen = (pods("v1"), pods("v2", 0, 1, failure="crash loop"))
    decision = decided(look(before, *seen, wire_spec=wire), 2 * MINUTE)
    reason, message = condition(decision, "Stalled")
    assert reason == "ProgressDeadlineExceeded"
    assert "crash loop" in message
    assert "rollback.triggers does not name Startup: ask for another version" in message
    assert decision.status.candidate is not None
    assert decision.status.quarantine == []


def test_fairness_that_is_asked_for_keeps_its_condition() -> None:
    fair = {"monitoring": {"fairness": {"column": "carrier"}}}
    before = status(stable=stable(), desired=ref("v1"))
    decision = decided(look(before, pods("v1"), wire_spec=spec("v1", None, **fair)))
    reason, message = condition(decision, "Fair")
    assert reason == "NoData"
    assert message == "No segments of carrier were compared yet"


def test_spread_of_answers_is_not_told_when_nothing_was_answered() -> None:
    empty = replace(arm(0), answer_edges=(0.5,), answer_counts=(0, 0))
    settings = Analysis(max_distribution_shift=0.2)
    assert judge_distribution(settings, [(empty, empty, 0.5)]) is None


# Verbs


def ignored(before: ModelDeploymentStatus, verb: Annotation, token: str, version: str) -> str:
    seen = (pods("v1"), pods("v2"), pods("v3"))
    observation = look(before, *seen, wire_spec=spec(version), annotations={verb: token})
    decision = decided(observation)
    last = decision.status.last_verb
    assert last is not None
    assert (last.token, last.outcome) == (token, "Ignored")
    return last.message


def test_promote_is_ignored_when_a_warm_revision_returns_without_analysis() -> None:
    returning = candidate("v2", "Promoting", analysis_started_at=None)
    before = status(stable=stable(), desired=ref("v2"), candidate=returning)
    observation = look(
        before,
        pods("v1"),
        pods("v2", 1),
        wire_spec=spec("v2"),
        annotations={Annotation.PROMOTE: V2},
    )
    decision = decided(observation)
    assert decision.status.last_verb is not None
    assert "is being promoted already" in decision.status.last_verb.message
    assert decision.status.candidate is not None
    assert decision.status.candidate.promoted_by == ""


def leaving(version: str, **fields: Any) -> RevertStatus:
    known = {
        "trigger": Trigger.MANUAL,
        "reason": "Manual",
        "evidence": "a person said so",
        "at": EPOCH,
    }
    return RevertStatus.model_validate(reference_fields(ref(version)) | known | fields)


def test_rollback_to_is_ignored_while_stable_is_being_left() -> None:
    returning = candidate("v1", "Reverting", seq=3)
    before = promoted(revert=leaving("v1"), candidate=returning)
    observation = look(
        before,
        pods("v2"),
        pods("v1", 1),
        wire_spec=spec("v2"),
        annotations={Annotation.ROLLBACK_TO: V1},
    )
    last = decided(observation).status.last_verb
    assert last is not None
    assert last.outcome == "Ignored"
    assert "is being left for v1" in last.message


def test_rollback_to_is_ignored_when_the_older_revision_is_in_quarantine() -> None:
    before = promoted(quarantine=[quarantined("v1")])
    said = ignored(before, Annotation.ROLLBACK_TO, V1, "v2")
    assert f"v1 ({V1}) is in quarantine (ErrorsIncreased): choose another one" in said


def test_rollback_to_is_ignored_when_an_older_operator_did_not_keep_where_the_revision_is() -> None:
    before = promoted(history=[entry("v2", 2), entry("v1", 1, uri=None)])
    said = ignored(before, Annotation.ROLLBACK_TO, V1, "v2")
    assert f"v1 ({V1}) is not kept in the history with all that it is made of" in said
    assert "ask for its version" in said


def test_retry_of_what_the_spec_does_not_ask_for_says_to_ask_for_it_first() -> None:
    before = promoted(quarantine=[quarantined("v1")])
    said = ignored(before, Annotation.RETRY, V1, "v2")
    assert "ask for v1 first, then annotate" in said


# After a promotion


@pytest.mark.parametrize(
    ("minutes", "left"),
    [(-61, 0), (-59, 2)],
    ids=["it was promoted after the last rollback", "a candidate was rolled back beside it"],
)
def test_row_of_rollbacks_ends_only_with_a_later_promotion_that_survives_its_soak(
    minutes: int, left: int
) -> None:
    rolled_back = [EPOCH + minutes * MINUTE, EPOCH - 9 * HOUR]
    budget = BudgetStatus(consecutive_rollbacks=2, rolled_back_at=rolled_back)
    well = RuntimeWatch(V2, EPOCH, gone=(False,) * ENOUGH)
    heard = telemetry(stable=V2, runtime=well)
    observation = look(promoted(budget=budget), pods("v2"), wire_spec=spec("v2"), telemetry=heard)
    after = decided(observation, 30 * HOUR).status
    assert after.history[0].soaked
    assert after.budget is not None
    assert after.budget.consecutive_rollbacks == left


def faulty(revision: Revision = V2) -> RuntimeWatch:
    return RuntimeWatch(revision, EPOCH, failing=True)


def test_nothing_is_rolled_back_when_no_earlier_revision_is_known() -> None:
    before = promoted(history=[entry("v2", 2)])
    heard = telemetry(stable=V2, runtime=faulty())
    decision = decided(look(before, pods("v2"), wire_spec=spec("v2"), telemetry=heard))
    _, message = condition(decision, "Ready")
    assert "nothing is rolled back: no earlier revision is known that could serve" in message
    assert decision.status.candidate is None


def degraded(since: str) -> QualityStatus:
    labels = JudgedQuality(verdict="Degraded", since=since, loss=0.5, limit=0.2)
    return QualityStatus(revision=V2, labels=labels)


@pytest.mark.parametrize(
    ("since", "event_time", "suspected"),
    [
        ((EPOCH - 5 * HOUR).isoformat(), "Arrival", False),
        ((EPOCH - 5 * HOUR).isoformat(), "Request", True),
        ((EPOCH - MINUTE).isoformat(), "Arrival", True),
        ("of late", "Arrival", True),
        ("", "Arrival", True),
    ],
)
def test_labels_from_before_the_promotion_are_held_against_nobody(
    since: str, event_time: str, suspected: bool
) -> None:
    watched = {"monitoring": {"labels": {"maturity": "1h"}, "eventTime": event_time}}
    before = promoted(quality=degraded(since))
    heard = telemetry(stable=V2)
    observation = look(before, pods("v2"), wire_spec=spec("v2", None, **watched), telemetry=heard)
    found = decided(observation).status.candidate
    assert (found is not None and found.probe is not None) == suspected


def test_probe_ends_undecided_when_no_counters_come_in_time() -> None:
    stale = telemetry(stable=V2, fresh=False)
    observation = look(probing(), pods("v2"), pods("v1"), wire_spec=spec("v2"), telemetry=stale)
    decision = decided(observation, 7 * HOUR)
    serving = decision.status.stable
    assert serving is not None
    assert [probe.verdict for probe in serving.probes] == ["Undecided"]
    assert "the pods' counters are not fresh" in serving.probes[0].message
    assert decision.status.revert is None


def test_probe_that_finds_each_revision_better_in_something_leaves_nobody() -> None:
    before = probing()
    assert before.candidate is not None
    # Of the older revision's copies many have invalid outputs; stable fails many requests.
    counts = PhaseCounts(stable=arm(4000, errors=1500), shadow=arm(4000, invalid=1500))
    heard = telemetry(stable=V2, phases={phase_of(before.candidate): counts})
    observation = look(before, pods("v2"), pods("v1"), wire_spec=spec("v2"), telemetry=heard)
    decision = decided(observation)
    serving = decision.status.stable
    assert serving is not None
    assert [probe.verdict for probe in serving.probes] == ["Mixed"]
    assert decision.status.revert is None


def test_probe_gives_way_when_a_person_goes_back_to_another_revision() -> None:
    before = probing(step_started_at=EPOCH)
    history = [*before.history, entry("v3", 0)]
    observation = look(
        before.model_copy(update={"history": history}),
        pods("v2"),
        pods("v1"),
        wire_spec=spec("v2"),
        annotations={Annotation.ROLLBACK_TO: ref("v3").revision},
        telemetry=telemetry(stable=V2),
    )
    decision = decided(observation)
    assert decision.status.revert is not None
    assert decision.status.revert.version == "v3"
    assert decision.status.candidate is not None
    assert decision.status.candidate.stage == "ProbeEnding"


def test_older_revision_takes_over_with_the_pods_that_it_has_when_stable_has_none() -> None:
    returning = candidate("v1", "Reverting", seq=3)
    before = promoted(revert=leaving("v1", trigger=Trigger.RUNTIME), candidate=returning)
    observation = look(before, pods("v2", 0), pods("v1", 1), wire_spec=spec("v2"))
    decision = decided(observation)
    assert decision.status.stable is not None
    assert decision.status.stable.version == "v1"
    assert decision.status.history[0].outcome is Outcome.ROLLED_BACK
    assert decision.status.retired == RetiredRevision.model_validate(
        reference_fields(ref("v2"))
        | {"keep_until": EPOCH + MINUTE + CONFIG.sync_ttl, "rolled_back": True}
    )


def test_decision_that_does_not_settle_says_where_it_was() -> None:
    before = status(stable=stable(), desired=ref("v1"))
    with pytest.raises(RuntimeError, match="ModelDeployment delays: no state settles; last was St"):
        decide(look(before, pods("v1"), wire_spec=spec("v2")), CONFIG, EPOCH, most_turns=1)


def test_replaced_pods_are_told_by_the_fields_that_differ_alone() -> None:
    good = wanted_settings(deployment(spec(resources={"requests": NARROW})).spec)
    before = status(stable=stable(), desired=ref("v1"), pods=PodsStatus(good=good))
    wider = spec("v1", resources={"requests": {**NARROW, "memory": "2Gi"}})
    reason, message = condition(decided(look(before, pods("v1", 1), wire_spec=wider)), "Ready")
    assert reason == "NotEnoughPods"
    assert 'for spec.resources.requests.memory ("2Gi", was "1Gi")' in message
    assert "cpu" not in message
