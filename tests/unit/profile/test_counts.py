import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile import CountsInvalid, FeatureCounts, Sketch

cell = st.integers(min_value=0, max_value=2**40)


def counts_over(bins: int) -> st.SearchStrategy[FeatureCounts]:
    cells = st.lists(cell, min_size=bins + 5, max_size=bins + 5)
    return cells.map(lambda values: FeatureCounts.from_cells(np.array(values, dtype=np.int64)))


def sketches() -> st.SearchStrategy[Sketch]:
    sizes = {"age": 3, "carrier": 2, "@score": 4}
    some = st.fixed_dictionaries({}, optional={k: counts_over(n) for k, n in sizes.items()})
    return some.map(Sketch)


@settings(max_examples=50, deadline=None)
@given(sketches(), sketches())
def test_merge_is_the_same_when_the_order_is_reversed(a: Sketch, b: Sketch) -> None:
    assert a.merge(b) == b.merge(a)


@settings(max_examples=50, deadline=None)
@given(sketches(), sketches(), sketches())
def test_merge_is_the_same_when_grouped_differently(a: Sketch, b: Sketch, c: Sketch) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c)) == Sketch.merge_all([c, a, b])


@settings(max_examples=50, deadline=None)
@given(sketches())
def test_merge_changes_nothing_when_the_other_is_empty(a: Sketch) -> None:
    assert a.merge(Sketch()) == a
    assert Sketch().merge(a) == a


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries({"a": counts_over(3)}).map(Sketch), st.data())
def test_subtract_undoes_merge(a: Sketch, data: st.DataObject) -> None:
    b = Sketch({"a": data.draw(counts_over(3))})
    assert a.merge(b).subtract(b) == a


@settings(max_examples=50, deadline=None)
@given(sketches())
def test_sketch_survives_json_exactly(a: Sketch) -> None:
    assert Sketch.from_json(json.loads(json.dumps(a.to_json()))) == a


@settings(max_examples=50, deadline=None)
@given(counts_over(4))
def test_every_row_is_in_exactly_one_cell(counts: FeatureCounts) -> None:
    assert counts.rows == int(counts.cells().sum())
    assert counts.present == counts.rows - counts.missing - counts.invalid


def test_counts_have_the_shape_of_the_contract() -> None:
    counts = FeatureCounts(np.array([1, 2]), missing=3, unseen=4, below=5, above=6, invalid=7)
    assert counts.to_json() == {
        "bins": [1, 2],
        "missing": 3,
        "unseen": 4,
        "below": 5,
        "above": 6,
        "invalid": 7,
    }


def test_counts_are_a_copy_when_the_array_changes_later() -> None:
    bins = np.array([1, 2])
    counts = FeatureCounts(bins)
    bins[0] = 9
    assert counts.bins.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        counts.bins[0] = 9


def test_subtract_is_refused_when_the_source_restarted() -> None:
    earlier = FeatureCounts(np.array([5, 5]))
    with pytest.raises(CountsInvalid, match="restarted"):
        FeatureCounts(np.array([1, 0])).subtract(earlier)
    with pytest.raises(CountsInvalid, match="another profile"):
        Sketch().subtract(Sketch({"age": earlier}))


def test_merge_is_refused_when_bins_differ() -> None:
    with pytest.raises(CountsInvalid, match="2 and 3 bins"):
        FeatureCounts.empty(2).merge(FeatureCounts.empty(3))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], r"counts is \[\]; it must be a JSON object"),
        ({"age": 3}, r"counts\.age is 3"),
        ({"age": {"bins": [1]}}, r"counts\.age\.missing is absent"),
        ({"age": {"bins": [-1]}}, r"counts\.age\.bins is -1"),
        ({"age": {"bins": [True]}}, r"counts\.age\.bins is True"),
        ({"age": {"bins": [1.5]}}, r"counts\.age\.bins is 1\.5"),
        ({"age": {"bins": 1}}, r"counts\.age\.bins is 1; it must be a list"),
        ({"age": {"bins": [2**70]}}, r"counts\.age\.bins is \d+; it must be a list of whole"),
    ],
)
def test_counts_are_refused_with_the_field_named_when_malformed(
    document: object, message: str
) -> None:
    with pytest.raises(CountsInvalid, match=message):
        Sketch.from_json(document)


def test_counts_differ_from_other_things() -> None:
    assert FeatureCounts.empty(1) != 1
    assert FeatureCounts.empty(1) != FeatureCounts.empty(2)
