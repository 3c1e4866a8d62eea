"""What sync knows of one deployment: its pods, what they acknowledged, what they counted.

Values and sums only; `sync.py` does the talking. In memory: a restarted operator asks the pods
again, and their counters are cumulative.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import ConditionStatus, ConditionType
from mooring_operator.api.deployment import ModelDeployment, Monitoring
from mooring_operator.core.conditions import condition_of
from mooring_operator.core.decision import Route, RouteRole
from mooring_operator.core.drift import DriftWatch
from mooring_operator.core.observation import LossCounts, TelemetryObservation, Trouble
from mooring_operator.core.quality.watch import QualityWatch
from mooring_operator.core.runtime import Answered, Look, RuntimeWatch
from mooring_operator.ids import Revision
from mooring_operator.reconcile.cohort_sums import CohortKey, CohortSums, Labelled, plus
from mooring_operator.reconcile.snapshots import CohortCounts, Identity, Snapshot
from mooring_operator.reconcile.telemetry import Totals
from mooring_profile.duplicates import find_duplicates

_MOST_LOST = 256
_MOST_GONE_SAMPLES = 32
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Terms:
    """What a deployment asks of sync, read once for each version of it.

    Attributes:
        version: of which version these are.
        uid: of the deployment.
        monitoring: as its spec has it.
        interval: between rounds.
        max_errors: share of failed requests that is too much.
        was_heard: whether its status has word of the pods, maybe from an operator before this one.
    """

    version: int
    uid: str
    monitoring: Monitoring
    interval: timedelta
    max_errors: float
    was_heard: bool

    @classmethod
    def of(cls, resource: ModelDeployment, version: int) -> "Terms":
        """Those of a resource."""
        monitoring = resource.spec.monitoring
        heard = condition_of(resource.status.conditions, ConditionType.METRICS_AVAILABLE)
        return cls(
            version=version,
            uid=resource.metadata.uid,
            monitoring=monitoring,
            interval=parse_duration(monitoring.interval),
            max_errors=resource.spec.rollback.max_errors,
            was_heard=heard is not None and heard.status is not ConditionStatus.UNKNOWN,
        )


@dataclass(frozen=True)
class ReadyPod:
    """A ready pod as the cache shows it."""

    uid: str
    address: str
    revision: Revision


@dataclass(frozen=True)
class Told:
    """A message that a pod answered.

    Attributes:
        route: what it said.
        at: when it was sent, wall-clock time.
        answered_at: when the answer came, monotonic seconds.
    """

    route: Route
    at: datetime
    answered_at: float


@dataclass(frozen=True)
class PodState:
    """What one pod told us.

    Attributes:
        pod: the pod.
        first_seen: when it was first seen ready, monotonic seconds.
        identity: who it says it is; None: to be asked (again).
        told: the last message that it answered, whose route it follows; None: none yet.
        snapshot: its counters; None: none yet.
    """

    pod: ReadyPod
    first_seen: float
    identity: Identity | None = None
    told: Told | None = None
    snapshot: Snapshot | None = None


@dataclass
class DeploymentState:
    """All that is known of one deployment's pods."""

    routes: Mapping[Revision, Route] = field(default_factory=dict[Revision, Route])
    terms: Terms | None = None
    """As of the last round; None: before the first, or they could not be read."""
    pods: dict[str, PodState] = field(default_factory=dict[str, PodState])
    gone: Totals = field(default_factory=Totals)
    """Counters of pods (or their earlier boots) that are no more."""
    lost: dict[str, Snapshot] = field(default_factory=dict[str, Snapshot])
    """Last snapshots of those since the last drift window, by source."""
    gone_cohorts: CohortSums = field(default_factory=dict[CohortKey, CohortCounts])
    """Cohorts that those counted."""
    gone_samples: list[Sequence[str]] = field(default_factory=list[Sequence[str]])
    """Receipts whose labels those took: samples of the last ones."""
    at: datetime | None = None
    """All ready pods answered messages that were sent then or later."""
    watch: DriftWatch | None = None
    quality: QualityWatch | None = None
    trouble: Trouble | None = None
    """Why drift cannot be judged, if so."""
    runtime: RuntimeWatch | None = None
    polled: frozenset[str] = frozenset()
    """Uids of the pods that were ready in the last round."""
    told: object = None
    """What the deployment was last woken for."""

    @property
    def stable(self) -> Revision | None:
        """The revision whose pods have the role Stable."""
        stable = (r for r, route in self.routes.items() if route.role is RouteRole.STABLE)
        return next(stable, None)

    @property
    def rolling(self) -> bool:
        """Whether anything but plain serving goes on."""
        return any(
            route.role is not RouteRole.STABLE or route.weight_percent or route.shadow_percent
            for route in self.routes.values()
        )

    def keep(self, ready: Iterable[ReadyPod], present: set[str], now: float) -> None:
        """Takes the pods in as they are now.

        Args:
            ready: the pods that serve.
            present: uids of all pods that still exist; what others counted is final.
            now: monotonic seconds.
        """
        for uid in [uid for uid in self.pods if uid not in present]:
            self.bury(self.pods.pop(uid))
        for pod in ready:
            known = self.pods.get(pod.uid)
            if known is None:
                self.pods[pod.uid] = PodState(pod, first_seen=now)
            elif known.pod != pod:
                self.pods[pod.uid] = replace(known, pod=pod)

    def bury(self, dead: PodState) -> None:
        """Adds what a pod (or an earlier boot of it) counted to what is over."""
        if dead.snapshot is not None:
            self.gone = self.gone.plus([dead.snapshot])
            self.gone_cohorts = plus(self.gone_cohorts, [dead.snapshot])
            if dead.snapshot.label_sample:
                kept = [*self.gone_samples, dead.snapshot.label_sample]
                self.gone_samples = kept[-_MOST_GONE_SAMPLES:]
            self.lost[source_of(dead.snapshot)] = dead.snapshot
            while len(self.lost) > _MOST_LOST:
                del self.lost[next(iter(self.lost))]

    def heard(self, now: datetime) -> datetime | None:
        """The value of `at` by what the pods that are ready answered until now."""
        told = [self.pods[uid].told for uid in self.polled if uid in self.pods]
        times = [message.at for message in told if message is not None]
        if len(times) < len(told):
            return self.at
        oldest = min(times, default=now)
        return oldest if self.at is None else max(self.at, oldest)

    def answered(self, uid: str, told: Told, snapshot: Snapshot) -> None:
        """Takes a pod's answer in; a new boot buries what the earlier one counted."""
        before = self.pods.get(uid)
        if before is None:
            return
        if before.snapshot is not None and before.snapshot.boot_nonce != snapshot.boot_nonce:
            self.bury(before)
        labelled = snapshot.model_copy(update={"revision": before.pod.revision})
        self.pods[uid] = replace(before, told=told, snapshot=labelled)

    def identified(self, uid: str, identity: Identity | None) -> None:
        """Remembers who a pod is, or that it must be asked again."""
        if uid in self.pods:
            self.pods[uid] = replace(self.pods[uid], identity=identity)

    def snapshots(self) -> list[Snapshot]:
        """The last answer of every pod that exists."""
        return [state.snapshot for state in self.pods.values() if state.snapshot is not None]

    def labelled(self) -> Labelled:
        """Predictions and labels by cohort, of all pods, those that are gone included."""
        seen = self.snapshots()
        samples = [*self.gone_samples, *(snapshot.label_sample for snapshot in seen)]
        return Labelled(
            plus(self.gone_cohorts, seen),
            find_duplicates([int(name, 16) for name in sample] for sample in samples),
        )

    def look(self, ready: Iterable[ReadyPod], now: datetime) -> Look | None:
        """What this round saw of the stable revision; None: nothing is stable.

        Args:
            ready: the pods that serve now.
            now: wall clock.
        """
        stable = self.stable
        if stable is None:
            return None
        sources = {
            source_of(snapshot): Answered(snapshot.requests + snapshot.errors, snapshot.errors)
            for snapshot in self.snapshots()
            if snapshot.revision == stable
        }
        return Look(stable, sources, sum(pod.revision == stable for pod in ready), now)

    def rows(self) -> dict[str, int]:
        """Rows by what became of them, of all pods, those that are gone included.

        Nothing before the first pod told of any.
        """
        seen, gone = self.snapshots(), self.gone
        if not seen and not gone.rows:
            return {}
        return {
            "answered": sum(gone.rows.values()) + sum(snapshot.rows for snapshot in seen),
            "sketched": sum(gone.sketched.values())
            + sum(snapshot.sketched_rows for snapshot in seen),
            "dropped": sum(gone.dropped.values()) + sum(snapshot.dropped_rows for snapshot in seen),
        }

    def retired_answers(self) -> int | None:
        """Requests that retired pods answered themselves, those that are gone included.

        None before the first pod told of any.
        """
        totals = self.gone.plus(self.snapshots())
        return sum(totals.retired.values()) if totals.rows else None

    def telemetry(
        self, ready: Iterable[ReadyPod], now: float, patience: float
    ) -> TelemetryObservation | None:
        """The observation; None before the first complete round, unless a pod is silent too long.

        Args:
            ready: the pods that serve now.
            now: monotonic seconds.
            patience: seconds within which every ready pod must have answered to be fresh.
        """
        serving = [self.pods.get(pod.uid) or PodState(pod, now) for pod in ready]
        answering = sum(_is_fresh(state, now, patience) for state in serving)
        if self.at is None and answering == len(serving):
            return None
        totals = self.gone.plus(self.snapshots())
        stable, watch = self.stable, self.watch
        return TelemetryObservation(
            at=self.at or _NEVER,
            fresh=bool(serving) and answering == len(serving),
            routes={
                revision: tuple(
                    None if state.told is None else state.told.route
                    for state in serving
                    if state.pod.revision == revision
                )
                for revision in self.routes
            },
            phases=totals.phases,
            stable=stable,
            labelled=totals.labelled.get(stable or "", LossCounts()),
            coverage=totals.coverage(stable or "") if watch is None else watch.coverage,
            drift=None if watch is None else watch.status,
            trouble=self.trouble,
            quality=self.quality,
            runtime=self.runtime,
            serving=len(serving),
            answering=answering,
        )


def source_of(snapshot: Snapshot) -> str:
    """What counts as one source of cumulative counters: a pod since its boot."""
    return f"{snapshot.pod_uid}/{snapshot.boot_nonce}"


def _is_fresh(state: PodState, now: float, patience: float) -> bool:
    since = state.first_seen if state.told is None else state.told.answered_at
    return now - since <= patience
