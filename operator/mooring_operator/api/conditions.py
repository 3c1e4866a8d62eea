"""Every condition type and reason, with its polarity. The one home of both vocabularies.

Exactly one of Ready, Reconciling and Stalled is True (kstatus); Reconciling and Stalled are
present only while True. Other conditions are always present, with True, False or Unknown; Fair and
Routed only where they are asked for.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mooring_operator.api.base import ApiModel


class ConditionType(StrEnum):
    """What a condition speaks about."""

    READY = "Ready"
    """Positive. The desired state is reached at the observed generation, and nothing is wrong."""
    RECONCILING = "Reconciling"
    """Abnormal-true (kstatus). Work towards the desired state is under way."""
    STALLED = "Stalled"
    """Abnormal-true (kstatus). Nothing more happens without a spec change or a human."""
    AVAILABLE = "Available"
    """Positive. At least one pod of the stable revision serves."""
    VERIFIED = "Verified"
    """Positive, on Model. Every declared version passed verification."""
    ROLLED_BACK = "RolledBack"
    """Negative. A revision other than the desired one serves, because of a rollback."""
    PAUSED = "Paused"
    """Neutral. A person, or a gate that waits for one, holds the rollout."""
    METRICS_AVAILABLE = "MetricsAvailable"
    """Positive. The pods' counters are fresh enough to judge by."""
    DRIFTED = "Drifted"
    """Negative. The inputs or scores left the reference profile (announced false-alarm rate)."""
    DATA_QUALITY = "DataQuality"
    """Positive. Missing, unseen, out-of-range and invalid values are as in the reference."""
    QUALITY = "Quality"
    """Positive. The model is as right as its reference says it should be."""
    FAIR = "Fair"
    """Positive, present where `spec.monitoring.fairness` is set. Segments are treated alike."""
    ROUTED = "Routed"
    """Positive, present in traffic mode Gateway. The Gateway accepted the HTTPRoute as wanted."""
    RUNNING = "Running"
    """Neutral, on RetrainPolicy. A training Job is under way."""


class Reason(StrEnum):
    """Why a condition has its status. PascalCase; part of the API."""

    # Model
    ALL_VERIFIED = "AllVerified"
    VERIFYING = "Verifying"
    VERSION_REFUSED = "VersionRefused"
    STORE_UNAVAILABLE = "StoreUnavailable"
    CHANNEL_UNRESOLVED = "ChannelUnresolved"
    VERSION_CONFLICT = "VersionConflict"
    VERSION_VERIFIED = "VersionVerified"
    CHANNEL_MOVED = "ChannelMoved"
    # Progress of a ModelDeployment
    INITIALIZING = "Initializing"
    CANDIDATE_STARTING = "CandidateStarting"
    ANALYSING = "Analysing"
    AWAITING_METRICS = "AwaitingMetrics"
    SAMPLE_RATIO_MISMATCH = "SampleRatioMismatch"
    PREDICTIONS_DIFFER = "PredictionsDiffer"
    AWAITING_GATEWAY = "AwaitingGateway"
    PROMOTING = "Promoting"
    ROLLING_BACK = "RollingBack"
    WITHDRAWING = "Withdrawing"
    RETRIED = "Retried"
    APPROVED = "Approved"
    VERB_IGNORED = "VerbIgnored"
    PROBING = "Probing"
    PROBE_ENDED = "ProbeEnded"
    USER_PAUSED = "UserPaused"
    AWAITING_APPROVAL = "AwaitingApproval"
    AWAITING_MODEL = "AwaitingModel"
    COOLING_DOWN = "CoolingDown"
    """Also of a RetrainPolicy, which is Ready meanwhile."""
    # Rest of a ModelDeployment
    INITIALIZED = "Initialized"
    PROMOTED = "Promoted"
    ROLLBACK_CLEARED = "RollbackCleared"
    ROLLED_BACK = "RolledBack"
    QUARANTINED = "Quarantined"
    MODEL_NOT_FOUND = "ModelNotFound"
    VERSION_NOT_FOUND = "VersionNotFound"
    CHANNEL_NOT_FOUND = "ChannelNotFound"
    ANALYSIS_UNDECIDED = "AnalysisUndecided"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    NO_HEALTHY_REVISION = "NoHealthyRevision"
    POD_UPDATE_FAILED = "PodUpdateFailed"
    ROLLBACK_BUDGET_EXHAUSTED = "RollbackBudgetExhausted"
    NAME_CONFLICT = "NameConflict"
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    GATEWAY_API_MISSING = "GatewayApiMissing"
    INVALID_SPEC = "InvalidSpec"
    # Available
    STABLE_SERVING = "StableServing"
    NOT_ENOUGH_PODS = "NotEnoughPods"
    # Routed
    ROUTE_ACCEPTED = "RouteAccepted"
    # why a rollback happened
    STARTUP_FAILED = "StartupFailed"
    ERRORS_INCREASED = "ErrorsIncreased"
    INVALID_OUTPUTS_INCREASED = "InvalidOutputsIncreased"
    LATENCY_INCREASED = "LatencyIncreased"
    LOSS_INCREASED = "LossIncreased"
    PODS_FAILED = "PodsFailed"
    RUNTIME_REGRESSION = "RuntimeRegression"
    QUALITY_BLAMED = "QualityBlamed"
    DRIFT_BLAMED = "DriftBlamed"
    UNDECIDED = "Undecided"
    MANUAL = "Manual"
    # metrics and drift
    FRESH = "Fresh"
    NO_POD_ANSWERS = "NoPodAnswers"
    STALE = "Stale"
    NO_REFERENCE_PROFILE = "NoReferenceProfile"
    FOREIGN_COUNTS = "ForeignCounts"
    NO_DATA = "NoData"
    LOW_COVERAGE = "LowCoverage"
    INPUT_DRIFT = "InputDrift"
    PREDICTION_DRIFT = "PredictionDrift"
    WITHIN_TOLERANCE = "WithinTolerance"
    QUALITY_CHANGED = "QualityChanged"
    NOT_MONITORED = "NotMonitored"
    # quality of the predictions
    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    EXPECTED_WORSE = "ExpectedWorse"
    SEGMENT_DEGRADED = "SegmentDegraded"
    RATES_ALIKE = "RatesAlike"
    UNFAIR = "Unfair"
    INSUFFICIENT = "Insufficient"
    IMMATURE = "Immature"
    NOT_LABELLED = "NotLabelled"
    # RetrainPolicy
    WATCHING = "Watching"
    TRAINING = "Training"
    SUSPENDED = "Suspended"
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound"
    NO_PREDICTION_LOG = "NoPredictionLog"
    RUN_ACCEPTED = "RunAccepted"
    RUN_REJECTED = "RunRejected"
    RUN_INCONCLUSIVE = "RunInconclusive"
    RUN_REFUSED = "RunRefused"
    RUN_FAILED = "RunFailed"
    # shared
    NOT_PAUSED = "NotPaused"
    NOT_ROLLED_BACK = "NotRolledBack"
    IDLE = "Idle"
    OPERATOR_ERROR = "OperatorError"


class ConditionStatus(StrEnum):
    """Kubernetes' three truth values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One observation about a resource, after metav1.Condition."""

    type: Annotated[str, Field(max_length=64)]
    status: ConditionStatus
    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
    message: Annotated[str, Field(max_length=1024)] = ""
    observed_generation: Annotated[int, Field(ge=-1)] = -1
    last_transition_time: datetime
