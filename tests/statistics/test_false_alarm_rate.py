"""The announced interval between false alarms is kept, for the family, by traffic of many kinds.

A run announces A = 20 windows between false alarms; after an alarm the detector begins again. If
the mean run length is at least A, the number of alarms in N windows is at most about
Poisson(N / A); each test allows the 99.9 % point of that law, 35 alarms in 400 windows. This is the
bounded sample: `make bench-false-alarms` makes 200 runs of each stream.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mooring_profile import (
    DriftDetector,
    FeatureCounts,
    FeatureKind,
    FeatureProfile,
    ReferenceProfile,
    Sketch,
    SketchRecorder,
    build_profile,
)
from mooring_profile.alternatives import SCALES, SHAPES, SHIFTS, shape_scores
from mooring_profile.document import Segment
from mooring_profile.rarity import RARE_FACTOR
from mooring_profile.streams import flat_cells
from tests.bench.drift_simulation import cell_shares, known_profile
from tests.bench.drift_streams import StreamName

stats: Any = scipy_stats  # scipy has no annotations

ANNOUNCED = 20
WINDOW = 200
Draw = Callable[[np.random.Generator, int], Any]
CATEGORIES = np.array([f"c{i}" for i in range(100)], dtype=object)
ZIPF = 1 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum()


@dataclass(frozen=True)
class World:
    """Stationary traffic and the reference that is taken from it."""

    draw: Draw
    kind: FeatureKind = FeatureKind.NUMERIC
    features: int = 20
    reference: int = 10_000
    block: int | None = 200
    floor: float = 0.02


def with_missing(rng: np.random.Generator, n: int) -> Any:
    values = rng.normal(size=n)
    values[rng.random(n) < 0.3] = np.nan
    return values


def in_clusters(rng: np.random.Generator, n: int) -> Any:
    return np.repeat(rng.normal(size=n // 5), 5)


def count_alarms(world: World, *, windows: int, seed: int) -> int:
    rng = np.random.default_rng(seed)

    def table(rows: int) -> dict[str, Any]:
        return {f"f{i}": world.draw(rng, rows) for i in range(world.features)}

    columns = table(world.reference)
    profile = build_profile(
        columns,
        dict.fromkeys(columns, world.kind),
        score=None,
        blocks=None if world.block is None else np.arange(world.reference) // world.block,
        tolerance_floor=world.floor,
    )
    detector = DriftDetector(profile, false_alarm_windows=ANNOUNCED)
    state, alarms = detector.initial(), 0
    for _ in range(windows):
        recorder = SketchRecorder(profile)
        recorder.record(table(WINDOW), None)
        state, evidence = detector.step(state, recorder.snapshot())
        if any(item.alarm for item in evidence):
            alarms += 1
            state = detector.initial()
    return alarms


def limit(windows: int) -> float:
    return float(stats.poisson.ppf(0.999, windows / ANNOUNCED))


@pytest.mark.parametrize(
    "world",
    [
        World(lambda rng, n: rng.normal(size=n)),
        World(lambda rng, n: rng.lognormal(size=n)),
        World(lambda rng, n: rng.standard_t(3, size=n)),
        World(lambda rng, n: CATEGORIES[rng.choice(100, n, p=ZIPF)], FeatureKind.CATEGORICAL),
        World(with_missing),
    ],
    ids=["normal", "lognormal", "heavy tails", "100 categories", "30 % missing"],
)
def test_family_keeps_the_announced_interval_when_rows_are_independent(world: World) -> None:
    alarms = sum(count_alarms(world, windows=200, seed=seed) for seed in range(2))
    assert alarms <= limit(400)


def count_simulated(profile: ReferenceProfile, shares: dict[str, Any], *, windows: int) -> int:
    """Alarms when counts are drawn from true cell shares, in the order of `FeatureCounts.cells`."""
    rng = np.random.default_rng(windows)
    detector = DriftDetector(profile, false_alarm_windows=ANNOUNCED)
    state, alarms = detector.initial(), 0
    drawn = {name: rng.multinomial(WINDOW, share, size=windows) for name, share in shares.items()}
    for index in range(windows):
        counts = {name: FeatureCounts.from_cells(item[index]) for name, item in drawn.items()}
        state, alarm = detector.advance(state, Sketch(counts))
        if alarm:
            alarms += 1
            state = detector.initial()
    return alarms


def test_family_keeps_the_announced_interval_when_nothing_is_tolerated() -> None:
    # The hardest case for the weights: no tolerance hides a family that shares them wrongly.
    profile = known_profile()
    shares = {item.name: cell_shares(StreamName.NORMAL, item) for item in profile.features}
    alarms = count_simulated(profile, shares, windows=3000)
    assert alarms <= limit(3000)
    assert alarms > 0


@pytest.mark.parametrize("shape", range(SHAPES))
def test_one_feature_keeps_the_announced_interval_at_the_edge_of_the_tolerance(shape: int) -> None:
    # The normal distribution that looks most like each alternative: its e-value expects exactly 1.
    whole = known_profile(tolerance=0.02)
    feature = whole.features[0]
    profile = ReferenceProfile((feature,), None, whole.rows)
    cells = flat_cells(feature.kind, feature.counts)[:-2]
    scores = shape_scores(cells, feature.tolerance)
    assert scores is not None
    # Scores are ln(q / p), so that tilting back from the alternative gives the nearest p.
    normal = np.array(feature_shares(shape, cells)) / np.exp(scores[:, shape])
    assert normal.sum() == pytest.approx(1, abs=1e-3)
    normal /= normal.sum()
    shares = {feature.name: [*normal[1:-1], 0.0, 0.0, normal[0], normal[-1], 0.0]}
    assert count_simulated(profile, shares, windows=600) <= limit(600)


def feature_shares(shape: int, cells: Any) -> Any:
    """The alternative itself, computed anew with scipy."""
    moves = [sign * shift for shift in SHIFTS for sign in (1, -1)]
    factors = [factor for scale in SCALES for factor in (scale, 1 / scale)]
    normal_scores = stats.norm.ppf((np.cumsum(cells)[:-1] + 0.5) / (cells.sum() + 1))
    if shape < len(moves):
        below = stats.norm.cdf(normal_scores - moves[shape])
    else:
        below = stats.norm.cdf(normal_scores / factors[shape - len(moves)])
    q = np.maximum(np.diff(below, prepend=0.0, append=1.0), 1e-7)
    return q / q.sum()


def test_rare_bins_and_segments_keep_the_announced_interval_at_their_limits() -> None:
    share = 0.001
    rows = np.array([10**9 - 2 * 10**6, 2 * 10**6, 0])
    rare = FeatureProfile(
        "label",
        FeatureKind.CATEGORICAL,
        FeatureCounts(rows),
        0.02,
        1.0,
        (),
        categories=("fine", "fraud"),
    )
    segments = [Segment("region", str(index)) for index in range(5)]
    features = (
        rare,
        *(replace(rare, name=f"{item}/label", segment=item) for item in segments),
    )
    profile = ReferenceProfile(features, None, int(rows.sum()))
    most = 2 * share * RARE_FACTOR
    shares = {item.name: [1 - most, most, 0, 0, 0, 0, 0, 0] for item in features}
    alarms = count_simulated(profile, shares, windows=3000)
    assert 0 < alarms <= limit(3000)
    for item in shares.values():
        item[:2] = [1 - 2 * most, 2 * most]
    assert count_simulated(profile, shares, windows=3000) > limit(3000)


def test_family_keeps_the_announced_interval_when_rows_come_in_clusters_of_five() -> None:
    world = World(in_clusters, reference=20_000, block=500)
    alarms = sum(count_alarms(world, windows=200, seed=seed) for seed in range(2))
    assert alarms <= limit(400)


def test_this_calibration_would_show_it_when_clusters_were_ignored() -> None:
    world = World(in_clusters, reference=20_000, block=None)
    assert count_alarms(world, windows=60, seed=0) > 5 * limit(60)


def season(start: int, rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """A daily cycle and a weekly one; a day has 2,400 rows."""
    row = np.arange(start, start + rows)
    hour = row % 2400 / 2400
    return {
        "daily": rng.normal(size=rows) + 0.5 * np.sin(2 * np.pi * hour),
        "hour": np.floor(hour * 24),
        "weekly": rng.normal(size=rows) + 0.6 * np.sin(2 * np.pi * (row // 2400) / 7),
        "plain": rng.normal(size=rows),
    }


@pytest.mark.parametrize("block", [2400, 200], ids=["blocks of a day", "blocks of a window"])
def test_family_keeps_the_announced_interval_when_the_world_has_days_and_weeks(block: int) -> None:
    rng = np.random.default_rng(block)
    rows = 2400 * 42
    columns = season(0, rows, rng)
    profile = build_profile(
        columns,
        dict.fromkeys(columns, FeatureKind.NUMERIC),
        score=None,
        blocks=np.arange(rows) // block,
    )
    detector = DriftDetector(profile, false_alarm_windows=ANNOUNCED)
    state, alarms = detector.initial(), 0
    for number in range(12 * 7 * 7):
        recorder = SketchRecorder(profile)
        recorder.record(season(rows + WINDOW * number, WINDOW, rng), None)
        state, evidence = detector.step(state, recorder.snapshot())
        if any(item.alarm for item in evidence):
            alarms += 1
            state = detector.initial()
    assert alarms <= limit(12 * 7 * 7)
