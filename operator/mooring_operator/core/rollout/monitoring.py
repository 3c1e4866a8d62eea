"""What MetricsAvailable, Drifted and DataQuality say, for a person to act upon. Pure.

Numbers that move with each window are told in coarse steps or not at all: a condition's message is
part of a status, and a calm deployment writes none.
"""

from collections.abc import Sequence

from mooring_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from mooring_operator.api.monitoring_status import DriftedFeature, DriftStatus
from mooring_operator.core.conditions import MESSAGE_LIMIT, Fact, condition_of
from mooring_operator.core.decision import EventNote
from mooring_operator.core.drift import DRIFTED, LEAST_COVERAGE, NO_DATA, latched
from mooring_operator.core.observation import TelemetryObservation
from mooring_operator.core.rollout.turn import Situation, normal, warning
from mooring_operator.core.timeline import minute
from mooring_profile import SCORE_STREAM
from mooring_profile.document import CLASS_STREAM

_GOOD = {
    ConditionType.METRICS_AVAILABLE: ConditionStatus.TRUE,
    ConditionType.DRIFTED: ConditionStatus.FALSE,
    ConditionType.DATA_QUALITY: ConditionStatus.TRUE,
    ConditionType.QUALITY: ConditionStatus.TRUE,
    ConditionType.FAIR: ConditionStatus.TRUE,
}
_ROOM_FOR_FEATURES = MESSAGE_LIMIT - 420
"""Characters of a message that may name features; the rest says what to do."""
_DRIFT_NEXT = (
    "Next: look whether the source changed; if the change will last, train on it (a RetrainPolicy"
    " with a drift trigger does). It is no reason to roll back: every version sees these inputs"
)
_REASONS = {reason.value: reason for reason in Reason}
_HEARD_FROM_PODS = frozenset(
    {Reason.LOW_COVERAGE, Reason.NO_REFERENCE_PROFILE, Reason.FOREIGN_COUNTS}
)
"""Why drift cannot be judged, by what pods said: holds until they are asked again."""
_QUALITY_NEXT = "Next: look at the source of these values; predictions made from them are suspect"


def latched_drift(situation: Situation) -> DriftStatus | None:
    """The drift watch of what serves now: an alarm stays until another revision serves."""
    stable = situation.status.stable
    if stable is None or situation.spec.monitoring.drift is None:
        return None
    known, telemetry = situation.status.drift, situation.observation.telemetry
    if known is not None and known.revision != stable.revision:
        known = None
    seen = None if telemetry is None else telemetry.drift
    if seen is None or seen.revision != stable.revision:
        return known
    return seen if known is None else latched(known, seen)


def metrics_fact(situation: Situation) -> Fact:
    """Whether the pods' counters can be judged by.

    An operator that has just begun has asked nobody yet: until it has, or pods were silent for too
    long, what its predecessor said holds. So a restart is no news of any deployment.
    """
    type_, telemetry = ConditionType.METRICS_AVAILABLE, situation.observation.telemetry
    if telemetry is None:
        known = _told_before(situation, type_)
        if known is not None:
            return known
        message = "No counters were read from the pods yet"
        return Fact(type_, ConditionStatus.UNKNOWN, Reason.NO_DATA, message)
    broken = _broken(situation, telemetry)
    if broken is not None:
        return Fact(type_, ConditionStatus.FALSE, *broken)
    return Fact(type_, ConditionStatus.TRUE, Reason.FRESH, "Every ready pod answered lately")


def drift_fact(situation: Situation) -> Fact:
    """Whether inputs or scores left the reference profile."""
    type_, drift = ConditionType.DRIFTED, situation.status.drift
    unwatched = _unwatched(situation, type_)
    if unwatched is not None or drift is None:
        return _unknown(type_, unwatched)
    if drift.verdict != DRIFTED:
        said = f"Within tolerance of the reference profile. {_announced(drift)}"
        return Fact(
            type_, ConditionStatus.FALSE, Reason.WITHIN_TOLERANCE, f"{said}{_unarmed(drift)}"
        )
    only_score = all(feature.name in (SCORE_STREAM, CLASS_STREAM) for feature in drift.features)
    return Fact(
        type_,
        ConditionStatus.TRUE,
        Reason.PREDICTION_DRIFT if only_score else Reason.INPUT_DRIFT,
        f"After {drift.rows} rows these left the reference profile: {_named(drift.features)}. "
        f"{_announced(drift)}. {_DRIFT_NEXT}",
    )


def data_quality_fact(situation: Situation) -> Fact:
    """Whether values are missing, invalid or unseen more often than in the reference."""
    type_, drift = ConditionType.DATA_QUALITY, situation.status.drift
    unwatched = _unwatched(situation, type_)
    if unwatched is not None or drift is None:
        return _unknown(type_, unwatched)
    if not drift.data_quality:
        message = "Missing, unseen and invalid values are as in the reference profile"
        return Fact(type_, ConditionStatus.TRUE, Reason.WITHIN_TOLERANCE, message)
    return Fact(
        type_,
        ConditionStatus.FALSE,
        Reason.QUALITY_CHANGED,
        f"More bad values than in the reference profile: {_named(drift.data_quality)}. "
        f"{_announced(drift)}. {_QUALITY_NEXT}",
    )


def monitoring_events(
    before: Sequence[Condition], after: Sequence[Condition]
) -> tuple[EventNote, ...]:
    """One Event for each of these conditions that turned bad, and for each that turned good again.

    What was not known before and is good now is no news.
    """
    events: list[EventNote] = []
    for type_, good in _GOOD.items():
        old, new = condition_of(before, type_), condition_of(after, type_)
        if new is None or new.status is ConditionStatus.UNKNOWN:
            continue
        was = None if old is None else old.status
        if new.status is was:
            continue
        if new.status is not good:
            events.append(warning(Reason(new.reason), f"{type_} is {new.status}: {new.message}"))
        elif was not in (None, ConditionStatus.UNKNOWN):
            events.append(normal(Reason(new.reason), f"{type_} is {new.status}: {new.message}"))
    return tuple(events)


def drift_column(drift: DriftStatus | None) -> str:
    """What `kubectl get` shows under DRIFT."""
    if drift is None or drift.verdict == NO_DATA:
        return "-"
    return "Yes" if drift.verdict == DRIFTED else "No"


def counters_missing(situation: Situation) -> tuple[Reason, str] | None:
    """Why a candidate cannot be judged for want of counters; None: it can."""
    telemetry = situation.observation.telemetry
    if telemetry is None:
        return Reason.NO_DATA, "No counters were read from the pods yet"
    return _silent(telemetry) or _thin(situation, telemetry)


def _broken(situation: Situation, telemetry: TelemetryObservation) -> tuple[Reason, str] | None:
    """Why counters cannot be judged by; the gravest first."""
    silent = _silent(telemetry)
    if silent is not None:
        return silent
    if _is_watched(situation) and telemetry.trouble is not None:
        return telemetry.trouble.reason, f"{telemetry.trouble.message}. {_TROUBLE_NEXT}"
    return _thin(situation, telemetry)


def _silent(telemetry: TelemetryObservation) -> tuple[Reason, str] | None:
    if not telemetry.fresh:
        if not telemetry.serving:
            return Reason.NO_POD_ANSWERS, "No pod is ready, so none was asked. Next: see Available"
        if not telemetry.answering:
            return Reason.NO_POD_ANSWERS, (
                f"None of {telemetry.serving} ready pods answered lately. Next: look at the pods,"
                " and at the network between operator and pods (port 8081)"
            )
        return Reason.STALE, (
            f"{telemetry.answering} of {telemetry.serving} ready pods answered lately. Next: look"
            " at the others, and at the network between operator and pods (port 8081)"
        )
    return None


def _thin(situation: Situation, telemetry: TelemetryObservation) -> tuple[Reason, str] | None:
    if _is_watched(situation) and _is_low(telemetry):
        return Reason.LOW_COVERAGE, _low(telemetry)
    return None


def _is_watched(situation: Situation) -> bool:
    monitoring = situation.spec.monitoring
    return monitoring.drift is not None or monitoring.labels is not None


_TROUBLE_NEXT = (
    "Drift and data quality are not judged. Next: package the model with this release, and let its"
    " pods run this release's image"
)


def _unwatched(situation: Situation, type_: ConditionType) -> tuple[Reason, str] | None:
    """Why nothing can be said about drift and data quality, if so."""
    if situation.spec.monitoring.drift is None:
        return Reason.NOT_MONITORED, "spec.monitoring.drift is not set"
    drift, telemetry = situation.status.drift, situation.observation.telemetry
    if telemetry is None:
        known = _told_before(situation, type_)
        if known is not None and known.reason in _HEARD_FROM_PODS:
            return known.reason, known.message
    if drift is None or drift.verdict == NO_DATA:
        if telemetry is not None and telemetry.trouble is not None:
            return telemetry.trouble.reason, telemetry.trouble.message
        return Reason.NO_DATA, "No complete window was judged yet"
    if drift.verdict != DRIFTED and telemetry is not None and _is_low(telemetry):
        return Reason.LOW_COVERAGE, _low(telemetry)
    return None


def _told_before(situation: Situation, type_: ConditionType) -> Fact | None:
    """What the status says, in words that this release knows; None: nothing."""
    known = condition_of(situation.status.conditions, type_)
    reason = None if known is None else _REASONS.get(known.reason)
    if known is None or reason is None:
        return None
    return Fact(type_, known.status, reason, known.message)


def _unknown(type_: ConditionType, why: tuple[Reason, str] | None) -> Fact:
    return Fact(type_, ConditionStatus.UNKNOWN, *(why or (Reason.NO_DATA, "")))


def _is_low(telemetry: TelemetryObservation) -> bool:
    return telemetry.coverage is not None and telemetry.coverage < LEAST_COVERAGE


def _low(telemetry: TelemetryObservation) -> str:
    """In steps of 5 %: the number is another one in each window."""
    percent = 5 * int(100 * (telemetry.coverage or 0.0) // 5)
    return (
        f"Only {percent} to {percent + 5} % of the answered rows were recorded, at least"
        f" {LEAST_COVERAGE:.0%} are needed. Next: more CPU for the pods"
        " (mooring_record_dropped_rows_total)"
    )


def _announced(drift: DriftStatus) -> str:
    """The promise that makes an alarm worth reading."""
    if not drift.false_alarm_interval:
        return "The false-alarm interval was not recorded"
    return (
        f"At most one false alarm in {drift.false_alarm_interval} expected, over {drift.watched}"
        " together"
    )


def _unarmed(drift: DriftStatus) -> str:
    names = [item.name for item in drift.unarmed]
    return f". Not watched: {', '.join(names)} (status.drift.unarmed)" if names else ""


def _named(features: Sequence[DriftedFeature]) -> str:
    """As many features as there is room for, the largest effect first."""
    told: list[str] = []
    for index, feature in enumerate(features):
        text = _sentence(feature)
        if told and len("; ".join([*told, text])) > _ROOM_FOR_FEATURES:
            return f"{'; '.join(told)}; and {len(features) - index} more (status.drift)"
        told.append(text)
    return "; ".join(told)


def _sentence(feature: DriftedFeature) -> str:
    where = f"{feature.name} where {feature.segment}" if feature.segment else feature.name
    since = "" if feature.since is None else f" since about {minute(feature.since)}"
    change = feature.change or f"effect {feature.effect:.2f}"
    return f"{where} ({feature.kind}){since}: {change}"
