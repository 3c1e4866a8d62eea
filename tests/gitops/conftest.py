"""Fixtures of the judges: the Go program, built once, and what the simulation reaches."""

import os
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
from _pytest.capture import CaptureManager

from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.toolchain import JUDGES, ensure_programs
from tests.gitops.judges import Answers, judge
from tests.gitops.lives import as_object, golden_lives, random_lives, shape, sightings
from tests.simulation.witness import Sighting

FULL = os.environ.get("MOORING_PROOF") == "full"
"""`make judge-status`: many more random lives, and every sighting judged by itself."""
ROLLOUTS = 200 if FULL else 5
"""Random lives of deployments."""


@dataclass(frozen=True)
class Judged:
    """Everything that was seen, with the answers."""

    seen: list[Sighting]
    answers: list[Answers]
    """One for each sighting."""
    looked_at: list[tuple[Sighting, Answers]]
    """The objects that the judges looked at."""


@pytest.fixture(scope="session")
def judges(request: pytest.FixtureRequest) -> Path:
    """The program with the tools' own packages."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    shown = isinstance(capture, CaptureManager) and capture.global_and_fixture_disabled()
    with shown or nullcontext():
        return ensure_programs((JUDGES,), default_layout(), Progress())["judges"]


@pytest.fixture(scope="session")
def judged(judges: Path) -> Judged:
    """The simulation's statuses before the judges; alike ones once, unless all are asked for."""
    seen = sightings(chain(golden_lives(), random_lives(ROLLOUTS)))
    names = [str(number) if FULL else shape(one) for number, one in enumerate(seen)]
    first = dict(zip(reversed(names), reversed(seen), strict=True))
    answers = judge(judges, [as_object(one) for one in first.values()])
    by_name = dict(zip(first, answers, strict=True))
    looked_at = list(zip(first.values(), answers, strict=True))
    return Judged(seen, [by_name[name] for name in names], looked_at)
