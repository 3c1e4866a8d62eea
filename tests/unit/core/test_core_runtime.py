"""The runtime watch: m of n looks at failed requests and missing pods."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mooring_operator.core.runtime import (
    BETTER,
    ENOUGH,
    LEAST_REQUESTS,
    LOOKS,
    Answered,
    Look,
    RuntimeWatch,
    fold,
)
from mooring_operator.ids import Revision
from tests.builders.resources import EPOCH

V1 = Revision("0123456789ab")
INTERVAL = timedelta(seconds=15)
LIMIT = 0.05


class Counted:
    """A stable revision's rounds, one interval apart."""

    def __init__(self) -> None:
        self.now = EPOCH
        self.sources: dict[str, Answered] = {"a/1": Answered()}
        self.watch: RuntimeWatch | None = None
        self.look(0, 0)

    def look(self, requests: int, failed: int, ready: int = 2, source: str = "a/1") -> RuntimeWatch:
        known = self.sources.get(source, Answered())
        self.sources[source] = Answered(known.requests + requests, known.failed + failed)
        self.now += INTERVAL
        seen = Look(V1, dict(self.sources), ready, self.now)
        self.watch = fold(self.watch, seen, limit=LIMIT, interval=INTERVAL)
        return self.watch


def test_fault_is_raised_by_enough_bad_looks_and_not_by_one_less() -> None:
    counted = Counted()
    raised = [counted.look(100, 10).failing for _ in range(ENOUGH)]
    assert raised == [False] * (ENOUGH - 1) + [True]


def test_fault_goes_only_when_enough_looks_are_clearly_better() -> None:
    counted = Counted()
    for _ in range(ENOUGH):
        counted.look(100, 10)
    assert all(counted.look(100, 4).failing for _ in range(LOOKS)), "4 % is no clear recovery"
    gone = [counted.look(100, 1).failing for _ in range(ENOUGH)]
    assert gone == [True] * (ENOUGH - 1) + [False]


def test_pods_are_down_when_none_served_in_enough_looks() -> None:
    counted = Counted()
    looks = [counted.look(0, 0, ready=0).down for _ in range(ENOUGH)]
    assert looks == [False] * (ENOUGH - 1) + [True]
    assert counted.watch is not None
    assert counted.watch.is_faulty
    assert not counted.watch.failing, "without requests nothing failed"


def test_few_requests_are_looked_at_together() -> None:
    counted = Counted()
    each = LEAST_REQUESTS // 4
    looks = [counted.look(each, 1) for _ in range(4 * ENOUGH)]
    assert [watch.failing for watch in looks].index(True) == 4 * ENOUGH - 1
    assert len(looks[-1].shares) == ENOUGH


def test_looks_that_come_early_count_once() -> None:
    counted = Counted()
    for _ in range(ENOUGH - 1):
        counted.look(100, 10)
    early = Look(V1, {"a/1": Answered(10_000, 9_000)}, 2, counted.now + INTERVAL / 2)
    assert fold(counted.watch, early, limit=LIMIT, interval=INTERVAL) == counted.watch


def test_pod_that_starts_again_is_another_source() -> None:
    counted = Counted()
    counted.look(1000, 0)
    del counted.sources["a/1"]
    watch = counted.look(100, 10, source="a/2")
    assert watch.shares[-1] == 0.1


def test_counts_that_fall_are_left_out() -> None:
    counted = Counted()
    watch = counted.look(1000, 10)
    fallen = Look(V1, {"a/1": Answered(500, 400)}, 2, counted.now + INTERVAL)
    after = fold(watch, fallen, limit=LIMIT, interval=INTERVAL)
    assert after.shares == watch.shares


def test_another_revision_is_watched_from_nothing() -> None:
    counted = Counted()
    for _ in range(ENOUGH):
        counted.look(100, 10)
    other = Look(Revision("ba9876543210"), {"b/1": Answered(9, 9)}, 2, counted.now + INTERVAL)
    after = fold(counted.watch, other, limit=LIMIT, interval=INTERVAL)
    assert after == replace(after, shares=(), gone=(), failing=False, down=False)


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1), st.integers(0, 3)), max_size=60))
def test_what_is_kept_is_bounded_and_faults_need_bad_looks(
    rounds: list[tuple[int, float, int]],
) -> None:
    counted = Counted()
    before = False
    for requests, share, ready in rounds:
        watch = counted.look(requests, int(requests * share), ready)
        assert max(len(watch.shares), len(watch.gone)) <= LOOKS
        if watch.failing and not before:
            assert sum(share > LIMIT for share in watch.shares) >= ENOUGH
        if before and not watch.failing:
            assert sum(share < LIMIT - BETTER for share in watch.shares) >= ENOUGH
        before = watch.failing


def test_level_at_its_limit_flips_seldom() -> None:
    """20 days of one-minute looks at 200 requests, with the true share on the limit."""
    random = np.random.default_rng(7)
    failures: NDArray[np.int64] = random.binomial(200, LIMIT, size=(20, 1440))
    above = failures > 200 * LIMIT
    single = int((above[:, 1:] != above[:, :-1]).sum()) / 20
    flips = 0
    for day in failures:
        counted = Counted()
        states = [counted.look(200, int(failed)).failing for failed in day]
        flips += sum(a is not b for a, b in pairwise(states))
    assert single > 500, "single looks would flip all day"
    assert flips / 20 <= 4, "m of n with a margin does not"
