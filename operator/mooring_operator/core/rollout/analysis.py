"""Candidate against stable, from the pods' counters of one rollout.

Every step of the rollout is a stratum: within it the share of the candidate is constant. The
error budget `alpha` is split evenly over the metrics (Bonferroni), and the comparisons hold at
any look, so looking more often makes no false alarm more likely. Arms that do not get their shares
are told apart from that: they make no candidate worse, but the comparison worthless.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import accumulate, pairwise

from mooring_operator.api.analysis_status import (
    AnalysisStatus,
    DisagreementStatus,
    MetricStatus,
    SampleRatioStatus,
)
from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment import Analysis, AnalysisMetric, Rollout, RolloutStep
from mooring_operator.api.deployment_status import CandidateStatus
from mooring_operator.core.observation import (
    ArmCounts,
    LossCounts,
    TelemetryObservation,
)
from mooring_operator.core.rollout.distribution import judge_distribution
from mooring_operator.core.rollout.steps import (
    current_step,
    given_weight,
    phase_key,
    step_at,
)
from mooring_profile import (
    ArmTotals,
    Comparison,
    CountsInvalid,
    ErrorBudget,
    MeanStratum,
    ProportionStratum,
    Verdict,
    check_sample_ratio,
    compare_means,
    compare_proportions,
    judge_disagreement,
)

LATENCY_LIMIT = timedelta(seconds=1)
"""The largest finite bound of the pods' latency histogram; contract §4."""
RATIO_ALPHA = 0.0005
"""Chance that a step's shares are ever blamed although they are kept; not part of `alpha`."""
RATIO_TOLERANCE = 0.2
"""Relative departure from the announced share that nobody cares about: a few requests are always
answered by stable instead, while a breaker is open or a route is on its way."""
LEAST_ANSWERS = 100
"""Answers of stable before a quantile is taken from them."""
REMEMBERED = 4096
"""Comparisons that are kept: a look that finds the same counts costs nothing."""
DIGITS = 6
"""Decimal places of shares and losses in status."""
REASONS = {
    AnalysisMetric.ERRORS: Reason.ERRORS_INCREASED,
    AnalysisMetric.INVALID_OUTPUTS: Reason.INVALID_OUTPUTS_INCREASED,
    AnalysisMetric.LATENCY: Reason.LATENCY_INCREASED,
    AnalysisMetric.LOSS: Reason.LOSS_INCREASED,
}
"""Why a revision is rolled back when a metric fails."""


@dataclass(frozen=True)
class Stratum:
    """Both arms in one step, and the candidate's announced share of them."""

    stable: ArmCounts
    candidate: ArmCounts
    stable_loss: LossCounts
    candidate_loss: LossCounts
    share: float | None
    before: ArmCounts
    """Stable's answers in the steps before: a threshold taken from them is fixed in this one."""
    weighted: bool
    """Whether clients got the candidate's answers; else it was shadowed."""


def evaluate(
    rollout: Rollout,
    candidate: CandidateStatus,
    telemetry: TelemetryObservation,
    now: datetime,
    *,
    sticky: bool = False,
) -> AnalysisStatus:
    """The verdict of every configured metric over all steps of this rollout so far.

    Args:
        rollout: steps and settings.
        candidate: what is analysed.
        telemetry: the counters.
        now: aware UTC time of the look.
        sticky: whether users are divided, not requests: a weight is then no share of requests.
    """
    strata = tuple(_strata(rollout.steps, candidate, telemetry))
    if sticky:
        strata = tuple(replace(s, share=None) if s.weighted else s for s in strata)
    analysis = rollout.analysis
    metrics = [_metric(metric, analysis, strata) for metric in analysis.metrics]
    return AnalysisStatus(
        candidate=candidate.revision,
        verdict=_overall(metrics),
        evaluated_at=now,
        rows=rows_seen(rollout.steps, candidate, telemetry),
        metrics=metrics,
        sample_ratio=None if sticky else _sample_ratio(rollout.steps, candidate, telemetry),
        disagreement=_disagreement(rollout, candidate, telemetry),
        distribution=judge_distribution(
            analysis, ((item.stable, item.candidate, item.share) for item in strata)
        ),
    )


def rows_seen(
    steps: Sequence[RolloutStep], candidate: CandidateStatus, telemetry: TelemetryObservation
) -> int:
    """Rows that the candidate saw in the present step."""
    counts = telemetry.phases.get(phase_key(steps, candidate))
    if counts is None:
        return 0
    shadowing = current_step(steps, candidate).shadow is not None
    return (counts.shadow if shadowing else counts.candidate).rows


def failed_metric(analysis: AnalysisStatus) -> MetricStatus | None:
    """The first metric by which the candidate is worse, if any."""
    return next((metric for metric in analysis.metrics if metric.verdict == Verdict.FAIL), None)


def reason_of(metric: MetricStatus) -> Reason:
    """Why a revision is rolled back for this metric."""
    return REASONS[AnalysisMetric(metric.name)]


def evidence_of(metric: MetricStatus, settings: Analysis) -> str:
    """One metric as a sentence: difference, limits, margin, sample sizes."""
    margin = margin_of(AnalysisMetric(metric.name), settings)
    confidence = 100 * (1 - budget_of(settings).part(metric.name))
    scale, unit, digits = (1, "", 4) if metric.name == AnalysisMetric.LOSS else (100, " points", 2)
    estimate = "unknown"
    if metric.estimate is not None:
        estimate = f"{scale * metric.estimate:+.{digits}f}{unit}"
    return (
        f"{metric.name} {estimate} against stable ({confidence:.4g}% limits"
        f" {scale * metric.lower:+.{digits}f} to {scale * metric.upper:+.{digits}f},"
        f" margin {scale * margin:.{digits}f},"
        f" n={metric.candidate_count} against {metric.stable_count})"
    )


def budget_of(settings: Analysis) -> ErrorBudget:
    """What each metric may spend of alpha: the same. Both of its directions share that."""
    return ErrorBudget.even(settings.alpha, [metric.value for metric in settings.metrics])


def margin_of(metric: AnalysisMetric, settings: Analysis) -> float:
    """The harm in this metric that nobody cares about."""
    margins = settings.margins
    return {
        AnalysisMetric.ERRORS: margins.errors,
        AnalysisMetric.INVALID_OUTPUTS: margins.invalid_outputs,
        AnalysisMetric.LATENCY: margins.latency,
        AnalysisMetric.LOSS: margins.loss,
    }[metric]


def slow_requests(arm: ArmCounts, threshold: timedelta) -> tuple[int, int]:
    """Requests whose latency is known, and how many of them are above the threshold.

    The threshold is rounded up to the next bound of the histogram.
    """
    limit = threshold / timedelta(milliseconds=1)
    slow = sum(
        count
        for (lower, _), count in zip(
            pairwise((0.0, *arm.latency_bounds, float("inf"))), arm.latency_counts, strict=False
        )
        if lower >= limit
    )
    return sum(arm.latency_counts), slow


def _sample_ratio(
    steps: Sequence[RolloutStep], candidate: CandidateStatus, telemetry: TelemetryObservation
) -> SampleRatioStatus | None:
    """The present step alone: earlier ones were let pass."""
    share = _weight_share(current_step(steps, candidate), candidate)
    counts = telemetry.phases.get(phase_key(steps, candidate))
    if share is None or counts is None or not counts.stable.requests + counts.candidate.requests:
        return None
    arms = ArmTotals(counts.stable.requests, counts.candidate.requests, share)
    found = check_sample_ratio((arms,), alpha=RATIO_ALPHA, tolerance=RATIO_TOLERANCE)
    return SampleRatioStatus(
        verdict=found.verdict.value,
        expected=round(found.expected, 1),
        observed=found.observed,
        requests=found.requests,
    )


def _disagreement(
    rollout: Rollout, candidate: CandidateStatus, telemetry: TelemetryObservation
) -> DisagreementStatus | None:
    """All shadow steps together: each row is its own pair, so nothing needs to stay constant."""
    settings = rollout.analysis
    keys = (phase_key(rollout.steps, candidate, index) for index in range(candidate.step + 1))
    shadows = [telemetry.phases[key].shadow for key in keys if key in telemetry.phases]
    rows = sum(arm.rows for arm in shadows)
    if settings.max_disagreement is None or rows == 0:
        return None
    disagreeing = min(rows, sum(arm.disagreements for arm in shadows))
    found = judge_disagreement(
        rows, disagreeing, alpha=settings.alpha, tolerated=settings.max_disagreement
    )
    return DisagreementStatus(
        verdict=found.verdict.value,
        lower=round(found.lower, DIGITS),
        upper=round(found.upper, DIGITS),
        rows=rows,
        disagreeing=disagreeing,
    )


def _strata(
    steps: Sequence[RolloutStep], candidate: CandidateStatus, telemetry: TelemetryObservation
) -> Iterator[Stratum]:
    before = ArmCounts()
    for index in range(candidate.step + 1):
        counts = telemetry.phases.get(phase_key(steps, candidate, index))
        if counts is None:
            continue
        step = step_at(steps, index)
        stable, loss = counts.stable, counts.stable_loss
        if counts.candidate.requests:
            share = _weight_share(step, candidate)
            arms = (stable, counts.candidate, loss, counts.candidate_loss)
            yield Stratum(*arms, share, before, weighted=True)
        if counts.shadow.requests:
            arms = (stable, counts.shadow, loss, LossCounts())
            yield Stratum(*arms, _shadow_share(step), before, weighted=False)
        before = _with_latencies(before, stable)


def _with_latencies(one: ArmCounts, other: ArmCounts) -> ArmCounts:
    """The latencies of both, where they are counted by the same bounds; else the later ones."""
    if not other.latency_counts:
        return one
    if one.latency_bounds != other.latency_bounds:
        return other
    pairs = zip(one.latency_counts, other.latency_counts, strict=True)
    return ArmCounts(
        latency_bounds=other.latency_bounds, latency_counts=tuple(a + b for a, b in pairs)
    )


def _weight_share(step: RolloutStep, candidate: CandidateStatus) -> float | None:
    return None if step.weight is None else given_weight(step, candidate) / 100


def _shadow_share(step: RolloutStep) -> float | None:
    """Mirrored requests are answered twice: all of them give a share of one half."""
    return None if step.shadow is None else step.shadow / (100 + step.shadow)


def _metric(metric: AnalysisMetric, settings: Analysis, strata: Sequence[Stratum]) -> MetricStatus:
    alpha = budget_of(settings).part(metric.value)
    margin = margin_of(metric, settings)
    try:
        comparison = _compare(metric, settings, strata, alpha, margin)
    except CountsInvalid:
        # A pod that reports impossible sums must not stop the deployment; it proves nothing.
        comparison = compare_means((), alpha=alpha, margin=margin)
    return MetricStatus(
        name=metric.value,
        verdict=comparison.verdict.value,
        estimate=None if comparison.estimate is None else round(comparison.estimate, DIGITS),
        lower=round(comparison.lower, DIGITS),
        upper=round(comparison.upper, DIGITS),
        margin=margin,
        confidence=round(1 - alpha, DIGITS),
        stable_count=comparison.n_stable,
        candidate_count=comparison.n_candidate,
    )


def _compare(
    metric: AnalysisMetric,
    settings: Analysis,
    strata: Sequence[Stratum],
    alpha: float,
    margin: float,
) -> Comparison:
    if metric is AnalysisMetric.LOSS:
        losses = tuple(
            MeanStratum(
                stratum.stable_loss.n,
                stratum.stable_loss.loss_sum,
                stratum.stable_loss.loss_squared_sum,
                stratum.candidate_loss.n,
                stratum.candidate_loss.loss_sum,
                stratum.candidate_loss.loss_squared_sum,
                stratum.share,
            )
            for stratum in strata
            if stratum.candidate_loss.n
        )
        return _compared_means(losses, alpha, margin)
    shares: list[ProportionStratum] = []
    for stratum in strata:
        threshold = _threshold(settings, stratum.before)
        if metric is AnalysisMetric.LATENCY and threshold is None:
            continue
        stable = _hits(metric, stratum.stable, threshold)
        hits = _hits(metric, stratum.candidate, threshold)
        shares.append(ProportionStratum(*stable, *hits, stratum.share))
    return _compared_proportions(tuple(shares), alpha, margin)


@lru_cache(maxsize=REMEMBERED)
def _compared_means(strata: tuple[MeanStratum, ...], alpha: float, margin: float) -> Comparison:
    return compare_means(strata, alpha=alpha, margin=margin)


@lru_cache(maxsize=REMEMBERED)
def _compared_proportions(
    strata: tuple[ProportionStratum, ...], alpha: float, margin: float
) -> Comparison:
    return compare_proportions(strata, alpha=alpha, margin=margin)


def _threshold(settings: Analysis, before: ArmCounts) -> timedelta | None:
    """Above which an answer is slow; None: stable's quantile is asked for, but not known yet."""
    if settings.latency_quantile is None:
        return parse_duration(settings.latency_threshold)
    return latency_quantile(before, settings.latency_quantile)


def latency_quantile(arm: ArmCounts, quantile: float) -> timedelta | None:
    """The first bound of the histogram below which this share of the answers lies.

    The last bound where none does; None with fewer than `LEAST_ANSWERS`.
    """
    total = sum(arm.latency_counts)
    if total < LEAST_ANSWERS:
        return None
    below = accumulate(arm.latency_counts)
    bounds = zip(arm.latency_bounds, below, strict=False)
    found = next((bound for bound, count in bounds if count >= quantile * total), None)
    return timedelta(milliseconds=arm.latency_bounds[-1] if found is None else found)


def _hits(metric: AnalysisMetric, arm: ArmCounts, threshold: timedelta | None) -> tuple[int, int]:
    """Requests of an arm and how many of them were bad. Snapshots of pods may tear: clipped."""
    if metric is AnalysisMetric.LATENCY and threshold is not None:
        return slow_requests(arm, threshold)
    bad = arm.errors if metric is AnalysisMetric.ERRORS else arm.invalid_outputs
    return arm.requests, min(bad, arm.requests)


def _overall(metrics: Sequence[MetricStatus]) -> Verdict:
    verdicts = {metric.verdict for metric in metrics}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.UNDECIDED
