"""`make bench-operator`: the operator with many ModelDeployments, beside a minimal Go controller.

Each contender gets, for each size, a control plane of its own (etcd and kube-apiserver) with fresh
objects, one core to itself, and the same limits on its requests, higher ones until all is created.
A status simulator stands in for controllers, kubelet and pods. There are no pods but in the last
part, which measures how many of them one operator can ask for their counters
(`operator_collector.py`); before it, sync has nobody to talk to.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from tests.bench.operator_api import Api
from tests.bench.operator_collector import measure_collector
from tests.bench.operator_contenders import (
    OURS,
    YARDSTICK,
    Contender,
    Limits,
    ended,
    yardstick_program,
)
from tests.bench.operator_observer import Observer
from tests.bench.operator_phases import Plan, Stage, run_phases
from tests.bench.operator_plane import Audit, control_plane
from tests.bench.operator_population import places
from tests.bench.operator_simulator import StatusSimulator
from tests.bench.operator_tables import print_tables
from tests.bench.ours import write_result
from tests.bench.processes import LOAD_CORE, SERVER_CORE


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    counts: Sequence[int]
    contenders: Sequence[str]
    filling: Limits
    limits: Limits
    rate: float
    changing: float
    idle: float
    collector: float
    defaults: bool
    without: Sequence[str]


async def run_contender(
    name: str, plan: Plan, options: Options, core: int | None
) -> dict[str, Any]:
    """All phases of one contender at one size, on a fresh control plane."""
    print(f"[mooring] {name}, {plan.count} deployments", flush=True)

    def tell(line: str) -> None:
        print(f"[mooring]   {line}", flush=True)

    with control_plane((OURS, YARDSTICK), None) as plane:
        settings = {} if options.defaults else {"MOORING_RECONCILE_RATE": "100000"}
        contender = Contender(name, plane, options.filling, core, settings)
        api = Api(plane)
        try:
            with ended(contender):
                deployments = Observer(api, "modeldeployments")
                models = Observer(api, "models")
                simulator = StatusSimulator(api)
                tasks = [asyncio.create_task(one.run()) for one in (deployments, models, simulator)]
                where = places(plan.count)
                audit = Audit(plane)
                stage = Stage(plane, api, contender, audit, deployments, models, plan, where, tell)
                phases = asyncio.create_task(run_phases(stage))
                done, _ = await asyncio.wait({phases, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                for task in {phases, *tasks} - done:
                    task.cancel()
                for task in done:
                    task.result()  # an observer that ended has failed
                return {
                    "controller": name,
                    "deployments": plan.count,
                    "phases": [phase.document() for phase in phases.result()],
                }
        finally:
            await api.aclose()


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="*", default=[100, 1000, 5000], dest="counts")
    parser.add_argument("--contenders", nargs="*", default=[OURS, YARDSTICK])
    parser.add_argument("--qps", type=float, default=100, help="requests a second, for both")
    parser.add_argument("--burst", type=int, default=200, help="requests at once, for both")
    parser.add_argument(
        "--filling", type=float, default=400, help="requests a second until all is created"
    )
    parser.add_argument("--rate", type=float, default=20, help="spec changes a second")
    parser.add_argument("--changing", type=float, default=60, help="seconds of them")
    parser.add_argument("--idle", type=float, default=600, help="seconds of rest")
    parser.add_argument("--collector", type=float, default=30, help="seconds a step; 0: leave out")
    parser.add_argument(
        "--defaults", action="store_true", help="keep the operator's own limit on reconciliations"
    )
    parser.add_argument("--without", nargs="*", default=[], help="phases to leave out")
    found = parser.parse_args(arguments)
    return Options(
        counts=found.counts,
        contenders=found.contenders,
        filling=Limits(found.filling, int(2 * found.filling)),
        limits=Limits(found.qps, found.burst),
        rate=found.rate,
        changing=found.changing,
        idle=found.idle,
        collector=found.collector,
        defaults=found.defaults,
        without=found.without,
    )


def main() -> None:
    """Measure, print the tables, write `build/bench/operator.json`."""
    options = parse_options()
    # However it is ended, what it started ends with it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    cores = sorted(os.sched_getaffinity(0))
    core = SERVER_CORE if len(cores) > 1 else None
    if YARDSTICK in options.contenders:
        yardstick_program()
    if core is not None:
        os.sched_setaffinity(0, {LOAD_CORE})
    runs: list[dict[str, Any]] = []
    collected: object = None
    document: dict[str, object] = {}
    for count in options.counts:
        plan = Plan(
            count,
            options.rate,
            options.changing,
            options.idle,
            options.limits,
            options.without,
        )
        for name in options.contenders:
            runs.append(asyncio.run(run_contender(name, plan, options, core)))
            document = _document(options, core, runs, collected)
            path = write_result("operator", document)
    if options.collector > 0 and OURS in options.contenders:
        collected = asyncio.run(measure_collector(options.limits, core, options.collector))
        document = _document(options, core, runs, collected)
    path = write_result("operator", document)
    print_tables(runs)
    print(f"written to {path}")


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _document(
    options: Options, core: int | None, runs: list[dict[str, Any]], collected: object
) -> dict[str, object]:
    return {
        "conditions": {
            "cores": os.cpu_count(),
            "contenderOnCoreOfItsOwn": core is not None,
            "load1": os.getloadavg()[0],
            "qpsUntilCreated": options.filling.qps,
            "qps": options.limits.qps,
            "burst": options.limits.burst,
            "leaderElection": False,
            "pods": "none: a status simulator makes Deployments available; sync has nobody to ask",
            "ownReconcileLimit": options.defaults,
        },
        "runs": runs,
        "collector": collected,
    }


if __name__ == "__main__":
    sys.exit(main())
