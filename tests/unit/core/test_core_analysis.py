"""Evidence: which counters are compared, split of alpha, and what counts as nothing."""

from datetime import timedelta

import pytest

from mooring_operator.api.deployment import Rollout
from mooring_operator.core.observation import ArmCounts, LossCounts, PhaseCounts
from mooring_operator.core.rollout.analysis import (
    evaluate,
    evidence_of,
    failed_metric,
    latency_quantile,
    reason_of,
    slow_requests,
)
from mooring_profile import ProportionStratum, compare_proportions
from tests.builders.observed import BOUNDS, arm, candidate, phase_of, telemetry
from tests.builders.resources import EPOCH

STEPS = [{"shadow": 100, "minRows": 100}, {"weight": 20, "minRows": 100}]


def rollout(**analysis: object) -> Rollout:
    return Rollout.model_validate({"steps": STEPS, "analysis": analysis})


def phases(*counts: PhaseCounts) -> dict[str, PhaseCounts]:
    return {phase_of(candidate(), index, {"steps": STEPS}): one for index, one in enumerate(counts)}


def test_every_metric_is_undecided_when_there_is_no_data() -> None:
    settings = rollout(metrics=["errors", "invalidOutputs", "latency", "loss"])
    result = evaluate(settings, candidate(), telemetry(), EPOCH)
    assert result.verdict == "Undecided"
    assert [metric.verdict for metric in result.metrics] == ["Undecided"] * 4
    assert all(metric.estimate is None for metric in result.metrics)
    assert result.rows == 0


def test_alpha_is_split_over_the_metrics_and_phases_are_strata() -> None:
    settings = rollout(metrics=["errors", "latency"], alpha=0.05)
    counted = phases(
        PhaseCounts(stable=arm(500, errors=2), shadow=arm(500, errors=4)),
        PhaseCounts(stable=arm(800, errors=3), candidate=arm(200, errors=5)),
    )
    result = evaluate(settings, candidate(step=1), telemetry(phases=counted), EPOCH)
    strata = [ProportionStratum(500, 2, 500, 4, 0.5), ProportionStratum(800, 3, 200, 5, 0.2)]
    expected = compare_proportions(strata, alpha=0.025, margin=0.01)
    errors = result.metrics[0]
    assert errors.lower == pytest.approx(expected.lower, abs=1e-6)
    assert errors.upper == pytest.approx(expected.upper, abs=1e-6)
    assert (errors.stable_count, errors.candidate_count) == (1300, 700)
    assert result.rows == 200, "rows of the present step only"


def test_later_phases_of_the_spec_do_not_count_before_they_began() -> None:
    counted = phases(PhaseCounts(), PhaseCounts(stable=arm(500), candidate=arm(500, errors=400)))
    result = evaluate(rollout(), candidate(step=0), telemetry(phases=counted), EPOCH)
    assert failed_metric(result) is None


def test_counts_of_an_earlier_try_do_not_count_when_a_revision_is_tried_again() -> None:
    first, again = candidate(seq=2), candidate(seq=3)
    counts = PhaseCounts(stable=arm(500), shadow=arm(500, errors=400))
    counted = {phase_of(first, rollout={"steps": STEPS}): counts}
    assert failed_metric(evaluate(rollout(), first, telemetry(phases=counted), EPOCH)) is not None
    assert failed_metric(evaluate(rollout(), again, telemetry(phases=counted), EPOCH)) is None


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (arm(800, errors=200), "ErrorsIncreased"),
        (arm(800, invalid=200), "InvalidOutputsIncreased"),
        (arm(800, slow=300), "LatencyIncreased"),
    ],
    ids=["errors", "invalid outputs", "latency"],
)
def test_metric_fails_already_in_shadow_when_the_candidate_is_worse(
    bad: ArmCounts, reason: str
) -> None:
    counted = phases(PhaseCounts(stable=arm(800), shadow=bad))
    settings = rollout()
    result = evaluate(settings, candidate(), telemetry(phases=counted), EPOCH)
    failed = failed_metric(result)
    assert failed is not None
    assert reason_of(failed) == reason
    assert "n=800 against 800" in evidence_of(failed, settings.analysis)


def test_loss_counts_only_weighted_phases() -> None:
    high, low = LossCounts(300, 240.0, 200.0), LossCounts(300, 30.0, 6.0)
    settings = rollout(metrics=["loss"])
    shadow = PhaseCounts(arm(500), ArmCounts(), arm(500), low, high)
    weighted = PhaseCounts(arm(500), arm(500), ArmCounts(), low, high)
    only_shadow = evaluate(settings, candidate(), telemetry(phases=phases(shadow)), EPOCH)
    assert only_shadow.metrics[0].verdict == "Undecided"
    both = phases(shadow, weighted)
    result = evaluate(settings, candidate(step=1), telemetry(phases=both), EPOCH)
    assert result.metrics[0].verdict == "Fail"


def test_promotion_needs_every_metric_when_one_has_no_data() -> None:
    settings = rollout(metrics=["errors", "loss"])
    counted = phases(PhaseCounts(), PhaseCounts(stable=arm(40_000), candidate=arm(10_000)))
    result = evaluate(settings, candidate(step=1), telemetry(phases=counted), EPOCH)
    assert [metric.verdict for metric in result.metrics] == ["Pass", "Undecided"]
    assert result.verdict == "Undecided"


def test_impossible_counts_prove_nothing() -> None:
    torn = PhaseCounts(arm(10), arm(10), ArmCounts(), LossCounts(5, 9.0, 99.0), LossCounts(5, 1, 1))
    settings = rollout(metrics=["errors", "loss"])
    counted = phases(PhaseCounts(), torn)
    result = evaluate(settings, candidate(step=1), telemetry(phases=counted), EPOCH)
    assert result.verdict == "Undecided"


@pytest.mark.parametrize(
    ("threshold_ms", "slow"), [(100, 12), (99, 12), (101, 11), (1000, 8), (5, 20)]
)
def test_slow_requests_are_those_above_the_next_bound(threshold_ms: int, slow: int) -> None:
    counts = (0, 0, 3, 0, 4, 2, 2, 1, 2, 1, 8)
    found = slow_requests(
        ArmCounts(latency_bounds=BOUNDS, latency_counts=counts),
        timedelta(milliseconds=threshold_ms),
    )
    assert found == (23, slow)


def timed(fast: int, middle: int, slow: int) -> ArmCounts:
    counts = [0] * (len(BOUNDS) + 1)
    counts[2], counts[6], counts[8] = fast, middle, slow
    total = fast + middle + slow
    return ArmCounts(total, total, 0, 0, BOUNDS, tuple(counts))


def test_latency_is_judged_by_stables_own_quantile_of_the_steps_before() -> None:
    # Everything is slower than the fixed threshold of 20 ms, for both arms alike.
    settings = rollout(metrics=["latency"], latencyQuantile=0.9, latencyThreshold="20ms")
    step0 = PhaseCounts(stable=timed(0, 950, 50), shadow=timed(0, 0, 1000))
    alike = PhaseCounts(stable=timed(0, 3800, 200), candidate=timed(0, 950, 50))
    worse = PhaseCounts(stable=timed(0, 3800, 200), candidate=timed(0, 500, 500))
    for step1, verdict, estimate in ((alike, "Pass", 0.0), (worse, "Fail", 0.45)):
        counted = telemetry(phases=phases(step0, step1))
        (metric,) = evaluate(settings, candidate(step=1), counted, EPOCH).metrics
        assert metric.verdict == verdict
        assert metric.estimate == pytest.approx(estimate)
        # The first step has no step before: it judges nothing.
        assert (metric.stable_count, metric.candidate_count) == (4000, 1000)


@pytest.mark.parametrize(
    ("arm_", "quantile", "expected"),
    [
        (timed(900, 90, 10), 0.9, 5),
        (timed(900, 90, 10), 0.95, 100),
        (timed(0, 0, 1000), 0.5, 500),
        (timed(90, 9, 0), 0.9, None),
    ],
)
def test_quantile_is_the_next_bound_of_the_histogram(
    arm_: ArmCounts, quantile: float, expected: int | None
) -> None:
    found = latency_quantile(arm_, quantile)
    assert found == (None if expected is None else timedelta(milliseconds=expected))


def test_quantile_of_answers_above_every_bound_is_the_last_bound() -> None:
    above = ArmCounts(latency_bounds=BOUNDS, latency_counts=(*(0 for _ in BOUNDS), 500))
    assert latency_quantile(above, 0.9) == timedelta(milliseconds=BOUNDS[-1])
