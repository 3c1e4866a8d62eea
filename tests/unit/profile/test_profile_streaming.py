import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile import FeatureKind, ProfileInvalid, SketchRecorder, build_profile
from mooring_profile.build import ProfilePlan
from mooring_profile.plan import Batch
from mooring_profile.reconstruction import Components
from mooring_profile.streaming import build_profile_of_batches

Array = npt.NDArray[Any]
KINDS = {
    "x": FeatureKind.NUMERIC,
    "y": FeatureKind.NUMERIC,
    "group": FeatureKind.NUMERIC,
    "place": FeatureKind.CATEGORICAL,
}
PLAN = ProfilePlan(
    segments=("place", "group"), least_segment_rows=40, threshold=0.5, multivariate=True
)


def table_of(seed: int, rows: int) -> Batch:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=rows)
    x[generator.random(rows) < 0.1] = np.nan
    y = np.where(generator.random(rows) < 0.2, 0.0, 2 * np.nan_to_num(x) + generator.random(rows))
    places = np.array([f"p{value}" for value in generator.zipf(1.6, rows) % 90], dtype=object)
    places[generator.random(rows) < 0.05] = None
    columns: dict[str, Array] = {
        "x": x,
        "y": y.astype(np.float32),
        "group": generator.integers(0, 3, rows),
        "place": places,
    }
    return Batch(columns, generator.random(rows), generator.integers(0, 12, rows))


def cut(table: Batch, places: list[int]) -> Callable[[], Iterator[Batch]]:
    ends = sorted({0, table.rows, *(place % (table.rows + 1) for place in places)})

    def read() -> Iterator[Batch]:
        for start, stop in pairwise(ends):
            yield Batch(
                {name: column[start:stop] for name, column in table.columns.items()},
                None if table.score is None else table.score[start:stop],
                None if table.blocks is None else table.blocks[start:stop],
            )

    return read


def moments_apart(document: Any) -> tuple[Any, list[float]]:
    """The profile without means and deviations, and those: they are sums of floats."""
    found: list[float] = []
    for item in [*document["features"], document["score"], document["multivariate"]["error"]] + [
        stream for segment in document["segments"] for stream in segment["streams"]
    ]:
        found += [item.pop(name) or 0.0 for name in ("mean", "sd")]
    return document, found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(150, 700), st.lists(st.integers(0, 700), max_size=9))
def test_profile_is_that_of_the_whole_table_however_it_is_cut(
    seed: int, rows: int, places: list[int]
) -> None:
    table = table_of(seed, rows)
    whole = build_profile(table.columns, KINDS, score=table.score, blocks=table.blocks, plan=PLAN)
    parts = build_profile_of_batches(cut(table, places), KINDS, plan=PLAN)
    exact, moments = moments_apart(whole.to_json())
    exact_parts, moments_parts = moments_apart(parts.to_json())
    assert json.dumps(exact) == json.dumps(exact_parts)
    np.testing.assert_allclose(moments, moments_parts, rtol=1e-9, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 400), max_size=6), st.booleans())
def test_recorded_reference_counts_as_in_the_profile_in_every_stream(
    seed: int,
    places: list[int],
    bounded: bool,
) -> None:
    table = table_of(seed, 400)
    capacity = 120 if bounded else 100_000
    profile = build_profile_of_batches(cut(table, []), KINDS, plan=PLAN, capacity=capacity)
    recorder = SketchRecorder(profile)
    for batch in cut(table, places)():
        recorder.record(batch.columns, batch.score)
    counts = recorder.snapshot().counts
    assert len(profile.segments) >= 3
    assert len(counts) == len(profile.streams)
    for stream in profile.streams:
        assert counts[stream.name] == stream.counts, stream.name


def test_segment_counts_are_those_of_its_rows_alone() -> None:
    table = table_of(3, 600)
    profile = build_profile(table.columns, KINDS, score=table.score, blocks=table.blocks, plan=PLAN)
    for segment in profile.segments:
        column = table.columns[segment.segment.column]
        own = np.array([str(value) == segment.segment.value for value in column.tolist()])
        assert segment.rows == int(own.sum()) >= 40
        names = [stream.feature for stream in segment.streams]
        assert segment.segment.column not in names
        assert names[-1] == "@score"
        score = segment.streams[-1]
        assert profile.score is not None
        assert score.edges == profile.score.edges
        assert table.score is not None
        expected = np.histogram(
            table.score[own].astype(np.float32), np.array(score.edges, dtype=np.float32)
        )[0]
        assert score.counts.bins.tolist() == expected.tolist()


def test_share_of_selected_rows_is_a_sum_of_bins_when_the_threshold_is_an_edge() -> None:
    table = table_of(4, 500)
    assert table.score is not None
    for threshold in (0.5, 0.1, 1.5):
        profile = build_profile(
            table.columns,
            KINDS,
            score=table.score,
            blocks=None,
            plan=ProfilePlan(threshold=threshold),
        )
        assert profile.score is not None
        at = profile.score.edges.index(float(np.float32(threshold)))
        selected = int(profile.score.counts.bins[at:].sum())
        assert selected == int((np.float32(table.score) >= np.float32(threshold)).sum())


def test_segments_are_left_out_with_the_reason_when_rows_are_few_or_values_many() -> None:
    rows = 3000
    columns = {"c": np.arange(rows) % 30, "d": np.array(["a", "b"] * (rows // 2 - 1) + ["z"] * 2)}
    kinds = {"c": FeatureKind.CATEGORICAL, "d": FeatureKind.CATEGORICAL}
    plan = ProfilePlan(segments=("c", "d"), least_segment_rows=100)
    profile = build_profile(columns, kinds, score=None, blocks=None, plan=plan)
    assert len(profile.segments) == 20
    assert [str(item.segment) for item in profile.segments[:4]] == ["c=0", "d=a", "c=1", "d=b"]
    few, many = profile.notes
    assert few == "d = z is not counted apart: fewer than 100 rows of the reference each"
    assert "and 7 more values are not counted apart: at most 20 segments are" in many


def test_segment_by_what_is_no_feature_is_refused() -> None:
    with pytest.raises(ProfileInvalid, match="a pod sees features only"):
        build_profile(
            {"x": np.zeros(9)},
            {"x": FeatureKind.NUMERIC},
            score=None,
            blocks=None,
            plan=ProfilePlan(segments=("country",)),
        )


def test_table_is_refused_when_its_second_reading_differs() -> None:
    readings = iter([table_of(1, 200), table_of(1, 199)])
    with pytest.raises(ProfileInvalid, match="200 rows when it was read first and 199"):
        build_profile_of_batches(lambda: (next(readings),), KINDS)


def test_table_is_refused_when_only_some_batches_have_a_score() -> None:
    table = table_of(1, 100)
    with pytest.raises(ProfileInvalid, match="give all or none"):
        build_profile_of_batches(lambda: (table, Batch(table.columns)), KINDS)


def test_bins_hold_about_equal_mass_when_the_sample_is_a_part_of_the_rows() -> None:
    values = np.random.default_rng(5).lognormal(size=50_000)
    profile = build_profile_of_batches(
        lambda: (Batch({"x": values[start : start + 777]}) for start in range(0, 50_000, 777)),
        {"x": FeatureKind.NUMERIC},
        capacity=5_000,
    )
    counts = profile.features[0].counts
    assert counts.below == counts.above == 0
    assert counts.present == 50_000
    # A bin of 5,000 / 30 sampled rows is right to 7.6 % (one standard error); 30 bins, 4.5 of them.
    assert np.abs(counts.bins / (50_000 / 30) - 1).max() < 0.35


def test_categories_are_the_most_frequent_ones_when_too_many_to_count_at_once() -> None:
    generator = np.random.default_rng(6)
    frequent = np.array([f"often{value}" for value in generator.integers(0, 50, 40_000)])
    rare = np.array([f"once{value}" for value in range(40_000)])
    values = np.where(generator.random(40_000) < 0.5, frequent, rare).astype(object)
    profile = build_profile_of_batches(
        lambda: (Batch({"c": values[start : start + 1000]}) for start in range(0, 40_000, 1000)),
        {"c": FeatureKind.CATEGORICAL},
    )
    feature = profile.features[0]
    assert sorted(feature.categories[:50]) == sorted({f"often{value}" for value in range(50)})
    exact = {text: int((values == text).sum()) for text in feature.categories[:50]}
    assert feature.counts.bins[:50].tolist() == [exact[text] for text in feature.categories[:50]]
    assert feature.counts.rows == 40_000


def test_reconstruction_error_is_that_of_numpy_and_rises_when_features_part() -> None:
    generator = np.random.default_rng(7)
    common = generator.normal(size=5000)
    columns = {f"f{at}": common + 0.1 * generator.normal(size=5000) for at in range(4)}
    kinds = dict.fromkeys(columns, FeatureKind.NUMERIC)
    profile = build_profile(
        columns, kinds, score=None, blocks=None, plan=ProfilePlan(multivariate=True)
    )
    found = profile.multivariate
    assert found is not None
    assert len(found.components) == 1
    assert found.explained > 0.98
    table = np.stack([column.astype(np.float32) for column in columns.values()]).astype(np.float64)
    standard = (table - table.mean(axis=1, keepdims=True)) / table.std(axis=1, keepdims=True)
    left, _, _ = np.linalg.svd(standard, full_matrices=False)
    rest = standard - np.outer(left[:, 0], left[:, 0] @ standard)
    errors = Components.of(found).errors(columns, 5000)
    np.testing.assert_allclose(errors, np.linalg.norm(rest, axis=0), rtol=0, atol=1e-6)
    # Each feature keeps its distribution; only their order is lost.
    parted = {name: generator.permutation(column) for name, column in columns.items()}
    assert np.median(Components.of(found).errors(parted, 5000)) > 5 * np.median(errors)


def test_reconstruction_error_is_left_out_with_the_reason_when_nothing_varies() -> None:
    columns = {"x": np.arange(50.0), "c": np.ones(50)}
    profile = build_profile(
        columns,
        dict.fromkeys(columns, FeatureKind.NUMERIC),
        score=None,
        blocks=None,
        plan=ProfilePlan(multivariate=True),
    )
    assert profile.multivariate is None
    assert profile.notes == (
        "The reconstruction error is not watched: fewer than two numeric features vary",
    )
