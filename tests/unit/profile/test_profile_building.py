import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mooring_profile import (
    FeatureKind,
    ProfileInvalid,
    ReferenceProfile,
    Signal,
    SketchRecorder,
    build_profile,
)
from mooring_profile.edges import equal_mass_edges

NUMERIC, CATEGORICAL = FeatureKind.NUMERIC, FeatureKind.CATEGORICAL
Array = np.ndarray[Any, Any]


def profile_of(rows: int = 400, blocks: Array | None = None) -> ReferenceProfile:
    rng = np.random.default_rng(0)
    delay = rng.normal(size=rows)
    delay[:5] = np.nan
    return build_profile(
        {"delay": delay, "carrier": rng.choice(["UA", "AA"], rows), "extra": np.zeros(rows)},
        {"carrier": CATEGORICAL, "delay": NUMERIC},
        score=rng.random(rows),
        blocks=blocks,
    )


def one_numeric(values: Array, blocks: Array | None = None, **options: Any) -> Any:
    table = {"x": values}
    return build_profile(table, {"x": NUMERIC}, score=None, blocks=blocks, **options).features[0]


def one_categorical(values: Array, blocks: Array | None = None) -> Any:
    table = {"x": values}
    return build_profile(table, {"x": CATEGORICAL}, score=None, blocks=blocks).features[0]


def band(feature: Any, signal: Signal) -> Any:
    return next(item for item in feature.quality if item.signal is signal)


def test_profile_survives_json_exactly() -> None:
    profile = profile_of(blocks=np.arange(400) // 40)
    assert ReferenceProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_profile_is_the_same_when_built_twice() -> None:
    assert json.dumps(profile_of().to_json()) == json.dumps(profile_of().to_json())


def test_profile_lists_features_in_the_order_of_kinds_and_leaves_others_out() -> None:
    profile = profile_of()
    assert [feature.name for feature in profile.streams] == ["carrier", "delay", "@score"]
    assert profile.rows == 400
    assert profile.score is not None
    assert profile.score.bin_count == 64


def test_bins_hold_equal_mass_when_values_are_continuous() -> None:
    values = np.random.default_rng(1).normal(size=30_000)
    counts = one_numeric(values).counts
    assert counts.bins.size == 30
    assert counts.bins.min() >= 999
    assert counts.bins.max() <= 1001
    # The oracle: numpy's quantiles, up to one neighbouring value.
    edges = equal_mass_edges(values, 30)
    np.testing.assert_allclose(edges[1:-1], np.quantile(values, np.arange(1, 30) / 30), atol=2e-3)


def test_atom_gets_its_own_bin_when_it_holds_more_than_two_percent() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([np.zeros(100), rng.random(900) + 0.5])
    feature = one_numeric(rng.permutation(values))
    assert feature.counts.bins[0] == 100
    assert feature.edges[0] == 0.0
    assert 0 < feature.edges[1] < 1e-30


def test_each_value_is_a_bin_when_a_feature_has_few_values() -> None:
    feature = one_numeric(np.repeat([1, 2, 4], [500, 300, 200]))
    assert feature.counts.bins.tolist() == [500, 300, 200]
    assert feature.edges[:3] == (1.0, 2.0, 4.0)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.integers(1, 200),
        elements=st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.0, -0.0]),
    ),
    st.integers(1, 40),
)
def test_edges_ascend_and_hold_every_value_for_any_table(values: Array, bins: int) -> None:
    edges = np.array(equal_mass_edges(values, bins))
    assert (np.diff(edges) > 0).all()
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    single = single[np.isfinite(single)]
    if single.size:
        assert edges[0] <= single.min()
        assert edges[-1] > single.max() or edges[-1] == np.finfo(np.float32).max


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(width=64, allow_nan=True)))
def test_profile_is_built_and_read_back_for_any_numbers(values: Array) -> None:
    profile = build_profile({"x": values}, {"x": NUMERIC}, score=values, blocks=None)
    assert ReferenceProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile
    assert profile.features[0].counts.rows == values.size


def test_feature_without_any_value_has_no_bins_and_watches_for_values() -> None:
    feature = one_numeric(np.full(100, np.nan))
    assert feature.edges == ()
    assert feature.mean is None
    assert feature.counts.missing == 100
    assert band(feature, Signal.MISSING).share == 1.0
    recorder = SketchRecorder(ReferenceProfile((feature,), None, 100))
    recorder.record({"x": np.array([1.0, -np.inf, np.nan])}, None)
    counts = recorder.snapshot().counts["x"]
    assert (counts.above, counts.invalid, counts.missing) == (1, 1, 1)


def test_categories_beyond_62_share_a_bin() -> None:
    values = np.repeat([f"c{i:03d}" for i in range(100)], np.arange(200, 100, -1))
    feature = one_categorical(values)
    assert len(feature.categories) == 62
    assert feature.categories[0] == "c000"
    assert feature.counts.bins[-1] == sum(range(101, 139))
    assert len(feature.other_categories) == 38


def test_unseen_share_is_that_of_singletons_when_no_time_is_known() -> None:
    values = np.array(["a"] * 96 + ["b", "c", "d", "e"])
    assert band(one_categorical(values), Signal.UNSEEN).share == pytest.approx(0.04)


def test_novelty_is_measured_between_blocks_when_time_is_known() -> None:
    # Each block has its own category and its own range.
    blocks = np.repeat(np.arange(10), 100)
    categories = np.where(np.arange(1000) % 2 == 0, "all", np.char.mod("b%d", blocks))
    assert band(one_categorical(categories, blocks), Signal.UNSEEN).share == pytest.approx(0.5)
    values = blocks + np.linspace(0, 0.5, 1000) % 1
    novel = band(one_numeric(values, blocks), Signal.OUT_OF_RANGE)
    assert novel.share == pytest.approx(0.2)
    assert novel.tolerance > 0.5  # a first or last block lies outside altogether


def test_tolerance_is_the_reference_error_when_rows_are_few() -> None:
    rng = np.random.default_rng(3)
    assert one_numeric(rng.random(1000)).tolerance == pytest.approx(
        np.sqrt(np.log(200) / 2000), rel=1e-12
    )
    assert one_numeric(rng.random(20_000)).tolerance == 0.02
    assert one_numeric(rng.random(20_000), tolerance_floor=0.05).tolerance == 0.05


def test_design_effect_is_one_when_rows_are_independent() -> None:
    rng = np.random.default_rng(4)
    effects = [
        one_numeric(rng.normal(size=10_000), np.arange(10_000) // 500).design_effect
        for _ in range(20)
    ]
    assert sorted(effects)[17] == 1.0
    assert max(effects) < 1.3


def test_design_effect_is_about_five_when_each_value_comes_five_times() -> None:
    rng = np.random.default_rng(5)
    effects = [
        one_numeric(np.repeat(rng.normal(size=4_000), 5), np.arange(20_000) // 500).design_effect
        for _ in range(10)
    ]
    assert 4.7 < np.mean(effects) < 6
    assert min(effects) > 4.3


def test_tolerance_covers_the_season_when_blocks_differ() -> None:
    rng = np.random.default_rng(6)
    block = np.arange(60_000) // 1000
    shift = 0.5 * np.sin(2 * np.pi * block / 7)
    feature = one_numeric(rng.normal(size=60_000) + shift, block)
    # A shift by half a standard deviation moves the distribution function by up to 0.19.
    assert 0.15 < feature.tolerance < 0.24
    assert feature.design_effect < 1.2


def test_design_effect_covers_the_daily_cycle_when_blocks_are_days() -> None:
    hour = np.arange(48_000) % 2400 // 100
    feature = one_numeric(hour.astype(np.float64), np.arange(48_000) // 2400)
    assert feature.design_effect > 100
    assert feature.tolerance < 0.3


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {}, "no column for"),
        ({"x": np.zeros(0)}, {}, "no rows"),
        ({"x": np.zeros(3)}, {"score": np.zeros(2)}, "differ in rows"),
        ({"x": np.zeros(3)}, {"blocks": np.zeros(3)}, "number the blocks"),
        ({"x": np.zeros(3)}, {"tolerance_floor": 2.0}, "tolerance_floor is 2"),
    ],
)
def test_table_is_refused_when_it_cannot_be_profiled(
    columns: dict[str, Array], options: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {"score": None, "blocks": None, **options}
    with pytest.raises(ProfileInvalid, match=message):
        build_profile(columns, {"x": NUMERIC}, **arguments)


def test_table_is_refused_when_a_feature_takes_the_name_of_the_score() -> None:
    with pytest.raises(ProfileInvalid, match="rename the column"):
        build_profile({"@score": np.zeros(1)}, {"@score": NUMERIC}, score=None, blocks=None)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("formatVersion",), 2, "package the model again"),
        (("features",), {}, r"profile\.features is \{\}; it must be a list"),
        (("rows",), -1, r"profile\.rows is -1"),
        (("score", "kind"), "text", r"profile\.score\.kind is 'text'"),
        (("features", 0, "categories"), [1], r"features\[0\]\.categories is 1"),
        (("features", 0, "categories"), ["AA", "AA"], "listed twice"),
        (("features", 1, "edges"), [1.0, 1.0], "not strictly ascending"),
        (("features", 1, "edges"), [1.0, "a"], r"features\[1\]\.edges is 'a'"),
        (("features", 1, "edges"), [1.0, 2.0], "build the profile again"),
        (("features", 1, "tolerance"), 2.0, "tolerance 2.0"),
        (("features", 1, "tolerance"), float("nan"), "finite number"),
        (("features", 1, "tolerance"), True, "finite number"),
        (("features", 1, "designEffect"), 0.5, "design effect 0.5"),
        (("features", 1, "name"), "carrier", "listed twice"),
        (("features", 1, "name"), 7, r"name is 7"),
        (("features", 1, "quality", 0, "signal"), "Distribution", "data-quality signal"),
        (("features", 1, "quality", 0, "signal"), "Odd", "one of"),
        (("score", "name"), "score", "not '@score'"),
    ],
)
def test_profile_is_refused_with_the_field_named_when_malformed(
    path: tuple[str | int, ...], value: object, message: str
) -> None:
    document: Any = json.loads(json.dumps(profile_of().to_json()))
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ProfileInvalid, match=message):
        ReferenceProfile.from_json(document)


def test_profile_is_refused_when_a_feature_is_changed_out_of_shape() -> None:
    with pytest.raises(ProfileInvalid, match="bins are counted"):
        replace(profile_of().features[0], categories=("UA",))


def test_integer_categories_are_profiled_by_their_digits() -> None:
    feature = one_categorical(np.array([3, 3, 3, 7, 7, 12]))
    assert feature.categories == ("3", "7", "12")
    assert feature.counts.bins.tolist() == [3, 2, 1, 0]


def test_dispersion_is_none_when_blocks_are_too_small_or_values_absent() -> None:
    rng = np.random.default_rng(7)
    scattered = one_numeric(rng.random(2000), np.arange(2000) // 10)
    assert scattered.design_effect == 1.0
    assert scattered.tolerance == pytest.approx(np.sqrt(np.log(200) / 4000))
    empty = one_numeric(np.full(2000, np.nan), np.arange(2000) // 200)
    assert empty.design_effect == 1.0
    few_blocks = one_numeric(np.arange(4000.0), np.arange(4000) // 1000)
    assert few_blocks.tolerance < 0.4
    assert few_blocks.design_effect > 10
