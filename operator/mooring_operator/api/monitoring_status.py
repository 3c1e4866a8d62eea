"""What a ModelDeployment's status says of drift and quality of what serves."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from mooring_operator.api.base import ApiModel, Count, RevisionText, Sentence, ShortText


class DriftedFeature(ApiModel):
    """A stream in alarm, as it was when the alarm was raised."""

    name: Annotated[str, Field(max_length=128)]
    segment: Annotated[str, Field(max_length=128)] = ""
    """`column=value` of the rows it speaks about; empty: all."""
    kind: ShortText
    effect: float
    """How far the share that moved most is beyond its tolerance, 0 to 1."""
    change: Annotated[str, Field(max_length=256)] = ""
    """The change in units of the feature: before and after."""
    since: datetime | None = None
    """Estimated begin of the change: of that window, or earlier if it is the watch's first."""


class UnarmedStream(ApiModel):
    """A stream that is not watched, since the reference itself would raise its alarm."""

    name: Annotated[str, Field(max_length=256)]
    reason: Sentence = ""


class DriftStatus(ApiModel):
    """The drift watch of the stable revision; an alarm is latched until another one serves.

    Nothing in it moves while nothing happens: a calm watch writes no status.
    """

    revision: RevisionText
    verdict: ShortText
    """WithinTolerance, Drifted, NoData."""
    features: Annotated[list[DriftedFeature], Field(max_length=20)] = []
    rows: Count = 0
    """Rows that had been judged when the alarm was raised."""
    windows: Count = 0
    """Windows that had been judged when the alarm was raised."""
    at: datetime | None = None
    """When the alarm was raised."""
    data_quality: Annotated[list[DriftedFeature], Field(max_length=20)] = []
    false_alarm_interval: ShortText = ""
    """Announced: at most one false alarm in this time expected, over all streams together."""
    watched: ShortText = ""
    """What is watched together, for people."""
    unarmed: Annotated[list[UnarmedStream], Field(max_length=20)] = []


class QualityEstimate(ApiModel):
    """What the model's quality would be by its own calibrated scores; needs no label.

    Blind to a change of what the inputs mean (concept drift): only labels show that.
    """

    metric: ShortText
    value: float
    reference: float | None = None
    """The same number on the labelled reference rows."""
    lower: float
    upper: float


class LabelledQuality(ApiModel):
    """Mean loss of the predictions whose labels came, in [0, 1]."""

    loss: Annotated[float, Field(ge=0)]
    rows: Count


class JudgedQuality(ApiModel):
    """The verdict of a test that holds however often one looks."""

    verdict: ShortText
    """Healthy, Degraded, Insufficient, Immature."""
    message: Sentence = ""
    loss: float | None = None
    """Mean loss since `since`, or of what was judged last."""
    limit: float | None = None
    """The mean loss that is tolerated."""
    since: ShortText = ""
    """From when on the loss seems too high."""
    rows: Count = 0


class WorthStatus(ApiModel):
    """What a row is worth to the business, by the value matrix."""

    per_row: float
    lower: float
    upper: float
    unit: ShortText
    labelled: bool
    """Whether it rests on labels; otherwise it is expected from scores."""


class FairnessRateStatus(ApiModel):
    """One rate by which segments are compared."""

    name: ShortText
    verdict: ShortText
    difference: float | None = None
    """Of the pair that differs most, observed."""


class FairnessStatus(ApiModel):
    """Rates of the segments of one column, compared in pairs; the gravest verdict."""

    verdict: ShortText
    """Fair, Unfair, Undecided, Insufficient."""
    message: Sentence = ""
    difference: float | None = None
    """Of the pair that differs most, observed."""
    rates: Annotated[list[FairnessRateStatus], Field(max_length=3)] = []


class SegmentQuality(ApiModel):
    """A segment whose labelled loss is too high."""

    name: Annotated[str, Field(max_length=128)]
    """`column=value`."""
    loss: float
    limit: float
    since: ShortText = ""
    rows: Count = 0


class QualityStatus(ApiModel):
    """What is known of how right the stable revision is.

    A number is replaced when it left its interval or rests on half again as many rows, so that
    steady traffic does not write a status each minute.
    """

    revision: RevisionText
    shown: ShortText = ""
    """For the printer column only."""
    labelled: LabelledQuality | None = None
    labels: JudgedQuality | None = None
    """Judged by cohort of prediction, when mature."""
    scores: JudgedQuality | None = None
    """Judged without labels; blind to concept drift."""
    estimated: Annotated[list[QualityEstimate], Field(max_length=8)] = []
    worth: WorthStatus | None = None
    segments: Annotated[list[SegmentQuality], Field(max_length=20)] = []
    """Segments in which the labelled loss is too high."""
    fairness: FairnessStatus | None = None
