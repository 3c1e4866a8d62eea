"""ModelDeployment status: the only memory of a rollout. One writer, one patch a reconcile."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mooring_operator.api.analysis_status import AnalysisStatus
from mooring_operator.api.base import (
    ApiModel,
    Count,
    DigestText,
    DnsLabel,
    RevisionText,
    SecretName,
    Sentence,
    ShortText,
    StoreUri,
    list_map,
)
from mooring_operator.api.conditions import Condition
from mooring_operator.api.gateway import RoutedStatus
from mooring_operator.api.monitoring_status import DriftStatus, QualityStatus
from mooring_operator.api.pod_settings import PodsStatus
from mooring_operator.api.rollback import BudgetStatus
from mooring_operator.api.verbs import Approval, Handled, LastVerb, TokenText


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
