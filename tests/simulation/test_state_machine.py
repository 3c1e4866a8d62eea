"""A bounded sample of `make prove-rollouts`: drawn lives, checked after each step."""

import os

from hypothesis import HealthCheck, settings

from tests.simulation.machine import Deployments

EXAMPLES = int(os.environ.get("MOORING_ROLLOUTS", "40"))
"""Lives of 25 steps; about 0.5 s each."""

TestDeployments = Deployments.TestCase
TestDeployments.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
