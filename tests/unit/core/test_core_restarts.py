"""`decide` by values: what an operator says that has just begun, and has asked no pod yet."""

from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.deployment_status import ModelDeploymentStatus, ProbeStatus, Trigger
from mooring_operator.core.decision import Decision
from mooring_operator.core.observation import (
    PhaseCounts,
    TelemetryObservation,
)
from mooring_operator.ids import Revision
from tests.builders.decided import MINUTE, decided, standing
from tests.builders.observed import (
    arm,
    candidate,
    entry,
    look,
    phase_of,
    pods,
    ref,
    stable,
    status,
    telemetry,
)
from tests.builders.resources import EPOCH, spec

HOUR = timedelta(hours=1)
V2 = Revision(ref("v2").revision)
ANALYSED = spec("v2", rollout={"analysis": {"maxDuration": "10m", "metricsGrace": "2m"}})


# Analyses


def analysing(
    minutes: float, heard: TelemetryObservation | None, before: ModelDeploymentStatus | None = None
) -> Decision[ModelDeploymentStatus]:
    """A look so many minutes after v2 got its first traffic, of which little came."""
    known = before or status(stable=stable("v1"), desired=ref("v2"), candidate=candidate("v2"))
    seen = (pods("v1"), pods("v2", 1, 1))
    observation = look(known, *seen, wire_spec=ANALYSED, telemetry=heard)
    return decided(observation, minutes * MINUTE)


def some(minutes: float, **fields: Any) -> TelemetryObservation:
    few = {phase_of(candidate("v2")): PhaseCounts(stable=arm(95), shadow=arm(90))}
    return telemetry(at=EPOCH + minutes * MINUTE, phases=few, **fields)


def test_restart_is_no_news_when_the_analysis_ended_undecided() -> None:
    first = analysing(1, some(1))
    ended = analysing(10, some(10), first.status)
    assert standing(ended) == "Stalled/AnalysisUndecided"
    restarted = analysing(15, None, ended.status)
    assert restarted.status == ended.status
    assert restarted.events == ()
    assert restarted.requeue_after is not None
    again = analysing(15.2, some(15.2), restarted.status)
    assert again.status == ended.status


def test_restart_is_no_news_while_the_candidate_is_analysed_and_its_clock_stands_still() -> None:
    before = analysing(2, some(2))
    assert standing(before) == "Reconciling/Analysing"
    restarted = analysing(60, None, before.status)
    assert restarted.status.conditions == before.status.conditions
    assert restarted.events == ()
    assert restarted.status.candidate is not None
    assert restarted.status.candidate.held_since == EPOCH + 2 * MINUTE
    assert restarted.status.candidate.metrics_missing_since is None
    again = analysing(60.2, some(60.2), restarted.status)
    assert again.status.conditions == before.status.conditions
    assert again.status.candidate is not None
    assert again.status.candidate.held_seconds == pytest.approx(58.2 * 60)


def test_pods_that_do_not_answer_a_new_operator_are_told_of() -> None:
    before = analysing(2, some(2))
    restarted = analysing(5, None, before.status)
    silent = analysing(6, some(2, fresh=False), restarted.status)
    assert standing(silent) == "Reconciling/AwaitingMetrics"
    assert "AwaitingMetrics" in {note.reason for note in silent.events}


def test_what_was_said_of_another_generation_does_not_hold() -> None:
    ended = analysing(10, some(10), analysing(1, some(1)).status)
    edited = ended.status.model_copy(update={"observed_generation": 0})
    assert standing(analysing(15, None, edited)) == "Reconciling/AwaitingMetrics"


def test_candidate_that_became_ready_while_nobody_looked_awaits_its_counters() -> None:
    starting = candidate("v2", "Starting")
    before = status(stable=stable("v1"), desired=ref("v2"), candidate=starting)
    known = analysing(1, None, before)
    assert standing(known) == "Reconciling/AwaitingMetrics"


def test_roles_are_swapped_only_after_a_new_operator_has_asked_the_pods() -> None:
    before = status(
        stable=stable("v1"), desired=ref("v2"), candidate=candidate("v2", "Promoting", step=2)
    )
    waiting = decided(
        look(before, pods("v1"), pods("v2", 1), wire_spec=ANALYSED, telemetry=telemetry()), MINUTE
    )
    assert standing(waiting) == "Reconciling/Promoting"
    seen = (pods("v1"), pods("v2"))
    restarted = decided(look(waiting.status, *seen, wire_spec=ANALYSED), 2 * MINUTE)
    assert standing(restarted) == "Reconciling/Promoting"
    bad = {phase_of(candidate("v2", step=2)): PhaseCounts(arm(900), arm(300, errors=90))}
    heard = telemetry(at=EPOCH + 2 * MINUTE, phases=bad)
    asked = decided(look(restarted.status, *seen, wire_spec=ANALYSED, telemetry=heard), 2 * MINUTE)
    assert standing(asked) == "Reconciling/RollingBack"


# Probes


def probing(after: timedelta, heard: TelemetryObservation | None) -> ModelDeploymentStatus:
    probe = ProbeStatus(trigger=Trigger.RUNTIME, suspicion="too many failures", shadow=100)
    serving = stable("v2", seq=2, reason="Promoted")
    before = status(
        stable=serving,
        desired=ref("v2"),
        candidate=candidate("v1", "Probing", seq=3, probe=probe),
        history=[entry("v2", 2), entry("v1", 1, soaked=True)],
    )
    seen = (pods("v2"), pods("v1"))
    return decided(look(before, *seen, wire_spec=spec("v2"), telemetry=heard), after).status


def test_probe_is_not_ended_by_its_clock_before_pods_were_asked() -> None:
    away = probing(7 * HOUR, None)
    assert away.candidate is not None
    assert away.candidate.stage == "Probing"
    worse = PhaseCounts(stable=arm(4000, errors=1500), shadow=arm(4000))
    key = f"{ref('v1').revision}.3/0"
    proven = probing(7 * HOUR, telemetry(stable=V2, phases={key: worse}))
    assert proven.stable is not None
    assert proven.stable.version == "v1", "the counters held the proof"


def test_probe_in_its_time_goes_on_when_pods_do_not_answer() -> None:
    silent = probing(MINUTE, telemetry(stable=V2, fresh=False))
    assert silent.candidate is not None
    assert silent.candidate.stage == "Probing"
    (told,) = [c.message for c in silent.conditions if c.type == "Reconciling"]
    assert "the pods' counters are not fresh" in told


def test_probe_past_its_time_is_undecided_when_pods_do_not_answer() -> None:
    ended = probing(7 * HOUR, telemetry(stable=V2, fresh=False))
    assert ended.stable is not None
    (probe,) = ended.stable.probes
    assert probe.verdict == "Undecided"
    assert "the pods' counters are not fresh" in probe.message
