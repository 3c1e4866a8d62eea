"""What the condition Quality says. Pure."""

from mooring_operator.api.conditions import ConditionStatus, ConditionType, Reason
from mooring_operator.api.deployment import Monitoring
from mooring_operator.api.deployment_status import JudgedQuality, QualityStatus
from mooring_operator.core.conditions import Fact
from mooring_profile.fairness import FairnessVerdict
from mooring_profile.quality import BLINDNESS, QualityVerdict

_REASONS = {
    QualityVerdict.HEALTHY: (ConditionStatus.TRUE, Reason.HEALTHY),
    QualityVerdict.DEGRADED: (ConditionStatus.FALSE, Reason.DEGRADED),
    QualityVerdict.INSUFFICIENT: (ConditionStatus.UNKNOWN, Reason.INSUFFICIENT),
    QualityVerdict.IMMATURE: (ConditionStatus.UNKNOWN, Reason.IMMATURE),
}
_NEXT = (
    "Next: train on labelled rows since then, or look at the source. Nothing is rolled back for"
    " this: whether an older version does better only the same traffic can tell"
)


def quality_fact(monitoring: Monitoring, quality: QualityStatus | None) -> Fact:
    """Whether the model is as right as its reference, by labels if they can tell, else by scores.

    Args:
        monitoring: what the spec asks for.
        quality: what is told of the stable revision; None: nothing.
    """
    labels = None if quality is None else quality.labels
    scores = None if quality is None else quality.scores
    worth = f"{_worth(quality)}{_unfair(quality)}"
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


def _unfair(quality: QualityStatus | None) -> str:
    fairness = None if quality is None else quality.fairness
    if fairness is None or fairness.verdict != FairnessVerdict.UNFAIR:
        return ""
    return f"; unfair: {fairness.message}"


def _worth(quality: QualityStatus | None) -> str:
    worth = None if quality is None else quality.worth
    if worth is None:
        return ""
    basis = "" if worth.labelled else ", expected from scores"
    return (
        f"; worth {worth.per_row:.4g} {worth.unit} a row ({worth.lower:.4g} to"
        f" {worth.upper:.4g}{basis})"
    )
