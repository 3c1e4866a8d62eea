"""The status that people and tools read: conditions and printer columns of one decision."""

from mooring_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from mooring_operator.api.deployment_status import (
    CandidateStage,
    DriftStatus,
    ModelDeploymentStatus,
    RevisionRef,
)
from mooring_operator.core.conditions import (
    Fact,
    Standing,
    set_condition,
    summarize_ready,
)
from mooring_operator.core.drift import DRIFTED, LEAST_COVERAGE, NO_DATA
from mooring_operator.core.manifests.labels import selector_text
from mooring_operator.core.observation import TelemetryObservation
from mooring_operator.core.revision import quarantine_entry
from mooring_operator.core.rollout.steps import current_step, phase_key, shares
from mooring_operator.core.rollout.turn import Situation, Unresolved, changed, named
from mooring_profile import SCORE_STREAM


def summarize(situation: Situation, standing: Standing) -> ModelDeploymentStatus:
    """The status with conditions, all of the observed generation, and printer columns."""
    status = changed(situation.status, drift=_latched_drift(situation))
    situation = situation.on(status)
    generation = situation.observation.resource.metadata.generation
    conditions: list[Condition] = list(situation.before.conditions)
    for fact in _facts(situation, standing):
        conditions = set_condition(conditions, fact, generation=generation, now=situation.now)
    conditions = summarize_ready(conditions, standing, generation=generation, now=situation.now)
    serving = _serving(status)
    pods = None if serving is None else situation.pods(serving)
    return changed(
        status,
        observed_generation=generation,
        conditions=conditions,
        phase="Stable" if standing.type is ConditionType.READY else standing.reason.value,
        environment=situation.observation.environment or "",
        version="" if status.stable is None else status.stable.version,
        ready=f"{0 if pods is None else pods.ready}/{situation.spec.replicas}",
        weight=_weight(situation),
        drifted=_drifted(status.drift),
        quality=_quality(situation),
        replicas=0 if pods is None else pods.replicas,
        selector=""
        if serving is None
        else selector_text(situation.observation.resource.metadata.name, serving.revision),
    )


def _serving(status: ModelDeploymentStatus) -> RevisionRef | None:
    """The revision that the Service selects: stable, or the first one while it starts."""
    candidate = status.candidate
    if status.stable is None and candidate is not None:
        return candidate
    return status.stable


def _facts(situation: Situation, standing: Standing) -> tuple[Fact, ...]:
    return (
        _available(situation),
        _rolled_back(situation),
        _paused(situation, standing),
        _metrics_available(situation),
        _drift_fact(situation),
        _quality_fact(situation),
    )


def _available(situation: Situation) -> Fact:
    stable = situation.status.stable
    if stable is None:
        message = "No revision has become stable yet"
        return Fact(ConditionType.AVAILABLE, ConditionStatus.FALSE, Reason.NOT_ENOUGH_PODS, message)
    pods = situation.pods(stable)
    if pods is None or pods.ready == 0:
        message = f"No pod of {named(stable)} is ready"
        return Fact(ConditionType.AVAILABLE, ConditionStatus.FALSE, Reason.NOT_ENOUGH_PODS, message)
    return Fact(
        ConditionType.AVAILABLE,
        ConditionStatus.TRUE,
        Reason.STABLE_SERVING,
        f"{named(stable)} serves",
    )


def _rolled_back(situation: Situation) -> Fact:
    stable = situation.status.stable
    if not isinstance(situation.resolution, Unresolved) and stable is not None:
        desired = situation.desired
        entry = quarantine_entry(situation.status, desired.revision)
        if entry is not None and desired.revision != stable.revision:
            message = f"{named(stable)} serves instead of {named(desired)}: {entry.evidence}"
            return Fact(
                ConditionType.ROLLED_BACK, ConditionStatus.TRUE, Reason(entry.reason), message
            )
    return Fact(ConditionType.ROLLED_BACK, ConditionStatus.FALSE, Reason.NOT_ROLLED_BACK)


def _paused(situation: Situation, standing: Standing) -> Fact:
    if standing.reason is Reason.USER_PAUSED:
        return Fact(
            ConditionType.PAUSED, ConditionStatus.TRUE, Reason.USER_PAUSED, standing.message
        )
    held = "spec.paused is true: the next rollout is held" if situation.spec.paused else ""
    return Fact(ConditionType.PAUSED, ConditionStatus.FALSE, Reason.NOT_PAUSED, held)


def _metrics_available(situation: Situation) -> Fact:
    telemetry = situation.observation.telemetry
    if telemetry is None:
        message = "No counters were read from the pods yet"
        return Fact(
            ConditionType.METRICS_AVAILABLE, ConditionStatus.UNKNOWN, Reason.NO_DATA, message
        )
    if not telemetry.fresh:
        message = "Not every ready pod answered lately"
        return Fact(ConditionType.METRICS_AVAILABLE, ConditionStatus.FALSE, Reason.NO_DATA, message)
    return Fact(
        ConditionType.METRICS_AVAILABLE,
        ConditionStatus.TRUE,
        Reason.FRESH,
        "Every ready pod answered lately",
    )


def _latched_drift(situation: Situation) -> DriftStatus | None:
    """The drift watch of what serves now: an alarm stays until another revision serves."""
    stable = situation.status.stable
    if stable is None or situation.spec.monitoring.drift is None:
        return None
    known = situation.status.drift
    if known is not None and known.revision != stable.revision:
        known = None
    if known is not None and known.verdict == DRIFTED:
        return known
    telemetry = situation.observation.telemetry
    seen = None if telemetry is None else telemetry.drift
    return seen if seen is not None and seen.revision == stable.revision else known


def _unwatched(situation: Situation) -> tuple[Reason, str] | None:
    """Why nothing can be said about drift and data quality, if so."""
    if situation.spec.monitoring.drift is None:
        return Reason.NOT_MONITORED, "spec.monitoring.drift is not set"
    drift = situation.status.drift
    if drift is None or drift.verdict == NO_DATA:
        return Reason.NO_DATA, "No complete window was judged yet"
    if drift.verdict != DRIFTED and _coverage_is_low(situation.observation.telemetry):
        return Reason.LOW_COVERAGE, f"Less than {LEAST_COVERAGE:.0%} of the rows were recorded"
    return None


def _coverage_is_low(telemetry: TelemetryObservation | None) -> bool:
    return (
        telemetry is not None
        and telemetry.coverage is not None
        and telemetry.coverage < LEAST_COVERAGE
    )


def _drift_fact(situation: Situation) -> Fact:
    unwatched = _unwatched(situation)
    drift = situation.status.drift
    if unwatched is not None or drift is None:
        reason, message = unwatched or (Reason.NO_DATA, "")
        return Fact(ConditionType.DRIFTED, ConditionStatus.UNKNOWN, reason, message)
    if drift.verdict != DRIFTED:
        return Fact(
            ConditionType.DRIFTED,
            ConditionStatus.FALSE,
            Reason.WITHIN_TOLERANCE,
            "Inputs and scores are as in the reference profile",
        )
    names = [f"{feature.name} (effect {feature.effect:.2f})" for feature in drift.features]
    only_score = all(feature.name == SCORE_STREAM for feature in drift.features)
    return Fact(
        ConditionType.DRIFTED,
        ConditionStatus.TRUE,
        Reason.PREDICTION_DRIFT if only_score else Reason.INPUT_DRIFT,
        f"After {drift.rows} rows these left the reference profile: {', '.join(names)}",
    )


def _quality_fact(situation: Situation) -> Fact:
    unwatched = _unwatched(situation)
    drift = situation.status.drift
    if unwatched is not None or drift is None:
        reason, message = unwatched or (Reason.NO_DATA, "")
        return Fact(ConditionType.DATA_QUALITY, ConditionStatus.UNKNOWN, reason, message)
    if not drift.data_quality:
        return Fact(
            ConditionType.DATA_QUALITY,
            ConditionStatus.TRUE,
            Reason.WITHIN_TOLERANCE,
            "Missing, unseen, out-of-range and invalid values are as in the reference profile",
        )
    names = [f"{feature.name} ({feature.kind})" for feature in drift.data_quality]
    return Fact(
        ConditionType.DATA_QUALITY,
        ConditionStatus.FALSE,
        Reason.QUALITY_CHANGED,
        f"More bad values than in the reference profile: {', '.join(names)}",
    )


def _weight(situation: Situation) -> str:
    """Achieved of asked-for weight, from the pods' request counters."""
    candidate = situation.status.candidate
    if candidate is None or candidate.stage is CandidateStage.INITIALIZING:
        return ""
    weight, shadow = shares(situation.status, situation.spec)
    if shadow:
        return f"shadow {shadow}%"
    if not weight:
        return "0%"
    telemetry = situation.observation.telemetry
    counts = None if telemetry is None else telemetry.phases.get(phase_key(candidate))
    answered = 0 if counts is None else counts.candidate.requests
    total = 0 if counts is None else counts.stable.requests + answered
    achieved = 100 * answered / total if total else 0.0
    asked = current_step(situation.spec.rollout.steps, candidate).weight
    return f"{achieved:.2g}% of {asked}%"


def _drifted(drift: DriftStatus | None) -> str:
    if drift is None or drift.verdict == NO_DATA:
        return "-"
    return "Yes" if drift.verdict == DRIFTED else "No"


def _quality(situation: Situation) -> str:
    """Mean loss of labelled predictions; what was known before while the pods are silent."""
    telemetry = situation.observation.telemetry
    if telemetry is None:
        before, now = situation.before.stable, situation.status.stable
        same = before is not None and now is not None and before.revision == now.revision
        return situation.before.quality if same else ""
    labelled = telemetry.labelled
    return f"{labelled.loss_sum / labelled.n:.3f} (n={labelled.n})" if labelled.n else ""
