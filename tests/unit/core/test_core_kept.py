"""How long a pod of a failed revision is kept for a person to look at."""

from datetime import datetime, timedelta

import pytest

from mooring_operator.api.deployment_status import KeptRevision, ModelDeploymentStatus
from mooring_operator.core.revision import reference_fields
from tests.builders.decided import decided
from tests.builders.observed import look, pods, quarantined, ref, stable, status, telemetry
from tests.builders.resources import EPOCH, spec

SECOND = timedelta(seconds=1)
ENDS: datetime = EPOCH + timedelta(minutes=10)


def keeping(version: str = "v2") -> ModelDeploymentStatus:
    kept = KeptRevision.model_validate(reference_fields(ref(version)) | {"keep_until": ENDS})
    return status(stable=stable("v1"), desired=ref("v1"), kept=kept, quarantine=[quarantined("v2")])


@pytest.mark.parametrize(
    ("left", "stays"),
    [(2 * SECOND, True), (SECOND, True), (timedelta(), False), (-SECOND, False)],
    ids=["a while before", "just before", "at its end", "after the operator was away"],
)
def test_failed_pod_is_kept_until_its_time_is_over(left: timedelta, *, stays: bool) -> None:
    observation = look(
        keeping(), pods("v1"), pods("v2", 0, 1), wire_spec=spec("v1"), telemetry=telemetry()
    )
    decision = decided(observation, ENDS - left - EPOCH)
    assert (decision.status.kept is not None) is stays
    assert any(child.name.endswith(ref("v2").revision) for child in decision.prune) is not stays
    if stays:
        assert decision.requeue_after == left


def test_failed_revision_that_serves_by_now_is_kept_for_nobody() -> None:
    observation = look(keeping("v1"), pods("v1"), wire_spec=spec("v1"), telemetry=telemetry())
    assert decided(observation).status.kept is None
