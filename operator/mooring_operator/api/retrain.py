"""RetrainPolicy: when a deployment's model is trained again, on what, and how it must win."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mooring_operator.api.base import (
    SENTENCE,
    ApiModel,
    DigestText,
    DnsLabel,
    Duration,
    Metadata,
    ResourceRequirements,
    S3Uri,
    SecretName,
    Sentence,
    StoreUri,
    cel,
    list_map,
    validations,
)
from mooring_operator.api.conditions import Condition

ShortText = Annotated[str, Field(max_length=128)]


class DeploymentReference(ApiModel):
    """A ModelDeployment of the same namespace."""

    name: DnsLabel


class DriftTrigger(ApiModel):
    """Starts a run when the deployment's Drifted condition turns True."""


class ScheduleTrigger(ApiModel):
    """Starts a run at the times of a cron expression."""

    cron: Annotated[
        str,
        Field(
            min_length=9,
            max_length=64,
            pattern=r"^(\S+\s+){4}\S+$",
            json_schema_extra={SENTENCE: "write five fields, in UTC, for example 0 3 1 * *"},
        ),
    ]
    """Five fields, in UTC."""


class ManualTrigger(ApiModel):
    """Starts a run for each new value of the annotation mooring.dev/retrain."""


class Trigger(ApiModel):
    """One reason to train again."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "[has(self.drift), has(self.schedule), has(self.manual)].filter(x, x).size() == 1",
                "a trigger has exactly one of drift, schedule and manual",
            ),
        )
    )

    name: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            min_length=1,
            max_length=24,
            json_schema_extra={
                SENTENCE: "use lower-case letters, digits and dashes, with a letter or digit at"
                " both ends"
            },
        ),
    ]
    drift: DriftTrigger | None = None
    schedule: ScheduleTrigger | None = None
    manual: ManualTrigger | None = None


class TrainingData(ApiModel):
    """Which rows of the prediction and label log a run may use. Times are event times."""

    window: Duration = "60d"
    """How far back rows are taken, from the newest labelled one."""
    label_maturity: Duration = "12h"
    """Rows younger than this have too few labels and are left out."""
    min_rows: Annotated[int, Field(ge=100, le=1_000_000_000)] = 5000
    test_window: Duration = "7d"
    """The newest stretch: champion and challenger are compared on it and nobody trains on it."""
    embargo: Duration = "12h"
    """Gap between training and test rows."""


class Tuning(ApiModel):
    """Bounds of the hyperparameter search."""

    max_trials: Annotated[int, Field(ge=1, le=500)] = 12
    timeout: Duration = "10m"


class Evaluation(ApiModel):
    """How the challenger must win against the champion, re-scored on the same later rows."""

    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    min_effect: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Improvement of the metric that the interval's lower end must exceed."""
    block: Duration = "1d"
    """Length of a time block of the interval; rows within one are not independent."""
    min_blocks: Annotated[int, Field(ge=3, le=365)] = 5


class TrainingJob(ApiModel):
    """The Job that a run is."""

    deadline: Duration = "1h"
    resources: ResourceRequirements = ResourceRequirements.of(
        cpu="500m", memory="1Gi", memory_limit="2Gi"
    )


class Output(ApiModel):
    """Where snapshots and new packages are written."""

    uri: S3Uri
    secret_name: SecretName | None = None


class RetrainPolicySpec(ApiModel):
    """What people declare of a policy."""

    deployment: DeploymentReference
    triggers: Annotated[
        list[Trigger], Field(min_length=1, max_length=10, json_schema_extra=list_map("name"))
    ]
    cooldown: Duration = "24h"
    """Shortest time from the end of a run to the start of the next."""
    data: TrainingData = TrainingData()
    tuning: Tuning = Tuning()
    evaluation: Evaluation = Evaluation()
    job: TrainingJob = TrainingJob()
    output: Output
    suspend: bool = False
    """No new run starts; a running one ends as it would."""


class Verdict(StrEnum):
    """How a run ended."""

    ACCEPTED = "Accepted"
    """The challenger won; its version is recorded on the Model."""
    REJECTED = "Rejected"
    INCONCLUSIVE = "Inconclusive"
    REFUSED = "Refused"
    """The run could not be made of this data; the message says why."""
    FAILED = "Failed"


class ChampionReference(ApiModel):
    """The version that a run has to beat, as it served when the run began."""

    version: DnsLabel
    digest: DigestText
    uri: StoreUri
    secret_name: SecretName | None = None


class RunStatus(ApiModel):
    """The run under way. Named by its trigger, so that a restart never trains twice."""

    name: DnsLabel
    trigger: ShortText
    token: ShortText
    """What set the trigger off: the drift alarm's time, the schedule's time, the annotation."""
    started_at: datetime
    champion: ChampionReference


class RunResult(ApiModel):
    """How a run ended, with the evidence."""

    run: DnsLabel
    trigger: ShortText
    verdict: Verdict
    ended_at: datetime
    generation: Annotated[int, Field(ge=0)] = 0
    """The policy's generation then: a failure is held against that spec only."""
    version: Annotated[str, Field(max_length=63)] = ""
    digest: Annotated[str, Field(max_length=71)] = ""
    snapshot_digest: Annotated[str, Field(max_length=71)] = ""
    metric: ShortText = ""
    champion: float | None = None
    challenger: float | None = None
    effect: float | None = None
    lower: float | None = None
    upper: float | None = None
    blocks: Annotated[int, Field(ge=0)] = 0
    train_rows: Annotated[int, Field(ge=0)] = 0
    test_rows: Annotated[int, Field(ge=0)] = 0
    message: Sentence = ""


EARLIER_TOKENS = 16


class TriggerStatus(ApiModel):
    """The last token of a trigger that was acted upon."""

    name: Annotated[str, Field(max_length=24)]
    token: ShortText
    cron: ShortText = ""
    """The expression that a schedule's time belongs to; another one starts counting afresh."""
    earlier: Annotated[list[ShortText], Field(max_length=EARLIER_TOKENS)] = []
    """Values of the annotation that were acted upon before, newest first: setting one of them
    again asks for nothing."""


class RetrainPolicyStatus(ApiModel):
    """What the operator knows of a policy."""

    observed_generation: Annotated[int, Field(ge=-1)] = -1
    conditions: Annotated[
        list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))
    ] = []
    phase: ShortText = ""
    model: Annotated[str, Field(max_length=63)] = ""
    last_trigger: ShortText = ""
    verdict: ShortText = ""
    interval: ShortText = ""
    next_schedule: datetime | None = None
    cooldown_until: datetime | None = None
    run: RunStatus | None = None
    last_result: RunResult | None = None
    history: Annotated[list[RunResult], Field(max_length=5)] = []
    handled: Annotated[
        list[TriggerStatus], Field(max_length=10, json_schema_extra=list_map("name"))
    ] = []


class RetrainPolicy(ApiModel):
    """The RetrainPolicy resource."""

    metadata: Metadata
    spec: RetrainPolicySpec
    status: RetrainPolicyStatus = RetrainPolicyStatus()
