"""What decisions look at: frozen values gathered by `reconcile/observe_*`, one type per kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.model import Model
from mooring_operator.api.monitoring_status import DriftStatus
from mooring_operator.api.retrain import RetrainPolicy
from mooring_operator.core.decision import Route
from mooring_operator.core.quality.watch import QualityWatch
from mooring_operator.core.runtime import RuntimeWatch
from mooring_operator.ids import Revision


@dataclass(frozen=True)
class RevisionObservation:
    """The Deployment of one revision, and what its pods say."""

    revision: Revision
    created_at: datetime
    replicas: int
    """Pods that its spec asks for."""
    ready: int
    updated: int
    available: bool
    """Kubernetes' condition: at least the asked-for pods, less maxUnavailable, are available."""
    failure: str | None = None
    """Why its pods cannot start, in words (image, crash loop, refused package), if known."""
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class ArmCounts:
    """Requests of one arm in one phase, merged over pods; contract §4. Latency bins in ms."""

    requests: int = 0
    rows: int = 0
    errors: int = 0
    invalid_outputs: int = 0
    latency_bounds: tuple[float, ...] = ()
    latency_counts: tuple[int, ...] = ()
    """One more than bounds: the last bin is everything above."""
    disagreements: int = 0
    """Rows of the shadow that stable answered differently."""
    answer_edges: tuple[float, ...] = ()
    answer_counts: tuple[int, ...] = ()
    """Answered rows by score, one more than edges; none where nothing was counted."""


@dataclass(frozen=True)
class LossCounts:
    """Labelled predictions of one arm: losses in [0, 1]."""

    n: int = 0
    loss_sum: float = 0.0
    loss_squared_sum: float = 0.0


@dataclass(frozen=True)
class PhaseCounts:
    """One phase (candidate revision and step): both arms over the same requests and minutes."""

    stable: ArmCounts = ArmCounts()
    candidate: ArmCounts = ArmCounts()
    shadow: ArmCounts = ArmCounts()
    stable_loss: LossCounts = LossCounts()
    candidate_loss: LossCounts = LossCounts()


@dataclass(frozen=True)
class Trouble:
    """Why counters cannot be judged: a bounded reason and a sentence."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class TelemetryObservation:
    """What the pods' counters say, merged over pods. Gathered by sync."""

    at: datetime
    """When the newest complete round ended; 1970: there was none, and some pod is silent."""
    fresh: bool
    """Every ready pod answered within the last two intervals."""
    routes: Mapping[Revision, tuple[Route | None, ...]]
    """For each revision, the route that each ready pod acknowledged; None: none yet."""
    phases: Mapping[str, PhaseCounts] = field(default_factory=dict[str, PhaseCounts])
    stable: Revision | None = None
    """The revision that the rest speaks about: stable when the pods were asked."""
    labelled: LossCounts = LossCounts()
    """All its labelled predictions."""
    coverage: float | None = None
    """Its sketched rows / answered rows, in the last drift window where drift
    is watched; None before the first row."""
    drift: DriftStatus | None = None
    quality: QualityWatch | None = None
    runtime: RuntimeWatch | None = None
    trouble: Trouble | None = None
    """Why the drift watch cannot judge, if so."""
    serving: int = 0
    """Ready pods."""
    answering: int = 0
    """Those among them that answered within the last two intervals."""


@dataclass(frozen=True)
class RouteShape:
    """What an HTTPRoute says: whose requests it takes, and how it divides them.

    Attributes:
        gateway: the Gateway that it belongs to.
        namespace: the Gateway's.
        section: one of its listeners; empty: all.
        hostnames: whose requests; empty: those of the listener.
        path_prefix: how their paths begin.
        weight: percent of them that the candidate's Service gets; -1: it divides in another way.
    """

    gateway: str
    namespace: str
    section: str
    hostnames: tuple[str, ...]
    path_prefix: str
    weight: int


@dataclass(frozen=True)
class RouteObservation:
    """The HTTPRoute of a deployment, and what the Gateway's controller says of it as it is now."""

    shape: RouteShape
    accepted: bool
    """It was accepted in its present generation, and its Services were found."""
    refusal: str = ""
    """Why not, in the controller's words; empty with `accepted`, and while nothing was said."""


@dataclass(frozen=True)
class DeploymentObservation:
    """Everything that a decision about a ModelDeployment reads."""

    resource: ModelDeployment
    environment: str | None
    """Value of the namespace's label mooring.dev/environment."""
    model: Model | None
    revisions: Mapping[Revision, RevisionObservation]
    memory: str | None = None
    """Annotation mooring.dev/memory of the newest stable Deployment; for a lost status."""
    telemetry: TelemetryObservation | None = None
    foreign: tuple[str, ...] = ()
    """`Kind name` of children's names that someone else's objects occupy."""
    rivals: Mapping[str, str] = field(default_factory=dict[str, str])
    """For those among them that another object of ours controls: its kind and name."""
    gateway_api: bool = False
    """Whether the API server has HTTPRoutes."""
    route: RouteObservation | None = None
    """The HTTPRoute, where it exists and is this deployment's."""


@dataclass(frozen=True)
class JobObservation:
    """One Job of ours and the answer in its pod's termination message."""

    name: str
    uid: str
    created_at: datetime
    finished: bool
    succeeded: bool
    message: Mapping[str, Any] | None = None
    """The JSON of the deciding container's termination message; None: none (yet)."""
    failure: str = ""
    """Kubernetes' own reason and message when the Job failed."""


@dataclass(frozen=True)
class RecordObservation:
    """A ControllerRevision of ours: an immutable fact about a version."""

    name: str
    record: str
    """`version` or `verification` (label mooring.dev/record)."""
    revision: int
    created_at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True)
class ModelObservation:
    """Everything that a decision about a Model reads."""

    resource: Model
    jobs: Mapping[str, JobObservation]
    """Verification Jobs by name."""
    records: tuple[RecordObservation, ...]
    deployments: tuple[ModelDeployment, ...] = ()
    """ModelDeployments of the same namespace that name this model."""
    code_allowed: bool = False
    """Whether the namespace has the label mooring.dev/allow-code=true."""


@dataclass(frozen=True)
class RetrainObservation:
    """Everything that a decision about a RetrainPolicy reads."""

    resource: RetrainPolicy
    deployment: ModelDeployment | None
    model: Model | None
    jobs: Mapping[str, JobObservation]
    """Training Jobs of this policy by name."""
    records: tuple[RecordObservation, ...] = ()
    """Records of the deployment's Model."""
