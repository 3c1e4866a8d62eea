"""Answers by arm and bin: what the distributions of a rollout are compared by."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile import FeatureKind, build_profile
from mooring_serving.answer_bins import AnswerBins, answer_edges
from mooring_serving.arms import Arm
from mooring_serving.counters import Counters
from mooring_serving.protocol.messages import InferenceRequest, OutputArrays
from mooring_serving.workers.layout import ANSWER_BINS

PHASE = "bbbbbbbbbbbb.1/0"


def asked(rows: int, outputs: tuple[str, ...] | None = None) -> InferenceRequest:
    return InferenceRequest(None, {}, rows, outputs, {})


def binned(counters: Counters, arm: Arm) -> list[int]:
    document: Any = counters.to_json()
    return document["phases"].get(PHASE, {}).get(arm.value, {}).get("answers", [])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.sampled_from(["normal", "atoms", "few", "one"]), st.integers(0, 9))
def test_bins_hold_about_equal_mass_of_the_reference_when_scores_are_any(
    scale: int, shape: str, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    score = generator.normal(0, scale, 4000)
    if shape == "atoms":
        score[generator.random(4000) < 0.4] = 0.0
    if shape == "few":
        score = generator.integers(0, 3, 4000).astype(float)
    if shape == "one":
        score = np.full(4000, 0.5)
    edges = answer_edges(build_profile({}, {}, score=score, blocks=None))
    assert len(edges) < ANSWER_BINS
    assert list(edges) == sorted(set(edges))
    assert [float(np.float32(edge)) for edge in edges] == list(edges)
    counts = np.histogram(score, [-np.inf, *edges, np.inf])[0]
    assert counts.min() > 0
    if shape == "normal":
        assert counts.max() < 2.2 * len(score) / ANSWER_BINS


def test_profile_without_a_score_has_no_bins() -> None:
    kinds = {"a": FeatureKind.NUMERIC}
    profile = build_profile({"a": np.arange(100.0)}, kinds, score=None, blocks=None)
    assert answer_edges(profile) == ()


def test_counts_are_numpys_histogram_whatever_the_batches() -> None:
    generator = np.random.default_rng(3)
    edges = (0.25, 0.5, 0.75)
    counters = Counters(4)
    bins = AnswerBins(edges, counters, row_limit=10_000)
    seen: list[np.ndarray[Any, Any]] = []
    for rows in (1, 7, 1, 30):
        score = generator.random(rows)
        seen.append(score.astype(np.float32))
        bins.offer(PHASE, Arm.STABLE, asked(rows), {"probability": score})
        if rows == 7:
            bins.flush()
    bins.flush()
    expected = np.histogram(np.concatenate(seen), [-np.inf, *edges, np.inf])[0].tolist()
    assert binned(counters, Arm.STABLE) == expected + [0] * (ANSWER_BINS - len(expected))
    assert binned(counters, Arm.CANDIDATE) == []


def test_values_on_an_edge_belong_to_the_bin_above_in_single_precision() -> None:
    edge = float(np.float32(0.1))
    counters = Counters(4)
    bins = AnswerBins((edge,), counters, row_limit=10)
    bins.offer(PHASE, Arm.STABLE, asked(2), {"prediction": np.array([0.1, 0.0999])})
    bins.flush()
    assert binned(counters, Arm.STABLE)[:2] == [1, 1]


@pytest.mark.parametrize(
    ("values", "outputs", "counted"),
    [
        ({"probability": np.array([[0.1, 0.9], [0.6, 0.4]])}, None, [0, 2]),
        ({"probability": np.array([[0.1], [0.6]])}, None, [1, 1]),
        ({"prediction": np.array([0.1, 0.9])}, ("prediction",), [1, 1]),
        ({"label": np.array([0, 1]), "probability": np.array([0.1, 0.9])}, ("label",), None),
        ({"label": np.array([0, 1])}, None, None),
    ],
    ids=["largest of classes", "one column", "number", "not asked for", "not answered"],
)
def test_score_is_the_stream_that_drift_is_watched_on(
    values: OutputArrays, outputs: Any, counted: list[int] | None
) -> None:
    counters = Counters(4)
    bins = AnswerBins((0.5,), counters, row_limit=10)
    bins.offer(PHASE, Arm.SHADOW, asked(2, outputs), values)
    bins.flush()
    assert (binned(counters, Arm.SHADOW)[:2] or None) == counted


def test_rows_beyond_the_limit_are_not_binned_and_nothing_waits() -> None:
    counters = Counters(4)
    bins = AnswerBins((0.5,), counters, row_limit=3)
    for _ in range(3):
        bins.offer(PHASE, Arm.STABLE, asked(2), {"prediction": np.array([0.1, 0.9])})
    bins.flush()
    assert sum(binned(counters, Arm.STABLE)) == 2
    bins.offer(PHASE, Arm.STABLE, asked(2), {"prediction": np.array([0.1, 0.9])})
    bins.flush()
    assert sum(binned(counters, Arm.STABLE)) == 4
