"""The theorem behind the guarantee, by enumeration: after t windows evidence expects at most t.

No sampling error hides a mistake here: every outcome of a window of 50 rows is judged and weighed
with its probability.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mooring_profile import (
    DriftDetector,
    FeatureCounts,
    FeatureKind,
    FeatureProfile,
    QualityBand,
    ReferenceProfile,
    Signal,
    Sketch,
)
from mooring_profile.rarity import RARE_FACTOR

stats: Any = scipy_stats  # scipy has no annotations

ROWS = 50


def feature(**changes: Any) -> FeatureProfile:
    fields: dict[str, Any] = {
        "name": "x",
        "kind": FeatureKind.CATEGORICAL,
        "counts": FeatureCounts(np.array([10**9, 0])),
        "tolerance": 0.02,
        "design_effect": 1.0,
        "quality": (),
        "categories": ("a",),
    }
    return FeatureProfile(**(fields | changes))


def detector_of(item: FeatureProfile) -> DriftDetector:
    return DriftDetector(ReferenceProfile((item,), None, item.counts.rows), false_alarm_windows=10)


def evidence_after(detector: DriftDetector, cells: list[list[int]]) -> dict[Signal, float]:
    state, evidence = detector.initial(), ()
    for item in cells:
        counts = FeatureCounts.from_cells(np.array(item))
        state, evidence = detector.step(state, Sketch({"x": counts}))
    return {item.signal: math.exp(item.log_evidence or 0.0) for item in evidence}


def test_evidence_of_an_event_at_its_limit_expects_exactly_the_number_of_windows() -> None:
    band = QualityBand(Signal.MISSING, 0.02, 0.02, 1.0)
    detector = detector_of(feature(quality=(band,)))
    chance = stats.binom.pmf(np.arange(ROWS + 1), ROWS, 0.04)

    def cells(missing: int) -> list[int]:
        return [ROWS - missing, 0, missing, 0, 0, 0, 0]

    one = sum(
        chance[first] * evidence_after(detector, [cells(first)])[Signal.MISSING]
        for first in range(ROWS + 1)
    )
    assert one == pytest.approx(1, rel=1e-9)
    two = sum(
        chance[first]
        * chance[second]
        * evidence_after(detector, [cells(first), cells(second)])[Signal.MISSING]
        for first in range(ROWS + 1)
        for second in range(ROWS + 1)
    )
    assert two == pytest.approx(2, rel=1e-9)


@pytest.mark.parametrize("upward", [True, False], ids=["more", "less"])
def test_evidence_of_a_rare_bin_at_its_limit_expects_at_most_one(upward: bool) -> None:
    rows = FeatureCounts(np.array([99 * 10**7, 10**7, 0]))
    detector = detector_of(feature(counts=rows, categories=("a", "b")))
    limit = 0.01 * RARE_FACTOR if upward else 0.01 / RARE_FACTOR
    chance = stats.binom.pmf(np.arange(ROWS + 1), ROWS, limit)
    found = sum(
        chance[hits]
        * evidence_after(detector, [[ROWS - hits, hits, 0, 0, 0, 0, 0, 0]])[Signal.RARE]
        for hits in range(ROWS + 1)
    )
    # Half of the events look the other way, where this share is well within the normal.
    assert 0.5 < found <= 1 + 1e-9


OUTCOMES = [
    (below, inside, ROWS - below - inside)
    for below in range(ROWS + 1)
    for inside in range(ROWS + 1 - below)
]
ORDERED = feature(
    kind=FeatureKind.NUMERIC,
    counts=FeatureCounts(np.array([4 * 10**8]), below=25 * 10**7, above=35 * 10**7),
    categories=(),
    edges=(0.0, 1.0),
    tolerance=0.05,
)


@lru_cache(maxsize=1)
def evidence_of_outcomes() -> Any:
    detector = detector_of(ORDERED)
    return np.array(
        [
            evidence_after(detector, [[inside, 0, 0, below, above, 0]])[Signal.DISTRIBUTION]
            for below, inside, above in OUTCOMES
        ]
    )


def expected(shares: list[float]) -> float:
    chance = stats.multinomial.pmf(np.array(OUTCOMES), ROWS, shares)
    return float((chance * evidence_of_outcomes()).sum())


@settings(max_examples=60, deadline=None)
@given(st.floats(0.2, 0.3), st.floats(0.6, 0.7))
def test_evidence_expects_at_most_one_under_every_normal_distribution(
    first: float, second: float
) -> None:
    assert expected([first, second - first, 1 - second]) <= 1 + 1e-9


def test_evidence_expects_more_than_one_just_beyond_the_tolerance() -> None:
    # The weighted mean is at its largest where the band ends, and goes on rising beyond it.
    corner = max(
        expected([first, second - first, 1 - second])
        for first in (0.2, 0.3)
        for second in (0.6, 0.7)
    )
    assert 0.3 < corner <= 1
    assert expected([0.4, 0.38, 0.22]) > 3
