"""Jobs and records as observations, for both kinds that run Jobs."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mooring_operator.api.group import Label
from mooring_operator.core.decision import Manifest
from mooring_operator.core.observation import JobObservation, RecordObservation
from mooring_operator.ids import ObjectKey
from mooring_operator.io.fields import mapping_at, number_at, objects_at, text_at
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.parse import controller_uid, time_at
from mooring_operator.reconcile.pod_reports import Ending, ending_of, failure_of

_POD_GRACE = timedelta(seconds=15)
"""Jobs and pods come by different streams: this long a finished Job waits for its pod's words.

Then pods are listed once more, for what neither a list nor the watch after it told: a Job that
ended without an answer is a run that failed.
"""


@dataclass(frozen=True)
class JobsSeen:
    """The Jobs of one owner, and when to look again for words that are still on their way."""

    jobs: dict[str, JobObservation]
    look_again: timedelta | None


def observe_jobs(cache: Cache, owner: ObjectKey, owner_uid: str, now: datetime) -> JobsSeen:
    """The Jobs that this owner controls, each with its pod's answer."""
    pods = cache.linked("Pod", owner)
    jobs: dict[str, JobObservation] = {}
    waiting = False
    for job in cache.linked("Job", owner):
        if controller_uid(job) != owner_uid:
            continue
        uid = text_at(job, "metadata", "uid")
        seen, heard_by = _job(cache, job, [pod for pod in pods if controller_uid(pod) == uid])
        jobs[seen.name] = seen
        if heard_by is None:
            continue
        waiting = True
        if now >= heard_by:
            cache.on_missed("Pod")
    return JobsSeen(jobs, timedelta(seconds=1) if waiting else None)


def observe_records(
    cache: Cache, model: ObjectKey, model_uid: str
) -> tuple[RecordObservation, ...]:
    """The immutable facts about a Model's versions, by name."""
    return tuple(
        RecordObservation(
            name=text_at(item, "metadata", "name"),
            record=text_at(item, "metadata", "labels", Label.RECORD.value),
            revision=number_at(item, "revision"),
            created_at=time_at(item, "metadata", "creationTimestamp"),
            data=mapping_at(item, "data"),
        )
        for item in cache.linked("ControllerRevision", model)
        if controller_uid(item) == model_uid
    )


def _job(
    cache: Cache, job: Manifest, pods: list[Manifest]
) -> tuple[JobObservation, datetime | None]:
    """The Job, and until when its pod's words are waited for; None: they came, or never will."""
    pods.sort(key=lambda pod: time_at(pod, "metadata", "creationTimestamp"))
    endings = [ending for pod in pods if (ending := ending_of(pod)) is not None]
    ending = endings[-1] if endings else None
    verdicts = {
        text_at(item, "type"): item
        for item in objects_at(job, "status", "conditions")
        if text_at(item, "status") == "True"
    }
    verdict = verdicts.get("Complete") or verdicts.get("Failed")
    heard_by = None
    if verdict is not None and ending is None:
        until = time_at(verdict, "lastTransitionTime") + _POD_GRACE
        heard_by = None if cache.listed_since("Pod", until) else until
    observation = JobObservation(
        name=text_at(job, "metadata", "name"),
        uid=text_at(job, "metadata", "uid"),
        created_at=time_at(job, "metadata", "creationTimestamp"),
        finished=verdict is not None and heard_by is None,
        succeeded="Complete" in verdicts,
        message=None if ending is None else ending.message,
        failure=_failure(verdicts.get("Failed"), ending)
        if verdict is not None
        else failure_of(pods) or "",
    )
    return observation, heard_by


def _failure(condition: dict[str, object] | None, ending: Ending | None) -> str:
    if condition is None:
        return ""
    said = f"{text_at(condition, 'reason')}: {text_at(condition, 'message')}"
    return said if ending is None else f"{said}; {ending.words}"
