"""Two operators of one namespace: a leader that was away writes nothing when it comes back."""

import asyncio
import signal

import pytest

from tests.cluster_tools.progress import Progress
from tests.faults.api import Server
from tests.faults.control_plane import control_plane
from tests.faults.run import run_name, tools_for
from tests.faults.scenarios import answers, serving_v1
from tests.faults.stage import another_operator, stage_of

SHORT = {
    "MOORING_LEASE_SECONDS": "4",
    "MOORING_RENEW_SECONDS": "3",
    "MOORING_RETRY_SECONDS": "0.5",
}


async def _play(server: Server) -> None:
    async with (
        tools_for(server) as tools,
        stage_of(tools, run_name(), None, answers, **SHORT) as stage,
    ):
        await serving_v1(stage)
        first = stage.keeper.child
        assert first is not None
        async with another_operator(stage, "operator-1", **SHORT) as second:
            first.signal(signal.SIGSTOP)
            await stage.ask_for("v2")
            await stage.until_serving("v2", "Ready/Promoted")
            assert second.journal.writes, "the standby took over"
            # A write that it had sent when it was stopped has come through by now.
            before = len(stage.journal.writes)
            first.signal(signal.SIGCONT)
            assert await asyncio.wait_for(asyncio.shield(first.ended), 15) == 1
            await stage.ask_for("v3")
            await stage.until_serving("v3", "Ready/Promoted")
            late = [str(write.key) for write in stage.journal.writes[before:]]
            assert late == [], "a leader of the past wrote"
            assert stage.properties.broken == []


@pytest.mark.timeout(180)
def test_leader_that_was_stopped_past_its_lease_writes_nothing_when_it_goes_on() -> None:
    with control_plane(Progress()) as server:
        asyncio.run(_play(server))
