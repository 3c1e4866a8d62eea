"""`make faults`: every plan, a table, and build/faults.json."""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from types import FrameType

from tests.cluster_tools.progress import Progress
from tests.faults.api import Server
from tests.faults.control_plane import control_plane
from tests.faults.plan import Plan
from tests.faults.plans import crashes, partitions, refusals, streams
from tests.faults.run import Reference, Result, Tools, play_all, reference_of, tools_for
from tests.faults.scenarios import SCENARIOS

GROUPS = {
    "crash": crashes,
    "stream": streams,
    "answer": refusals,
    "partition": partitions,
}
REPORT = Path("build/faults.json")
LIMIT_SECONDS = 15.0
WRITE_EVERY = 10
"""Results after which the report is written, for who stops a long run early."""


def main() -> None:
    """Runs what is asked for; exits with 1 when any run diverged."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--groups", nargs="*", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--scenarios", nargs="*", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--match", default="", help="only plans whose names hold this")
    parser.add_argument("--most", type=int, default=0, help="at most so many, evenly spread")
    parser.add_argument("--at-once", type=int, default=6, help="runs side by side")
    parser.add_argument("--list", action="store_true", help="only name the plans")
    parser.add_argument("--report", type=Path, default=REPORT)
    asked = parser.parse_args()
    progress = Progress()
    # Whoever ends it ends the control plane with it.
    signal.signal(signal.SIGTERM, _end)
    with control_plane(progress) as server:
        results = asyncio.run(_run(server, asked, progress))
    if asked.list:
        return
    _write(asked.report, results)
    print(_table(results))
    sys.exit(0 if all(_is_good(result) for result in results) else 1)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


async def _run(server: Server, asked: argparse.Namespace, progress: Progress) -> list[Result]:
    async with tools_for(server) as tools:
        with progress.step(f"{len(asked.scenarios)} undisturbed runs"):
            references = await _references(tools, asked.scenarios, asked.at_once)
        plans = _chosen(references, asked)
        if asked.list:
            print("\n".join(plan.name for plan in plans))
            return []
        results: list[Result] = []

        def tell(result: Result) -> None:
            results.append(result)
            done = len(results)
            if not done % WRITE_EVERY:
                _write(asked.report, results)
            mark = "" if _is_good(result) else "  DIVERGED" if not result.converged else "  SLOW"
            mark = mark if result.fired else "  not reached" + mark
            seconds = "" if result.recovery is None else f" {result.recovery:.1f} s"
            progress.say(f"{done}/{len(plans)} {result.plan.name}{seconds}{mark}")
            if mark:
                progress.say("\n".join(result.problems[:12]))

        return await play_all(tools, plans, references, at_once=asked.at_once, on_result=tell)


async def _references(tools: Tools, scenarios: Sequence[str], at_once: int) -> dict[str, Reference]:
    slots = asyncio.Semaphore(at_once)

    async def one(scenario: str) -> Reference:
        async with slots:
            return await reference_of(tools, scenario)

    found = await asyncio.gather(*(one(scenario) for scenario in scenarios))
    return dict(zip(scenarios, found, strict=True))


def _chosen(references: dict[str, Reference], asked: argparse.Namespace) -> list[Plan]:
    plans = [plan for group in asked.groups for plan in GROUPS[group](references)]
    plans = [plan for plan in plans if asked.match in plan.name]
    if asked.most and len(plans) > asked.most:
        step = len(plans) / asked.most
        plans = [plans[int(index * step)] for index in range(asked.most)]
    return plans


def _is_good(result: Result) -> bool:
    return result.converged and (result.recovery or 0.0) <= LIMIT_SECONDS


def _write(path: Path, results: Iterable[Result]) -> None:
    document = {
        "generatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "plans": [
            {
                "name": result.plan.name,
                "fault": str(result.plan.fault),
                "fired": result.fired,
                "converged": result.converged,
                "recoverySeconds": result.recovery,
                "duplicates": result.duplicates,
                "problems": list(result.problems),
                "log": result.log,
            }
            for result in results
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1))


def _table(results: Iterable[Result]) -> str:
    by_fault: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.plan.fault is not None:
            by_fault[result.plan.fault.what.value].append(result)
    lines = [
        "fault                plans  not reached  diverged  duplicates  recovery: median   worst"
    ]
    for fault, some in sorted(by_fault.items()):
        lines.append(_row(fault, some))
    lines.append(_row("all", [one for some in by_fault.values() for one in some]))
    return "\n".join(lines)


def _row(name: str, some: Sequence[Result]) -> str:
    times = [one.recovery for one in some if one.recovery is not None] or [0.0]
    return (
        f"{name:<20} {len(some):>5}  {sum(not r.fired for r in some):>11}"
        f"  {sum(not r.converged for r in some):>8}  {sum(r.duplicates for r in some):>10}"
        f"  {median(times):>14.1f} s  {max(times):>4.1f} s"
    )


if __name__ == "__main__":
    main()
