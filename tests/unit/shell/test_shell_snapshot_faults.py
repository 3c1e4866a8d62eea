"""Counts of many pods under faults: what is judged depends on the rows alone.

The same rows are counted by one pod that is always heard, and by up to 50 that answer several
times, in any order and twice, restart, leave, or stay silent for a while.
"""

import json
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mooring_operator.api.deployment import Monitoring
from mooring_operator.core.decision import Route, RouteRole
from mooring_operator.core.observation import PhaseCounts
from mooring_operator.ids import Revision
from mooring_operator.reconcile.cohort_sums import CohortKey
from mooring_operator.reconcile.drift_watch import Watcher, watch_settings
from mooring_operator.reconcile.snapshots import CohortCounts, parse_snapshot
from mooring_operator.reconcile.sync_state import DeploymentState, ReadyPod, Told
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import FeatureKind, FeatureProfile, ReferenceProfile
from tests.unit.shell.manual_clock import START

REVISION = Revision("1" * 12)
PHASE = "222222222222.1/0"
COHORT = f"{REVISION}/3600"
TOLD = Told(Route(RouteRole.STABLE), START, 0.0)
WINDOW = timedelta(minutes=5)
CELLS = 4
Rows = NDArray[np.int64]


def profile() -> dict[str, object]:
    feature = FeatureProfile(
        name="x",
        kind=FeatureKind.NUMERIC,
        counts=FeatureCounts(np.array([5000] * CELLS)),
        tolerance=0.02,
        design_effect=1.0,
        quality=(),
        edges=(0.0, 1.0, 2.0, 3.0, 4.0),
    )
    return ReferenceProfile(features=(feature,), score=None, rows=20_000).to_json()


PROFILE = profile()
MONITORING = Monitoring.model_validate({"window": "5m", "drift": {"tolerance": 0.02}})


@dataclass
class Pods:
    """Pods that count, and an operator that hears them."""

    rng: np.random.Generator
    state: DeploymentState = field(default_factory=DeploymentState)
    watcher: Watcher = field(default_factory=Watcher)
    counted: dict[str, Rows] = field(default_factory=dict[str, Rows])
    boots: dict[str, int] = field(default_factory=dict[str, int])
    made: int = 0

    def __post_init__(self) -> None:
        assert self.watcher.needs_profile(watch_settings(REVISION, MONITORING))
        self.watcher.begin(PROFILE, START)

    def add(self, count: int) -> None:
        for _ in range(count):
            self.made += 1
            self.boot(f"pod-{self.made}")
        self.see()

    def boot(self, uid: str) -> None:
        self.boots[uid] = self.boots.get(uid, 0) + 1
        self.counted[uid] = np.zeros(CELLS, dtype=np.int64)

    def see(self) -> None:
        ready = [ReadyPod(uid, "10.0.0.1", REVISION) for uid in self.counted]
        self.state.keep(ready, set(self.counted), 0.0)

    def remove(self, uid: str) -> None:
        del self.counted[uid]
        self.see()

    def answer(self, uid: str, rows: Rows) -> None:
        """One sync: the pod has counted these rows since its boot."""
        total = int(rows.sum())
        losses = {"n": total, "lossSum": 0.5 * total, "lossSquaredSum": 0.25 * total}
        arm = {"requests": total, "rows": total, "errors": int(rows[0]), "answers": rows.tolist()}
        document = {
            "podUid": uid,
            "bootNonce": f"boot-{self.boots[uid]}",
            "revision": REVISION,
            "requests": total,
            "rows": total,
            "sketchedRows": total,
            "counts": {"x": {"bins": rows.tolist(), **dict.fromkeys(NAMED, 0)}},
            "answerEdges": [1.0, 2.0, 3.0],
            "phases": {PHASE: {"candidate": arm}} if total else {},
            "cohortSeconds": 3600,
            "cohorts": {COHORT: {"rows": total, **losses}} if total else {},
        }
        snapshot = parse_snapshot(json.loads(json.dumps(document)), uid)
        self.state.answered(uid, TOLD, snapshot)

    def count(self, rows: Rows, *, silent: frozenset[str] = frozenset()) -> None:
        """Spreads rows over the pods; all but the silent ones say so, in any order, and again."""
        names = sorted(self.counted)
        shares = self.rng.dirichlet(np.ones(len(names)))
        parts: list[Rows] = list(np.array([self.rng.multinomial(int(n), shares) for n in rows]).T)
        sayings: list[tuple[str, Rows]] = []
        for uid, part in zip(names, parts, strict=True):
            early: Rows = self.rng.binomial(part, 0.5)
            if uid not in silent:
                sayings += [(uid, self.counted[uid] + early)] * int(self.rng.integers(0, 3))
            self.counted[uid] = self.counted[uid] + part
        for at in self.rng.permutation(len(sayings)):
            uid, rows_said = sayings[int(at)]
            self.answer(uid, rows_said)
        for at in self.rng.permutation(len(names)):
            uid = names[int(at)]
            for _ in range(0 if uid in silent else int(self.rng.integers(1, 3))):
                self.answer(uid, self.counted[uid])

    def judge(self) -> None:
        ends = self.watcher.window_ends
        assert ends is not None
        heard, self.state.lost = [*self.state.snapshots(), *self.state.lost.values()], {}
        assert self.watcher.fold(heard, ends)

    def told(self) -> tuple[str, str, dict[str, PhaseCounts], dict[CohortKey, CohortCounts]]:
        """Everything that decisions rest on, the detector's state in bytes."""
        watch = self.watcher.watch
        assert watch is not None
        return (
            json.dumps(watch.state.to_json()),
            watch.status.model_dump_json(),
            dict(self.state.gone.plus(self.state.snapshots()).phases),
            dict(self.state.labelled().cohorts),
        )


NAMED = ("missing", "unseen", "below", "above", "invalid")
WORLD = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 5, 50]), st.integers(1, 4))


def worlds(seed: int, windows: int) -> list[Rows]:
    rng = np.random.default_rng(seed)
    return [
        rng.multinomial(rng.integers(200, 2000), rng.dirichlet([9, 9, 9, 9]))
        for _ in range(windows)
    ]


@settings(max_examples=40, deadline=None)
@given(WORLD)
def test_verdicts_are_identical_in_bytes_for_any_number_of_pods_that_restart_and_leave(
    world: tuple[int, int, int],
) -> None:
    seed, replicas, windows = world
    rng = np.random.default_rng(seed)
    one, many = Pods(rng), Pods(rng)
    one.add(1)
    many.add(replicas)
    for rows in worlds(seed, windows):
        one.count(rows)
        first: Rows = rng.binomial(rows, 0.5)
        many.count(first)
        for uid in sorted(many.counted):
            fate = int(rng.integers(0, 4))
            if fate == 0:
                many.boot(uid)
            elif fate == 1:
                many.remove(uid)
                many.add(1)
        many.count(rows - first)
        one.judge()
        many.judge()
        assert many.told() == one.told()


@settings(max_examples=40, deadline=None)
@given(WORLD)
def test_silent_pods_count_once_when_they_are_heard_again(world: tuple[int, int, int]) -> None:
    seed, replicas, windows = world
    rng = np.random.default_rng(seed)
    one, many = Pods(rng), Pods(rng)
    one.add(1)
    many.add(replicas)
    for rows in worlds(seed, windows):
        one.count(rows)
        silent = frozenset(uid for uid in many.counted if rng.random() < 0.4)
        many.count(rows, silent=silent)
        one.judge()
        many.judge()
    for uid in many.counted:
        many.answer(uid, many.counted[uid])
    many.judge()
    assert one.watcher.watch is not None
    assert many.watcher.watch is not None
    assert many.watcher.watch.rows == one.watcher.watch.rows
    assert many.told()[2:] == one.told()[2:]
