"""Run lengths of our detector on the streams of `drift_streams`, many windows a second.

Counts of independent rows are multinomial with the stream's true cell shares; to draw those is
exact and hundreds of times cheaper than drawing rows. Streams whose rows are not independent and
alike are drawn row by row and counted by the recorder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
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
from tests.bench.drift_streams import (
    CATEGORIES,
    CLUSTER,
    FEATURES,
    MISSING_SHARE,
    WINDOW_ROWS,
    ZIPF,
    StreamName,
    reference_of,
    windows_of,
)

stats: Any = scipy_stats  # scipy has no annotations

_CHUNK = 50
_LAWS: dict[StreamName, Any] = {
    StreamName.NORMAL: stats.norm(),
    StreamName.LOGNORMAL: stats.lognorm(1.0),
    StreamName.HEAVY_TAILS: stats.t(3),
    StreamName.MISSING: stats.norm(),
    StreamName.CLUSTERS: stats.norm(),
}


@dataclass(frozen=True)
class RunLength:
    """A run until its first alarm, or until it was cut off.

    Attributes:
        windows: windows judged.
        alarm: whether the last of them alarmed.
    """

    windows: int
    alarm: bool


def learned_profile(name: StreamName, seed: int) -> ReferenceProfile:
    """Returns the profile of a stream's reference table."""
    reference = reference_of(name, seed)
    kind = FeatureKind.CATEGORICAL if reference.categorical else FeatureKind.NUMERIC
    return build_profile(
        reference.columns, dict.fromkeys(FEATURES, kind), score=None, blocks=reference.blocks
    )


def known_profile(tolerance: float = 1e-6) -> ReferenceProfile:
    """Returns a profile of normal features that is known exactly and tolerates next to nothing.

    The hardest case for a guarantee: no slack hides a broken one.
    """
    edges = np.float32(stats.norm.ppf(np.arange(1, 30) / 30)).astype(np.float64)
    edges = np.concatenate([[-10.0], edges, [10.0]])
    rows = np.rint(np.diff(stats.norm.cdf(edges)) * 1e12).astype(np.int64)
    features = tuple(
        FeatureProfile(
            name=name,
            kind=FeatureKind.NUMERIC,
            counts=FeatureCounts(rows),
            tolerance=tolerance,
            design_effect=1.0,
            quality=(),
            edges=tuple(edges.tolist()),
        )
        for name in FEATURES
    )
    return ReferenceProfile(features, None, int(rows.sum()))


def cell_shares(name: StreamName, feature: FeatureProfile, *, shift: float = 0.0) -> Any:
    """Returns the true share of each of a feature's cells, in the order of `FeatureCounts.cells`.

    Args:
        name: the stream.
        feature: whose cells.
        shift: what is added to each value of a numeric feature.
    """
    if feature.kind is FeatureKind.CATEGORICAL:
        share = dict(zip(CATEGORIES.tolist(), ZIPF.tolist(), strict=True))
        bins = [share[category] for category in feature.categories]
        other = sum(share[category] for category in feature.other_categories)
        return np.array([*bins, other, 0.0, max(0.0, 1 - sum(bins) - other), 0.0, 0.0, 0.0])
    below = _LAWS[name].cdf(np.array(feature.edges) - shift)
    missing = MISSING_SHARE if name is StreamName.MISSING else 0.0
    present = np.array([*np.diff(below), 0.0, 0.0, below[0], 1 - below[-1], 0.0])
    shares = present * (1 - missing)
    shares[-5] = missing
    return shares


def simulated_windows(
    name: StreamName,
    profile: ReferenceProfile,
    seed: int,
    *,
    rows: int = WINDOW_ROWS,
    shifted: tuple[str, float] | None = None,
) -> Iterator[Sketch]:
    """Draws endless windows of counts.

    Args:
        name: the stream.
        profile: what is counted against.
        seed: which run.
        rows: rows of a window.
        shifted: a feature and what is added to its values; None for stationary traffic.
    """
    if name is StreamName.DAILY:
        for columns in windows_of(name, seed, rows=rows):
            recorder = SketchRecorder(profile)
            recorder.record(columns, None)
            yield recorder.snapshot()
    rng = np.random.default_rng((seed, 2))
    weight = CLUSTER if name is StreamName.CLUSTERS else 1
    moved = {} if shifted is None else {shifted[0]: shifted[1]}
    shares = {
        feature.name: cell_shares(name, feature, shift=moved.get(feature.name, 0.0))
        for feature in profile.features
    }
    while True:
        drawn = {
            feature: rng.multinomial(rows // weight, share, size=_CHUNK) * weight
            for feature, share in shares.items()
        }
        for index in range(_CHUNK):
            yield Sketch(
                {feature: FeatureCounts.from_cells(item[index]) for feature, item in drawn.items()}
            )


def run_length(detector: DriftDetector, windows: Iterator[Sketch], limit: int) -> RunLength:
    """Judges windows until the first alarm, at most `limit` of them."""
    state = detector.initial()
    for number in range(1, limit + 1):
        state, alarm = detector.advance(state, next(windows))
        if alarm:
            return RunLength(number, alarm=True)
    return RunLength(limit, alarm=False)


def least_run_length(lengths: list[RunLength]) -> float:
    """Returns the lower 95 % limit of the mean run length: Poisson, alarms in all windows.

    Garwood 1936: with k alarms at most chi-squared(0.95; 2k + 2) / 2 were to be expected.
    """
    alarms = sum(item.alarm for item in lengths)
    windows = sum(item.windows for item in lengths)
    return float(windows / (stats.chi2.ppf(0.95, 2 * alarms + 2) / 2))
