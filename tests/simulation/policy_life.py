"""A RetrainPolicy whose deployment drifts, is promoted and rolled out, while the operator looks."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from mooring_operator.api.group import Kind
from mooring_operator.api.retrain import RetrainPolicyStatus
from mooring_operator.core.observation import RetrainObservation
from mooring_operator.core.retrain.plan import decide
from tests.builders.registry import registry_model, unavailable_answer
from tests.builders.resources import CONFIG, EPOCH
from tests.builders.retrain import POLICY, comparison, not_enough_rows, policy, serving
from tests.simulation.job_cluster import ITS_RUN, JobCluster, Outcome
from tests.simulation.job_operator import Operator, Subject, Wire, standing

ALWAYS_ON_POLICY = ("Ready", "Running")
TRAINING_TIME = timedelta(minutes=5)


def trains(verdict: str = "Accepted", **fields: Any) -> Outcome:
    """The Job compares challenger and champion."""
    return Outcome(comparison(ITS_RUN, verdict, **fields), succeeded=True, after=TRAINING_TIME)


def refuses() -> Outcome:
    """The data cannot carry a run."""
    return Outcome(not_enough_rows(), after=timedelta(seconds=30))


def away() -> Outcome:
    """The store does not answer."""
    return Outcome(unavailable_answer(), after=timedelta(seconds=30))


def crashes(failure: str = "BackoffLimitExceeded: out of memory") -> Outcome:
    """The Job dies without a word."""
    return Outcome(failure=failure, after=timedelta(seconds=30))


class PolicyLife:
    """The world of one policy."""

    def __init__(
        self,
        *triggers: Mapping[str, Any],
        outcomes: Mapping[str, Sequence[Outcome]],
        crash_at: int | None = None,
        **spec: Any,
    ) -> None:
        self.cluster = JobCluster(outcomes)
        self.generation = 1
        self._triggers = triggers
        self._spec = dict(spec)
        self._annotation: str | None = None
        self._deployment: dict[str, Any] = {}
        subject = Subject(
            kind=Kind.RETRAIN_POLICY,
            spec=lambda: {"triggers": list(triggers)},
            decide=lambda status, now: decide(self._observe(status, now), CONFIG, now),
            generation=lambda: self.generation,
            summary=_summary,
            always=ALWAYS_ON_POLICY,
        )
        self.operator = Operator(subject, self.cluster, EPOCH, crash_at)
        self.operator.tell("world", f"apply {POLICY}: {[one['name'] for one in triggers]}")

    @property
    def versions(self) -> list[str]:
        """The versions that runs recorded."""
        return [str(record.data["name"]) for record in self.cluster.records.values()]

    def annotate(self, token: str) -> None:
        """A person asks for a run."""
        self._annotation = token
        self.operator.tell("world", f"annotate mooring.dev/retrain={token}")

    def edit(self, **spec: Any) -> None:
        """A person changes the spec."""
        self._spec |= spec
        self.generation += 1
        self.operator.tell("world", f"apply {spec}")

    def deployment(self, **fields: Any) -> None:
        """What the deployment shows from now on; see `serving`."""
        self._deployment |= fields
        shown = ", ".join(f"{name}={value}" for name, value in fields.items())
        self.operator.tell("world", f"deployment: {shown}")

    def drift(self) -> None:
        """The deployment raises a drift alarm now."""
        self.deployment(drifted_at=self.operator.now)

    def lose_jobs(self) -> None:
        """Somebody deletes every Job."""
        self.operator.tell("world", f"deleted: {sorted(self.cluster.jobs)}")
        self.cluster.jobs.clear()

    def _observe(self, status: Wire, now: datetime) -> RetrainObservation:
        return RetrainObservation(
            resource=policy(
                *self._triggers,
                status=RetrainPolicyStatus.model_validate(status),
                annotation=self._annotation,
                generation=self.generation,
                **self._spec,
            ),
            deployment=serving(**self._deployment),
            model=registry_model("v1"),
            jobs=self.cluster.observed(now),
            records=tuple(self.cluster.records.values()),
        )


def _summary(status: Wire) -> str:
    run = status.get("run")
    parts = [
        standing(status),
        f"run {run['name']}" if run else "no run",
        f"last {status['verdict'] or '-'} {status['interval']}".rstrip(),
    ]
    return "; ".join(parts)
