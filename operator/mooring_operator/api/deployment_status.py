"""ModelDeployment status: the only memory of a rollout. One writer, one patch a reconcile."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mooring_operator.api.base import (
    ApiModel,
    DigestText,
    DnsLabel,
    RevisionText,
    SecretName,
    Sentence,
    StoreUri,
    list_map,
)
from mooring_operator.api.conditions import Condition
from mooring_operator.api.gateway import RoutedStatus
from mooring_operator.api.pod_settings import PodsStatus
from mooring_operator.api.rollback import BudgetStatus
from mooring_operator.api.verbs import Approval, Handled, LastVerb, TokenText

Count = Annotated[int, Field(ge=0)]
ShortText = Annotated[str, Field(max_length=64)]


class RevisionRef(ApiModel):
    """A revision and what it is made of. The image is the one pinned when it was made."""

    revision: RevisionText
    version: DnsLabel
    digest: DigestText
    uri: StoreUri
    secret_name: SecretName | None = None
    image: Annotated[str, Field(max_length=512)]


class Trigger(StrEnum):
    """What took a revision back."""

    CANDIDATE = "Candidate"
    """Its analysis, before it was promoted."""
    STARTUP = "Startup"
    """Its pods, which did not start."""
    RUNTIME = "Runtime"
    """What it did while it was stable: failed requests, or pods that cannot run."""
    QUALITY = "Quality"
    """Its labelled loss while it was stable."""
    DRIFT = "Drift"
    """A drift that it copes with worse than the revision before."""
    MANUAL = "Manual"
    """A person."""


class FailedReturn(ApiModel):
    """An older revision that should have taken the stable role back, and could not start."""

    to_revision: RevisionText
    to_version: DnsLabel
    at: datetime
    trigger: Trigger
    reason: ShortText
    message: Sentence


class ProbeVerdict(StrEnum):
    """How a probe of an older revision ended that did not bring it back."""

    NOT_BETTER = "NotBetter"
    """The stable revision is worse by less than the margin, if at all."""
    MIXED = "Mixed"
    """It is worse in one metric and better in another."""
    UNDECIDED = "Undecided"
    """Not proven within the longest time."""
    UNAVAILABLE = "Unavailable"
    """The older revision could not start."""
    UNWANTED = "Unwanted"
    """The spec asked for something else meanwhile."""


class ProbeResult(ApiModel):
    """A probe that ended without a rollback: this trigger begins no other one here."""

    trigger: Trigger
    verdict: ProbeVerdict
    seq: Count
    at: datetime
    message: Sentence


class StableStatus(RevisionRef):
    """The revision that serves."""

    since: datetime
    seq: Count
    """The history entry that made it stable."""
    reason: ShortText
    """How it became stable: Initialized, Promoted, or RolledBack (it took the role back)."""
    soaked_at: datetime | None = None
    """When it had served for rollback.soak without a fault; absent before."""
    metrics_missing_since: datetime | None = None
    """Since when its soak is over but for the counters that show that it had no fault."""
    unproven: bool = False
    """Whether they are missing for longer than rollout.analysis.metricsGrace."""
    probes: Annotated[list[ProbeResult], Field(max_length=4)] = []
    failed_return: FailedReturn | None = None
    """Why no rollback leaves it any more: the revision to go back to could not start."""


class RevertStatus(RevisionRef):
    """The older revision that takes the stable role back. Written before anything moves."""

    trigger: Trigger
    reason: ShortText
    evidence: Sentence
    at: datetime


class CandidateStage(StrEnum):
    """What a candidate is doing; written before the side effects that it stands for."""

    INITIALIZING = "Initializing"
    """Nothing is stable yet: it takes all traffic as soon as it is ready, without analysis."""
    STARTING = "Starting"
    """Its pods are not ready: weight and shadow are 0."""
    ANALYSING = "Analysing"
    PROMOTING = "Promoting"
    """It passed: it is scaled to full, then takes the stable role."""
    ROLLING_BACK = "RollingBack"
    """It failed: its traffic is taken away before its pods are."""
    WITHDRAWING = "Withdrawing"
    """Nobody wants it any more: its traffic is taken away before its pods are."""
    REVERTING = "Reverting"
    """It served here before: it takes the stable role back as soon as it can."""
    PROBE_STARTING = "ProbeStarting"
    """It served here before: its pods are not ready to be compared with."""
    PROBING = "Probing"
    """It gets the same requests as stable, or a share of them, to tell which does better."""
    PROBE_ENDING = "ProbeEnding"
    """It is not needed any more: its traffic is taken away before its pods are."""


class ProbeStatus(ApiModel):
    """Why an older revision is compared with the stable one, and by which traffic."""

    trigger: Trigger
    suspicion: Sentence
    """What was found of the stable revision."""
    weight: Annotated[int, Field(ge=0, le=50)] = 0
    shadow: Annotated[int, Field(ge=0, le=100)] = 0


class CandidateStatus(RevisionRef):
    """The revision that is being let in, or brought back. At most one."""

    seq: Count
    """The history entry that its rollout will be."""
    stage: CandidateStage
    started_at: datetime
    step: Count = 0
    """Index into rollout.steps."""
    step_started_at: datetime
    """When the present stage or step began."""
    analysis_started_at: datetime | None = None
    """When it first got weight or shadow; absent while it never did."""
    held_since: datetime | None = None
    """Since when the analysis clock stands still: paused, or no fresh counters."""
    held_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long the analysis clock stood still before that."""
    metrics_missing_since: datetime | None = None
    """Since when it cannot be judged for want of counters."""
    withheld: bool = False
    """Whether its weight was given back until counters are there again."""
    rollback_reason: ShortText = ""
    rollback_evidence: Sentence = ""
    weight_requested: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent of the requests that it is to answer now."""
    weight_achieved: Annotated[float, Field(ge=0, le=100)] | None = None
    """Percent that it did answer in the present step, from the pods' counters. Replaced when it
    moved by more than chance or a fifth of what is asked for; absent before the first 20."""
    weight_reached: Annotated[int, Field(ge=0, le=100)] | None = None
    """Largest percent of the requests that its pods were ready for in this rollout. It is given no
    more, and keeps pods for as much whatever rollout.steps says by now; absent before its first."""
    routed: RoutedStatus | None = None
    """In traffic mode Gateway: what the Gateway follows; absent while it is not known to follow
    what is asked for."""
    approval: Approval | None = None
    """What let it in where rollout.approval.required asks for that."""
    promoted_by: TokenText = ""
    """The token of mooring.dev/promote that ended its analysis; empty: none did."""
    probe: ProbeStatus | None = None
    """Set where it is compared with stable to tell whether stable is to blame."""
    warm_until: datetime | None = None
    """Of a probe whose pods were warm: until when they are kept after it."""


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


class QuarantineEntry(ApiModel):
    """A revision that must not serve here again without a human's word."""

    revision: RevisionText
    version: DnsLabel
    digest: DigestText
    image: Annotated[str, Field(max_length=512)]
    reason: ShortText
    evidence: Sentence
    at: datetime
    rollback_id: ShortText
    trigger: Trigger = Trigger.CANDIDATE


class Outcome(StrEnum):
    """How the rollout of a revision ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    ABORTED = "Aborted"
    """Dropped and quarantined at a person's word."""


class HistoryEntry(ApiModel):
    """One ended rollout."""

    seq: Count
    revision: RevisionText
    version: DnsLabel
    digest: DigestText
    uri: StoreUri | None = None
    secret_name: SecretName | None = None
    image: Annotated[str, Field(max_length=512)] = ""
    outcome: Outcome
    started_at: datetime
    ended_at: datetime
    cause: Sentence = ""
    approval: Approval | None = None
    soaked: bool = False
    """Whether it served for rollback.soak without a fault: it is known to be good."""


class LastRollback(ApiModel):
    """The latest rollback: what, from what to what, why, on which evidence."""

    id: ShortText
    from_revision: RevisionText
    from_version: DnsLabel
    to_revision: RevisionText
    to_version: DnsLabel
    at: datetime
    reason: ShortText
    evidence: Sentence
    seconds: Annotated[float, Field(ge=0)]
    """From the candidate's first weight or shadow to the end of its traffic; of a stable revision,
    from the decision to the swap."""
    trigger: Trigger = Trigger.CANDIDATE


class RetiredRevision(RevisionRef):
    """A former stable revision whose pods are kept warm."""

    keep_until: datetime
    rolled_back: bool = False
    """Left by a rollback: its pods hand over what they still get, and are no way back."""


class KeptRevision(RevisionRef):
    """A revision that was rolled back, of which one pod is kept for people to look at."""

    keep_until: datetime


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


class ModelDeploymentStatus(ApiModel):
    """What the operator knows of a deployment."""

    observed_generation: Annotated[int, Field(ge=-1)] = -1
    conditions: Annotated[
        list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))
    ] = []
    phase: ShortText = ""
    """For the printer column only; nothing decides by it."""
    environment: ShortText = ""
    version: Annotated[str, Field(max_length=63)] = ""
    ready: ShortText = ""
    weight: ShortText = ""
    drifted: ShortText = ""
    replicas: Count = 0
    selector: Annotated[str, Field(max_length=256)] = ""
    desired: RevisionRef | None = None
    stable: StableStatus | None = None
    candidate: CandidateStatus | None = None
    retired: RetiredRevision | None = None
    kept: KeptRevision | None = None
    revert: RevertStatus | None = None
    analysis: AnalysisStatus | None = None
    drift: DriftStatus | None = None
    quality: QualityStatus | None = None
    quarantine: Annotated[list[QuarantineEntry], Field(max_length=20)] = []
    history: Annotated[list[HistoryEntry], Field(max_length=10)] = []
    last_seq: Count = 0
    """The highest number that a rollout ever had; some leave no other trace."""
    last_rollback: LastRollback | None = None
    budget: BudgetStatus | None = None
    pods: PodsStatus | None = None
    approval: Approval | None = None
    """Of the desired revision, from the word until its rollout begins."""
    handled: Handled = Handled()
    last_verb: LastVerb | None = None
