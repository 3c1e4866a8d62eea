"""Whatever happens to a Model, in any order: its verdicts last, and pointers name real versions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_operator.core.registry.verification import MAX_PARALLEL
from tests.builders.registry import NEWEST, version_record
from tests.simulation.job_cluster import Outcome
from tests.simulation.model_life import ModelLife, away, passes, refuses

NAMES = ("v1", "v2", "v3", "run-1", "run-2")
WAITS = st.integers(min_value=0, max_value=600).map(lambda seconds: timedelta(seconds=seconds))
DECLARED = st.lists(st.sampled_from(NAMES[:3]), max_size=3, unique=True)
RULES = st.sampled_from(
    [NEWEST, {"name": "live", "version": "v1"}, {"name": "live", "version": "v3"}]
)


@st.composite
def outcome_of(draw: st.DrawFn, version: str) -> Outcome:
    """How one Job of a version ends."""
    kind = draw(st.sampled_from(["passes", "refuses", "away", "dies"]))
    match kind:
        case "passes":
            return passes(version, seconds=draw(st.integers(min_value=1, max_value=60)))
        case "refuses":
            return refuses()
        case "away":
            return away()
        case _:
            return Outcome(failure="Evicted: node under pressure")


@dataclass(frozen=True)
class Apply:
    """A person applies the Model."""

    versions: list[str]
    channel: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """A run records its version."""

    run: str


@dataclass(frozen=True)
class RollBack:
    """A deployment rolls a version back."""

    version: str


class Trouble(Enum):
    """What befalls the operator."""

    KILLED = "killed"
    STATUS_LOST = "status lost"


Action = Apply | Record | RollBack | Trouble
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.builds(Apply, DECLARED, RULES),
    st.builds(Record, st.sampled_from(NAMES[3:])),
    st.builds(RollBack, st.sampled_from(NAMES)),
    st.sampled_from(Trouble),
)


def act(life: ModelLife, action: Action) -> None:
    """One thing that people or the world do."""
    match action:
        case Apply():
            life.apply(*action.versions, channels=[action.channel])
        case Record():
            life.record(version_record(action.run, NAMES.index(action.run)))
        case RollBack():
            life.roll_back(action.version)
        case Trouble.KILLED:
            life.operator.kill_at_next_effect()
        case Trouble.STATUS_LOST:
            life.operator.status = {"observedGeneration": -1}


def check(life: ModelLife, verdicts: dict[str, str]) -> None:
    """What must hold at rest; remembers the verdicts seen."""
    status = life.operator.status
    for record in life.cluster.records.values():
        if record.record == "verification":
            verdict = str(record.data["verdict"])
            assert verdicts.setdefault(str(record.data["version"]), verdict) == verdict
    for version in status["versions"]:
        if version["name"] in verdicts:
            assert version["phase"] == verdicts[version["name"]]
    numbers = [version["seq"] for version in status["versions"]]
    assert len(set(numbers)) == len(numbers), "two versions with one number"
    for pointer in status["channels"]:
        assert verdicts.get(pointer["version"]) == "Verified", "a pointer to nothing verified"
    recorded = [r.data["name"] for r in life.cluster.records.values() if r.record == "version"]
    assert set(recorded) <= {version["name"] for version in status["versions"]}, "a lost version"


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.tuples(ACTIONS, WAITS), min_size=1, max_size=8),
    outcomes=st.fixed_dictionaries(
        {name: st.lists(outcome_of(name), min_size=1, max_size=3) for name in NAMES}
    ),
)
def test_model_keeps_every_verdict_whatever_happens(
    steps: list[tuple[Action, timedelta]], outcomes: dict[str, list[Outcome]]
) -> None:
    life = ModelLife(outcomes)
    life.apply("v1", channels=[NEWEST])
    verdicts: dict[str, str] = {}
    for action, wait in steps:
        act(life, action)
        life.operator.run(wait)
        running = [j for j in life.cluster.jobs.values() if not j.finished(life.operator.now)]
        assert len(running) <= MAX_PARALLEL
        life.operator.run(timedelta(minutes=1))
        check(life, verdicts)
