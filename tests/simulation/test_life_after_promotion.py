"""Any order of what goes wrong after promotions: the invariants hold, and calm ends Ready.

Beside the invariants of every tick: the stable role moves only to a revision with at least as many
ready pods, what is in quarantine never has it, and nothing is tried for ever.
"""

import os
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mooring_operator.api.monitoring_status import DriftedFeature, DriftStatus
from tests.simulation.cluster import Behaviour
from tests.simulation.world import World

SPEC: dict[str, Any] = {
    "rollout": {
        "steps": [{"shadow": 50, "minRows": 200}, {"weight": 20, "minRows": 100}],
        "analysis": {"metrics": ["errors"], "margins": {"errors": 0.05}, "maxDuration": "5m"},
        "progressDeadline": "1m",
    },
    "monitoring": {
        "interval": "10s",
        "window": "10s",
        "drift": {},
        "labels": {"maturity": "1m"},
    },
    "rollback": {"keepWarm": "2m", "soak": "1m", "window": "15m", "probe": {"maxDuration": "2m"}},
}
EXAMPLES = int(os.environ.get("MOORING_LIVES", "5"))
"""More of them: MOORING_LIVES=200; about 3 s each."""
VERSIONS = st.sampled_from(["v1", "v2", "v3"])
FAULTS = st.sampled_from(
    [
        Behaviour(error_rate=0.3),
        Behaviour(invalid_rate=0.3),
        Behaviour(loss=0.5),
        Behaviour(start_seconds=90.0),
    ]
)


class Lives(RuleBasedStateMachine):
    """Versions turn bad and good while they serve, and the world turns on all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize()
    def first_version_serves(self) -> None:
        self.world.apply("v1", None, **SPEC)
        self.world.run_until("Ready/Initialized", within=60)
        self.world.run(80)
        self.world.apply("v2")
        self.world.run_until("Ready/Promoted", within=600)

    @rule(version=VERSIONS, ticks=st.integers(1, 20))
    def apply(self, version: str, ticks: int) -> None:
        self.world.apply(version)
        self.world.run(10 * ticks)

    @rule(ticks=st.integers(1, 20))
    def wait(self, ticks: int) -> None:
        self.world.run(10 * ticks)

    @rule(version=VERSIONS, fault=FAULTS)
    def turn_bad(self, version: str, fault: Behaviour) -> None:
        self.world.cluster.behaviours[version] = fault
        self.world.run(100)

    @rule(fault=FAULTS)
    def turn_all_bad(self, fault: Behaviour) -> None:
        for version in ("v1", "v2", "v3"):
            self.world.cluster.behaviours[version] = fault
        self.world.run(100)

    @rule(version=VERSIONS)
    def crash(self, version: str) -> None:
        self.world.cluster.crash(version, "container server: Error (exit code 1)", self.world.now)
        self.world.run(100)

    @rule(version=VERSIONS)
    def mend(self, version: str) -> None:
        self._mend(version)
        self.world.run(30)

    @rule()
    def drift(self) -> None:
        stable = self.world.status.get("stable")
        if stable is not None:
            feature = DriftedFeature(name="x", kind="shift", effect=0.2, since=self.world.now)
            self.world.drift = DriftStatus(
                revision=stable["revision"],
                verdict="Drifted",
                features=[feature],
                at=self.world.now + timedelta(seconds=10),
            )
        self.world.run(60)

    @precondition(lambda self: self.world.status.get("quality"))
    @rule()
    def degrade(self) -> None:
        labels = {"verdict": "Degraded", "since": self.world.now.isoformat(), "limit": 0.2}
        self.world.status["quality"]["labels"] = labels
        self.world.run(60)

    @rule(replicas=st.integers(1, 4))
    def scale(self, replicas: int) -> None:
        self.world.edit(replicas=replicas)
        self.world.tick()

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.world.edit(paused=paused)
        self.world.tick()

    @rule(lost=st.booleans())
    def lose_metrics(self, lost: bool) -> None:
        self.world.metrics_lost = lost
        self.world.run(20)

    @rule(after=st.integers(0, 4))
    def kill_the_operator(self, after: int) -> None:
        self.world.crash_at = self.world.effects + after
        self.world.run(40)

    @rule()
    def lose_the_status(self) -> None:
        self.world.status = {"observedGeneration": -1}
        self.world.run(20)

    @invariant()
    def what_is_in_quarantine_does_not_serve(self) -> None:
        stable = self.world.status.get("stable")
        held = {entry["revision"] for entry in self.world.status.get("quarantine", ())}
        assert stable is None or stable["revision"] not in held

    def teardown(self) -> None:
        world = self.world
        if not world.status.get("stable"):
            return
        world.metrics_lost, world.drift, world.crash_at = False, None, None
        for version in ("v1", "v2", "v3"):
            self._mend(version)
        world.run(60)
        world.apply(world.status["stable"]["version"], paused=False)
        world.run(900)
        assert world.standing.startswith("Ready/"), f"P9: {world.standing}"
        assert len(world.cluster.workloads) == 1, "every other revision is gone"

    def _mend(self, version: str) -> None:
        self.world.cluster.behaviours[version] = Behaviour()
        for workload in list(self.world.cluster.workloads.values()):
            if workload.version == version and len(workload.ready(self.world.now)) == 0:
                self.world.cluster.kill_pods(workload.revision, self.world.now)


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
