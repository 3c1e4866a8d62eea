"""The simulated lives whose statuses are judged: every golden one, and what hypothesis makes of it.

The lives are the simulation's own tests, run here with somebody looking on; they check themselves.
"""

import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from mooring_operator.api.group import Kind
from tests.gitops.judges import an_object
from tests.simulation import machine, test_registry_properties, test_retrain_properties
from tests.simulation.witness import Sighting, watched_by

SIMULATION = Path(__file__).parents[1] / "simulation"


def golden_lives() -> Iterator[Callable[[], None]]:
    """The simulation's tests of a single life."""
    for path in sorted(SIMULATION.glob("test_*.py")):
        module = importlib.import_module(f"tests.simulation.{path.stem}")
        for name, life in vars(module).items():
            many = getattr(life, "is_hypothesis_test", False)
            if name.startswith("test_") and not many and not inspect.signature(life).parameters:
                yield life


def random_lives(rollouts: int) -> Iterator[Callable[[], None]]:
    """Lives in which anything happens in any order; so many of deployments."""
    chosen = settings(
        max_examples=rollouts,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    yield lambda: run_state_machine_as_test(machine.Deployments, settings=chosen)
    yield test_registry_properties.test_model_keeps_every_verdict_whatever_happens
    yield test_retrain_properties.test_policy_trains_once_for_a_token_and_loses_no_version


def sightings(lives: Iterator[Callable[[], None]]) -> list[Sighting]:
    """All that a tool sees of these lives, in order."""
    seen: list[Sighting] = []
    with watched_by(seen.append):
        for life in lives:
            life()
    return seen


def as_object(seen: Sighting) -> dict[str, Any]:
    """What the API server shows of it."""
    return an_object(seen.kind, seen.status, generation=seen.generation, spec=dict(seen.spec))


def shape(seen: Sighting) -> str:
    """Equal for sightings that no tool can tell apart, but for names, numbers and messages."""
    status = seen.status
    observed = status.get("observedGeneration")
    conditions = [
        (c["type"], c["status"], c["reason"], c["observedGeneration"] == observed)
        for c in status.get("conditions", ())
    ]
    return json.dumps(
        [
            seen.kind,
            observed == seen.generation,
            observed == -1,
            conditions,
            _roles(status) if seen.kind is Kind.MODEL_DEPLOYMENT else len(seen.spec),
        ]
    )


def _roles(status: Mapping[str, Any]) -> list[Any]:
    """What actions depend on."""
    desired, stable = _revision(status, "desired"), _revision(status, "stable")
    bad = {entry["revision"] for entry in status.get("quarantine", ())}
    promoted = {e["revision"] for e in status.get("history", ()) if e["outcome"] == "Promoted"}
    candidate = status.get("candidate")
    return [
        None if candidate is None else candidate["stage"],
        stable is None,
        desired is None,
        desired == stable,
        desired in bad,
        bool(promoted - bad - {stable}),
    ]


def _revision(status: Mapping[str, Any], role: str) -> str | None:
    ref = status.get(role)
    return None if ref is None else ref["revision"]
