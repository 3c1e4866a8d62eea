"""Any order of what people, pods, clocks and the operator's process do to one deployment.

Hypothesis chooses specs, verbs, faults and their order. `World` checks the invariants after each
look and each tick; here P1 is checked after each rule, P5 and P6 by rules, and P9 at the end.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
)

from mooring_operator.api.group import Annotation
from mooring_operator.api.monitoring_status import DriftedFeature, DriftStatus
from tests.builders.resources import model, version_status
from tests.simulation import drawn
from tests.simulation.calm import calm, settle
from tests.simulation.census import step
from tests.simulation.cluster import Behaviour
from tests.simulation.killed_looks import check_killed_look
from tests.simulation.world import LARGE, TICK, World, unfit

_TOKENS = ("candidate", "stable", "retired", "desired", "quarantined", "promoted", "number", "odd")
_VERBS = (
    Annotation.PROMOTE,
    Annotation.ABORT,
    Annotation.RETRY,
    Annotation.ROLLBACK_TO,
    Annotation.APPROVE,
)
_REVERTS = 2
"""A rollback that was under way when the spec was set back makes another revision stable, once."""


class Deployments(RuleBasedStateMachine):
    """One deployment under everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World({name: Behaviour() for name in drawn.VERSIONS})
        self.written: tuple[dict[str, Any], dict[str, str]] = ({}, {})
        """Spec and annotations as people wrote them."""

    # People

    @initialize(
        way_in=drawn.ways_in,
        rollback=drawn.rollbacks,
        monitoring=drawn.monitoring,
        replicas=drawn.replicas,
        nothing=drawn.rarely,
    )
    def begin(
        self,
        way_in: dict[str, Any],
        rollback: dict[str, Any],
        monitoring: dict[str, Any],
        replicas: int,
        nothing: bool,
    ) -> None:
        parts: dict[str, Any] = {"rollback": rollback, "monitoring": monitoring}
        self._apply("v1", **parts, replicas=replicas, **way_in)
        if not nothing:
            self._run(6)

    @step(version=drawn.versions, ticks=drawn.spans)
    def ask_for_a_version(self, version: str, ticks: int) -> None:
        self._apply(version)
        self._run(ticks)

    @step(ticks=drawn.spans)
    @precondition(lambda self: self.world.model is not None and self.world.model.status.channels)
    def ask_for_the_channel(self, ticks: int) -> None:
        self.world.apply(None, drawn.CHANNEL)
        self._note()
        self._run(ticks)

    @step(version=st.sampled_from(drawn.VERSIONS), fault=drawn.faults, ticks=drawn.spans)
    @precondition(lambda self: self.world.stable)
    def let_a_version_in_and_see(self, version: str, fault: Behaviour, ticks: int) -> None:
        """A good rollout of a version that turns out to be otherwise once it serves."""
        world = self.world
        world.metrics_lost, world.foreign = False, ()
        world.cluster.traffic.per_tick = 600
        world.cluster.behave(version, Behaviour(), world.now)
        self._apply(version, rollout=drawn.PLAIN, paused=False)
        self._run(10)
        world.cluster.behave(version, fault, world.now)
        self._run(ticks)

    @step(nonce=st.sampled_from(("", "@1", "@2")))
    @precondition(lambda self: self.world.standing == "Reconciling/AwaitingApproval")
    def approve(self, nonce: str) -> None:
        self._annotate(Annotation.APPROVE, self._key("desired") + nonce)
        self._run(6)

    @step(way_in=drawn.ways_in)
    def edit_the_way_in(self, way_in: dict[str, Any]) -> None:
        self._edit(**way_in)

    @step(rollback=drawn.rollbacks, monitoring=drawn.monitoring)
    def edit_what_comes_after(self, rollback: dict[str, Any], monitoring: dict[str, Any]) -> None:
        self._edit(rollback=rollback, monitoring=monitoring)

    @step(replicas=drawn.replicas)
    def scale(self, replicas: int) -> None:
        self._edit(replicas=replicas)

    @step(resources=drawn.resources, ticks=drawn.spans)
    def give_the_pods_others(self, resources: dict[str, Any], ticks: int) -> None:
        """Settings of pods; those that no node has room for start nothing."""
        unfit(self.world, LARGE)
        self._edit(resources=resources)
        self._run(ticks)

    @step(ticks=drawn.spans)
    @precondition(lambda self: self.world.cluster.unfit)
    def bring_a_larger_node(self, ticks: int) -> None:
        self.world.cluster.make_room(self.world.now)
        self._run(ticks)

    @step(stays=drawn.rarely, ticks=drawn.spans)
    def pause(self, stays: bool, ticks: int) -> None:
        self._edit(paused=True)
        self._run(ticks)
        if not stays:
            self._edit(paused=False)

    @step()
    def apply_the_same_again(self) -> None:
        """P6: an operator that is content, and a manifest that says the same, write nothing."""
        world = self.world
        if world.spec is None or world.now < world.down_until or world.crash_at is not None:
            return
        world.settle()
        writes, effects, generation = world.writes, world.effects, world.generation
        reference = world.spec["model"]
        world.apply(reference.get("version"), reference.get("channel"))
        world.settle()
        assert (world.writes, world.effects, world.generation) == (writes, effects, generation), (
            "P6: an identical manifest made the operator write"
        )

    @step(
        verb=st.sampled_from(_VERBS),
        about=st.sampled_from(_TOKENS),
        nonce=st.sampled_from(("", "@1", "@2")),
        ticks=st.integers(0, 4),
    )
    def say(self, verb: Annotation, about: str, nonce: str, ticks: int) -> None:
        self._annotate(verb, self._key(about) + nonce)
        self._run(ticks)

    @step(verb=st.sampled_from((Annotation.PROMOTE, Annotation.ABORT)), ticks=st.integers(0, 4))
    @precondition(lambda self: self.world.status.get("candidate"))
    def decide_about_the_candidate(self, verb: Annotation, ticks: int) -> None:
        self._annotate(verb, self._key("candidate"))
        self._run(ticks)

    @step(nonce=st.sampled_from(("", "@1", "@2")), ticks=drawn.spans)
    @precondition(lambda self: self.world.status.get("quarantine"))
    def retry(self, nonce: str, ticks: int) -> None:
        entry = self.world.status["quarantine"][0]
        self._apply(entry["version"])
        self._annotate(Annotation.RETRY, entry["revision"] + nonce)
        self._run(ticks)

    @step()
    @precondition(lambda self: self.world.annotations)
    def take_the_annotations_away(self) -> None:
        self.world.annotations.clear()
        self._note()
        self.world.tick()

    # Time

    @step(ticks=drawn.spans)
    def wait(self, ticks: int) -> None:
        self._run(ticks)

    @step(minutes=st.sampled_from((1, 10, 70, 6000)))
    def jump(self, minutes: int) -> None:
        self.world.now += timedelta(minutes=minutes)
        self.world.tick()

    # Pods and their counts

    @step(version=st.sampled_from(drawn.VERSIONS), fault=drawn.faults, ticks=drawn.spans)
    def behave(self, version: str, fault: Behaviour, ticks: int) -> None:
        self.world.cluster.behave(version, fault, self.world.now)
        self._run(ticks)

    @step(fault=drawn.faults, ticks=drawn.spans)
    def behave_all(self, fault: Behaviour, ticks: int) -> None:
        for version in drawn.VERSIONS:
            self.world.cluster.behave(version, fault, self.world.now)
        self._run(ticks)

    @step(ticks=drawn.spans)
    @precondition(lambda self: self.world.stable)
    def drift(self, ticks: int) -> None:
        world = self.world
        feature = DriftedFeature(name="x", kind="shift", effect=0.2, since=world.now)
        world.drift = DriftStatus(
            revision=world.status["stable"]["revision"],
            verdict="Drifted",
            features=[feature],
            at=world.now + TICK,
        )
        self._run(ticks)

    @step(ticks=drawn.spans)
    @precondition(lambda self: self.world.status.get("quality"))
    def lose_quality(self, ticks: int) -> None:
        world = self.world
        labels = {"verdict": "Degraded", "since": world.now.isoformat(), "limit": 0.2}
        world.status["quality"]["labels"] = labels
        self._run(ticks)

    @step(data=st.data(), lost=st.booleans(), ticks=st.integers(0, 3))
    @precondition(lambda self: self.world.cluster.workloads)
    def take_a_deployment_or_its_pods(self, data: st.DataObject, lost: bool, ticks: int) -> None:
        cluster = self.world.cluster
        name = data.draw(st.sampled_from(sorted(cluster.workloads)))
        if lost:
            cluster.delete(name)
        else:
            cluster.kill_pods(cluster.workloads[name].revision, self.world.now)
        self._run(ticks)

    @step(data=st.data())
    @precondition(lambda self: self.world.cluster.services)
    def take_a_service(self, data: st.DataObject) -> None:
        cluster = self.world.cluster
        cluster.delete(data.draw(st.sampled_from(sorted(cluster.services))))
        self.world.tick()

    @step(data=st.data(), count=st.integers(0, 2), ticks=drawn.spans)
    @precondition(lambda self: self.world.cluster.workloads)
    def silence(self, data: st.DataObject, count: int, ticks: int) -> None:
        cluster = self.world.cluster
        name = data.draw(st.sampled_from(sorted(cluster.workloads)))
        cluster.silence(cluster.workloads[name].revision, count)
        self._run(ticks)

    @step(stays=drawn.rarely, ticks=drawn.spans)
    def lose_the_counters(self, stays: bool, ticks: int) -> None:
        self.world.metrics_lost = True
        self._run(ticks)
        self.world.metrics_lost = stays

    @step(per_tick=st.sampled_from((0, 20, 600)), labelled=st.sampled_from((0.0, 0.5)))
    def send(self, per_tick: int, labelled: float) -> None:
        self.world.cluster.traffic.per_tick = per_tick
        self.world.cluster.traffic.labelled = labelled
        self._run(2)

    # The Model, and other people's objects

    @step(
        version=st.sampled_from(drawn.VERSIONS),
        phase=st.sampled_from(("Pending", "Verifying", "Refused", None)),
        pointer=st.sampled_from((None, *drawn.VERSIONS)),
        stays=drawn.rarely,
        ticks=drawn.spans,
    )
    def change_the_model(
        self, version: str, phase: str | None, pointer: str | None, stays: bool, ticks: int
    ) -> None:
        """A version is judged again, or the whole Model is gone; then its channel points there."""
        entries = [
            version_status(v, phase if v == version and phase else "Verified")
            for v in drawn.VERSIONS
        ]
        self.world.model = None if phase is None else model(*entries)
        self._run(ticks)
        if not stays:
            channels = {} if pointer is None else {drawn.CHANNEL: pointer}
            self.world.model = model(
                *drawn.VERSIONS, channels=channels, declared_channels=(drawn.CHANNEL,)
            )
            self.world.tick()

    @step(
        name=st.sampled_from(("Service delays-candidate", "Service delays")),
        stays=drawn.rarely,
        ticks=drawn.spans,
    )
    def take_a_name(self, name: str, stays: bool, ticks: int) -> None:
        """Somebody deletes a Service of ours and makes one of their own."""
        self.world.cluster.delete(name.removeprefix("Service "))
        self.world.foreign = (name,)
        self._run(ticks)
        if not stays:
            self.world.foreign = ()
            self.world.tick()

    @step(fault=st.sampled_from(("", "refuses", "silent", "no route", "no API")), ticks=drawn.spans)
    def turn_the_gateway(self, fault: str, ticks: int) -> None:
        self.world.cluster.gateway.turn_to(fault)
        self._run(ticks)

    # The operator

    @step(after=st.integers(0, 5), ticks=st.integers(1, 5))
    def kill_the_operator(self, after: int, ticks: int) -> None:
        self.world.crash_at = self.world.effects + after
        self._run(ticks)

    @step(after=st.integers(0, 5), ticks=drawn.spans)
    def compare_with_a_crash(self, after: int, ticks: int) -> None:
        """P5: killed in the middle of a look, it ends as if killed before the look or after it."""
        if self.world.now < self.world.down_until or self.world.crash_at is not None:
            return
        check_killed_look(self.world, after, ticks)

    @step(image=st.sampled_from(("mooring-serving:1", "mooring-serving:2")))
    def upgrade(self, image: str) -> None:
        self.world.upgrade(image)
        self.world.tick()

    @step(memory=st.booleans(), ticks=st.integers(0, 3))
    def lose_the_status(self, memory: bool, ticks: int) -> None:
        self.world.status = {"observedGeneration": -1}
        for workload in self.world.cluster.workloads.values():
            workload.memory = workload.memory if memory else None
        self._run(ticks)

    # What is checked

    @invariant()
    def nobody_but_people_writes_the_spec(self) -> None:
        """P1."""
        spec, annotations = self.written
        assert (self.world.spec or {}) == spec, "P1: the spec was written"
        assert self.world.annotations == annotations, "P1: an annotation was written"

    def teardown(self) -> None:
        """P9: whatever happened, asking for what serves ends Ready."""
        world = self.world
        calm(world)
        settle(world)
        for _ in range(_REVERTS):
            stable = world.status.get("stable")
            version = "v1" if stable is None else stable["version"]
            plain = stable is None or "InvalidSpec" in world.standing
            mended: dict[str, Any] = {"rollout": drawn.PLAIN} if plain else {}
            pods = world.status.get("pods")
            if pods is not None:
                mended["resources"] = pods["good"]["resources"]
            world.apply(version, None, paused=False, **mended)
            settle(world)
            if world.standing.startswith("Ready/"):
                break
        assert world.standing.startswith("Ready/"), f"P9: {world.standing}"
        assert len(world.cluster.workloads) == 1, "candidate and former stable are gone"

    # Hands

    def _apply(self, version: str, **fields: Any) -> None:
        self.world.apply(version, None, **fields)
        self._note()

    def _edit(self, **fields: Any) -> None:
        self.world.edit(**fields)
        self._note()
        self.world.tick()

    def _annotate(self, verb: Annotation, token: str) -> None:
        self.world.annotate(verb, token)
        self._note()

    def _note(self) -> None:
        self.written = deepcopy((self.world.spec or {}, self.world.annotations))

    def _run(self, ticks: int) -> None:
        self.world.run(TICK.total_seconds() * ticks)

    def _key(self, about: str) -> str:
        """What a token names: a revision by its role, a number of the history, or nothing."""
        status = self.world.status
        if about == "quarantined":
            return next((e["revision"] for e in status.get("quarantine", ())), "0" * 12)
        if about == "promoted":
            return next((e["revision"] for e in status.get("history", ())[1:]), "0" * 12)
        if about == "number":
            return str(next((e["seq"] for e in status.get("history", ())[1:]), 7))
        if about == "odd":
            return "latest"
        role = status.get(about)
        return "f" * 12 if role is None else role["revision"]
