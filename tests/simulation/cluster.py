"""The simulated cluster: Deployments, pods that become ready, Services, and the requests of a tick.

Everything here is what Kubernetes, the pods and the clients do. It knows nothing of decisions.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from mooring_operator.core.decision import Route, RouteRole
from mooring_operator.core.observation import ArmCounts, LossCounts, PhaseCounts
from mooring_operator.core.runtime import Answered
from tests.simulation.gateway import Gateway

FAST_MS, SLOW_MS = 5.0, 200.0
BOUNDS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
BREAKER = 2
"""Failed forwards of a stable pod before it stops trying."""
FAST_BIN = BOUNDS.index(FAST_MS)
SLOW_BIN = BOUNDS.index(250.0)


@dataclass
class Behaviour:
    """What a version's pods do."""

    error_rate: float = 0.002
    invalid_rate: float = 0.0
    slow_rate: float = 0.01
    loss: float = 0.10
    starts: bool = True
    start_seconds: float = 15.0
    failure: str | None = None
    """What Kubernetes says of pods that do not start."""


@dataclass
class Pod:
    """One pod: ready from a time on, with the last route that it acknowledged."""

    created_at: datetime
    ready_at: datetime | None
    route: Route | None = None
    route_at: datetime | None = None
    silent: bool = False
    """Whether the operator cannot reach it: neither routes nor counters travel."""

    def is_ready(self, now: datetime) -> bool:
        """Whether it serves."""
        return self.ready_at is not None and now >= self.ready_at

    def effective(self, now: datetime, ttl: timedelta) -> Route:
        """The route that it follows: without fresh messages it forwards nothing."""
        if self.route is None:
            return Route(RouteRole.STABLE)
        if self.route_at is None or now - self.route_at >= ttl:
            return replace(self.route, phase=None, weight_percent=0, shadow_percent=0)
        return self.route


@dataclass
class Workload:
    """One Deployment."""

    revision: str
    version: str
    image: str
    created_at: datetime
    replicas: int = 0
    memory: str | None = None
    settings: str = ""
    """Hash of the settings that its pods must have."""
    serving: str = ""
    """Hash of the settings that its ready pods have."""
    rolled_at: datetime | None = None
    """When all pods have them; None: the new ones do not start."""
    pods: list[Pod] = field(default_factory=list[Pod])

    def updated(self, now: datetime) -> int:
        """Its pods that have the settings. Old ones serve until new ones do: none is missing."""
        return len(self.pods) if self.rolled_at is not None and now >= self.rolled_at else 0

    def ready(self, now: datetime) -> list[Pod]:
        """Its pods that serve."""
        return [pod for pod in self.pods if pod.is_ready(now)]


@dataclass
class Traffic:
    """What clients send, and what came of it."""

    per_tick: int = 600
    labelled: float = 0.5
    sent: int = 0
    failed: int = 0
    """Requests that no pod could answer."""
    excused: int = 0
    """Those among them that failed because the world took the pods away."""
    by_candidate: dict[str, int] = field(default_factory=dict[str, int])
    """Requests that each candidate revision answered."""


class Cluster:
    """Workloads, Services and counters of one ModelDeployment."""

    def __init__(self, behaviours: dict[str, Behaviour], seed: int, ttl: timedelta) -> None:
        self.behaviours = behaviours
        self.ttl = ttl
        self.traffic = Traffic()
        self.workloads: dict[str, Workload] = {}
        self.services: dict[str, str] = {}
        self.other_children: set[str] = set()
        self.phases: dict[str, PhaseCounts] = {}
        self.labelled: dict[str, LossCounts] = {}
        self.answered: dict[str, Answered] = {}
        """Requests that each revision answered or failed as stable, since ever."""
        self.unfit: set[str] = set()
        """Hashes of settings with which no new pod starts."""
        self.gateway = Gateway()
        self.harmed: set[str] = set()
        """Revisions whose pods the world took away, until they are all back."""
        self._random = np.random.default_rng(seed)

    def scale(self, name: str, replicas: int, now: datetime) -> None:
        """What the Deployment controller and the kubelet do with a new number of pods."""
        workload = self.workloads[name]
        behaviour = self.behaviours[workload.version]
        workload.replicas = replicas
        while len(workload.pods) < replicas:
            start = timedelta(seconds=behaviour.start_seconds)
            starts = behaviour.starts and workload.settings not in self.unfit
            workload.pods.append(Pod(now, now + start if starts else None))
        del workload.pods[replicas:]

    def configure(self, name: str, settings: str, now: datetime) -> None:
        """What becomes of a Deployment whose pods must have other settings."""
        workload = self.workloads[name]
        behaviour = self.behaviours[workload.version]
        start = timedelta(seconds=behaviour.start_seconds)
        present = workload.serving in ("", settings)
        workload.settings = settings
        if settings in self.unfit:
            workload.rolled_at = None
            if not workload.serving:
                for pod in workload.pods:
                    pod.ready_at = None
            return
        workload.rolled_at = now if present else now + start
        workload.serving = settings
        for pod in workload.pods:
            if pod.ready_at is None and behaviour.starts:
                pod.ready_at = now + start

    def make_room(self, now: datetime) -> None:
        """A larger node comes: what waited for one starts."""
        self.unfit.clear()
        for name, workload in self.workloads.items():
            waiting = any(pod.ready_at is None for pod in workload.pods)
            if workload.rolled_at is None or waiting:
                self.configure(name, workload.settings, now)

    def revision(self, revision: str) -> Workload | None:
        """The Deployment of a revision, if it exists."""
        return next((w for w in self.workloads.values() if w.revision == revision), None)

    def crash(self, version: str, failure: str, now: datetime) -> None:
        """From now on no pod of a version runs; those that there are die."""
        self.behaviours[version] = replace(self.behaviours[version], starts=False, failure=failure)
        for workload in list(self.workloads.values()):
            if workload.version == version:
                self.kill_pods(workload.revision, now)

    def behave(self, version: str, behaviour: Behaviour, now: datetime) -> None:
        """From now on the pods of a version are so; those that could not start begin again."""
        before = self.behaviours[version]
        self.behaviours[version] = behaviour
        if behaviour.starts == before.starts:
            return
        for workload in list(self.workloads.values()):
            if workload.version == version:
                self.kill_pods(workload.revision, now)

    def delete(self, name: str) -> None:
        """Somebody deletes a Deployment, or a Service, that is not theirs."""
        workload = self.workloads.pop(name, None)
        if workload is not None:
            self.harmed.add(workload.revision)
        self.services.pop(name, None)

    def silence(self, revision: str, count: int) -> None:
        """The operator reaches all pods of a revision but so many."""
        workload = self.revision(revision)
        assert workload is not None
        for index, pod in enumerate(workload.pods):
            pod.silent = index < count

    def kill_pods(self, revision: str, now: datetime, most: int | None = None) -> None:
        """All pods of a revision, or so many, die; new ones start."""
        workload = self.revision(revision)
        assert workload is not None
        replicas = workload.replicas
        name = next(n for n, w in self.workloads.items() if w is workload)
        del workload.pods[:most]
        self.harmed.add(revision)
        self.scale(name, replicas, now)

    def serve(self, deployment: str, now: datetime) -> None:
        """Clients send one tick's requests, to the Service or through the Gateway."""
        self.gateway.turn()
        selected = self.services.get(deployment)
        workload = None if selected is None else self.revision(selected)
        pods = [] if workload is None else workload.ready(now)
        count = self.traffic.per_tick
        if self.gateway.weight:
            through = int(self._random.binomial(count, self.gateway.weight / 100))
            self._lead(self.services.get(f"{deployment}-candidate"), through, deployment, now)
            count -= through
        if workload is not None and pods and len(pods) == workload.replicas:
            self.harmed.discard(workload.revision)
        if workload is None or not pods:
            if selected is not None:
                self.traffic.sent += count
                self.traffic.failed += count
                self.traffic.excused += count if selected in self.harmed else 0
            return
        self.traffic.sent += count
        shares = self._random.multinomial(count, [1 / len(pods)] * len(pods))
        for pod, share in zip(pods, shares, strict=True):
            self._answer(workload, pod.effective(now, self.ttl), int(share), deployment, now)

    def _lead(self, selected: str | None, count: int, deployment: str, now: datetime) -> None:
        """A Gateway leads requests to the candidate's Service: each pod does as it was told."""
        if selected is None:
            return
        workload = self.revision(selected)
        pods = [] if workload is None else workload.ready(now)
        self.traffic.sent += count
        if workload is None or not pods:
            self.traffic.failed += count
            self.traffic.excused += count if selected in self.harmed else 0
            return
        route = pods[0].effective(now, self.ttl)
        if route.role is RouteRole.RETIRED:
            handed = self.revision(route.stable_revision or "")
            if handed is not None and handed.ready(now):
                return  # answered by the stable revision, which hands nothing on
        if route.role is RouteRole.STABLE and workload.revision == self.services.get(deployment):
            self._answer(workload, route, count, deployment, now)
            return
        known = self.traffic.by_candidate
        known[workload.revision] = known.get(workload.revision, 0) + count
        if route.phase is None:
            return
        phase = self.phases.get(route.phase, PhaseCounts())
        self.phases[route.phase] = replace(
            phase,
            candidate=_add(phase.candidate, self._arm(workload.version, count)),
            candidate_loss=_add_loss(phase.candidate_loss, self._losses(workload.version, count)),
        )

    def _answer(
        self, stable: Workload, route: Route, count: int, deployment: str, now: datetime
    ) -> None:
        candidate = self.revision(self.services.get(f"{deployment}-candidate", ""))
        reachable = (
            candidate is not None
            # A pod of another revision refuses: the stable one answers.
            and candidate.revision == route.candidate_revision
            and bool(candidate.ready(now))
        )
        forwarded = int(self._random.binomial(count, route.weight_percent / 100))
        own = self._arm(stable.version, count - forwarded)
        loss = self._losses(stable.version, count - forwarded)
        key = stable.revision
        self.labelled[key] = _add_loss(self.labelled.get(key, LossCounts()), loss)
        known = self.answered.get(key, Answered())
        failed = known.failed + max(own.errors, own.invalid_outputs)
        self.answered[key] = Answered(known.requests + own.requests, failed)
        if route.phase is None:
            return
        phase = self.phases.get(route.phase, PhaseCounts())
        phase = replace(
            phase,
            stable=_add(phase.stable, own),
            stable_loss=_add_loss(phase.stable_loss, loss),
        )
        if forwarded:
            phase = self._forward(phase, candidate if reachable else None, route, forwarded)
        mirrored = int(self._random.binomial(count, route.shadow_percent / 100))
        if mirrored and candidate is not None and reachable:
            arm = self._arm(candidate.version, mirrored)
            phase = replace(phase, shadow=_add(phase.shadow, arm))
        self.phases[route.phase] = phase

    def _forward(
        self, phase: PhaseCounts, candidate: Workload | None, route: Route, count: int
    ) -> PhaseCounts:
        revision = route.candidate_revision or ""
        if candidate is None:
            # Refused connections: stable answers, and the circuit breaker soon stops trying.
            tried = min(count, BREAKER)
            failed = ArmCounts(tried, tried, tried, 0, BOUNDS, (0,) * (len(BOUNDS) + 1))
            return replace(phase, candidate=_add(phase.candidate, failed))
        known = self.traffic.by_candidate
        known[revision] = known.get(revision, 0) + count
        return replace(
            phase,
            candidate=_add(phase.candidate, self._arm(candidate.version, count)),
            candidate_loss=_add_loss(phase.candidate_loss, self._losses(candidate.version, count)),
        )

    def _arm(self, version: str, count: int) -> ArmCounts:
        behaviour = self.behaviours[version]
        slow = int(self._random.binomial(count, behaviour.slow_rate))
        bins = [0] * (len(BOUNDS) + 1)
        bins[FAST_BIN], bins[SLOW_BIN] = count - slow, slow
        return ArmCounts(
            requests=count,
            rows=count,
            errors=int(self._random.binomial(count, behaviour.error_rate)),
            invalid_outputs=int(self._random.binomial(count, behaviour.invalid_rate)),
            latency_bounds=BOUNDS,
            latency_counts=tuple(bins),
        )

    def _losses(self, version: str, count: int) -> LossCounts:
        """Losses of the labelled ones: 0 or twice the mean, so that their spread is realistic."""
        labelled = int(self._random.binomial(count, self.traffic.labelled))
        mean = self.behaviours[version].loss
        value = min(1.0, 2 * mean)
        hits = int(self._random.binomial(labelled, mean / value)) if value else 0
        return LossCounts(labelled, hits * value, hits * value * value)


def _add(one: ArmCounts, other: ArmCounts) -> ArmCounts:
    bins = one.latency_counts or (0,) * len(other.latency_counts)
    return ArmCounts(
        one.requests + other.requests,
        one.rows + other.rows,
        one.errors + other.errors,
        one.invalid_outputs + other.invalid_outputs,
        other.latency_bounds,
        tuple(a + b for a, b in zip(bins, other.latency_counts, strict=True)),
    )


def _add_loss(one: LossCounts, other: LossCounts) -> LossCounts:
    return LossCounts(
        one.n + other.n,
        one.loss_sum + other.loss_sum,
        one.loss_squared_sum + other.loss_squared_sum,
    )
