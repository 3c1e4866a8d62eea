from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_profile import FeatureKind, FeatureProfile, ProfileInvalid, Signal
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import Segment
from mooring_profile.weights import (
    FEATURE_PART,
    IMPORTANCE_FLOOR,
    QUALITY_PART,
    SEGMENT_PART,
    family_weights,
)

ABROAD = Segment("region", "abroad")
QUALITY = (Signal.MISSING, Signal.INVALID, Signal.OUT_OF_RANGE)


def feature(name: str, segment: Segment | None = None) -> FeatureProfile:
    plain = FeatureProfile(
        name=name,
        kind=FeatureKind.CATEGORICAL,
        counts=FeatureCounts(np.array([5, 0])),
        tolerance=0.02,
        design_effect=1.0,
        quality=(),
        categories=("a",),
    )
    return plain if segment is None else replace(plain, name=f"{segment}/{name}", segment=segment)


Family = list[tuple[FeatureProfile, Signal]]


def family(names: list[str], segment: Segment | None, signals: tuple[Signal, ...]) -> Family:
    return [(feature(name, segment), signal) for name in names for signal in signals]


def weight_of(streams: Family, weights: list[float], name: str) -> float:
    return sum(w for (item, _), w in zip(streams, weights, strict=True) if item.name == name)


def test_features_segments_and_quality_share_the_false_alarms_as_announced() -> None:
    streams = [
        *family(["a", "b"], None, (Signal.DISTRIBUTION, Signal.RARE)),
        *family(["a", "b"], None, QUALITY),
        *family(["a", "b"], ABROAD, (Signal.DISTRIBUTION, *QUALITY)),
    ]
    weights = family_weights(streams, None)
    assert sum(weights[:4]) == pytest.approx(FEATURE_PART)
    assert sum(weights[4:10]) == pytest.approx(QUALITY_PART)
    assert sum(weights[10:]) == pytest.approx(SEGMENT_PART)
    assert weights[0] == pytest.approx(4 * weights[1])


@pytest.mark.parametrize(
    ("streams", "first"),
    [
        (family(["a"], None, (Signal.DISTRIBUTION, Signal.MISSING)), 0.9),
        (family(["a"], None, (Signal.DISTRIBUTION,)), 1.0),
        (family(["a"], None, (Signal.MISSING, Signal.INVALID)), 0.5),
        (family(["a"], ABROAD, (Signal.MISSING,)), 1.0),
    ],
    ids=["no segments", "only distributions", "only quality", "one stream of a segment"],
)
def test_parts_that_nobody_claims_go_to_the_others(streams: Family, first: float) -> None:
    weights = family_weights(streams, None)
    assert sum(weights) == pytest.approx(1)
    assert weights[0] == pytest.approx(first)


def test_importance_moves_weight_and_leaves_a_floor() -> None:
    streams = family(["a", "b", "@score"], None, (Signal.DISTRIBUTION,))
    weights = family_weights(streams, {"a": 9.0, "b": 0.0})
    floor = IMPORTANCE_FLOOR / 3
    assert weights[1] == pytest.approx(floor)
    # The score is not listed, so it matters like the mean, 4.5.
    assert weights[0] == pytest.approx(floor + 0.75 * 9 / 13.5)
    assert weights[2] == pytest.approx(floor + 0.75 * 4.5 / 13.5)


def test_importance_holds_in_segments_by_the_features_own_name() -> None:
    streams = family(["a", "b"], ABROAD, (Signal.DISTRIBUTION,))
    first, second = family_weights(streams, {"a": 3.0, "b": 1.0})
    assert first > 2 * second


@pytest.mark.parametrize("importance", [{"a": -1.0}, {"a": float("inf")}, {"a": 0.0}, {}])
def test_importance_is_refused_when_it_says_nothing(importance: dict[str, float]) -> None:
    with pytest.raises(ProfileInvalid, match="importance"):
        family_weights(family(["a"], None, (Signal.DISTRIBUTION,)), importance)


SIGNALS = [Signal.DISTRIBUTION, Signal.RARE, *QUALITY]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"), st.sampled_from([None, ABROAD]), st.sampled_from(SIGNALS)
        ),
        min_size=1,
        max_size=30,
        unique=True,
    ),
    st.one_of(
        st.none(), st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 100), min_size=1)
    ),
)
def test_weights_are_positive_and_sum_to_one(
    members: list[tuple[str, Segment | None, Signal]], importance: dict[str, float] | None
) -> None:
    streams = [(feature(name, segment), signal) for name, segment, signal in members]
    weights = family_weights(streams, importance)
    assert min(weights) > 0
    assert sum(weights) == pytest.approx(1)
    if importance is not None and all(segment is None for _, segment, _ in members):
        names = {name for name, _, signal in members if signal in SIGNALS[:2]}
        for name in names:
            assert weight_of(streams, weights, name) >= 0.9 / (4 * len(names)) - 1e-12
