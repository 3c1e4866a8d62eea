"""The pure rooms of worker processes: memory, tables, the board, policy, allowance, the guard."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_serving.arms import Arm, Outcome, Role
from mooring_serving.counters import Counters
from mooring_serving.http.client import Address
from mooring_serving.limits import EngineLimits, HttpLimits
from mooring_serving.routing import Route
from mooring_serving.settings import read_settings
from mooring_serving.totals import read_totals
from mooring_serving.workers.allowance import default_workers, memory_per_worker, read_cpus
from mooring_serving.workers.board import BOARD_CELLS, Board, SharedRoutes
from mooring_serving.workers.layout import Cell, SketchLayout, SlotLayout
from mooring_serving.workers.memory import SketchMemory, SlotMemory, create_shared
from mooring_serving.workers.memory_guard import HOPELESS_SECONDS, MemoryGuard, Pressure
from mooring_serving.workers.policy import Crashes
from mooring_serving.workers.spec import Descriptors, Peer, WorkerSpec

LAYOUT = SlotLayout.of(4)


@pytest.mark.parametrize("peer", [None, Peer(()), Peer((Address("127.0.0.1", 9),))])
def test_worker_is_told_what_its_supervisor_was(peer: Peer | None) -> None:
    environ = {
        "MOORING_PREDICTION_LOG": '{"sample": 0.5, "rotate": {"seconds": 1}}',
        "MOORING_SYNC_KEYS": "/keys.json",
        "MOORING_RECEIPT_KEY": "an authenticating key",
        "MOORING_WORKERS": "3",
    }
    spec = WorkerSpec(
        index=1,
        workers=3,
        directory=Path("/model"),
        settings=read_settings(environ),
        limits=EngineLimits(http=HttpLimits(connections=7)),
        peer=peer,
        memory=None,
        sketch_cells=9,
        descriptors=Descriptors(3, 4, 5, 6, None, 8),
    )
    assert WorkerSpec.decode(spec.encode()) == spec


def test_successor_in_a_slot_goes_on_where_the_killed_one_stopped() -> None:
    descriptor = create_shared(LAYOUT.cells, "test")
    first = Counters(4, SlotMemory.shared(LAYOUT, descriptor))
    first.count_answer(rows=3, milliseconds=0.5, phase="a/1")
    first.count_label([0.25], phase="a/1", arm=Arm.CANDIDATE)
    second = Counters(4, SlotMemory.shared(LAYOUT, descriptor))
    second.count_answer(rows=2, milliseconds=7.0, phase="a/1")
    second.count_answer(rows=1, milliseconds=7.0, phase="b/1")
    document: Any = second.to_json()
    assert (document["requests"], document["rows"]) == (3, 6)
    assert document["phases"]["a/1"]["stable"]["rows"] == 5
    assert document["phases"]["a/1"]["stable"]["latencyMs"]["counts"][:4] == [1, 0, 0, 1]
    assert document["labels"]["a/1"]["candidate"] == {
        "n": 1,
        "lossSum": 0.25,
        "lossSquaredSum": 0.0625,
    }


def test_sum_over_slots_is_the_one_slot_that_counted_everything() -> None:
    generator = np.random.default_rng(1)
    apart, whole = [Counters(4), Counters(4), Counters(4)], Counters(4)
    for number in range(300):
        own = apart[number % 3]
        phase = (None, "a/1", "b/1")[int(generator.integers(3))]
        rows, latency = int(generator.integers(1, 9)), float(generator.exponential(5))
        outcome = tuple(Outcome)[int(generator.integers(len(Outcome)))]
        for counters in (own, whole):
            counters.count_answer(rows=rows, milliseconds=latency, phase=phase)
            counters.count_forward(outcome, rows=rows, milliseconds=latency, phase=phase)
            counters.count_label([0.5, 0.25], phase=phase, arm=Arm.STABLE)
            counters.count_fault(kind="InvalidOutput", invalid=True, phase=phase)
            counters.count_refusal(400 + number % 7)
    summed: Any = read_totals([counters.memory for counters in apart]).to_json()
    assert summed == whole.to_json()
    assert read_totals([counters.memory for counters in apart]).refusals == whole.read().refusals


@pytest.mark.parametrize("arm", [Arm.STABLE, Arm.CANDIDATE])
def test_batch_of_answers_counts_like_the_answers_one_by_one(arm: Arm) -> None:
    batch = [(1, 0.4, None), (7, 12.0, "a/1"), (2, 12.0, "a/1"), (3, 5000.0, None)]
    together, apart = Counters(4), Counters(4)
    together.count_answers(batch, arm)
    for rows, milliseconds, phase in batch:
        apart.count_answer(rows=rows, milliseconds=milliseconds, phase=phase, arm=arm)
    document: Any = together.to_json()
    assert document == apart.to_json()
    counted = {name: side["requests"] for name, side in document["phases"]["a/1"].items()}
    assert counted == {"stable": 0, "candidate": 0, "shadow": 0} | {arm.value: 2}
    assert together.read().latency_sum_ms == pytest.approx(apart.read().latency_sum_ms)


def test_oldest_phase_makes_room_also_for_a_successor() -> None:
    memory = SlotMemory.own(LAYOUT)
    for number in range(6):
        Counters(4, memory).count_answer(rows=1, milliseconds=1, phase=f"p/{number}")
    phases: Any = Counters(4, memory).to_json()["phases"]
    assert list(phases) == ["p/2", "p/3", "p/4", "p/5"]
    assert {phase["stable"]["rows"] for phase in phases.values()} == {1}


def test_sketches_are_those_published_last_and_whole() -> None:
    layout = SketchLayout(3)
    memory = SketchMemory.own(layout)
    assert memory.read()[0] == 0
    for rows in range(1, 6):
        memory.publish(np.full(3, rows), rows)
        counted, cells = memory.read()
        assert (counted, cells.tolist()) == (rows, [rows] * 3)


def test_board_gives_back_the_route_and_says_who_is_crowded() -> None:
    board = Board(bytearray(BOARD_CELLS * 8))
    assert board.current(0.0) == Route()
    route = Route(Role.STABLE, "abc.1/2", "abc", 12.5, 50.0, 0.25)
    board.set(route, expires_at=10.0)
    assert board.current(9.9) == route
    assert board.current(10.0) == Route()
    board.set(Route(role=Role.RETIRED), expires_at=10.0)
    assert board.current(1000.0).role is Role.RETIRED
    board.publish_connections(0, 3)
    board.publish_connections(1, 3)
    assert not board.is_crowded(3)
    board.publish_connections(1, 2)
    assert board.is_crowded(3)
    board.publish_connections(1, None)
    assert not board.is_crowded(3)


def test_workers_route_follows_the_board_and_its_slot_says_so() -> None:
    board, memory = Board(bytearray(BOARD_CELLS * 8)), SlotMemory.own(LAYOUT)
    routes = SharedRoutes(board, memory)
    adopted: list[Route] = []
    routes.listen(adopted.append)
    board.set(Route(weight_percent=7.0), expires_at=5.0)
    assert routes.current(1.0).weight_percent == 7.0
    assert routes.current(5.0).weight_percent == 0.0
    assert [route.weight_percent for route in adopted] == [0.0, 7.0]


def test_pod_gives_up_after_five_workers_that_do_not_load_and_not_after_rare_deaths() -> None:
    never_open, rarely = Crashes(), Crashes()
    for _ in range(5):
        assert not never_open.hopeless
        never_open.report(None)
    for _ in range(100):
        rarely.report(60.0)
    assert never_open.hopeless
    assert not rarely.hopeless
    assert rarely.delay_seconds(lambda: 0.5) == pytest.approx(0.1)
    assert never_open.delay_seconds(lambda: 0.0) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_cpus_are_the_quotas_whole_ones(
    tmp_path: Path, files: dict[str, str], cpus: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert read_cpus(tmp_path) == cpus


def test_workers_are_bounded_by_the_memory_that_they_need(tmp_path: Path) -> None:
    def affinity() -> int:
        return 16

    assert default_workers(tmp_path, affinity, in_pod=True) == 1
    assert default_workers(tmp_path, affinity, in_pod=False) == 4
    (tmp_path / "cpu.max").write_text("800000 100000\n")
    assert default_workers(tmp_path, affinity, in_pod=True) == 8
    (tmp_path / "memory.max").write_text(f"{512 * 1024 * 1024}\n")
    assert default_workers(tmp_path, affinity, in_pod=True) == 4
    assert memory_per_worker(4, tmp_path) == 512 * 1024 * 1024 * 9 // 40


def test_guard_refuses_above_the_limit_and_gives_up_when_it_stays_there() -> None:
    taken = [50]
    switched: list[bool] = []
    counters = Counters(1)
    guard = MemoryGuard(100, counters, measure=lambda: taken[0], on_change=switched.append)
    assert guard.check(0.0) is Pressure.NONE
    taken[0] = 101
    assert guard.check(1.0) is Pressure.REFUSING
    taken[0] = 96  # relief comes only well below the limit
    assert guard.check(2.0) is Pressure.REFUSING
    assert counters.read()[Cell.REFUSING] == 1
    taken[0] = 90
    assert guard.check(3.0) is Pressure.NONE
    taken[0] = 200
    assert guard.check(4.0) is Pressure.REFUSING
    assert guard.check(4.0 + HOPELESS_SECONDS) is Pressure.HOPELESS
    assert switched == [True, False, True]
