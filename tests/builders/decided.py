"""What `decide` makes of a look, and how its conditions read."""

from datetime import timedelta

from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.core.decision import Decision
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.rollout.plan import decide
from tests.builders.resources import CONFIG, EPOCH

MINUTE = timedelta(minutes=1)


def decided(
    observation: DeploymentObservation, after: timedelta = MINUTE
) -> Decision[ModelDeploymentStatus]:
    """The decision of a look so long after the epoch."""
    return decide(observation, CONFIG, EPOCH + after)


def standing(decision: Decision[ModelDeploymentStatus]) -> str:
    """Which of Ready, Reconciling and Stalled is True, and why: `Type/Reason`.

    Raises:
        ValueError: not exactly one of them is.
    """
    (true,) = [
        f"{c.type}/{c.reason}"
        for c in decision.status.conditions
        if c.type in ("Ready", "Reconciling", "Stalled") and c.status.value == "True"
    ]
    return true
