"""What status tells of quality, and when it moves.

Labels and scores come with every request. A number that is told stays until the new one is outside
of what chance explains, or rests on half again as many rows: status is written O(log rows) times.
"""

import math
from collections.abc import Sequence

from mooring_operator.api.monitoring_status import (
    FairnessRateStatus,
    FairnessStatus,
    JudgedQuality,
    LabelledQuality,
    QualityEstimate,
    QualityStatus,
    SegmentQuality,
    WorthStatus,
)
from mooring_operator.core.conditions import trimmed
from mooring_operator.core.observation import LossCounts, TelemetryObservation
from mooring_operator.core.quality.groups import Groups
from mooring_operator.core.quality.watch import QualityWatch
from mooring_operator.ids import Revision
from mooring_profile.cohorts import CohortReport
from mooring_profile.duplicates import Duplicates
from mooring_profile.fairness import FairnessReport, FairnessVerdict
from mooring_profile.quality import QualityReport
from mooring_profile.value import Worth

NEWS = 1.5
"""A number is replaced when it rests on this many times the rows."""
_ERRORS = 2.0
"""Standard errors within which a new mean is no news."""
_MOVED = 0.1
"""Part of a judged loss by which it must move to be news while the verdict stays."""
_FAR = 1.5
"""Half widths of both intervals by which estimates must be apart: of windows without a change, one
in ten thousand is told."""
_DIGITS = 4
_MANY_DUPLICATES = 0.05
_GRAVITY = (
    FairnessVerdict.UNFAIR,
    FairnessVerdict.UNDECIDED,
    FairnessVerdict.INSUFFICIENT,
    FairnessVerdict.FAIR,
)


def quality_status(
    known: QualityStatus | None, telemetry: TelemetryObservation | None, revision: Revision | None
) -> QualityStatus | None:
    """What to tell of a revision's quality.

    Args:
        known: what was told before.
        telemetry: what the pods say; None: they are silent, so nothing is new.
        revision: the stable one; None: nothing serves.
    """
    if revision is None:
        return None
    if known is None or known.revision != revision:
        known = QualityStatus(revision=revision)
    if telemetry is not None and telemetry.stable == revision:
        labelled = told_loss(known.labelled, telemetry.labelled)
        known = known.model_copy(update={"labelled": labelled})
        if telemetry.quality is not None:
            known = _watched(known, telemetry.quality)
    shown = known.model_copy(update={"shown": _shown(known)})
    return None if shown == QualityStatus(revision=revision) else shown


def told_loss(known: LabelledQuality | None, counts: LossCounts) -> LabelledQuality | None:
    """The loss to tell.

    Args:
        known: what was told before.
        counts: labelled predictions until now. Fewer than were told of, after a restart of the
            operator, are news only when they say something else.
    """
    if counts.n == 0:
        return known
    mean = counts.loss_sum / counts.n
    variance = max(0.0, counts.loss_squared_sum / counts.n - mean * mean)
    error = math.sqrt(variance / counts.n)
    if (
        known is not None
        and counts.n < NEWS * known.rows
        and abs(mean - known.loss) <= max(_ERRORS * error, 0.0005)
    ):
        return known
    return LabelledQuality(loss=round(mean, _DIGITS), rows=counts.n)


def _watched(known: QualityStatus, watch: QualityWatch) -> QualityStatus:
    """With what the quality watch found; before its first verdicts, what was told stays."""
    estimated, scores = known.estimated, known.scores
    if watch.scores is not None:
        new, estimates = _of_scores(watch.scores), _told_estimates(estimated, watch.scores)
        if scores is None or scores.verdict != new.verdict or estimates != estimated:
            scores, estimated = new, estimates
    labels = known.labels
    if watch.labels is not None and (labels is None or watch.state.until is not None):
        labels = _told_verdict(labels, _of_labels(watch.labels, watch.duplicates))
    return known.model_copy(
        update={
            "scores": scores,
            "estimated": estimated,
            "labels": labels,
            "worth": _told_worth(known.worth, watch.worth),
            "fairness": _told_fairness(known.fairness, watch.groups),
            "segments": _told_segments(known.segments, watch.groups),
        }
    )


def _of_scores(report: QualityReport) -> JudgedQuality:
    loss = None if report.estimate is None else report.estimate.metrics
    losses = [] if loss is None else [item.value for name, item in loss.items() if name == "loss"]
    return JudgedQuality(
        verdict=report.verdict,
        message=trimmed(report.message),
        loss=_rounded(losses[0]) if losses else None,
        limit=_rounded(report.limit),
        since=report.since if report.since and report.verdict == "Degraded" else "",
        rows=0 if report.estimate is None else report.estimate.rows,
    )


def _of_labels(report: CohortReport, duplicates: Duplicates | None) -> JudgedQuality:
    return JudgedQuality(
        verdict=report.verdict,
        message=trimmed(f"{report.message}{_twice(duplicates)}"),
        loss=_rounded(report.loss),
        limit=_rounded(report.limit),
        since=report.since if report.since and report.verdict == "Degraded" else "",
        rows=report.labelled,
    )


def _twice(duplicates: Duplicates | None) -> str:
    """In steps of 5 %: the number is another one in each window."""
    if duplicates is None or duplicates.share < _MANY_DUPLICATES:
        return ""
    percent = 5 * int(100 * duplicates.share // 5)
    return (
        f"; {percent} to {percent + 5} % of the labels that were counted had been sent to another"
        " pod before, and weigh less for it: send each once"
    )


def _told_verdict(known: JudgedQuality | None, new: JudgedQuality) -> JudgedQuality:
    """Another verdict or limit is news; so is a loss that moved by a tenth, or many more rows."""
    if known is None or (known.verdict, known.limit) != (new.verdict, new.limit):
        return new
    moved = abs((new.loss or 0.0) - (known.loss or 0.0)) > _MOVED * max(known.loss or 0.0, 0.01)
    return new if moved or new.rows >= NEWS * max(1, known.rows) else known


def _told_estimates(
    known: Sequence[QualityEstimate], report: QualityReport
) -> list[QualityEstimate]:
    """Estimates are news when one is far outside of the interval that was told."""
    if report.estimate is None:
        return list(known)
    new = [
        QualityEstimate(
            metric=name,
            value=round(item.value, _DIGITS),
            reference=_rounded(item.reference),
            lower=round(item.lower, _DIGITS),
            upper=round(item.upper, _DIGITS),
        )
        for name, item in report.estimate.metrics.items()
    ]
    before = {item.metric: item for item in known}
    same = before.keys() == {item.metric for item in new} and not any(
        _apart(before[item.metric], item) for item in new
    )
    return list(known) if same else new


def _apart(one: QualityEstimate, two: QualityEstimate) -> bool:
    reach = (one.upper - one.lower + two.upper - two.lower) / 2
    return abs(one.value - two.value) > _FAR * reach


def _told_worth(known: WorthStatus | None, worth: Worth | None) -> WorthStatus | None:
    if worth is None:
        return known
    new = WorthStatus(
        per_row=round(worth.per_row, _DIGITS),
        lower=round(worth.lower, _DIGITS),
        upper=round(worth.upper, _DIGITS),
        unit=worth.unit,
        labelled=worth.labelled,
    )
    if known is None or (known.unit, known.labelled) != (new.unit, new.labelled):
        return new
    return new if known.upper < new.lower or new.upper < known.lower else known


def _told_fairness(known: FairnessStatus | None, groups: Groups) -> FairnessStatus | None:
    """Only another verdict is news: a confidence sequence tightens with every row."""
    reports = [groups.compared[rate].report for rate in sorted(groups.compared)]
    if not reports:
        return known
    verdicts = [(report.metric, report.verdict) for report in reports]
    if known is not None and [(item.name, item.verdict) for item in known.rates] == verdicts:
        return known
    worst = min(reports, key=lambda report: _GRAVITY.index(report.verdict))
    return FairnessStatus(
        verdict=worst.verdict,
        message=trimmed(worst.message),
        difference=_difference(worst),
        rates=[
            FairnessRateStatus(
                name=report.metric, verdict=report.verdict, difference=_difference(report)
            )
            for report in reports
        ],
    )


def _difference(report: FairnessReport) -> float | None:
    return None if report.widest is None else _rounded(report.widest.difference)


def _told_segments(known: Sequence[SegmentQuality], groups: Groups) -> list[SegmentQuality]:
    """The segments whose loss is too high; what was told of one stays while it is.

    Before the first cohort was judged (again), all of it stays.
    """
    if all(segment.state.until is None for segment in groups.losses.values()):
        return list(known)
    before = {item.name: item for item in known}
    return [
        before.get(name) or _of_segment(name, segment.report)
        for name, segment in sorted(groups.losses.items())
        if segment.report.verdict == "Degraded"
    ]


def _of_segment(name: str, report: CohortReport) -> SegmentQuality:
    return SegmentQuality(
        name=name[:128],
        loss=_rounded(report.loss) or 0.0,
        limit=_rounded(report.limit) or 0.0,
        since=report.since or "",
        rows=report.labelled,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _shown(quality: QualityStatus) -> str:
    """A word where something is wrong, else the loss of labels, else what scores promise."""
    labels, scores, labelled = quality.labels, quality.scores, quality.labelled
    if labels is not None and labels.verdict == "Degraded":
        return f"Degraded {labels.loss or 0.0:.3f} (n={labels.rows})"
    if quality.segments:
        worst = quality.segments[0]
        return f"Degraded {worst.loss:.3f} where {worst.name}"[:64]
    if labelled is not None:
        return f"{labelled.loss:.3f} (n={labelled.rows})"
    if scores is not None and scores.loss is not None:
        return f"~{scores.loss:.3f} (no labels)"
    return ""
