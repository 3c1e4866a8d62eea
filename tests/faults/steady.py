"""`make faults-steady`: a world at rest makes no write, the Lease left out; the proxy counts."""

import argparse
import asyncio
import sys
from dataclasses import dataclass

from mooring_operator.api.group import Kind
from tests.builders.resources import DEPLOYMENT
from tests.cluster_tools.progress import Progress
from tests.faults.api import Server
from tests.faults.control_plane import control_plane
from tests.faults.run import Tools, run_name, tools_for
from tests.faults.scenarios import SCENARIOS, answers
from tests.faults.stage import stage_of

AT_REST = ("promotion", "rollback", "retraining")
"""Ready after a promotion, Stalled after a rollback, and a policy that watches."""


@dataclass(frozen=True)
class Rest:
    """What an operator wrote while nothing happened."""

    scenario: str
    seconds: float
    writes: tuple[str, ...]


async def at_rest(tools: Tools, scenario: str, seconds: float) -> Rest:
    """Plays a scenario, waits until it is over, and counts from then on.

    The pods go on answering: their counters rise all the time.
    """
    async with stage_of(tools, run_name(), None, answers) as stage:
        await SCENARIOS[scenario](stage)
        # A starved machine answers late: told each half second, that would be news.
        await stage.edit(Kind.MODEL_DEPLOYMENT, DEPLOYMENT, monitoring={"interval": "5s"})
        await stage.at_rest()
        before = len(stage.journal.writes)
        await asyncio.sleep(seconds)
        later = stage.journal.writes[before:]
        return Rest(scenario, seconds, tuple(str(write.key) for write in later))


async def _run(server: Server, seconds: float) -> list[Rest]:
    async with tools_for(server) as tools:
        return await asyncio.gather(*(at_rest(tools, name, seconds) for name in AT_REST))


def main() -> None:
    """Exits with 1 when anything was written."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.steady", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    asked = parser.parse_args()
    with control_plane(Progress()) as server:
        rests = asyncio.run(_run(server, asked.seconds))
    for rest in rests:
        wrote = ", ".join(rest.writes[:10]) or "nothing"
        print(f"{rest.scenario}: {len(rest.writes)} writes in {rest.seconds:g} s ({wrote})")
    sys.exit(1 if any(rest.writes for rest in rests) else 0)


if __name__ == "__main__":
    main()
