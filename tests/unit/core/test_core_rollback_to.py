"""Which revision `mooring.dev/rollback-to` means, and what it does not take for one."""

from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.deployment_status import ModelDeploymentStatus, Outcome, RetiredRevision
from mooring_operator.api.group import Annotation
from mooring_operator.core.revision import reference_fields
from tests.builders.decided import decided
from tests.builders.observed import entry, look, pods, ref, stable, status
from tests.builders.resources import EPOCH, spec


def serving_v4(**fields: Any) -> ModelDeploymentStatus:
    """v4 serves, v3 is warm, v2 did not make it, v1 came first."""
    warm = RetiredRevision.model_validate(
        reference_fields(ref("v3")) | {"keep_until": EPOCH + timedelta(hours=1)}
    )
    history = [
        entry("v4", 4),
        entry("v3", 3, soaked=True),
        entry("v2", 2, fields.pop("outcome", Outcome.SUPERSEDED)),
        entry("v1", 1, soaked=True),
    ]
    serving = stable("v4", seq=4, reason="Promoted")
    return status(stable=serving, desired=ref("v4"), history=history, retired=warm)


def returned_to(before: ModelDeploymentStatus, key: str) -> str:
    """The version that serves, or is to serve, when a person names the key."""
    seen = (pods("v4"), pods("v3"))
    asked: dict[str, str] = {Annotation.ROLLBACK_TO: key}
    after = decided(look(before, *seen, wire_spec=spec("v4"), annotations=asked)).status
    assert after.stable is not None
    return after.stable.version if after.revert is None else after.revert.version


@pytest.mark.parametrize(
    ("key", "version"),
    [("3", "v3"), (ref("v3").revision, "v3"), ("1", "v1"), (ref("v1").revision, "v1")],
    ids=["warm by number", "warm by hash", "older by number", "older by hash"],
)
def test_rollback_to_means_the_revision_that_it_names(key: str, version: str) -> None:
    assert returned_to(serving_v4(), key) == version


@pytest.mark.parametrize(
    "outcome", [outcome for outcome in Outcome if outcome is not Outcome.PROMOTED]
)
def test_rollback_to_means_no_revision_that_never_served(outcome: Outcome) -> None:
    before = serving_v4(outcome=outcome)
    assert returned_to(before, "2") == "v4"
    assert returned_to(before, ref("v2").revision) == "v4"


def test_pods_of_another_revision_stay_warm_while_stable_is_left() -> None:
    observation = look(
        serving_v4(), pods("v4"), pods("v3"),
        wire_spec=spec("v4"), annotations={Annotation.ROLLBACK_TO: "1"},
    )  # fmt: skip
    after = decided(observation).status
    assert after.candidate is not None
    assert after.candidate.version == "v1"
    assert after.retired is not None
    assert after.retired.version == "v3"
