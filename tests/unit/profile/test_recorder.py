from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile import CountsInvalid, FeatureKind, Sketch, SketchRecorder, build_profile
from mooring_profile.binning import binner_of

KINDS = {"x": FeatureKind.NUMERIC, "c": FeatureKind.CATEGORICAL}
REFERENCE = {
    "x": np.concatenate([np.zeros(40), np.linspace(-3, 3, 160)]),
    "c": np.array(["a", "b", "12", "True"] * 50, dtype=object),
}
PROFILE = build_profile(REFERENCE, KINDS, score=np.linspace(0, 1, 200), blocks=None)


def recorded(columns: dict[str, Any], score: Any = None) -> Sketch:
    recorder = SketchRecorder(PROFILE)
    recorder.record(columns, score)
    return recorder.snapshot()


numbers = st.lists(
    st.one_of(
        st.floats(width=64),
        st.none(),
        st.sampled_from([0.0, 3.0, -3.0, 1e39, "1.5", "text", 10**400, True, 7]),
    ),
    max_size=30,
)
words = st.one_of(
    st.none(),
    st.sampled_from(["a", "b", "12", b"a", b"\xff", 12, 12.0, 1.5, True, float("nan"), [], ()]),
    st.floats(),
    st.text(max_size=3),
)


@settings(deadline=None, max_examples=40)
@given(numbers, st.data())
def test_batches_add_up_to_the_same_counts_however_they_are_split(
    values: list[object], data: st.DataObject
) -> None:
    size = len(values)
    labels = data.draw(st.lists(words, min_size=size, max_size=size))
    columns = {
        "x": np.array([*values, None], dtype=object)[:-1],
        "c": np.array([*labels, None], dtype=object)[:-1],
    }
    cut = data.draw(st.integers(0, size))
    split = SketchRecorder(PROFILE)
    split.record({name: column[:cut] for name, column in columns.items()}, None)
    split.record({name: column[cut:] for name, column in columns.items()}, None)
    whole = recorded(columns)
    assert split.snapshot() == whole
    assert all(whole.counts[name].rows == size for name in KINDS)


@settings(deadline=None)
@given(numbers)
def test_adding_a_batch_agrees_with_the_cell_of_each_row(values: list[object]) -> None:
    column = np.array([*values, None], dtype=object)[:-1]
    binner = binner_of(PROFILE.features[0])
    totals = np.zeros(binner.cell_count, dtype=np.int64)
    binner.add(column, totals)
    assert (
        totals.tolist() == np.bincount(binner.cells(column), minlength=binner.cell_count).tolist()
    )


def test_reference_rows_count_as_in_the_profile() -> None:
    counts = recorded(REFERENCE, np.linspace(0, 1, 200)).counts
    for feature in PROFILE.streams:
        assert counts[feature.name] == feature.counts


def test_values_fall_into_the_named_cells() -> None:
    x = recorded({"x": np.array([np.nan, np.inf, -np.inf, -4.0, 4.0, 3.0, -3.0, 1e39])}).counts["x"]
    assert (x.missing, x.invalid, x.below, x.above) == (1, 2, 1, 2)
    assert int(x.bins.sum()) == 2
    c = recorded({"c": np.array([None, "zz", "a", np.inf, b"\xff", [1]], dtype=object)}).counts["c"]
    assert (c.missing, c.unseen, c.invalid) == (1, 1, 3)
    assert int(c.bins.sum()) == 1


@pytest.mark.parametrize(
    "column",
    [
        np.array(["a", "12", "True"]),
        np.array([b"a", b"12", b"True"]),
        np.array(["a", 12, True], dtype=object),
        np.array([b"a", 12.0, np.True_], dtype=object),
        np.array(["a", np.int64(12), np.float32(12)], dtype=object),
    ],
    ids=["text", "bytes", "python objects", "mixed", "numpy scalars"],
)
def test_categories_are_the_same_in_every_representation(column: np.ndarray[Any, Any]) -> None:
    counts = recorded({"c": column}).counts["c"]
    assert int(counts.bins.sum()) == 3
    assert counts.unseen == counts.invalid == 0


def test_integer_categories_are_known_by_their_digits() -> None:
    counts = recorded({"c": np.array([12, 12, 13])}).counts["c"]
    assert (int(counts.bins.sum()), counts.unseen) == (2, 1)
    counts = recorded({"c": np.array([12.0, np.nan, 12.5])}).counts["c"]
    assert (int(counts.bins.sum()), counts.missing, counts.unseen) == (1, 1, 1)


def test_single_and_double_precision_fall_into_the_same_bins() -> None:
    values = np.random.default_rng(0).normal(size=500).round(1)
    table = {"x": values}
    profile = build_profile(table, {"x": FeatureKind.NUMERIC}, score=None, blocks=None)
    recorder = SketchRecorder(profile)
    recorder.record({"x": values.astype(np.float32)}, None)
    assert recorder.snapshot().counts["x"] == profile.features[0].counts


def test_absent_column_counts_as_missing_and_unknown_one_is_left_out() -> None:
    sketch = recorded({"c": np.array(["a", "b"]), "other": np.zeros(5)}, np.array([[0.1], [0.2]]))
    assert sketch.counts["x"].missing == 2
    assert sketch.counts["@score"].rows == 2
    assert "other" not in sketch.counts


def test_score_is_left_out_when_the_profile_has_none() -> None:
    profile = build_profile({"x": REFERENCE["x"]}, {"x": KINDS["x"]}, score=None, blocks=None)
    recorder = SketchRecorder(profile)
    recorder.record({"x": np.zeros(2)}, np.zeros(2))
    assert list(recorder.snapshot().counts) == ["x"]


def test_dates_and_complex_numbers_are_invalid_numbers() -> None:
    x = recorded({"x": np.array(["2013-01-01"], dtype="datetime64[D]")}).counts["x"]
    assert x.invalid == 1
    assert recorded({"x": np.array([1j, 2j])}).counts["x"].invalid == 2


def test_batch_is_refused_whole_when_columns_differ_in_length() -> None:
    recorder = SketchRecorder(PROFILE)
    with pytest.raises(CountsInvalid, match=r"'x': 2.*'c': 3"):
        recorder.record({"x": np.zeros(2), "c": np.array(["a"] * 3)}, None)
    assert all(counts.rows == 0 for counts in recorder.snapshot().counts.values())


def test_snapshot_stays_as_it_is_when_recording_goes_on() -> None:
    recorder = SketchRecorder(PROFILE)
    recorder.record({}, None)
    before = recorder.snapshot()
    recorder.record({"x": np.zeros(3), "c": np.array(["a"] * 3)}, None)
    assert before.counts["x"].rows == 0
    assert recorder.snapshot().subtract(before).counts["x"].rows == 3
