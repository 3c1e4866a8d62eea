"""Runs plans: one scenario with one fault each, compared with the scenario's undisturbed run."""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.api import AsyncApi, Refusal, Server
from tests.faults.mirror import Mirror
from tests.faults.nursery import Nursery
from tests.faults.oracle import Outcome, final_objects
from tests.faults.plan import Plan, WriteKey
from tests.faults.scenarios import SCENARIOS, answers
from tests.faults.stage import Stage, Stuck, Tools, stage_of

SETTLE_SECONDS = 20.0
"""How long after its script's end, and its fault's end, a run may take to come to the same."""
_LOOK_SECONDS = 0.25
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Reference:
    """An undisturbed run."""

    outcome: Outcome
    writes: tuple[WriteKey, ...]
    events: Mapping[str, int]
    """Watch events by plural."""


@dataclass(frozen=True)
class Result:
    """How a run with a fault ended."""

    plan: Plan
    fired: bool
    """Whether the run came to the place where the fault was to strike."""
    converged: bool
    recovery: float | None
    """Seconds from the fault's end to the next thing that people waited for; None: not fired."""
    duplicates: int
    problems: tuple[str, ...]
    """Differences from the reference, broken properties, conditions that never held."""
    log: str


@asynccontextmanager
async def tools_for(server: Server) -> AsyncGenerator[Tools]:
    """The harness' connections, its mirror and its nursery."""
    api, nursery = AsyncApi(server), Nursery()
    mirror = Mirror(api)
    await nursery.open()
    watching = asyncio.create_task(mirror.run())
    with tempfile.TemporaryDirectory(prefix="mooring-faults-") as folder:
        try:
            yield Tools(server, api, mirror, nursery, watching, Path(folder))
        finally:
            await nursery.close()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await api.aclose()


async def reference_of(tools: Tools, scenario: str) -> Reference:
    """Runs a scenario undisturbed.

    Raises:
        AssertionError: it does not even work like that, or breaks a property.
    """
    async with stage_of(tools, run_name(), None, answers) as stage:
        try:
            await SCENARIOS[scenario](stage)
        except Stuck as stuck:
            broken = _broken(stage)
            raise AssertionError(f"{scenario}: {stuck}\n{broken}\n{_tail(stage)}") from stuck
        await stage.at_rest()
        problems = _broken(stage)
        if problems:
            raise AssertionError(f"{scenario}, undisturbed: {problems}\n{_tail(stage)}")
        keys = tuple(write.key for write in stage.journal.writes)
        return Reference(await _outcome(stage), keys, dict(stage.proxy.events))


async def play(tools: Tools, plan: Plan, reference: Reference) -> Result:
    """Runs a plan and compares it with the undisturbed run."""
    async with stage_of(tools, run_name(), plan.fault, answers) as stage:
        problems: list[str] = []
        try:
            await SCENARIOS[plan.scenario](stage)
        except (Stuck, Refusal) as stuck:
            problems.append(str(stuck))
        settled, outcome = await _settled(stage, reference)
        differences = reference.outcome.differences(outcome)
        problems += [*_broken(stage), *differences]
        return Result(
            plan=plan,
            fired=stage.proxy.strike.fired_at is not None,
            converged=not problems,
            recovery=_recovery(stage, settled),
            duplicates=reference.outcome.duplicates(outcome),
            problems=tuple(problems),
            log=_tail(stage) if problems else "",
        )


async def play_all(
    tools: Tools,
    plans: Sequence[Plan],
    references: Mapping[str, Reference],
    *,
    at_once: int,
    on_result: Callable[[Result], None],
) -> list[Result]:
    """Runs plans side by side, each in its namespace with its own operator."""
    slots = asyncio.Semaphore(at_once)
    results: list[Result] = []

    async def one(plan: Plan) -> None:
        async with slots:
            result = await play(tools, plan, references[plan.scenario])
        results.append(result)
        on_result(result)

    async with asyncio.TaskGroup() as group:
        for plan in plans:
            group.create_task(one(plan))
    return results


async def _settled(stage: Stage, reference: Reference) -> tuple[float, Outcome]:
    """When the run came to the reference's outcome, and its outcome; at the latest after a time."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        now, outcome = loop.time(), await _outcome(stage)
        strike = stage.proxy.strike
        over = strike.fired_at is None or strike.ended_at is not None
        if over and not reference.outcome.differences(outcome):
            return now, outcome
        if now > max(begun, strike.ended_at or begun) + SETTLE_SECONDS:
            return now, outcome
        await stage.room.until(lambda: False, _LOOK_SECONDS)


async def _outcome(stage: Stage) -> Outcome:
    objects = await final_objects(stage.tools.api, stage.room.name)
    journal = stage.journal
    return Outcome(objects, dict(journal.created), dict(journal.deleted))


def _recovery(stage: Stage, settled: float) -> float | None:
    ended = stage.proxy.strike.ended_at
    if ended is None:
        return None
    moments = (*(at for _, at in stage.reached), settled)
    return round(min((at for at in moments if at >= ended), default=ended) - ended, 2)


def _broken(stage: Stage) -> list[str]:
    failure = stage.failure()
    ours = [f"the harness failed: {failure!r}"] if failure is not None else []
    return [*ours, *stage.journal.violations, *stage.properties.broken]


def _tail(stage: Stage) -> str:
    return stage.log.read_text()[-60000:] if stage.log.exists() else ""


def run_name() -> str:
    """The namespace of the next run."""
    return f"faults-{next(_NUMBERS)}"
