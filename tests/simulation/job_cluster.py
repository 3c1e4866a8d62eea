"""The part of a cluster that Models and policies see: Jobs that end as scripted, and records.

Kubernetes' own behaviour only: names are unique, finished Jobs go after their time to live,
ControllerRevisions never change. Nothing here decides anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mooring_operator.core.decision import Manifest
from mooring_operator.core.observation import JobObservation, RecordObservation
from tests.builders.registry import as_observed

ITS_RUN = "@run@"
"""Stands in a scripted answer for the name of the run, which is not known beforehand."""


@dataclass(frozen=True)
class Outcome:
    """How a Job ends."""

    answer: Mapping[str, Any] | None = None
    succeeded: bool = False
    after: timedelta = timedelta(seconds=20)
    failure: str = ""


@dataclass(frozen=True)
class SimulatedJob:
    """A Job that was created."""

    manifest: Manifest
    created_at: datetime
    outcome: Outcome
    uid: str

    @property
    def finished_at(self) -> datetime:
        """When its pod ends."""
        return self.created_at + self.outcome.after

    @property
    def removed_at(self) -> datetime | None:
        """When Kubernetes removes it; None: never."""
        ttl = self.manifest["spec"].get("ttlSecondsAfterFinished")
        return None if ttl is None else self.finished_at + timedelta(seconds=ttl)

    def finished(self, now: datetime) -> bool:
        """Whether its pod has ended."""
        return now >= self.finished_at


class JobCluster:
    """Jobs and records of one owner."""

    def __init__(self, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
        """Takes, for each version or trigger, how its Jobs end in turn; the last one repeats."""
        self.jobs: dict[str, SimulatedJob] = {}
        self.records: dict[str, RecordObservation] = {}
        self.created: list[str] = []
        """The name of every Job that was ever created."""
        self._about: list[str] = []
        self._outcomes = outcomes

    def create(self, manifest: Manifest, now: datetime) -> bool:
        """Creates a Job or a record, unless one of its name exists."""
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "ControllerRevision":
            known = name in self.records
            self.records.setdefault(name, as_observed(manifest, now))
            return not known
        if name in self.jobs:
            return False
        about = subject_of(manifest)
        script = self._outcomes[about]
        outcome = script[min(self._about.count(about), len(script) - 1)]
        self._about.append(about)
        self.created.append(name)
        self.jobs[name] = SimulatedJob(manifest, now, outcome, f"uid-{len(self.created)}")
        return True

    def exists(self, manifest: Manifest) -> bool:
        """Whether an object of this name is there."""
        name = manifest["metadata"]["name"]
        return name in (self.records if manifest["kind"] == "ControllerRevision" else self.jobs)

    def sweep(self, now: datetime) -> list[str]:
        """Removes finished Jobs whose time to live is over; returns their names."""
        gone = [
            name
            for name, job in self.jobs.items()
            if (removal := job.removed_at) is not None and now >= removal
        ]
        for name in gone:
            del self.jobs[name]
        return gone

    def next_change(self, now: datetime) -> datetime | None:
        """When a Job ends or goes next, by itself."""
        moments = [
            moment
            for job in self.jobs.values()
            for moment in (job.finished_at, job.removed_at)
            if moment is not None and moment > now
        ]
        return min(moments, default=None)

    def observed(self, now: datetime) -> dict[str, JobObservation]:
        """The Jobs as the operator finds them."""
        return {
            name: JobObservation(
                name=name,
                uid=job.uid,
                created_at=job.created_at,
                finished=job.finished(now),
                succeeded=job.finished(now) and job.outcome.succeeded,
                message=_answer(name, job.outcome) if job.finished(now) else None,
                failure=job.outcome.failure if job.finished(now) else "",
            )
            for name, job in self.jobs.items()
        }


def _answer(job: str, outcome: Outcome) -> Mapping[str, Any] | None:
    return json.loads(json.dumps(outcome.answer).replace(ITS_RUN, _stem(job)))


def subject_of(manifest: Manifest) -> str:
    """What a Job is about: the version it verifies, or the trigger whose run it is."""
    labels = manifest["metadata"]["labels"]
    version = labels.get("mooring.dev/model-version")
    if version is not None:
        return str(version)
    policy = labels["mooring.dev/retrain-policy"]
    return str(_stem(manifest["metadata"]["name"]).removeprefix(f"{policy}-")).rsplit("-", 1)[0]


def _stem(name: str) -> str:
    """A Job's name without the attempt's number; hashes have 8 digits."""
    head, _, tail = name.rpartition("-")
    return name if len(tail) == 8 else head
