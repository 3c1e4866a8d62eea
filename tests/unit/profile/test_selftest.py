import json
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile import (
    DriftDetector,
    FeatureKind,
    ReferenceProfile,
    Signal,
    build_profile,
    selftest,
    tally,
)
from mooring_profile.arming import SelfTest
from mooring_profile.blocks import TimeBlocks
from mooring_profile.build import ProfilePlan
from mooring_profile.coding import code_column
from mooring_profile.dispersion import INDEPENDENT, Dispersion, measure_dispersion
from mooring_profile.evidence import Teller
from mooring_profile.novelty import Appearances, Extremes
from mooring_profile.selftest import binomial_tail
from mooring_profile.shapes import CategoricalShape, NumericShape
from mooring_profile.tally import CategoricalCounter, NumericCounter

Columns = dict[str, npt.NDArray[Any]]
DAYS, ROWS = 40, 500
DAY = np.repeat(np.arange(DAYS), ROWS)
HOUR = np.tile(np.arange(ROWS) * 24 / ROWS, DAYS)


def profile_of(columns: Columns, **plan: Any) -> ReferenceProfile:
    kinds = {
        name: FeatureKind.NUMERIC if column.dtype.kind == "f" else FeatureKind.CATEGORICAL
        for name, column in columns.items()
    }
    wanted = ProfilePlan(self_test=True, **plan)
    return build_profile(columns, kinds, score=None, blocks=DAY, plan=wanted)


def replayed(columns: Columns, **plan: Any) -> SelfTest:
    found = profile_of(columns, **plan).self_test
    assert found is not None
    return found


def independent(generator: np.random.Generator) -> Columns:
    size = DAY.size
    return {
        "normal": generator.normal(size=size),
        "lognormal": generator.lognormal(size=size),
        "gaps": np.where(generator.random(size) < 0.3, np.nan, generator.random(size)),
        "zipf": np.array([f"v{value}" for value in generator.zipf(1.5, size) % 100], dtype=object),
    }


def clustered(generator: np.random.Generator) -> Columns:
    return {name: np.repeat(column[::5], 5) for name, column in independent(generator).items()}


def daily(generator: np.random.Generator) -> Columns:
    cycle = np.sin(2 * np.pi * HOUR / 24)
    week = np.sin(2 * np.pi * DAY / 7)
    return {
        "hour": generator.normal(size=DAY.size) + cycle,
        "week": generator.normal(size=DAY.size) + 0.5 * week,
    }


@pytest.mark.parametrize("world", [independent, clustered, daily])
def test_alarms_of_the_replay_stay_within_the_announced_rate_when_nothing_changes(
    world: Any,
) -> None:
    runs = 6
    windows = alarms = refused = 0
    for seed in range(runs):
        found = replayed(world(np.random.default_rng(seed)))
        windows += found.windows
        alarms += found.alarms
        refused += len(found.refused)
    # Announced: one alarm a run, at most. The limit is exceeded with probability 1e-3.
    assert windows == runs * DAYS * 8
    assert binomial_tail(windows, runs / windows, alarms) > 1e-3
    assert refused == 0


def test_stream_is_refused_and_named_when_a_day_is_like_no_other() -> None:
    columns = independent(np.random.default_rng(1))
    columns["normal"] = np.where(DAY == 33, columns["normal"] + 2, columns["normal"])
    profile = profile_of(columns)
    found = profile.self_test
    assert found is not None
    (refused,) = found.refused
    assert (refused.stream, refused.signal) == ("normal", Signal.DISTRIBUTION)
    assert refused.alarms >= 3
    assert f"alarmed in {refused.alarms} of 320 windows" in (refused.reason or "")
    assert found.alarms == 0
    watched = DriftDetector(profile, false_alarm_windows=1000).streams
    assert ("normal", Signal.DISTRIBUTION) not in watched
    assert ("normal", Signal.MISSING) in watched
    assert ReferenceProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_stream_of_a_segment_is_refused_alone_when_only_the_segment_differs() -> None:
    generator = np.random.default_rng(2)
    columns = {
        "country": np.array(["FR", "UK"] * (DAY.size // 2), dtype=object),
        "age": generator.normal(size=DAY.size),
    }
    columns["age"] += 3.0 * ((columns["country"] == "FR") & (DAY == 12))
    found = replayed(columns, segments=("country",))
    assert "country=FR/age" in {item.stream for item in found.refused}
    assert {item.stream for item in found.refused} <= {"country=FR/age", "age"}


def test_values_beyond_the_others_are_judged_as_such_when_a_day_has_its_own_range() -> None:
    columns = independent(np.random.default_rng(3))
    columns["gaps"] = np.where(DAY == 20, columns["gaps"] + 1.0, columns["gaps"])
    refused = {(item.stream, item.signal) for item in replayed(columns).refused}
    assert ("gaps", Signal.OUT_OF_RANGE) in refused


def test_no_self_test_is_made_and_that_is_told_when_blocks_are_few() -> None:
    profile = build_profile(
        {"x": np.arange(400.0)},
        {"x": FeatureKind.NUMERIC},
        score=None,
        blocks=np.arange(400) // 100,
        plan=ProfilePlan(self_test=True),
    )
    assert profile.self_test is None
    assert profile.notes == ("No self-test: fewer than 5 blocks of time",)


@settings(deadline=None)
@given(st.integers(1, 60), st.fractions(min_value="1/500", max_value="9/10"), st.integers(0, 60))
def test_binomial_tail_is_the_exact_sum(trials: int, share: Fraction, hits: int) -> None:
    hits = min(hits, trials)
    terms = [
        math.comb(trials, count) * share**count * (1 - share) ** (trials - count)
        for count in range(hits, trials + 1)
    ]
    assert binomial_tail(trials, float(share), hits) == pytest.approx(float(sum(terms)), rel=1e-9)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_table_as_seen_by_others_moves_novel_rows_and_loses_none(seed: int) -> None:
    generator = np.random.default_rng(seed)
    day = np.sort(generator.integers(0, 6, 200))
    ids, sizes = np.unique(day, return_counts=True)
    blocks = TimeBlocks.of(ids, sizes)
    run = blocks.block_of(day)  # one run a block, where blocks are this small
    first = np.cumsum(blocks.per_block) - blocks.per_block
    runs = np.append(first, blocks.runs)[run]
    values = np.round(generator.normal(size=200) + day, 1).astype(np.float32)
    extremes = Extremes()
    extremes.add(values, ids, np.searchsorted(ids, day))
    edges = (float(values.min()), 2.0, 3.5, float(np.nextafter(values.max(), np.float32(99))))
    counter = NumericCounter(
        NumericShape(tuple(sorted(set(edges))), extremes.inner(blocks)), blocks
    )
    counter.add(values, runs)
    tally = counter.tally()
    seen = tally.as_seen_by_others()
    assert (seen >= 0).all()
    assert seen.sum(axis=1).tolist() == tally.table.sum(axis=1).tolist()
    if blocks.enough:
        for block in range(blocks.blocks):
            own, others = values[run == block], values[(run != block) & (run < blocks.blocks)]
            assert seen[first[block], -3] == int((own < others.min()).sum())
            assert seen[first[block], -2] == int((own > others.max()).sum())


def test_categories_of_one_block_are_unseen_by_the_others() -> None:
    day = np.repeat(np.arange(6), 30)
    texts = np.array(["all", "both"] * 90, dtype=object)
    texts[day == 2] = ["own"] * 10 + ["all"] * 20
    coded = code_column(texts)
    ids = np.arange(6)
    appearances = Appearances()
    appearances.add(coded.codes - 2, coded.texts, day)
    blocks = TimeBlocks.of(ids, np.full(6, 30))
    for top in (("all", "both", "own"), ("all", "both")):
        shape = CategoricalShape(top, tuple({"own"} - set(top)), appearances.novel(blocks), 0.0)
        counter = CategoricalCounter(shape, blocks)
        counter.add(coded, day)
        seen = counter.tally().as_seen_by_others()
        assert seen[2].tolist() == [20, 0] + [0] * (len(top) - 1) + [0, 10, 0, 0, 0]


# --- mutants: the self-test disarms what a broken detector would let alarm --------------------


def test_self_test_disarms_when_the_design_effect_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = clustered(np.random.default_rng(4))
    assert replayed(columns).refused == ()

    def independent_rows(*_: Any, **__: Any) -> Dispersion:
        return INDEPENDENT

    monkeypatch.setattr(tally, "measure_dispersion", independent_rows)
    assert replayed(columns).refused


def test_self_test_disarms_when_seasons_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = daily(np.random.default_rng(4))
    assert replayed(columns).refused == ()

    def without_seasons(*arguments: Any, **named: Any) -> Dispersion:
        return replace(measure_dispersion(*arguments, **named), seasonal=0.0)

    monkeypatch.setattr(tally, "measure_dispersion", without_seasons)
    assert "week" in {item.stream for item in replayed(columns).refused}


class Hasty(DriftDetector):
    """Alarms at a four-hundredth of the evidence that what it announces would need."""

    def __init__(self, profile: ReferenceProfile, *, false_alarm_windows: float) -> None:
        super().__init__(profile, false_alarm_windows=false_alarm_windows)
        self._thresholds = self._thresholds - 6.0
        self._tellers = [
            Teller(stream, threshold)
            for stream, threshold in zip(self._streams, self._thresholds.tolist(), strict=True)
        ]


def test_self_test_disarms_when_the_threshold_is_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = independent(np.random.default_rng(4))
    assert replayed(columns).refused == ()
    monkeypatch.setattr(selftest, "DriftDetector", Hasty)
    assert replayed(columns).refused
