"""Counting by sorting against counting value by value: the same cells, whatever the column."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile import FeatureKind, SketchRecorder, build_profile
from mooring_profile.binning import NumericBinner
from mooring_profile.sorting import NumericColumn, NumericColumns

TINY = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)
AWKWARD = [
    *(0.0, -0.0, 1.0, -1.0, 2.0, TINY, -TINY, 1e-310, LARGEST, -LARGEST),
    *(float("nan"), float("inf"), float("-inf"), 1e39, -1e39, 1e300),
]
values = st.lists(st.one_of(st.sampled_from(AWKWARD), st.floats(width=64)), max_size=40)
edges = st.lists(
    st.one_of(
        st.sampled_from([v for v in AWKWARD if abs(v) <= LARGEST]),
        st.floats(-LARGEST, LARGEST, width=32),
    ),
    min_size=1,
    max_size=6,
    unique=True,
).map(sorted)


def counted_singly(column: Any, column_edges: list[float]) -> list[int]:
    """The cells that `NumericBinner` counts."""
    binner = NumericBinner(column_edges)
    cells = np.zeros(binner.cell_count, dtype=np.int64)
    binner.add(column, cells)
    return cells.tolist()


@settings(deadline=None, max_examples=300)
@given(values, st.lists(edges, min_size=1, max_size=4), st.sampled_from(["f8", "f4"]), st.data())
def test_sorting_counts_as_value_by_value_in_every_precision(
    column: list[float], all_edges: list[list[float]], dtype: str, data: st.DataObject
) -> None:
    with np.errstate(over="ignore"):
        columns = {
            str(index): np.array(data.draw(st.permutations(column)), dtype="f8").astype(dtype)
            for index in range(len(all_edges))
        }
    starts = np.cumsum([0, *(NumericBinner(each).cell_count for each in all_edges)]).tolist()
    cells = np.zeros(starts[-1], dtype=np.int64)
    table = NumericColumns(
        [NumericColumn(str(index), each, starts[index]) for index, each in enumerate(all_edges)]
    )
    counted = table.add(columns, cells)
    for index, each in enumerate(all_edges):
        found = cells[starts[index] : starts[index + 1]].tolist()
        if str(index) in counted:
            assert found == counted_singly(columns[str(index)], each)
        else:
            with np.errstate(over="ignore"):
                assert np.isinf(columns[str(index)].astype(np.float32)).any()
            assert not any(found)


def test_only_float_columns_are_counted_by_sorting() -> None:
    table = NumericColumns([NumericColumn("a", [0.0, 1.0], 0), NumericColumn("b", [0.0, 1.0], 6)])
    cells = np.zeros(12, dtype=np.int64)
    assert list(table.add({"a": np.array([1, 2]), "b": np.array([0.5, 2.0])}, cells)) == ["b"]
    assert cells.tolist() == [0] * 6 + [1, 0, 0, 0, 1, 0]
    assert not table.add({"a": np.array(["x"])}, cells)


@pytest.mark.parametrize("rows", [1, 1023, 1024, 1025, 5000])
def test_recorder_counts_the_same_for_text_and_floats_at_any_number_of_rows(rows: int) -> None:
    generator = np.random.default_rng(rows)
    reference = {name: generator.normal(size=400).round(2) for name in "abc"}
    kinds = dict.fromkeys("abc", FeatureKind.NUMERIC)
    profile = build_profile(reference, kinds, score=generator.random(400), blocks=None)
    matrix = generator.normal(size=(rows, 3)).round(2)
    matrix[generator.random((rows, 3)) < 0.05] = np.nan
    matrix[::500, 1] = 1e39
    score = generator.random(rows)
    sorted_recorder, singly = SketchRecorder(profile), SketchRecorder(profile)
    sorted_recorder.record({name: matrix[:, at] for at, name in enumerate("abc")}, score)
    singly.record(
        {name: matrix[:, at].astype(object) for at, name in enumerate("abc")},
        score.astype(object),
    )
    assert sorted_recorder.snapshot() == singly.snapshot()
    assert sorted_recorder.snapshot().to_json() == singly.snapshot().to_json()
