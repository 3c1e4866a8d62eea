"""Any order of what people, pods and the operator's process do: the invariants hold, P9 ends it.

Hypothesis chooses the order. Every tick checks the invariants of `invariants.py`; at the end the
world calms down, the spec is set back to what serves, and the deployment must become Ready.
"""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.builders.resources import model, version_status
from tests.simulation.cluster import Behaviour
from tests.simulation.world import World

ROLLOUT: dict[str, Any] = {
    "steps": [{"shadow": 50, "minRows": 200}, {"weight": 20, "minRows": 100}],
    "analysis": {"metrics": ["errors"], "margins": {"errors": 0.05}, "maxDuration": "5m"},
    "progressDeadline": "1m",
}
VERSIONS = st.sampled_from(["v1", "v2", "v3", "v4", "v9"])
"""v2 fails requests, v4 does not start, v9 does not exist."""


class Rollouts(RuleBasedStateMachine):
    """One deployment under everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            {
                "v2": Behaviour(error_rate=0.3),
                "v4": Behaviour(starts=False, failure="crash loop"),
            }
        )

    @initialize()
    def first_version_serves(self) -> None:
        self.world.apply("v1", rollout=ROLLOUT, rollback={"keepWarm": "2m"})
        self.world.run_until("Ready/Initialized", within=60)

    @rule(version=VERSIONS, ticks=st.integers(1, 8))
    def apply(self, version: str, ticks: int) -> None:
        self.world.apply(version)
        self.world.run(10 * ticks)

    @rule(ticks=st.integers(1, 12))
    def wait(self, ticks: int) -> None:
        self.world.run(10 * ticks)

    @rule(replicas=st.integers(1, 4))
    def scale(self, replicas: int) -> None:
        self.world.edit(replicas=replicas)
        self.world.tick()

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.world.edit(paused=paused)
        self.world.tick()

    @rule(undecided=st.sampled_from(["Pause", "Rollback", "Promote"]))
    def choose_what_undecided_means(self, undecided: str) -> None:
        analysis = ROLLOUT["analysis"] | {"onUndecided": undecided}
        self.world.edit(rollout=ROLLOUT | {"analysis": analysis})

    @precondition(lambda self: bool(self.world.status.get("quarantine")))
    @rule(nonce=st.integers(0, 3))
    def retry(self, nonce: int) -> None:
        revision = self.world.status["quarantine"][0]["revision"]
        self.world.annotate("mooring.dev/retry", f"{revision}@{nonce}")
        self.world.run(20)

    @rule(lost=st.booleans())
    def lose_metrics(self, lost: bool) -> None:
        self.world.metrics_lost = lost
        self.world.run(20)

    @rule(after=st.integers(0, 4))
    def kill_the_operator(self, after: int) -> None:
        self.world.crash_at = self.world.effects + after
        self.world.run(20)

    @precondition(lambda self: self.world.status.get("candidate") is not None)
    @rule()
    def kill_the_candidates_pods(self) -> None:
        revision = self.world.status["candidate"]["revision"]
        if self.world.cluster.revision(revision) is not None:
            self.world.cluster.kill_pods(revision, self.world.now)
        self.world.run(20)

    @rule()
    def lose_the_status(self) -> None:
        self.world.status = {"observedGeneration": -1}
        self.world.run(20)

    @rule(verifying=st.booleans())
    def verify_again(self, verifying: bool) -> None:
        phase = "Verifying" if verifying else "Verified"
        self.world.model = model("v1", "v2", version_status("v3", phase), "v4")
        self.world.tick()

    @rule(taken=st.booleans())
    def take_a_name(self, taken: bool) -> None:
        self.world.foreign = ("Service delays-candidate",) if taken else ()
        self.world.run(20)

    @rule(per_tick=st.sampled_from([0, 20, 600]))
    def send(self, per_tick: int) -> None:
        self.world.cluster.traffic.per_tick = per_tick
        self.world.run(20)

    def teardown(self) -> None:
        if not self.world.status.get("stable"):
            return
        world = self.world
        world.metrics_lost = False
        world.foreign = ()
        world.crash_at = None
        world.model = model("v1", "v2", "v3", "v4")
        world.run(60)
        world.apply(world.status["stable"]["version"], paused=False)
        world.run(240)
        assert world.standing.startswith("Ready/"), f"P9: {world.standing}"
        assert world.cluster.traffic.failed == 0
        assert len(world.cluster.workloads) == 1, "candidate and former stable are gone"


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
