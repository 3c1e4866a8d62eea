"""A restart is no news: an operator that finds everything as it must be writes nothing."""

import asyncio
import re
import time
from collections.abc import Generator

import httpx
import pytest

from mooring_operator.api.group import Kind
from mooring_operator.io.resources import WATCHED
from tests.builders.resources import DEPLOYMENT
from tests.cluster.operator_process import free_port
from tests.cluster_tools.progress import Progress
from tests.faults.api import Server
from tests.faults.control_plane import control_plane
from tests.faults.run import run_name, tools_for
from tests.faults.scenarios import SCENARIOS, answers, serving_v1
from tests.faults.stage import stage_of
from tests.faults.steady import AT_REST

_PATIENCE = 60.0


@pytest.fixture(scope="module")
def server() -> Generator[Server]:
    with control_plane(Progress()) as running:
        yield running


async def _has_looked_with_counters(port: int) -> None:
    """Returns when the process has looked at the deployment, asked its pods, and looked again.

    The first complete round after a start is always news.
    """
    deadline = time.monotonic() + _PATIENCE
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            assert time.monotonic() < deadline, "the new process did not look in time"
            try:
                said = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
            except httpx.TransportError:
                said = ""
            looks = _sum(said, "controller_reconcile_total", 'controller="ModelDeployment"')
            asked = _sum(said, "mooring_sync_answers_total", 'result="ok"')
            if asked and looks >= 2:
                return
            await asyncio.sleep(0.1)


def _sum(text: str, name: str, label: str) -> float:
    lines = re.findall(rf"^{name}{{([^}}]*)}} (\S+)$", text, re.MULTILINE)
    return sum(float(value) for labels, value in lines if label in labels)


async def _writes_of_a_restart(server: Server, scenario: str) -> list[str]:
    port = free_port()
    settings = {"MOORING_METRICS_PORT": str(port)}
    async with (
        tools_for(server) as tools,
        stage_of(tools, run_name(), None, answers, **settings) as stage,
    ):
        await SCENARIOS[scenario](stage)
        await stage.edit(Kind.MODEL_DEPLOYMENT, DEPLOYMENT, monitoring={"interval": "5s"})
        await stage.at_rest()
        before = len(stage.journal.writes)
        await stage.keeper.kill()
        await _has_looked_with_counters(port)
        await stage.at_rest()
        return [str(write.key) for write in stage.journal.writes[before:]]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scenario", AT_REST)
def test_restart_writes_nothing_when_nothing_changed(server: Server, scenario: str) -> None:
    assert asyncio.run(_writes_of_a_restart(server, scenario)) == []


async def _lists_of_a_start(server: Server) -> set[str]:
    async with tools_for(server) as tools, stage_of(tools, run_name(), None, answers) as stage:
        await serving_v1(stage)
        return {target.replace(stage.room.name, "NS") for target in stage.journal.lists}


@pytest.mark.timeout(120)
def test_watch_lists_nothing_and_we_list_every_kind(server: Server) -> None:
    lists = asyncio.run(_lists_of_a_start(server))
    for type_ in WATCHED:
        place = type_.path("NS" if type_.namespaced else "")
        ours = [target for target in lists if target.startswith(f"{place}?")]
        assert sorted("fieldSelector=metadata.name%3DNONE" in t for t in ours) == [False, True], (
            ours
        )
