"""A Model that people edit while the operator looks after it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.group import Kind
from mooring_operator.api.model import ModelStatus
from mooring_operator.core.observation import ModelObservation, RecordObservation
from mooring_operator.core.registry.plan import decide
from tests.builders.registry import (
    quarantining,
    refused_answer,
    registry_model,
    unavailable_answer,
    verified_answer,
)
from tests.builders.resources import CONFIG, EPOCH
from tests.simulation.job_cluster import JobCluster, Outcome
from tests.simulation.job_operator import Operator, Subject, Wire, standing

ALWAYS_ON_MODEL = ("Ready", "Verified")


def passes(version: str, seconds: int = 20) -> Outcome:
    """Verification succeeds."""
    return Outcome(verified_answer(version), succeeded=True, after=timedelta(seconds=seconds))


def refuses(reason: str = "DigestMismatch") -> Outcome:
    """Verification refuses."""
    return Outcome(refused_answer(reason))


def away() -> Outcome:
    """The store does not answer."""
    return Outcome(unavailable_answer())


class ModelLife:
    """The world of one Model."""

    def __init__(
        self, outcomes: Mapping[str, Sequence[Outcome]], crash_at: int | None = None
    ) -> None:
        self.cluster = JobCluster(outcomes)
        self.deployments: tuple[ModelDeployment, ...] = ()
        self.generation = 0
        self._versions: tuple[str | Mapping[str, Any], ...] = ()
        self._channels: tuple[Mapping[str, Any], ...] = ()
        subject = Subject(
            kind=Kind.MODEL,
            spec=dict[str, Any],
            decide=lambda status, now: decide(self._observe(status, now), CONFIG, now),
            generation=lambda: self.generation,
            summary=_summary,
            always=ALWAYS_ON_MODEL,
        )
        self.operator = Operator(subject, self.cluster, EPOCH, crash_at)

    def apply(
        self,
        *versions: str | Mapping[str, Any],
        channels: Iterable[Mapping[str, Any]] | None = None,
    ) -> None:
        """A person applies the Model with these versions (and channels, where they change)."""
        self._versions = versions
        if channels is not None:
            self._channels = tuple(channels)
        self.generation += 1
        names = [one if isinstance(one, str) else str(one["name"]) for one in versions]
        shown = ", ".join(f"{c['name']}={c.get('version') or 'Newest'}" for c in self._channels)
        self.operator.tell("world", f"apply versions [{', '.join(names)}] channels [{shown}]")

    def record(self, record: RecordObservation) -> None:
        """A run records a version."""
        self.cluster.records[record.name] = record
        self.operator.tell("world", f"run {record.data['run']} recorded its version")

    def roll_back(self, version: str) -> None:
        """A deployment rolls a version back."""
        self.deployments = (quarantining(version),)
        self.operator.tell("world", f"deployment delays rolled {version} back")

    def pointer(self, channel: str) -> str | None:
        """Where a channel points."""
        pointers = {c["name"]: c["version"] for c in self.operator.status.get("channels", ())}
        return pointers.get(channel)

    def _observe(self, status: Wire, now: Any) -> ModelObservation:
        return ModelObservation(
            resource=registry_model(
                *self._versions,
                channels=self._channels,
                status=ModelStatus.model_validate(status),
                generation=self.generation,
            ),
            jobs=self.cluster.observed(now),
            records=tuple(self.cluster.records.values()),
            deployments=self.deployments,
        )


def _summary(status: Wire) -> str:
    versions = [
        f"{v['name']} {v['phase']}"
        + (f"({v['reason']})" if v["reason"] else "")
        + (" rejected" if v["rejectedIn"] else "")
        for v in status["versions"]
    ]
    channels = [f"{c['name']}->{c['version']}#{c['seq']}" for c in status["channels"]]
    parts = [standing(status), f"verified {status['verified']}", ", ".join(versions) or "-"]
    return "; ".join([*parts, " ".join(channels) or "no channel"])
