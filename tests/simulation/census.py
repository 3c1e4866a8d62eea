"""What a run of drawn lives came through: steps, rules, rows of the state table, statuses.

Nobody counts unless `counting_in` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from typing import Any, cast

from hypothesis.stateful import rule

from mooring_operator.core.decision import OperatorConfig
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.rollout.plan import look
from mooring_operator.core.rollout.state import State, state_of
from tests.simulation.witness import Sighting

_STANDINGS = ("Ready", "Reconciling", "Stalled")


@dataclass
class Census:
    """Counts of one run."""

    rules: Counter[str] = field(default_factory=Counter[str])
    states: Counter[str] = field(default_factory=Counter[str])
    """Looks at the world, by the row of the table in which each began."""
    standings: Counter[str] = field(default_factory=Counter[str])
    stages: Counter[str] = field(default_factory=Counter[str])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    rollbacks: Counter[str] = field(default_factory=Counter[str])
    """Statuses that tell of a rollback, by what took the revision back."""
    verbs: Counter[str] = field(default_factory=Counter[str])

    @property
    def steps(self) -> int:
        """Rules that were carried out."""
        return self.rules.total()

    @property
    def missing(self) -> set[str]:
        """Rows of the state table in which no look began."""
        return {state.value for state in State} - set(self.states)

    def saw(self, seen: Sighting) -> None:
        """Takes a status in, as it is written."""
        status = seen.status
        for condition in status.get("conditions", ()):
            if condition["type"] in _STANDINGS and condition["status"] == "True":
                self.standings[f"{condition['type']}/{condition['reason']}"] += 1
        candidate, last = status.get("candidate"), status.get("lastRollback")
        verb: Mapping[str, str] | None = status.get("lastVerb")
        if candidate is not None:
            self.stages[candidate["stage"]] += 1
        if last is not None:
            self.rollbacks[f"{last['trigger']}/{last['reason']}"] += 1
        if verb is not None:
            self.verbs[f"{verb['verb']} {verb['outcome']}"] += 1
        self.outcomes.update({entry["outcome"] for entry in status.get("history", ())})

    def as_document(self) -> dict[str, Any]:
        """All counts, the largest first."""
        return {name: dict(counts.most_common()) for name, counts in vars(self).items()}


_CENSUS: ContextVar[Census | None] = ContextVar("census", default=None)


@contextmanager
def counting_in(census: Census) -> Generator[None]:
    """Whatever happens meanwhile is counted."""
    token = _CENSUS.set(census)
    try:
        yield
    finally:
        _CENSUS.reset(token)


def note_state(observation: DeploymentObservation, config: OperatorConfig, now: datetime) -> None:
    """Counts the row of the state table in which a look begins."""
    census = _CENSUS.get()
    if census is not None:
        census.states[state_of(look(observation, config, now)).value] += 1


def step(**strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule of a state machine that is counted when it is carried out."""

    def decorate(act: Callable[..., None]) -> Any:
        @wraps(act)
        def counted(self: Any, **drawn: Any) -> None:
            census = _CENSUS.get()
            if census is not None:
                census.rules[act.__name__] += 1
            act(self, **drawn)

        return cast("Any", rule)(**strategies)(counted)

    return decorate
