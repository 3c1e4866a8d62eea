"""Calibrations of a score: isotonic maps, losses and the order within bins, against sklearn."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import isotonic as sklearn_isotonic
from sklearn import metrics as sklearn_metrics

from mooring_profile import (
    FeatureKind,
    FeatureProfile,
    ProfileInvalid,
    ReferenceProfile,
    build_profile,
)
from mooring_profile.calibrate import LabelledRows, calibrate, isotonic
from mooring_profile.calibration import Calibration, CalibrationMap, CalibrationTask, class_stream
from mooring_profile.counts import FeatureCounts
from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import Fields

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
oracle: Any = sklearn_isotonic  # scikit-learn has no annotations
judge: Any = sklearn_metrics


def score_stream(score: FloatArray) -> FeatureProfile:
    profile = build_profile({}, {}, score=score, blocks=None)
    assert profile.score is not None
    return profile.score


def labelled(rows: int, seed: int) -> LabelledRows:
    rng = np.random.default_rng(seed)
    score = rng.beta(0.8, 1.2, rows).astype(np.float32).astype(np.float64)
    return LabelledRows.binary(score, rng.random(rows) < score**1.5)


def read(document: object) -> Calibration:
    return Calibration.from_fields(Fields.of(document, "calibration", ProfileInvalid))


def whole(rows: int = 4000, seed: int = 1) -> CalibrationMap:
    found = labelled(rows, seed)
    return calibrate(score_stream(found.score), found, threshold=0.5)


@settings(deadline=None)
@given(
    values=arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)),
    seed=st.integers(0, 1000),
)
def test_isotonic_equals_sklearn_when_all_places_have_weight(values: FloatArray, seed: int) -> None:
    weights = np.random.default_rng(seed).uniform(0.1, 5, values.size)
    wanted = oracle.isotonic_regression(values, sample_weight=weights)
    np.testing.assert_allclose(isotonic(values, weights), wanted, atol=1e-9)


@settings(deadline=None)
@given(
    values=arrays(np.float64, 12, elements=st.floats(0, 1)),
    kept=st.lists(st.booleans(), min_size=12, max_size=12).filter(any),
)
def test_isotonic_never_falls_and_keeps_the_mean_when_places_are_empty(
    values: FloatArray, kept: list[bool]
) -> None:
    weights = np.array(kept, dtype=np.float64)
    fitted = isotonic(values, weights)
    assert (np.diff(fitted) >= -1e-12).all()
    assert np.dot(fitted, weights) == pytest.approx(np.dot(values, weights))


def test_probability_equals_sklearn_on_rows_when_every_bin_is_one_value() -> None:
    rng = np.random.default_rng(3)
    score = np.round(rng.random(6000) * 40) / 40  # 41 values, each with a bin of its own
    hit = rng.random(6000) < score**2
    found = calibrate(score_stream(score), LabelledRows.binary(score, hit), threshold=0.5)
    wanted = oracle.IsotonicRegression().fit(score, hit.astype(float))
    values = np.unique(score)
    filled = found.probability[found.rows > 0]
    assert filled.size == values.size
    np.testing.assert_allclose(filled, wanted.predict(values), atol=1e-9)


def test_hits_of_all_cells_are_those_of_the_rows() -> None:
    rows = labelled(4000, 5)
    found = calibrate(score_stream(rows.score), rows, threshold=0.5)
    assert rows.hit is not None
    assert float(found.rows @ found.probability) == pytest.approx(rows.hit.sum())
    assert float(found.rows @ found.loss) == pytest.approx(rows.loss.sum())


def test_order_within_cells_equals_the_auc_of_their_rows() -> None:
    rows = labelled(20_000, 6)
    stream = score_stream(rows.score)
    found = calibrate(stream, rows, threshold=None)
    edges = np.array(stream.edges)
    inside = (rows.score >= edges[30]) & (rows.score < edges[31])
    assert rows.hit is not None
    wanted = judge.roc_auc_score(rows.hit[inside], rows.score[inside])
    assert found.order[31] == pytest.approx(wanted, abs=0.01)  # a little shrunk towards 1/2


def test_selected_share_follows_the_rows_when_the_threshold_splits_a_bin() -> None:
    rows = labelled(4000, 7)
    stream = score_stream(rows.score)
    found = calibrate(stream, rows, threshold=0.5123)
    assert float(found.rows @ found.selected) == pytest.approx((rows.score >= 0.5123).sum())
    assert set(found.selected[:20]) == {0.0}
    assert np.count_nonzero((found.selected > 0) & (found.selected < 1)) == 1


def test_cells_without_rows_take_what_lies_between_their_neighbours() -> None:
    rows = labelled(4000, 8)
    stream = score_stream(rows.score)
    part = rows.of((rows.score < 0.3) | (rows.score > 0.7))
    found = calibrate(stream, part, threshold=0.5)
    empty = np.flatnonzero(found.rows == 0)
    assert empty.size > 3
    assert (np.diff(found.probability) >= -1e-12).all()
    assert 0 < found.probability[empty[3]] < 1


def test_multiclass_loss_is_half_the_brier_score_and_a_hit_the_top_class() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]])
    rows = LabelledRows.multiclass(probabilities, np.array([0, 2]))
    np.testing.assert_allclose(rows.loss, [0.07, 0.31])
    assert rows.hit is not None
    assert rows.hit.tolist() == [1, 0]
    assert rows.score.tolist() == [0.7, 0.5]
    assert class_stream("b") == "@class=b/@score"


def test_regression_has_losses_and_no_hits() -> None:
    rng = np.random.default_rng(9)
    predicted = rng.normal(size=3000)
    rows = LabelledRows.regression(predicted, predicted + rng.normal(size=3000), scale=4.0)
    found = calibrate(score_stream(predicted), rows, threshold=None)
    assert not found.probability.any()
    assert float(found.rows @ found.loss) * 4 / 3000 == pytest.approx(0.797, abs=0.04)  # E|N(0,1)|


def test_calibration_survives_its_json() -> None:
    part = replace(whole(1000, 2), stream="country=FR/@score")
    calibration = Calibration(CalibrationTask.BINARY, (whole(), part))
    again = read(json.loads(json.dumps(calibration.to_json())))
    assert again == calibration
    assert again.maps[0] != calibration.to_json()
    assert again.map_of("country=FR/@score") == part
    assert again.map_of("country=DE/@score") is None


def test_profile_carries_its_calibration() -> None:
    profile = replace(
        build_profile({}, {}, score=labelled(500, 3).score, blocks=None),
        calibration=Calibration(CalibrationTask.BINARY, (whole(500),), held_out=False),
    )
    again = ReferenceProfile.from_json(json.loads(json.dumps(profile.to_json())))
    assert again.calibration == profile.calibration


def test_cells_of_counts_keep_both_ends_and_leave_out_the_missing() -> None:
    found = whole()
    counts = FeatureCounts(np.arange(found.rows.size - 2), missing=7, below=3, above=4)
    cells = found.cells_of(counts)
    assert (cells[0], cells[-1]) == (3, 4)
    assert cells.sum() == counts.bins.sum() + 7
    with pytest.raises(CountsInvalid, match="another version's profile"):
        found.cells_of(FeatureCounts.empty(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heldOut": 1}, "heldOut"),
        ({"scale": 0}, "scale"),
        ({"maps": []}, "name each stream once"),
        ({"maps": [whole(500).to_json()] * 2}, "name each stream once"),
    ],
)
def test_calibration_is_refused_when_a_field_is_out_of_its_range(
    change: dict[str, object], message: str
) -> None:
    document = Calibration(CalibrationTask.BINARY, (whole(500),)).to_json()
    with pytest.raises(ProfileInvalid, match=message):
        read(document | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": [0.0]}, "one a bin and two more"),
        ({"rows": [-1.0] * 66}, "rows are below 0"),
        ({"designEffect": 0.5}, "design effect"),
        ({"mistakes": [1.0]}, "mistakes"),
        ({"probability": [1.5] * 66}, "probability"),
    ],
)
def test_map_is_refused_when_a_field_is_out_of_its_range(
    change: dict[str, object], message: str
) -> None:
    document = Calibration(CalibrationTask.BINARY, (whole(500),)).to_json()
    with pytest.raises(ProfileInvalid, match=message):
        read(document | {"maps": [whole(500).to_json() | change]})


def test_calibration_needs_a_numeric_score_with_bins_and_rows() -> None:
    rows = labelled(100, 4)
    stream = score_stream(rows.score)
    nothing = rows.of(np.zeros(100, dtype=np.bool_))
    with pytest.raises(ProfileInvalid, match="No labelled row"):
        calibrate(stream, nothing, threshold=None)
    bare = replace(stream, edges=(), counts=FeatureCounts.empty(0))
    with pytest.raises(ProfileInvalid, match="no bins"):
        calibrate(bare, rows, threshold=None)
    words = build_profile(
        {"c": np.array(["a", "b"])}, {"c": FeatureKind.CATEGORICAL}, score=None, blocks=None
    ).features[0]
    with pytest.raises(ProfileInvalid, match="numeric"):
        calibrate(words, rows, threshold=None)
