"""The shell around a decision, as small as it can be: write the status, create, prune, tell.

Effects happen in the order that the reconcile loop has; the process can die before any of them.
Every decision is checked on the way: looking again changes nothing, and kstatus reads it.
"""

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mooring_operator.api.group import Kind
from mooring_operator.core.decision import Decision, Manifest
from tests.contract.kstatus_rules import kstatus, violations
from tests.simulation.job_cluster import JobCluster
from tests.simulation.transcript import GOLDEN, UPDATE
from tests.simulation.witness import Sighting, show

ABSENCE = timedelta(seconds=30)
"""How long a killed operator is away."""
MOST_ROUNDS = 6
"""Decisions in one tick after which the world must be at rest."""

Wire = dict[str, Any]


class Killed(Exception):
    """The process died before an effect."""


@dataclass(frozen=True)
class Subject:
    """The resource that is decided about."""

    kind: Kind
    spec: Callable[[], Wire]
    """What tools may read of its spec."""
    decide: Callable[[Wire, datetime], Decision[Any]]
    """Looks at a status on the wire and the world at a time."""
    generation: Callable[[], int]
    summary: Callable[[Wire], str]
    """The line of the story that a status is."""
    always: tuple[str, ...]
    """Condition types that are always present."""


@dataclass
class Operator:
    """Reconciles one subject in a cluster, and writes the story."""

    subject: Subject
    cluster: JobCluster
    now: datetime
    crash_at: int | None = None
    status: Wire = field(default_factory=lambda: {"observedGeneration": -1})
    lines: list[str] = field(default_factory=list[str])
    effects: int = 0
    """Effects so far; the one numbered `crash_at` does not happen."""
    _start: datetime | None = None
    _absent_until: datetime | None = None
    _look_at: datetime | None = None
    _told: str = ""

    def run(self, length: timedelta) -> None:
        """Lets time pass, from one thing that happens to the next."""
        end = self.now + length
        self.tick()
        while (moment := self._next_moment()) is not None and moment <= end:
            self.now = moment
            self.tick()
        self.now = end

    def run_until(self, reached: Callable[[Wire], bool], within: timedelta) -> None:
        """Lets time pass until the status says so."""
        end = self.now + within
        self.tick()
        while not reached(self.status):
            moment = self._next_moment()
            assert moment is not None and moment <= end, "\n".join(  # noqa: PT018 one story
                [f"not reached within {within}:", *self.lines]
            )
            self.now = moment
            self.tick()

    def _next_moment(self) -> datetime | None:
        """When something happens next: a Job's end, the operator's own timer, its return."""
        moments = (self.cluster.next_change(self.now), self._look_at, self._absent_until)
        return min((one for one in moments if one is not None and one > self.now), default=None)

    def tick(self) -> None:
        """One instant: Kubernetes cleans up, then the operator looks until all is at rest."""
        for name in self.cluster.sweep(self.now):
            self.tell("cluster", f"Job {name} removed after its time to live")
        if self._absent_until is not None and self.now < self._absent_until:
            return
        try:
            for _ in range(MOST_ROUNDS):
                if not self._reconcile():
                    return
        except Killed:
            self._absent_until = self.now + ABSENCE
            self.tell("world", "operator killed")
            return
        raise AssertionError(f"no rest after {MOST_ROUNDS} looks:\n" + "\n".join(self.lines))

    def kill_at_next_effect(self) -> None:
        """The process dies before whatever it does next."""
        self.crash_at = self.effects + 1

    def tell(self, who: str, what: str) -> None:
        """Adds a line to the story."""
        start = self._start = self._start or self.now
        elapsed = int((self.now - start).total_seconds())
        days, seconds = divmod(elapsed, 86400)
        clock = f"{days}d {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        self.lines.append(f"{clock}  {who:<7} {what}")

    def _reconcile(self) -> bool:
        """One look and its effects; whether there was any."""
        self._show()
        decision = self.subject.decide(self.status, self.now)
        wire = decision.status.to_wire()
        self._check(decision, wire)
        before = self.effects
        wait = decision.requeue_after
        assert wait is None or wait > timedelta(0), f"looks again after {wait}: a busy loop"
        self._look_at = None if wait is None else self.now + wait
        if wire != self.status:
            self._effect()
            self.status = wire
            self._show()
            summary = self.subject.summary(wire)
            if summary != self._told:
                self._told = summary
                self.tell("status", summary)
        for child in decision.children:
            self._create(child)
        for ref in decision.prune:
            if ref.name in self.cluster.jobs:
                self._effect()
                del self.cluster.jobs[ref.name]
                self.tell("apply", f"Job {ref.name} deleted")
        for event in decision.events:
            self.tell("event", f"{event.type.value} {event.reason.value}: {event.message}")
        return self.effects > before

    def _show(self) -> None:
        subject = self.subject
        show(Sighting(subject.kind, subject.generation(), subject.spec(), self.status))

    def _create(self, child: Manifest) -> None:
        if self.cluster.exists(child):
            return
        self._effect()
        self.cluster.create(child, self.now)
        name, kind = child["metadata"]["name"], child["kind"]
        shown = f" revision {child['revision']}" if kind == "ControllerRevision" else ""
        self.tell("apply", f"{kind} {name} created{shown}")

    def _effect(self) -> None:
        self.effects += 1
        if self.effects == self.crash_at:
            raise Killed

    def _check(self, decision: Decision[Any], wire: Wire) -> None:
        again = self.subject.decide(wire, self.now)
        assert again.status.to_wire() == wire, "a second look changed the status"
        assert again.children == decision.children, "a second look changed the children"
        assert again.prune == decision.prune, "a second look changed what is pruned"
        assert not again.events, f"a second look posted {again.events}"
        broken = violations(wire, self.subject.generation(), self.subject.always)
        assert not broken, broken
        assert kstatus(wire, self.subject.generation()) in ("Current", "InProgress", "Failed")


def standing(status: Wire) -> str:
    """`Ready/AllVerified`: which of the three conditions is True, and why."""
    for condition in status.get("conditions", ()):
        if condition["type"] in ("Ready", "Reconciling", "Stalled") and (
            condition["status"] == "True"
        ):
            return f"{condition['type']}/{condition['reason']}"
    return "-"


def stands(wanted: str) -> Callable[[Wire], bool]:
    """Whether a status stands so."""
    return lambda status: standing(status) == wanted


def check_golden(operator: Operator, name: str) -> None:
    """Compares a story, closed by the conditions of its end, with the checked-in one."""
    conditions = [
        f"  {c['type']}={c['status']} {c['reason']}: {c['message']}"
        for c in operator.status["conditions"]
    ]
    jobs = [f"  {name}" for name in operator.cluster.created]
    lines = [*operator.lines, "", "conditions:", *conditions, "Jobs ever created:", *jobs]
    text = "\n".join(lines) + "\n"
    path = GOLDEN / f"{name}.log"
    if os.environ.get(UPDATE) == "1":
        path.write_text(text)
        return
    expected = path.read_text() if path.exists() else ""
    difference = list(
        difflib.unified_diff(
            expected.splitlines(), text.splitlines(), f"golden/{name}.log", "this run", lineterm=""
        )
    )
    assert not difference, "\n".join(["`make sim-update` accepts this:", *difference])
