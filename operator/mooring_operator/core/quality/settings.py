"""What a deployment's spec asks of the quality watch, in the kernel's terms. Pure."""

from dataclasses import dataclass, field
from datetime import timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.deployment import Fairness, Labels, Monitoring, ValueMatrix
from mooring_profile.cohorts import CohortPolicy
from mooring_profile.fairness import FairnessMetric, FairnessPolicy
from mooring_profile.risk import RiskPolicy
from mooring_profile.value import ValueMatrix as Matrix

_COHORTS_OF_MATURITY = 12
_MOST_COHORTS_OF_MATURITY = 50
"""Pods keep 64 cohorts: the youngest mature one must still be among them."""
_LEAST_FALSE_ALARM_WINDOWS = 1.001
"""An interval shorter than a window announces nothing; the kernel wants more than one."""


@dataclass(frozen=True)
class QualitySettings:
    """How quality is judged.

    Attributes:
        scores: tolerated expected loss, judged each drift window.
        cohort: length of a cohort; None: labels are not judged.
        labels: tolerated labelled loss, judged each cohort; None with it.
        matrix: value of a row; None: not asked for.
        column: whose segments are compared; None: not asked for.
        rates: by which they are.
        fairness: how they are.
        by_request: whether requests say which time they are about, so that time is theirs.
    """

    scores: RiskPolicy = field(default_factory=RiskPolicy)
    cohort: timedelta | None = None
    labels: CohortPolicy | None = None
    matrix: Matrix | None = None
    column: str | None = None
    rates: tuple[FairnessMetric, ...] = ()
    fairness: FairnessPolicy = field(default_factory=FairnessPolicy)
    by_request: bool = False


def quality_settings(monitoring: Monitoring, window: timedelta) -> QualitySettings:
    """The settings that a spec asks for."""
    quality, labels, fairness = monitoring.quality, monitoring.labels, monitoring.fairness
    interval = parse_duration(quality.false_alarm_interval)

    def risk(every: timedelta) -> RiskPolicy:
        announced = max(_LEAST_FALSE_ALARM_WINDOWS, interval / every)
        return RiskPolicy(quality.margin, announced, quality.ceiling)

    cohort = None if labels is None else cohort_length(labels)
    return QualitySettings(
        scores=risk(window),
        cohort=cohort,
        labels=None
        if labels is None or cohort is None
        else CohortPolicy(parse_duration(labels.maturity), risk(cohort), labels.min_coverage),
        matrix=_matrix(quality.value_matrix),
        column=None if fairness is None else fairness.column,
        rates=() if fairness is None else tuple(FairnessMetric(rate) for rate in fairness.rates),
        fairness=_fairness(fairness),
        by_request=monitoring.event_time.value == "Request",
    )


def cohort_length(labels: Labels) -> timedelta:
    """Length of a cohort in whole seconds: as asked, but not so short that pods forget it."""
    maturity = parse_duration(labels.maturity)
    asked = maturity / _COHORTS_OF_MATURITY
    if labels.cohort is not None:
        asked = parse_duration(labels.cohort)
    seconds = max(asked, maturity / _MOST_COHORTS_OF_MATURITY, timedelta(seconds=1))
    return timedelta(seconds=-(-seconds // timedelta(seconds=1)))


def _matrix(asked: ValueMatrix | None) -> Matrix | None:
    if asked is None:
        return None
    return Matrix(tp=asked.tp, fp=asked.fp, fn=asked.fn, tn=asked.tn, unit=asked.unit)


def _fairness(asked: Fairness | None) -> FairnessPolicy:
    if asked is None:
        return FairnessPolicy()
    return FairnessPolicy(asked.alpha, asked.tolerance, asked.least_ratio)
