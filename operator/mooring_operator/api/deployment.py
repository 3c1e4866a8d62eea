"""ModelDeployment spec: which version an environment serves, and how a new one is let in."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, model_validator

from mooring_operator.api.base import (
    ATOMIC_LIST,
    DEFAULT_IN_CODE,
    SET_LIST,
    ApiModel,
    DnsLabel,
    Duration,
    HeaderName,
    Metadata,
    ResourceRequirements,
    cel,
    list_map,
    validations,
)
from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.api.gateway import GatewayReference
from mooring_operator.api.prediction_log import PredictionLog
from mooring_operator.api.rollback import Rollback, Share
from mooring_operator.api.runtime import Runtime


class ModelReference(ApiModel):
    """Which version of which Model of the same namespace."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "has(self.version) != has(self.channel)",
                "name exactly one of version and channel",
            ),
        )
    )

    name: DnsLabel
    version: DnsLabel | None = None
    channel: DnsLabel | None = None


class RolloutStep(ApiModel):
    """One step of a rollout: mirror, or forward, a share of the requests to the candidate."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "has(self.shadow) != has(self.weight)",
                "a step has exactly one of shadow and weight",
            ),
        )
    )

    shadow: Annotated[int, Field(ge=1, le=100)] | None = None
    """Percent of requests mirrored to the candidate; clients see only stable answers."""
    weight: Annotated[int, Field(ge=1, le=99)] | None = None
    """Percent of requests that the candidate answers."""
    min_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """Rows that the candidate must have seen in this step before the next one starts."""


class TrafficMode(StrEnum):
    """How requests come to a new revision."""

    FORWARD = "Forward"
    """Stable pods forward the share of each step, request by request."""
    GATEWAY = "Gateway"
    """A Gateway divides the requests by the weights of an HTTPRoute that the operator owns; stable
    pods mirror."""
    BLUE_GREEN = "BlueGreen"
    """None before promotion, all of them after it: the candidate has as many pods as stable, and
    the Service is led from one to the other at once."""


GATEWAY_AND_MODE = (
    "traffic.gateway and mode Gateway belong together: name the Gateway that clients come through"
    " in traffic.gateway.name, or leave gateway out and set another mode"
)


class Traffic(ApiModel):
    """How requests are divided between stable and a candidate."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "!has(self.stickyHeader) || self.mode == 'Forward'",
                "stickyHeader needs mode Forward: BlueGreen moves all requests at once, and a"
                " Gateway divides requests, not users; leave stickyHeader out",
            ),
            cel(
                "has(self.gateway) == (self.mode == 'Gateway')",
                GATEWAY_AND_MODE,
            ),
        )
    )

    mode: TrafficMode = TrafficMode.FORWARD
    gateway: GatewayReference | None = None
    """Where clients come through in mode Gateway."""
    sticky_header: HeaderName | None = None
    """Header of the requests whose value decides which revision answers: a user who is forwarded
    stays forwarded while the weight only grows. Requests without it are divided at random."""


class AnalysisMetric(StrEnum):
    """What candidate and stable are compared by, on the same requests and minutes."""

    ERRORS = "errors"
    """Requests that the candidate failed (late, refused, broken)."""
    INVALID_OUTPUTS = "invalidOutputs"
    """Answers with missing, infinite or misshapen outputs."""
    LATENCY = "latency"
    """Requests slower inside the model server than `latencyThreshold`."""
    LOSS = "loss"
    """Loss of labelled predictions, in [0, 1]."""


class Margins(ApiModel):
    """Differences (candidate minus stable) that nobody cares about. Shares of requests, or loss."""

    errors: Share = 0.01
    invalid_outputs: Share = 0.01
    latency: Share = 0.05
    loss: Share = 0.02


class OnUndecided(StrEnum):
    """What happens when the evidence stays undecided for `maxDuration`."""

    PAUSE = "Pause"
    ROLLBACK = "Rollback"
    PROMOTE = "Promote"


class Analysis(ApiModel):
    """How candidate and stable are compared."""

    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    """Chance that a candidate no worse than stable is ever rolled back, over all metrics."""
    metrics: Annotated[
        list[AnalysisMetric], Field(min_length=1, max_length=4, json_schema_extra=SET_LIST)
    ] = [AnalysisMetric.ERRORS, AnalysisMetric.INVALID_OUTPUTS, AnalysisMetric.LATENCY]
    margins: Margins = Margins()
    latency_threshold: Duration = "100ms"
    """At most 1s; rounded up to the next of 1, 2, 5, 10, 25, 50, 100, 250, 500 and 1000 ms, the
    bounds that pods count by."""
    latency_quantile: Annotated[float, Field(ge=0.5, le=0.999)] | None = None
    """Slow is instead what lies above this quantile of stable's answers in the steps before, so
    that a service that is slow for both arms has a threshold; the first step judges no latency."""
    max_disagreement: Annotated[float, Field(ge=0.001, le=0.999)] | None = None
    """Share of shadowed rows that the candidate may answer differently than stable. Where more
    differ, the rollout is held: that is no fault, but somebody should expect it."""
    max_distribution_shift: Annotated[float, Field(ge=0.001, le=0.999)] | None = None
    """How far the share of answers below any score may be from stable's. Where it is farther, the
    rollout is held, likewise."""
    max_duration: Duration = "24h"
    metrics_grace: Duration = "2m"
    """How long counters may be missing before the candidate gives its weight back until they come.
    """
    on_undecided: OnUndecided = OnUndecided.PAUSE


DEFAULT_STEPS = [
    RolloutStep(shadow=100, min_rows=200),
    RolloutStep(weight=5, min_rows=200),
    RolloutStep(weight=25, min_rows=500),
]
BLUE_GREEN_STEPS = [RolloutStep(shadow=100, min_rows=500)]
WEIGHTS_UNREACHABLE = (
    "traffic.mode BlueGreen reaches the weights 0 and 100 only: take the steps with weight out of"
    " rollout.steps (steps with shadow may stay), or set traffic.mode to Forward, which reaches"
    " every weight from 1 to 99"
)


class ApprovalGate(ApiModel):
    """Whether a person must say that a new revision may be let in."""

    required: bool = False


class Rollout(ApiModel):
    """How a new revision is let in.

    A step advances when enough rows showed nothing worse; the last one is followed by promotion
    when every metric passes.
    """

    steps: Annotated[
        list[RolloutStep],
        Field(min_length=1, max_length=20, json_schema_extra=ATOMIC_LIST | DEFAULT_IN_CODE),
    ] = DEFAULT_STEPS
    """Without any: shadow 100 (200 rows), weight 5 (200), weight 25 (500); with traffic.mode
    BlueGreen shadow 100 (500 rows)."""
    analysis: Analysis = Analysis()
    approval: ApprovalGate = ApprovalGate()
    progress_deadline: Duration = "10m"
    """Longest time from creating a revision's pods to their being ready."""


class EventTime(StrEnum):
    """Which clock predictions are dated by."""

    ARRIVAL = "Arrival"
    REQUEST = "Request"
    """`parameters.event_time` of the request, for replays and late events."""


Name = Annotated[str, Field(min_length=1, max_length=128)]


class FeatureDrift(ApiModel):
    """How one feature is watched."""

    name: Name
    """As in the package's schema, or `@score`."""
    tolerance: Share | None = None
    """Instead of the tolerance of all."""
    importance: Annotated[float, Field(ge=0, le=1000)] | None = None
    """How much it matters: what matters more is found sooner. Without it as much as the mean of
    those that say so."""


class Drift(ApiModel):
    """Watches inputs and scores against the version's reference profile."""

    false_alarm_interval: Duration = "90d"
    """Announced mean time between false alarms, over all features together."""
    tolerance: Share | None = None
    """Least difference of a share that matters. Only widens what the profile tolerates."""
    features: Annotated[
        list[FeatureDrift], Field(max_length=100, json_schema_extra=list_map("name"))
    ] = []
    """What single features have otherwise."""


class Labels(ApiModel):
    """When the labels of predictions have come. Set it to have labels judged."""

    maturity: Duration
    """From the end of a cohort of predictions until nearly all of its labels have come."""
    min_coverage: Share = 0.6
    """A mature cohort with a smaller share of labels is passed over."""
    cohort: Duration | None = None
    """Length of a cohort; a twelfth of the maturity without it, a fiftieth at least."""


Amount = Annotated[float, Field(ge=-1e9, le=1e9)]


class ValueMatrix(ApiModel):
    """What one row is worth by decision and truth; costs are negative. Binary models."""

    tp: Amount = 0.0
    fp: Amount = 0.0
    fn: Amount = 0.0
    tn: Amount = 0.0
    unit: Annotated[str, Field(min_length=1, max_length=16)] = "EUR"


class Quality(ApiModel):
    """What is too much, of labelled losses and of those expected from scores."""

    margin: Share = 0.02
    """Mean loss above the reference's that nobody cares about."""
    ceiling: Share | None = None
    """A mean loss that is too much whatever the reference had."""
    false_alarm_interval: Duration = "90d"
    """Announced mean time between false alarms, for labels and for scores each."""
    value_matrix: ValueMatrix | None = None


class FairnessRate(StrEnum):
    """By which rate segments are compared."""

    SELECTION_RATE = "selectionRate"
    """Share of rows decided positive; needs no labels."""
    TRUE_POSITIVE_RATE = "truePositiveRate"
    """Share of positive labels that were decided positive; needs `labels`."""
    FALSE_POSITIVE_RATE = "falsePositiveRate"
    """Share of negative labels that were decided positive; needs `labels`."""


class Fairness(ApiModel):
    """Whether the segments of one column are treated alike. Binary models."""

    column: Name
    """A column that the profile has segments of."""
    tolerance: Share = 0.1
    """Difference of rates that nobody cares about."""
    rates: Annotated[
        list[FairnessRate], Field(min_length=1, max_length=3, json_schema_extra=SET_LIST)
    ] = [FairnessRate.SELECTION_RATE]
    """They share alpha evenly."""
    least_ratio: Share | None = None
    """Smallest ratio of two rates that is fine, such as 0.8."""
    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    """Chance of ever being wrong about any pair of segments."""


class Monitoring(ApiModel):
    """How the pods' counters are collected and judged."""

    interval: Duration = "15s"
    """How often the operator exchanges sync messages with the pods."""
    window: Duration = "5m"
    """Length of a drift window."""
    event_time: EventTime = EventTime.ARRIVAL
    drift: Drift | None = None
    segments: Annotated[list[Name], Field(max_length=20, json_schema_extra=SET_LIST)] | None = None
    """Columns whose segments are watched, among those that the profile has; all without it."""
    labels: Labels | None = None
    quality: Quality = Quality()
    fairness: Fairness | None = None


class ModelDeploymentSpec(ApiModel):
    """What people declare of a deployment."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "self.model.name == oldSelf.model.name",
                "model.name is immutable: create another ModelDeployment",
            ),
            cel(
                "self.traffic.mode != 'BlueGreen' || !has(self.rollout.steps)"
                " || self.rollout.steps.all(step, !has(step.weight))",
                WEIGHTS_UNREACHABLE,
            ),
        )
    )

    model: ModelReference
    replicas: Annotated[int, Field(ge=1, le=1000)] = 2
    resources: ResourceRequirements = ResourceRequirements.of(
        cpu="100m", memory="256Mi", memory_limit="1Gi"
    )
    runtime: Runtime = Runtime()
    traffic: Traffic = Traffic()
    rollout: Rollout = Rollout()
    rollback: Rollback = Rollback()
    monitoring: Monitoring = Monitoring()
    prediction_log: PredictionLog | None = None
    paused: bool = False
    """Holds the rollout where it is; the stable revision keeps serving."""

    @model_validator(mode="wrap")
    @classmethod
    def _steps_of_the_mode(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Steps that nobody wrote are those of the traffic's mode."""
        made = handler(value)
        written = "steps" in made.rollout.model_fields_set
        if made.traffic.mode is not TrafficMode.BLUE_GREEN or written:
            return made
        rollout = made.rollout.model_copy(update={"steps": BLUE_GREEN_STEPS})
        return made.model_copy(update={"rollout": rollout})


class ModelDeployment(ApiModel):
    """The ModelDeployment resource."""

    metadata: Metadata
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus = ModelDeploymentStatus()
