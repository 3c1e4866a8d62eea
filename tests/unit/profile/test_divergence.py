from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.spatial import distance as scipy_distance

from mooring_profile import (
    FeatureKind,
    FeatureProfile,
    ReferenceProfile,
    SketchRecorder,
    build_profile,
)
from mooring_profile.counts import FeatureCounts
from mooring_profile.divergence import DivergenceReader, Divergences
from mooring_profile.nulls import CHI_SQUARED_95, bridge_quantiles
from mooring_profile.streams import flat_cells

stats: Any = scipy_stats  # scipy has no annotations
distance: Any = scipy_distance


def categorical(counts: Any, design_effect: float = 1.0) -> FeatureProfile:
    return FeatureProfile(
        name="c",
        kind=FeatureKind.CATEGORICAL,
        counts=FeatureCounts(np.array([*counts, 0])),
        tolerance=0.02,
        design_effect=design_effect,
        quality=(),
        categories=tuple(f"v{index}" for index in range(len(counts))),
    )


def numeric(values: Any) -> FeatureProfile:
    profile = build_profile({"x": values}, {"x": FeatureKind.NUMERIC}, score=None, blocks=None)
    return profile.features[0]


def read(feature: FeatureProfile, counts: FeatureCounts) -> Divergences:
    return DivergenceReader((feature,)).of(flat_cells(feature.kind, counts))[0]


def of_categories(reference: Any, window: Any, design_effect: float = 1.0) -> Divergences:
    return read(categorical(reference, design_effect), FeatureCounts(np.array([*window, 0])))


def of_values(feature: FeatureProfile, values: Any) -> Divergences:
    recorder = SketchRecorder(ReferenceProfile((feature,), None, feature.counts.rows))
    recorder.record({"x": values}, None)
    return read(feature, recorder.snapshot().counts["x"])


def test_divergences_of_categories_are_those_of_scipy() -> None:
    # The cell of categories without a bin of their own is empty on both sides.
    found = of_categories([400, 300, 200, 100], [100, 150, 150, 100])
    p = (np.array([400, 300, 200, 100, 0, 0]) + 0.5) / 1003
    q = (np.array([100, 150, 150, 100, 0, 0]) + 0.5) / 503
    noise = 1 / 1000 + 1 / 500
    assert found.psi == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p) - 5 * noise)
    assert found.js == pytest.approx(distance.jensenshannon(p, q), rel=1e-12)
    assert found.js_null95 == pytest.approx(np.sqrt(stats.chi2.ppf(0.95, 5) * noise / 8), rel=1e-3)
    assert (found.ks, found.wasserstein) == (None, None)


def test_kolmogorov_smirnov_is_that_of_scipy_when_values_are_the_bins() -> None:
    rng = np.random.default_rng(1)
    reference, window = rng.normal(size=5000), rng.normal(0.3, 1.4, size=700)
    feature = numeric(reference)
    edges = np.array(feature.edges)
    binned = [
        np.searchsorted(edges, np.float32(values), side="right") for values in (reference, window)
    ]
    found = of_values(feature, window)
    assert found.ks == pytest.approx(stats.ks_2samp(*binned).statistic, rel=1e-9)
    # Between edges it may miss a little of the largest difference, and never adds to it.
    whole = float(stats.ks_2samp(reference, window).statistic)
    assert found.ks is not None
    assert whole - 1 / 30 <= found.ks <= whole + 1e-9


@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
def test_wasserstein_is_that_of_scipy_when_values_lie_evenly_within_bins(shift: float) -> None:
    rng = np.random.default_rng(2)
    reference = rng.random(20_000)
    feature = numeric(reference)
    edges = np.array(feature.edges)
    window = np.clip(rng.random(900) * (1 - shift / 3) + shift / 5, edges[0], edges[-1] - 1e-6)
    counts = np.histogram(np.float32(window), edges)[0]
    expected = np.histogram(np.float32(reference), edges)[0]
    fine = np.concatenate(
        [
            low + (high - low) * (np.arange(200) + 0.5) / 200
            for low, high in pairwise(edges.tolist())
        ]
    )
    wanted = stats.wasserstein_distance(
        fine, fine, np.repeat(expected, 200), np.repeat(counts, 200)
    )
    found = of_values(feature, window)
    assert feature.sd is not None
    assert found.wasserstein == pytest.approx(wanted / feature.sd, rel=2e-3)
    raw = stats.wasserstein_distance(reference, window) / feature.sd
    assert found.wasserstein == pytest.approx(raw, abs=0.02)


def test_quantiles_of_the_chi_squared_law_are_those_of_scipy() -> None:
    wanted = [stats.chi2.ppf(0.95, freedom) for freedom in range(1, 10)]
    assert pytest.approx(wanted, rel=2e-4) == list(CHI_SQUARED_95)


def test_quantiles_of_the_bridge_are_those_of_kolmogorov_and_shepp() -> None:
    # On a fine grid: Kolmogorov's 1.358, and 0.5821 for the area under |bridge| (Shepp 1982).
    largest, area = bridge_quantiles(np.linspace(0, 1, 513), np.full(512, 1 / 512))
    assert largest == pytest.approx(float(stats.kstwobign.ppf(0.95)), abs=0.05)
    assert area == pytest.approx(0.58, abs=0.03)


RUNS = 1500


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "skewed with an atom", "clusters"])
def test_five_in_a_hundred_windows_without_drift_exceed_the_null_quantiles(kind: str) -> None:
    rng = np.random.default_rng(3)

    def draw(rows: int) -> Any:
        if kind == "heavy tails":
            return rng.standard_t(3, size=rows)
        if kind == "skewed with an atom":
            return np.maximum(rng.lognormal(size=rows) - 0.7, 0)
        if kind == "clusters":
            return np.repeat(rng.normal(size=rows // 5), 5)
        return rng.normal(size=rows)

    rows, size = 10_000, 1000 if kind == "clusters" else 400
    exceeded, counted = np.zeros(3), 0
    for _ in range(15):
        feature = numeric(draw(rows))
        if kind == "clusters":
            feature = replace(feature, design_effect=5.0)
        reader = DivergenceReader((feature,))
        for _ in range(RUNS // 15):
            recorder = SketchRecorder(ReferenceProfile((feature,), None, rows))
            recorder.record({"x": draw(size)}, None)
            found = reader.of(flat_cells(feature.kind, recorder.snapshot().counts["x"]))[0]
            assert found.js is not None
            assert found.ks is not None
            assert found.wasserstein is not None
            exceeded += [
                found.js > (found.js_null95 or 0),
                found.ks > (found.ks_null95 or 0),
                found.wasserstein > (found.wasserstein_null95 or 0),
            ]
            counted += 1
    # 100 windows share a reference each, so the counts spread about twice as much as a binomial.
    low, high = stats.binom.ppf([0.0001, 0.9999], counted // 2, 0.05) * 2
    assert (exceeded >= low).all(), exceeded
    assert (exceeded <= high).all(), exceeded


def test_index_is_zero_on_average_without_drift() -> None:
    rng = np.random.default_rng(0)
    shares = np.full(30, 1 / 30)
    feature = categorical(rng.multinomial(1_000_000, shares))
    reader = DivergenceReader((feature,))
    found = [
        reader.of(
            flat_cells(feature.kind, FeatureCounts(np.append(rng.multinomial(400, shares), 0)))
        )[0].psi
        for _ in range(300)
    ]
    values = np.array(found, dtype=np.float64)
    # chi-squared theory (Yurdakul 2018): sd of (1/n + 1/m) chi2(9).
    assert abs(values.mean()) < 3 * (1 / 400) * np.sqrt(18) / np.sqrt(300)


def test_divergences_are_absent_when_rows_are_few_or_cells_one() -> None:
    full = np.full(10, 100)
    assert of_categories(full, np.full(10, 19)).psi is None
    assert of_categories(full, np.full(10, 30), design_effect=2.0).js is None
    feature = numeric(np.random.default_rng(4).normal(size=2000))
    assert of_values(feature, np.zeros(49)).ks is None
    assert of_values(feature, np.zeros(50)).ks == pytest.approx(0.5, abs=0.05)
    constant = numeric(np.full(2000, 3.0))
    told = of_values(constant, np.full(500, 3.0))
    assert (told.wasserstein, told.wasserstein_null95) == (None, None)


def test_feature_without_values_has_no_divergence() -> None:
    nothing = numeric(np.full(100, np.nan))
    assert of_values(nothing, np.full(100, np.nan)) == Divergences()
    assert DivergenceReader((nothing, numeric(np.arange(100.0)))).of(
        np.zeros(
            4 + flat_cells(FeatureKind.NUMERIC, numeric(np.arange(100.0)).counts).size, np.int64
        )
    ) == [Divergences(), Divergences()]


def test_rarest_categories_share_a_cell() -> None:
    found = of_categories([1] * 5 + [100] * 9, [0] * 5 + [50] * 9)
    assert found.psi is not None
    assert abs(found.psi) < 0.05
