"""New settings of pods roll in place, with a deadline, and go back to the last good ones.

No pod is taken away before a new one is ready, so the old ones serve on whatever comes of it.
"""

from datetime import timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.group import Annotation
from mooring_operator.api.pod_settings import PodFailure, PodsStatus, PodTrial
from mooring_operator.core.conditions import trimmed
from mooring_operator.core.decision import EventNote
from mooring_operator.core.pod_settings import differing, settings_hash, wanted_settings
from mooring_operator.core.rollout.candidate import all_ready
from mooring_operator.core.rollout.turn import Situation, changed, named, warning


def settle_pods(situation: Situation) -> tuple[Situation, tuple[EventNote, ...]]:
    """The same look, with what became of the settings that the spec asks for."""
    known, stable = situation.status.pods, situation.status.stable
    if stable is None:
        return situation, ()
    wanted = wanted_settings(situation.spec)
    name, seen = settings_hash(wanted), situation.pods(stable)
    applied = seen is not None and seen.annotations.get(Annotation.POD_SETTINGS) == name
    if seen is not None and applied and all_ready(seen, situation.spec.replicas):
        return _with(situation, PodsStatus(good=wanted)), ()
    if known is None:
        return situation, ()
    if settings_hash(known.good) == name:
        return _with(situation, PodsStatus(good=known.good)), ()
    if known.failed is not None and known.failed.settings == name:
        return situation, ()
    trial = known.trying
    if trial is None or trial.settings != name:
        trial = PodTrial(settings=name, since=situation.now)
    if applied and trial.applied_at is None:
        trial = trial.model_copy(update={"applied_at": situation.now})
    tried = _with(situation, PodsStatus(good=known.good, trying=trial))
    if trial_left(tried) != timedelta():
        return tried, ()
    failure = PodFailure(
        settings=name,
        at=situation.now,
        fields=differing(known.good, wanted),
        cause=trimmed(
            (seen.failure if seen is not None else None) or "they were not ready in time"
        ),
    )
    failed = _with(situation, PodsStatus(good=known.good, failed=failure))
    return failed, (warning(Reason.POD_UPDATE_FAILED, update_failed(failed) or ""),)


def try_again(situation: Situation) -> PodsStatus | None:
    """The failed settings at their beginning, at a person's word; None: none failed."""
    known = situation.status.pods
    if known is None or known.failed is None:
        return None
    trial = PodTrial(settings=known.failed.settings, since=situation.now)
    return PodsStatus(good=known.good, trying=trial)


def trial_left(situation: Situation) -> timedelta | None:
    """Time until pods with new settings must be ready; None: nothing runs."""
    known = situation.status.pods
    if known is None or known.trying is None or known.trying.applied_at is None:
        return None
    deadline = parse_duration(situation.spec.rollout.progress_deadline)
    return max(known.trying.applied_at + deadline - situation.now, timedelta())


def trial_message(situation: Situation) -> str:
    """For a message: that pods are being replaced, and for what; empty: they are not."""
    known = situation.status.pods
    if known is None or known.trying is None:
        return ""
    fields = differing(known.good, wanted_settings(situation.spec))
    return f"; they are replaced, one after the other, for {fields}"


def update_failed(situation: Situation) -> str | None:
    """Why the settings of the spec are not in use; None: they are, or are tried."""
    known, stable = situation.status.pods, situation.stable
    if known is None or known.failed is None:
        return None
    failed, deadline = known.failed, situation.spec.rollout.progress_deadline
    return (
        f"{named(stable)} serves on with its former settings: pods with {failed.fields} were not"
        f" ready within progressDeadline {deadline} ({failed.cause}). Correct the fields, or"
        f" annotate {Annotation.RETRY}={stable.revision}@AGAIN to try them again"
    )


def _with(situation: Situation, pods: PodsStatus) -> Situation:
    return situation.on(changed(situation.status, pods=pods))
