"""What a promoted revision is suspected of, and who must prove it: the blame gate.

A fault after a promotion is no proof against the promoted revision: what the world does hits the
older one as well. So stable is left at once only where its pods cannot run at all; for anything
else the older revision is asked first, on the same traffic (`probe`), once for each trigger.
"""

from dataclasses import dataclass
from datetime import datetime

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment import EventTime, TrafficMode
from mooring_operator.api.deployment_status import FailedReturn, ProbeStatus, ProbeVerdict, Trigger
from mooring_operator.api.rollback import AutomaticTrigger
from mooring_operator.core.drift import DRIFTED
from mooring_operator.core.quality.settings import cohort_length
from mooring_operator.core.quality.told import quality_status
from mooring_operator.core.revision import reference
from mooring_operator.core.rollout.budget import is_exhausted, spent
from mooring_operator.core.rollout.monitoring import latched_drift
from mooring_operator.core.rollout.probe import begin_probe
from mooring_operator.core.rollout.revert import begin_revert
from mooring_operator.core.rollout.turn import Situation, Turn, named
from mooring_operator.core.rollout.way_back import way_back
from mooring_operator.core.runtime import ENOUGH, LOOKS, RuntimeWatch
from mooring_operator.core.timeline import minute
from mooring_operator.ids import Revision
from mooring_profile.quality import QualityVerdict

WHOLE = 100
"""Percent of the requests that an older revision gets a copy of."""
_SHOWN = 5
"""Drifted features that a suspicion names."""


@dataclass(frozen=True)
class Suspicion:
    """What is held against the stable revision, before anybody proved it."""

    trigger: Trigger
    what: str


def look_back(situation: Situation) -> Turn | None:
    """Stable: the beginning of a rollback, or of a probe; None: nothing that may be done now."""
    target = way_back(situation.status)
    if target is None or not _is_watched(situation):
        return None
    gone = pods_failed(situation)
    if gone is not None:
        return begin_revert(situation, target, Trigger.RUNTIME, Reason.PODS_FAILED, gone)
    if situation.spec.paused or is_exhausted(situation):
        # What runs is not left for a doubt any more; what does not run serves nobody (above).
        return None
    known = _answered(situation)
    for suspicion in _suspicions(situation):
        if suspicion.trigger not in known and _is_on(situation, suspicion.trigger):
            return begin_probe(situation, target, _traffic(situation, suspicion))
    return None


def leave_at_once(situation: Situation) -> Turn:
    """StableGone: the comparison is over, since one side of it cannot answer any more."""
    gone = pods_failed(situation) or ""
    target = reference(situation.candidate)
    return begin_revert(situation, target, Trigger.RUNTIME, Reason.PODS_FAILED, gone)


def remark(situation: Situation) -> str:
    """Why a fault of the stable revision leads to no rollback; empty without a fault."""
    probed = _answered(situation)
    told: list[str] = []
    for suspicion in _suspicions(situation):
        why = probed.get(suspicion.trigger)
        otherwise = f"nothing is rolled back: {_reason_not_to(situation)}"
        told.append(f"{suspicion.what}; {why or otherwise}")
    return "".join(f". {text}" for text in told)


def is_held_against(situation: Situation, failed: FailedReturn) -> bool:
    """Whether what stable should have been left for still stands, and is still to be blamed on it.

    Missing pods, and a person's wish that could not be met, leave nothing against one that serves.
    """
    window = parse_duration(situation.spec.rollback.window)
    if situation.now >= situation.stable.since + window:
        return False
    return any(suspicion.trigger is failed.trigger for suspicion in _suspicions(situation))


def pods_failed(situation: Situation) -> str | None:
    """Why no pod of the stable revision runs, where that is a fault of the revision; else None.

    Lost nodes leave pods without a container that failed: they are nobody's fault.
    """
    pods, watch = situation.pods(situation.stable), _runtime(situation)
    if watch is None or not watch.down or not _is_on(situation, Trigger.RUNTIME):
        return None
    if pods is None or pods.ready or not pods.failure:
        return None
    return f"no pod was ready in {ENOUGH} of {LOOKS} looks: {pods.failure}"


def _answered(situation: Situation) -> dict[Trigger, str]:
    """What probes found, by trigger; one that the spec ended found nothing."""
    probes = situation.stable.probes
    found = (probe for probe in probes if probe.verdict is not ProbeVerdict.UNWANTED)
    return {probe.trigger: probe.message for probe in found}


def _is_watched(situation: Situation) -> bool:
    """Whether the promotion is young enough to be the cause."""
    stable = situation.stable
    window = parse_duration(situation.spec.rollback.window)
    return stable.failed_return is None and situation.now < stable.since + window


def _is_on(situation: Situation, trigger: Trigger) -> bool:
    return AutomaticTrigger(trigger.value) in situation.spec.rollback.triggers


def _reason_not_to(situation: Situation) -> str:
    stable = situation.stable
    if stable.reason != Reason.PROMOTED:
        return f"{named(stable)} was not promoted in place of another revision"
    if way_back(situation.status) is None:
        return "no earlier revision is known that could serve"
    if stable.failed_return is not None:
        return stable.failed_return.message
    if not _is_watched(situation):
        window = situation.spec.rollback.window
        return f"the promotion is longer ago than rollback.window {window}, so the world changed"
    if situation.spec.paused:
        return "spec.paused is true"
    if is_exhausted(situation):
        return spent(situation)
    return "rollback.triggers does not name it"


def _traffic(situation: Situation, suspicion: Suspicion) -> ProbeStatus:
    """Labels are of answers that clients got, so only a share can be compared by them.

    Only mode Forward takes the share back by itself when the operator falls silent.
    """
    spec = situation.spec
    divided = spec.traffic.mode is TrafficMode.FORWARD and suspicion.trigger is not Trigger.RUNTIME
    labelled = divided and spec.monitoring.labels is not None
    return ProbeStatus(
        trigger=suspicion.trigger,
        suspicion=suspicion.what,
        weight=situation.spec.rollback.probe.weight if labelled else 0,
        shadow=0 if labelled else WHOLE,
    )


def _suspicions(situation: Situation) -> list[Suspicion]:
    """What is wrong with stable now, the gravest first; texts stand still while it is."""
    found = (_runtime_suspicion(situation), _quality_suspicion(situation), _drift(situation))
    return [suspicion for suspicion in found if suspicion is not None]


def _runtime(situation: Situation) -> RuntimeWatch | None:
    telemetry = situation.observation.telemetry
    watch = None if telemetry is None else telemetry.runtime
    return watch if watch is not None and watch.revision == situation.stable.revision else None


def _runtime_suspicion(situation: Situation) -> Suspicion | None:
    watch = _runtime(situation)
    if watch is None or not watch.failing:
        return None
    limit = situation.spec.rollback.max_errors
    what = f"more than {limit:.3g} of its requests failed in {ENOUGH} of {LOOKS} looks"
    return Suspicion(Trigger.RUNTIME, what)


def _quality_suspicion(situation: Situation) -> Suspicion | None:
    """Labelled loss too high since the revision was let in; scores alone prove nothing here."""
    stable, monitoring = situation.stable, situation.spec.monitoring
    revision, telemetry = Revision(stable.revision), situation.observation.telemetry
    quality = quality_status(situation.status.quality, telemetry, revision)
    labels = None if quality is None else quality.labels
    if monitoring.labels is None or labels is None or labels.verdict != QualityVerdict.DEGRADED:
        return None
    since = _moment(labels.since)
    if since is not None and monitoring.event_time is EventTime.ARRIVAL:
        # A cohort may have begun before the revision was let in and hold its first predictions.
        ends = since + cohort_length(monitoring.labels)
        if ends <= _let_in(situation):
            return None
    begun = "" if since is None else f" since {minute(since)}"
    loss = "" if labels.loss is None or labels.limit is None else f", above {labels.limit:.4g}"
    return Suspicion(Trigger.QUALITY, f"the labelled loss is too high{begun}{loss}")


def _drift(situation: Situation) -> Suspicion | None:
    """Drift that began after the promotion: in the first window it may have been there before."""
    drift = latched_drift(situation)
    if drift is None or drift.verdict != DRIFTED:
        return None
    known = situation.stable.since + parse_duration(situation.spec.monitoring.window)
    late = [f for f in drift.features if f.since is not None and f.since > known]
    if not late:
        return None
    names = ", ".join(dict.fromkeys(feature.name for feature in late[:_SHOWN]))
    first = min(feature.since for feature in late if feature.since is not None)
    return Suspicion(Trigger.DRIFT, f"drift since {minute(first)} ({names})")


def _let_in(situation: Situation) -> datetime:
    stable = situation.stable
    entry = next((e for e in situation.status.history if e.seq == stable.seq), None)
    return stable.since if entry is None else entry.started_at


def _moment(text: str) -> datetime | None:
    """A time on the wire; None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment
