"""The status that people and tools read: conditions and printer columns of one decision."""

from mooring_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from mooring_operator.api.deployment_status import ModelDeploymentStatus, RevisionRef
from mooring_operator.api.monitoring_status import QualityStatus
from mooring_operator.core.conditions import (
    Fact,
    Standing,
    clear_condition,
    set_condition,
    summarize_ready,
)
from mooring_operator.core.manifests.labels import selector_text
from mooring_operator.core.manifests.route import asked_gateway
from mooring_operator.core.quality.fact import fairness_fact, quality_fact
from mooring_operator.core.quality.told import quality_status
from mooring_operator.core.revision import next_seq, quarantine_entry
from mooring_operator.core.rollout.achieved import weight_column, with_weight
from mooring_operator.core.rollout.budget import told
from mooring_operator.core.rollout.gateway import routed_fact
from mooring_operator.core.rollout.monitoring import (
    data_quality_fact,
    drift_column,
    drift_fact,
    latched_drift,
    metrics_fact,
)
from mooring_operator.core.rollout.soak import is_soaking
from mooring_operator.core.rollout.turn import Situation, Unresolved, changed, named
from mooring_operator.ids import Revision


def summarize(situation: Situation, standing: Standing) -> ModelDeploymentStatus:
    """The status with conditions, all of the observed generation, and printer columns."""
    status = changed(
        situation.status,
        drift=latched_drift(situation),
        quality=_quality(situation),
        candidate=with_weight(situation),
        last_seq=next_seq(situation.status) - 1,
        budget=told(situation.status, situation.spec.rollback, situation.now),
    )
    situation = situation.on(status)
    generation = situation.observation.resource.metadata.generation
    conditions: list[Condition] = list(situation.before.conditions)
    for fact in _facts(situation, standing):
        conditions = set_condition(conditions, fact, generation=generation, now=situation.now)
    if situation.spec.monitoring.fairness is None:
        conditions = clear_condition(conditions, ConditionType.FAIR)
    if asked_gateway(situation.spec) is None:
        conditions = clear_condition(conditions, ConditionType.ROUTED)
    conditions = summarize_ready(conditions, standing, generation=generation, now=situation.now)
    serving = _serving(status)
    pods = None if serving is None else situation.pods(serving)
    return changed(
        status,
        observed_generation=generation,
        conditions=conditions,
        phase=_phase(situation, standing),
        environment=situation.observation.environment or "",
        version="" if status.stable is None else status.stable.version,
        ready=f"{0 if pods is None else pods.ready}/{situation.spec.replicas}",
        weight=weight_column(situation),
        drifted=drift_column(status.drift),
        replicas=0 if pods is None else pods.replicas,
        selector=""
        if serving is None
        else selector_text(situation.observation.resource.metadata.name, serving.revision),
    )


def _phase(situation: Situation, standing: Standing) -> str:
    if standing.type is not ConditionType.READY:
        return standing.reason.value
    return "Stable (soaking)" if is_soaking(situation) else "Stable"


def _serving(status: ModelDeploymentStatus) -> RevisionRef | None:
    """The revision that the Service selects: stable, or the first one while it starts."""
    candidate = status.candidate
    if status.stable is None and candidate is not None:
        return candidate
    return status.stable


def _facts(situation: Situation, standing: Standing) -> tuple[Fact, ...]:
    monitoring, quality = situation.spec.monitoring, situation.status.quality
    fair, routed = fairness_fact(monitoring, quality), routed_fact(situation)
    return (
        _available(situation),
        _rolled_back(situation),
        _paused(situation, standing),
        metrics_fact(situation),
        drift_fact(situation),
        data_quality_fact(situation),
        quality_fact(monitoring, quality),
        *(fact for fact in (fair, routed) if fact is not None),
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
    if standing.reason in (Reason.USER_PAUSED, Reason.AWAITING_APPROVAL):
        return Fact(ConditionType.PAUSED, ConditionStatus.TRUE, standing.reason, standing.message)
    held = "spec.paused is true: the next rollout is held" if situation.spec.paused else ""
    return Fact(ConditionType.PAUSED, ConditionStatus.FALSE, Reason.NOT_PAUSED, held)


def _quality(situation: Situation) -> QualityStatus | None:
    stable = situation.status.stable
    return quality_status(
        situation.status.quality,
        situation.observation.telemetry,
        None if stable is None else Revision(stable.revision),
    )
