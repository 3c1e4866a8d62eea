"""How good a model is before any label arrives, from merged counts of its score alone.

Confidence-based performance estimation (as in NannyML's CBPE and DLE, but on histograms): the
calibration says how often a score of each bin is right, the counts say how often each bin occurs.
True as long as what a score means has not changed: a change of that (concept drift) cannot be seen
here, and every message says so. Pure; called by the operator and the command line.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

from mooring_profile.calibration import (
    Calibration,
    CalibrationMap,
    CalibrationTask,
    class_stream,
)
from mooring_profile.confusion import Confusion
from mooring_profile.counts import FeatureCounts
from mooring_profile.errors import CountsInvalid
from mooring_profile.expectation import (
    Expectation,
    Expectations,
    Metric,
    Scored,
    expected_accuracy,
    expected_binary,
    expected_loss,
    expected_multiclass,
    scaled,
)
from mooring_profile.feature import SCORE_STREAM, Segment
from mooring_profile.fields import FloatArray
from mooring_profile.risk import (
    LossTotals,
    RiskPolicy,
    RiskState,
    advance,
    log_e_of_values,
)
from mooring_profile.sketch import Sketch

BLINDNESS = (
    "estimated from scores without labels: blind to concept drift, where the same inputs come to "
    "mean something else"
)


class QualityVerdict(StrEnum):
    """What is said about the quality of a model."""

    HEALTHY = "Healthy"
    """No evidence that the risk is above its limit."""
    DEGRADED = "Degraded"
    """Evidence at the announced false-alarm interval that it is."""
    INSUFFICIENT = "Insufficient"
    """Too few rows or labels to say either."""
    IMMATURE = "Immature"
    """No cohort is old enough for its labels to have come."""


@dataclass(frozen=True)
class Estimated:
    """An estimate with the interval that labels of the same rows would fall into.

    Attributes:
        value: the estimate.
        lower: lower end of the interval, pointwise at the confidence asked for.
        upper: upper end.
        reference: the same on the labelled reference rows; None where it has none.
    """

    value: float
    lower: float
    upper: float
    reference: float | None


@dataclass(frozen=True)
class QualityEstimate:
    """Estimated quality over some traffic.

    Attributes:
        stream: the score stream that it rests on.
        rows: of the traffic with a usable score.
        unusable: rows with a missing or invalid score, about which nothing is said.
        outside: rows with a score beyond any of the reference, judged like the nearest.
        metrics: by name; a ratio without a base (precision where nothing is predicted) is absent.
        confusion: expected counts of a binary model; None for others.
        held_out: whether the calibration was made on rows that the model was not trained on.
    """

    stream: str
    rows: int
    unusable: int
    outside: int
    metrics: Mapping[Metric, Estimated]
    confusion: Confusion | None
    held_out: bool

    @property
    def message(self) -> str:
        """One sentence for people, with the blindness of the method."""
        found = ", ".join(
            f"{metric.value} {item.value:.4g} ({item.lower:.4g} to {item.upper:.4g}"
            + (")" if item.reference is None else f", reference {item.reference:.4g})")
            for metric, item in self.metrics.items()
        )
        held = "" if self.held_out else "; calibrated on training rows, so it flatters"
        return f"{found} over {self.rows} rows; {BLINDNESS}{held}"


@dataclass(frozen=True)
class QualityReport:
    """The label-free verdict after a window.

    Attributes:
        verdict: Healthy, Degraded or Insufficient.
        message: one sentence for people.
        estimate: of the window; None without a usable row.
        evidence: R; Degraded from `false_alarm_every` on.
        limit: the expected risk that is tolerated.
        since: name of the window from which the risk seems too high; None while it does not.
    """

    verdict: QualityVerdict
    message: str
    estimate: QualityEstimate | None
    evidence: float
    limit: float | None
    since: str | None


@dataclass(frozen=True)
class ScoreReference:
    """What the scores of all rows, or of a segment, are compared with.

    Attributes:
        calibration: of the reference profile.
        segment: speak of its rows only; None for all.
        counts: of the segment's score in the reference, needed where the segment has no
            calibration of its own and that of all rows is used; None otherwise.
    """

    calibration: Calibration
    segment: Segment | None = None
    counts: FeatureCounts | None = None

    @property
    def stream(self) -> str:
        """Name of the score stream."""
        return SCORE_STREAM if self.segment is None else f"{self.segment}/{SCORE_STREAM}"

    @property
    def map(self) -> CalibrationMap:
        """The segment's own calibration, else that of all rows."""
        return self.calibration.map_of(self.stream) or self.calibration.maps[0]

    @property
    def rows(self) -> FloatArray | None:
        """Reference rows per cell; None where they are not known."""
        if self.segment is None or self.calibration.map_of(self.stream) is not None:
            return self.map.rows
        if self.counts is None or self.counts.present == 0:
            return None
        return self.map.cells_of(self.counts)

    def limit(self, policy: RiskPolicy) -> float | None:
        """Returns the largest expected loss that is fine; None where none can be named."""
        rows = self.rows
        if rows is None:
            return None
        upper = losses_of(self.map, rows).upper_limit(self.map.design_effect)
        return policy.limit(upper)


def estimate_quality(
    reference: ScoreReference, sketch: Sketch, *, confidence: float = 0.95
) -> QualityEstimate | None:
    """Estimates the quality of the model over some traffic.

    Args:
        reference: whose calibration and which rows.
        sketch: merged counts of the traffic.
        confidence: of the intervals, 0 to 1 exclusive.

    Returns:
        None when no row has a usable score.

    Raises:
        CountsInvalid: the counts are of another profile, or confidence is out of its range.
    """
    if not 0 < confidence < 1:
        raise CountsInvalid(f"confidence is {confidence}; it must lie between 0 and 1")
    counts = sketch.counts.get(reference.stream)
    if counts is None or counts.present == 0:
        return None
    calibration, chosen = reference.calibration, reference.map
    cells = chosen.cells_of(counts)
    classes = () if reference.segment is not None else _classes(calibration, sketch)
    found = _expected(calibration, Scored(chosen, cells), classes)
    normal: Expectations = {}
    if reference.rows is not None:
        usual = [Scored(item.map, item.map.rows) for item in classes]
        normal = _expected(calibration, Scored(chosen, reference.rows), usual)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return QualityEstimate(
        stream=reference.stream,
        rows=counts.present,
        unusable=counts.missing + counts.invalid + counts.unseen,
        outside=counts.below + counts.above,
        metrics=_with_intervals(found, normal, z),
        confusion=expected_confusion(chosen, cells)
        if calibration.task is CalibrationTask.BINARY
        else None,
        held_out=calibration.held_out,
    )


def judge_quality(
    reference: ScoreReference,
    state: RiskState | None,
    name: str,
    sketch: Sketch,
    *,
    policy: RiskPolicy,
) -> tuple[RiskState | None, QualityReport]:
    """Judges a window: is the risk that its scores promise above that of the reference?

    The risk is the expected loss of a row; that of the reference is taken at its 99 % upper limit.
    With a calibration that holds, the expected number of windows to a false `DEGRADED` is at least
    `policy.false_alarm_every`.

    Args:
        reference: whose calibration and which rows.
        state: after the window before; None at first. One of another limit starts again.
        name: of the window: when it began.
        sketch: counts of this window alone.
        policy: what is tolerated.

    Returns:
        The state to keep, and the report. None as state: the reference is too small for a limit.
    """
    limit = reference.limit(policy)
    estimate = estimate_quality(reference, sketch)
    if limit is None:
        message = "the labelled reference rows are too few to say what a normal risk is"
        return None, QualityReport(QualityVerdict.INSUFFICIENT, message, estimate, 0.0, None, None)
    if state is None or not math.isclose(state.limit, limit, rel_tol=1e-9):
        state = RiskState(limit)
    counts = sketch.counts.get(reference.stream)
    if counts is not None and counts.present > 0:
        chosen = reference.map
        cells = chosen.cells_of(counts)
        log_e = log_e_of_values(cells, chosen.loss, limit) / chosen.design_effect
        losses = losses_of(chosen, cells)
        state = advance(state, name, losses, log_e, policy.false_alarm_every)
    return state, _report(state, estimate, policy)


def _report(
    state: RiskState, estimate: QualityEstimate | None, policy: RiskPolicy
) -> QualityReport:
    degraded = state.evidence >= policy.false_alarm_every
    risk = state.losses.mean
    if degraded and risk is not None:
        verdict = QualityVerdict.DEGRADED
        message = (
            f"expected loss {risk:.4g} since {state.since}, above {state.limit:.4g}; {BLINDNESS}; "
            f"announced: one false alarm in at least {policy.false_alarm_every:.0f} windows"
        )
    elif estimate is None:
        verdict, message = QualityVerdict.INSUFFICIENT, "no row of the window has a usable score"
    else:
        verdict, message = QualityVerdict.HEALTHY, estimate.message
    return QualityReport(verdict, message, estimate, state.evidence, state.limit, state.since)


def _classes(calibration: Calibration, sketch: Sketch) -> list[Scored]:
    """The rows put into each class, where all classes are counted and calibrated."""
    parts: list[Scored] = []
    for label in calibration.classes:
        found = calibration.map_of(class_stream(label))
        counts = sketch.counts.get(class_stream(label))
        if found is None or counts is None or len(found.mistakes) != len(calibration.classes):
            return []
        parts.append(Scored(found, found.cells_of(counts)))
    return parts


def _expected(
    calibration: Calibration, whole: Scored, classes: Sequence[Scored]
) -> dict[Metric, Expectation]:
    loss = expected_loss(whole)
    match calibration.task:
        case CalibrationTask.BINARY:
            return expected_binary(whole) | {Metric.LOSS: loss}
        case CalibrationTask.MULTICLASS:
            found = expected_multiclass(classes) if classes else expected_accuracy(whole)
            return found | {Metric.LOSS: loss}
        case CalibrationTask.REGRESSION:
            error = scaled(loss, calibration.scale)
            return {Metric.LOSS: loss, Metric.MEAN_ABSOLUTE_ERROR: error}


def _with_intervals(found: Expectations, normal: Expectations, z: float) -> dict[Metric, Estimated]:
    metrics: dict[Metric, Estimated] = {}
    for metric, item in found.items():
        most = math.inf if metric is Metric.MEAN_ABSOLUTE_ERROR else 1.0
        reference = normal.get(metric)
        metrics[metric] = Estimated(
            value=item.value,
            lower=max(0.0, item.value - z * item.sd),
            upper=min(most, item.value + z * item.sd),
            reference=None if reference is None else reference.value,
        )
    return metrics


def losses_of(chosen: CalibrationMap, rows: FloatArray) -> LossTotals:
    """Returns the totals of what `rows` [bins + 2] rows are expected to lose."""
    total, squares = float(rows @ chosen.loss), float(rows @ chosen.loss**2)
    return LossTotals(float(rows.sum()), total, squares)


def expected_confusion(chosen: CalibrationMap, rows: FloatArray) -> Confusion:
    """Returns what labels of `rows` [bins + 2] rows are expected to say of the decision."""
    hits, picked = rows * chosen.probability, chosen.selected
    misses = rows - hits
    return Confusion(
        tp=float(hits @ picked),
        fp=float(misses @ picked),
        fn=float(hits @ (1 - picked)),
        tn=float(misses @ (1 - picked)),
    )
