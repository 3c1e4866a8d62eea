"""What the conditions Quality and Fair say. Pure."""

from collections.abc import Sequence

from mooring_operator.api.conditions import ConditionStatus, ConditionType, Reason
from mooring_operator.api.deployment import FairnessRate, Monitoring
from mooring_operator.api.monitoring_status import JudgedQuality, QualityStatus, SegmentQuality
from mooring_operator.core.conditions import Fact
from mooring_profile.fairness import FairnessVerdict
from mooring_profile.quality import BLINDNESS, QualityVerdict

_REASONS = {
    QualityVerdict.HEALTHY: (ConditionStatus.TRUE, Reason.HEALTHY),
    QualityVerdict.DEGRADED: (ConditionStatus.FALSE, Reason.DEGRADED),
    QualityVerdict.INSUFFICIENT: (ConditionStatus.UNKNOWN, Reason.INSUFFICIENT),
    QualityVerdict.IMMATURE: (ConditionStatus.UNKNOWN, Reason.IMMATURE),
}
_FAIRNESS = {
    FairnessVerdict.FAIR: (ConditionStatus.TRUE, Reason.RATES_ALIKE),
    FairnessVerdict.UNFAIR: (ConditionStatus.FALSE, Reason.UNFAIR),
    FairnessVerdict.UNDECIDED: (ConditionStatus.UNKNOWN, Reason.UNDECIDED),
    FairnessVerdict.INSUFFICIENT: (ConditionStatus.UNKNOWN, Reason.INSUFFICIENT),
}
_MOST_SEGMENTS = 3
_NEXT = (
    "Next: train on labelled rows since then, or look at the source. Nothing is rolled back for"
    " this alone: whether an older version does better only the same traffic can tell"
)


def quality_fact(monitoring: Monitoring, quality: QualityStatus | None) -> Fact:
    """Whether the model is as right as its reference, by labels if they can tell, else by scores.

    Args:
        monitoring: what the spec asks for.
        quality: what is told of the stable revision; None: nothing.
    """
    labels = None if quality is None else quality.labels
    scores = None if quality is None else quality.scores
    worth = _worth(quality)
    segments = [] if quality is None else quality.segments
    if monitoring.labels is not None and segments:
        status, reason, said = _segments(segments, labels)
        return Fact(ConditionType.QUALITY, status, reason, f"{said}{worth}. {_NEXT}")
    if monitoring.labels is not None and labels is not None:
        status, reason = _REASONS[QualityVerdict(labels.verdict)]
        said = f"By labels of mature predictions: {labels.message}{worth}"
        if status is ConditionStatus.FALSE:
            return Fact(ConditionType.QUALITY, status, reason, f"{said}. {_NEXT}")
        if status is ConditionStatus.TRUE:
            return Fact(ConditionType.QUALITY, status, reason, said)
        return _by_scores(reason, said, scores)
    if monitoring.labels is None:
        why = "spec.monitoring.labels is not set"
    else:
        why = "No labels were judged yet"
    return _by_scores(Reason.NOT_LABELLED, f"{why}{worth}", scores)


def _by_scores(reason: Reason, said: str, scores: JudgedQuality | None) -> Fact:
    """Labels cannot tell; an expected loss that is surely too high is told all the same."""
    type_ = ConditionType.QUALITY
    if scores is None:
        return Fact(type_, ConditionStatus.UNKNOWN, reason, said)
    if scores.verdict == QualityVerdict.DEGRADED:
        message = f"{said}. By scores alone: {scores.message}. {_NEXT}"
        return Fact(type_, ConditionStatus.FALSE, Reason.EXPECTED_WORSE, message)
    blind = "" if BLINDNESS in scores.message else f"; {BLINDNESS}"
    message = f"{said}. By scores alone: {scores.message}{blind}"
    return Fact(type_, ConditionStatus.UNKNOWN, reason, message)


def fairness_fact(monitoring: Monitoring, quality: QualityStatus | None) -> Fact | None:
    """Whether segments are treated alike; None where nobody asks.

    Args:
        monitoring: what the spec asks for.
        quality: what is told of the stable revision; None: nothing.
    """
    asked = monitoring.fairness
    if asked is None:
        return None
    type_, found = ConditionType.FAIR, None if quality is None else quality.fairness
    labelled = [rate for rate in asked.rates if rate is not FairnessRate.SELECTION_RATE]
    if labelled and monitoring.labels is None:
        message = f"{', '.join(labelled)} need labels: set spec.monitoring.labels"
        return Fact(type_, ConditionStatus.UNKNOWN, Reason.NOT_LABELLED, message)
    if found is None:
        message = f"No segments of {asked.column} were compared yet"
        return Fact(type_, ConditionStatus.UNKNOWN, Reason.NO_DATA, message)
    status, reason = _FAIRNESS[FairnessVerdict(found.verdict)]
    absent = sorted(set(asked.rates) - {FairnessRate(item.name) for item in found.rates})
    if status is ConditionStatus.TRUE and absent:
        status, reason = ConditionStatus.UNKNOWN, Reason.NO_DATA
    waiting = f"; not compared yet: {', '.join(absent)}" if absent else ""
    return Fact(type_, status, reason, f"{found.message}{waiting}")


def _segments(
    segments: Sequence[SegmentQuality], labels: JudgedQuality | None
) -> tuple[ConditionStatus, Reason, str]:
    """Segments in which labels show too high a loss, whatever all rows together say."""
    told = "; ".join(
        f"where {item.name} the mean loss is {item.loss:.4g}, above {item.limit:.4g}, since"
        f" {item.since} ({item.rows} labels)"
        for item in segments[:_MOST_SEGMENTS]
    )
    more = len(segments) - _MOST_SEGMENTS
    rest = f"; and {more} more segments (status.quality.segments)" if more > 0 else ""
    said = f"By labels of mature predictions: {told}{rest}"
    if labels is not None and labels.verdict == QualityVerdict.DEGRADED:
        return ConditionStatus.FALSE, Reason.DEGRADED, f"{said}. Of all rows: {labels.message}"
    return ConditionStatus.FALSE, Reason.SEGMENT_DEGRADED, said


def _worth(quality: QualityStatus | None) -> str:
    worth = None if quality is None else quality.worth
    if worth is None:
        return ""
    basis = "" if worth.labelled else ", expected from scores"
    return (
        f"; worth {worth.per_row:.4g} {worth.unit} a row ({worth.lower:.4g} to"
        f" {worth.upper:.4g}{basis})"
    )
