"""What a ModelDeployment's status says of the running or last comparison of two revisions."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from mooring_operator.api.base import ApiModel, Count, RevisionText, ShortText


class MetricStatus(ApiModel):
    """One metric of the running or last analysis: candidate minus stable, with its interval."""

    name: ShortText
    verdict: ShortText
    estimate: float | None = None
    """Absent while no step has rows of both arms."""
    lower: float
    upper: float
    margin: float | None = None
    """What was tolerated when this was judged."""
    confidence: float | None = None
    """Chance that the limits hold, at all looks together."""
    stable_count: Count
    candidate_count: Count


class SampleRatioStatus(ApiModel):
    """Whether the arms of the present step get their announced shares of the requests."""

    verdict: ShortText
    """Matched or Mismatched."""
    expected: Annotated[float, Field(ge=0)]
    """Requests of the candidate by the announced share."""
    observed: Count
    requests: Count
    """Of both arms."""


class DisagreementStatus(ApiModel):
    """Rows that both revisions answered, over all steps with a shadow."""

    verdict: ShortText
    """Same, Differs or Undecided."""
    lower: float
    """Limits of the share of rows with different answers."""
    upper: float
    rows: Count
    disagreeing: Count


class DistributionStatus(ApiModel):
    """Answers of candidate and stable by score, over all steps; of the share that differs most."""

    verdict: ShortText
    """Same, Differs or Undecided."""
    below: float
    """The score that the shares are about."""
    stable_share: Annotated[float, Field(ge=0, le=1)]
    """Share of stable's answers below it."""
    candidate_share: Annotated[float, Field(ge=0, le=1)]
    lower: float
    """Limits of the largest difference of such a share."""
    upper: float
    stable_rows: Count
    candidate_rows: Count


class AnalysisStatus(ApiModel):
    """The running or last comparison of candidate and stable."""

    candidate: RevisionText
    verdict: ShortText
    evaluated_at: datetime
    rows: Count
    """Rows that the candidate saw in the present step."""
    metrics: Annotated[list[MetricStatus], Field(max_length=4)] = []
    sample_ratio: SampleRatioStatus | None = None
    """Absent while the step has no weight, or no requests."""
    disagreement: DisagreementStatus | None = None
    """Absent without maxDisagreement, or without shadowed rows."""
    distribution: DistributionStatus | None = None
    """Absent without maxDistributionShift, or without answers of both arms."""
