"""A bounded sample of `make faults`: some plans of every group, and a minute of rest beside them.

One API server for all of it; the runs go on side by side.
"""

import asyncio
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from tests.cluster_tools.progress import Progress
from tests.faults.api import Server
from tests.faults.control_plane import control_plane
from tests.faults.plan import Plan, What
from tests.faults.plans import crashes, partitions, refusals, streams
from tests.faults.run import Reference, Result, play_all, reference_of, tools_for
from tests.faults.steady import Rest, at_rest

SCENARIOS = ("rollback", "made-anew")
EACH = int(os.environ.get("MOORING_FAULT_PLANS", "4"))
"""Plans of each group."""
REST_SECONDS = float(os.environ.get("MOORING_REST_SECONDS", "40"))
LIMIT_SECONDS = 15.0


@dataclass(frozen=True)
class Sample:
    """What came of it all."""

    results: list[Result]
    rest: Rest


@pytest.fixture(scope="module")
def server() -> Generator[Server]:
    with control_plane(Progress()) as running:
        yield running


@pytest.fixture(scope="module")
def sample(server: Server) -> Sample:
    return asyncio.run(_play(server))


async def _play(server: Server) -> Sample:
    async with tools_for(server) as tools:
        resting = asyncio.create_task(at_rest(tools, "retraining", REST_SECONDS))
        references = {name: await reference_of(tools, name) for name in SCENARIOS}
        results = await play_all(
            tools, _chosen(references), references, at_once=6, on_result=lambda _: None
        )
        return Sample(results, await resting)


def _chosen(references: Mapping[str, Reference]) -> list[Plan]:
    """As many of each group, spread evenly; no partition longer than four seconds."""
    plans: list[Plan] = []
    for group in (crashes, streams, refusals, partitions):
        every = [plan for plan in group(references) if plan.fault and plan.fault.seconds <= 4.0]
        kinds = _by_kind(every) if group is crashes else [every]
        for kind in kinds:
            count = EACH // len(kinds)
            plans += [kind[int(index * len(kind) / count)] for index in range(count)]
    return plans


def _by_kind(plans: Sequence[Plan]) -> list[list[Plan]]:
    """Crashes before and crashes after: they alternate, so an even stride would meet one kind."""
    what = (What.KILL_BEFORE, What.KILL_AFTER)
    return [[plan for plan in plans if plan.fault and plan.fault.what is kind] for kind in what]


@pytest.mark.timeout(300)
def test_every_run_comes_to_the_same_when_something_goes_wrong(sample: Sample) -> None:
    diverged = [
        f"{result.plan.name}: {result.problems[:5]}\n{result.log}"
        for result in sample.results
        if not result.converged
    ]
    assert not diverged, "\n".join(diverged)


def test_no_child_is_made_twice(sample: Sample) -> None:
    assert sum(result.duplicates for result in sample.results) == 0


def test_runs_recover_in_time_when_the_fault_is_over(sample: Sample) -> None:
    slow = {r.plan.name: r.recovery for r in sample.results if (r.recovery or 0) > LIMIT_SECONDS}
    assert not slow


def test_faults_strike(sample: Sample) -> None:
    missed = [result.plan.name for result in sample.results if not result.fired]
    assert len(missed) <= len(sample.results) // 4, missed
    struck = {r.plan.fault.what for r in sample.results if r.fired and r.plan.fault}
    assert {What.KILL_BEFORE, What.KILL_AFTER} <= struck


def test_nothing_is_written_at_rest(sample: Sample) -> None:
    assert sample.rest.writes == ()
