"""`decide` by values: the end of a soak, which must have been seen."""

from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.core.decision import Decision
from mooring_operator.core.observation import TelemetryObservation
from mooring_operator.core.runtime import ENOUGH, RuntimeWatch
from mooring_operator.ids import Revision
from tests.builders.decided import MINUTE, decided, standing
from tests.builders.observed import entry, look, pods, ref, stable, status, telemetry
from tests.builders.resources import EPOCH, spec

HOUR = timedelta(hours=1)
V1, V2 = Revision(ref("v1").revision), Revision(ref("v2").revision)


def message(decision: Decision[ModelDeploymentStatus]) -> str:
    return next(c.message for c in decision.status.conditions if c.type == "Ready")


def watched(looks: int, **fields: Any) -> RuntimeWatch:
    return RuntimeWatch(V2, EPOCH, gone=(False,) * looks, **fields)


def promoted(**fields: Any) -> ModelDeploymentStatus:
    """v2 was promoted at the epoch."""
    serving = stable("v2", seq=2, reason="Promoted", **fields)
    return status(
        stable=serving, desired=ref("v2"), history=[entry("v2", 2), entry("v1", 1, soaked=True)]
    )


def soaking(
    after: timedelta,
    heard: TelemetryObservation | None,
    before: ModelDeploymentStatus | None = None,
    soak: str = "1h",
) -> Decision[ModelDeploymentStatus]:
    """With rounds every 15 s, an hour needs as many looks as raise a fault."""
    wire = spec("v2", rollback={"soak": soak}, rollout={"analysis": {"metricsGrace": "2m"}})
    return decided(look(before or promoted(), pods("v2"), wire_spec=wire, telemetry=heard), after)


def heard(looks: int, **fields: Any) -> TelemetryObservation:
    return telemetry(stable=V2, runtime=watched(looks), **fields)


def soaked(decision: Decision[ModelDeploymentStatus]) -> bool:
    assert decision.status.stable is not None
    known = decision.status.stable.soaked_at is not None
    assert decision.status.history[0].soaked is known
    return known


@pytest.mark.parametrize(
    ("telemetry_then", "passes"),
    [
        (None, False),
        (heard(0), False),
        (heard(ENOUGH - 1), False),
        (heard(ENOUGH), True),
        (heard(ENOUGH, fresh=False), False),
        (telemetry(stable=V2), False),
        (telemetry(runtime=RuntimeWatch(V1, EPOCH, gone=(False,) * ENOUGH)), False),
    ],
    ids=[
        "nobody was asked",
        "asked once",
        "one look too few to raise a fault",
        "enough looks",
        "pods do not answer",
        "nobody looked",
        "another revision was looked at",
    ],
)
def test_soak_is_passed_only_when_its_pods_were_looked_at(
    telemetry_then: TelemetryObservation | None, *, passes: bool
) -> None:
    decision = soaking(HOUR, telemetry_then)
    assert soaked(decision) is passes
    assert standing(decision) == "Ready/Promoted"
    if not passes:
        assert "its soak was over at 2026-01-05 09:00Z, it is known as good once" in message(
            decision
        )
        assert decision.requeue_after == timedelta(seconds=15)


def test_soak_that_has_no_room_for_looks_is_passed_by_its_clock() -> None:
    assert soaked(soaking(timedelta(), None, soak="0s"))
    assert soaked(soaking(timedelta(seconds=20), None, soak="20s"))
    assert not soaked(soaking(MINUTE, heard(2), soak="1m"))
    assert soaked(soaking(MINUTE, heard(3), soak="1m"))


def test_soak_does_not_last_on_in_silence_when_pods_do_not_answer() -> None:
    silent = heard(ENOUGH, fresh=False)
    begun = soaking(HOUR, silent)
    assert "every ready pod answers (AwaitingMetrics)" in message(begun)
    assert begun.status.stable is not None
    assert begun.status.stable.metrics_missing_since == EPOCH + HOUR
    early = soaking(HOUR + 119 * timedelta(seconds=1), silent, begun.status)
    assert early.status.stable == begun.status.stable
    assert not any(note.reason == "AwaitingMetrics" for note in early.events)
    late = soaking(HOUR + 2 * MINUTE, silent, early.status)
    (told,) = [note for note in late.events if note.reason == "AwaitingMetrics"]
    assert told.type == "Warning"
    assert "missing for longer than metricsGrace 2m" in told.message
    again = soaking(2 * HOUR, silent, late.status)
    assert again.status == late.status
    assert again.events == (), "it is told once"
    restarted = soaking(3 * HOUR, None, again.status)
    assert restarted.status == late.status
    assert restarted.events == ()
    answered = soaking(3 * HOUR, heard(1), restarted.status).status
    assert answered.stable is not None
    assert answered.stable.metrics_missing_since is None
    assert not answered.stable.unproven
    assert soaked(soaking(3 * HOUR, heard(ENOUGH), answered))


def test_soak_waits_no_more_when_the_spec_makes_it_longer() -> None:
    begun = soaking(HOUR, heard(ENOUGH, fresh=False)).status
    longer = soaking(HOUR, heard(ENOUGH, fresh=False), begun, soak="2h")
    assert longer.status.stable == promoted().stable
    assert "soaking until 2026-01-05 10:00Z" in message(longer)


def test_soak_is_not_passed_while_no_pod_is_ready() -> None:
    wire = spec("v2", rollback={"soak": "1h"})
    away = pods("v2", ready=0)
    looked = look(promoted(), away, wire_spec=wire, telemetry=heard(ENOUGH))
    assert not soaked(decided(looked, HOUR))
