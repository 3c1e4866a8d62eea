"""Settings of the server, read once from the environment that the operator fills."""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError

from mooring_serving.cohorts import CohortRule
from mooring_serving.log.settings import LogSettings


class EventTime(StrEnum):
    """Which time a prediction is about."""

    ARRIVAL = "Arrival"
    """When the request came."""
    REQUEST = "Request"
    """`parameters.event_time` of the request; a request without one counts as of its arrival."""


_NAME = r"^[A-Za-z0-9._-]+$"
"""What may stand in a path and a header as it is."""


MOST_WORKERS = 256
"""Worker processes that a pod may have."""


class SettingsInvalid(ValueError):
    """An environment variable has a value that cannot be used; the message names it."""


class ServerSettings(BaseModel):
    """What the environment says; every field may be absent on a laptop."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    model: str | None = Field(default=None, alias="MOORING_MODEL", pattern=_NAME, max_length=253)
    """The protocol's model name. Default: the package's own name, so that a laptop needs none."""

    version: str = Field(default="local", alias="MOORING_VERSION", pattern=_NAME, max_length=253)
    """Name of the model version, shown in answers and metrics."""

    revision: str = Field(default="local", alias="MOORING_REVISION", pattern=_NAME, max_length=63)
    """Content hash of the rolled-out revision."""

    deployment: str | None = Field(default=None, alias="MOORING_DEPLOYMENT", max_length=253)
    """Name of the ModelDeployment; with the namespace it makes the addresses of its Services."""

    deployment_uid: str = Field(default="", alias="MOORING_DEPLOYMENT_UID", max_length=64)
    """uid that a sync message must name. Empty: no message can be meant for this pod."""

    namespace: str = Field(default="default", alias="MOORING_NAMESPACE", max_length=63)
    """The only namespace whose Services this pod forwards to."""

    environment: str = Field(default="local", alias="MOORING_ENVIRONMENT", max_length=63)
    """Value of the metrics' label `environment`."""

    pod_uid: str = Field(default="local", alias="MOORING_POD_UID", max_length=64)
    """uid of the pod: sync messages name it, and log segments are named by it."""

    pod_name: str = Field(default="local", alias="MOORING_POD_NAME", max_length=253)
    """For the process' log only."""

    sync_keys: Path | None = Field(default=None, alias="MOORING_SYNC_KEYS")
    """JSON file, a list of base64 raw Ed25519 public keys. Absent: sync is refused (403)."""

    prediction_log_uri: str | None = Field(default=None, alias="MOORING_PREDICTION_LOG_URI")
    """Root of the prediction log (`pvc:`, `s3:`, `file:`). Absent: no log."""

    prediction_log: Json[LogSettings] | None = Field(default=None, alias="MOORING_PREDICTION_LOG")
    """How it is written, as JSON (contracts §3). Absent: everything, with the defaults."""

    prediction_log_salt: str | None = Field(default=None, alias="MOORING_PREDICTION_LOG_SALT")
    """Secret key of the hashes of `fields.hash`, at least 16 bytes."""

    prediction_log_journal: Path | None = Field(
        default=None, alias="MOORING_PREDICTION_LOG_JOURNAL"
    )
    """Folder that outlives the process, where rows wait and a successor finds them. Absent: a
    scratch folder, so that a killed process on a laptop loses its open segment."""

    event_time: EventTime = Field(default=EventTime.ARRIVAL, alias="MOORING_EVENT_TIME")
    """Whether requests may say which time they are about; off by default, since clients could
    otherwise move their rows between windows."""

    cohort_seconds: int | None = Field(default=None, alias="MOORING_COHORT_SECONDS", ge=1)
    """Length of a cohort of predictions, by which labels are counted. Absent: they are not."""

    drain_seconds: float = Field(default=5.0, alias="MOORING_DRAIN_SECONDS", ge=0, le=600)
    """Seconds to keep accepting after SIGTERM: endpoints take a while to leave every proxy."""

    linger_seconds: float = Field(default=5.0, alias="MOORING_LINGER_SECONDS", ge=0, le=600)
    """Seconds that a drained server waits for the operator to fetch its last counts, at most; it
    asks a leaving pod each second. Where no operator ever asked, nobody is waited for."""

    allow_code: bool = Field(default=False, alias="MOORING_ALLOW_CODE")
    """Whether a package of format python, which runs its own code, may be served."""

    batch_max_rows: int | None = Field(
        default=None, alias="MOORING_BATCH_MAX_ROWS", ge=1, le=65_536
    )
    """Rows that are predicted together at most. Absent: chosen from what warm-up measured."""

    batch_max_wait_ms: float = Field(default=0.0, alias="MOORING_BATCH_MAX_WAIT_MS", ge=0, le=1000)
    """How long a request may wait for others, in milliseconds. 0: batches are made of what waits
    already, and no request waits for one that may never come."""

    batch_max_queue: int = Field(default=512, alias="MOORING_BATCH_MAX_QUEUE", ge=1, le=1_000_000)
    """Requests that may wait for the model; one more is shed with 503 and Retry-After."""

    threads: int | None = Field(default=None, alias="MOORING_THREADS", ge=1, le=256)
    """Threads of the model's runtime for one prediction. Absent: one, and as many predictions at
    once as there are cores, since several small ones gain more than one in several threads."""

    workers: int | None = Field(default=None, alias="MOORING_WORKERS", ge=1, le=MOST_WORKERS)
    """Worker processes. Absent: the whole CPUs of the container's limit, as far as its memory goes;
    without a limit one in a pod, and on a laptop the CPUs that there are, at most 4."""

    deadline_ms: float = Field(default=10_000, alias="MOORING_DEADLINE_MS", gt=0, le=600_000)
    """Longest time from a request's last byte to its answer, in milliseconds: 504 after it."""

    warmup_requests: int = Field(default=15, alias="MOORING_WARMUP_REQUESTS", ge=1, le=100_000)
    """Predictions of the package's samples before the server is ready, for each size measured."""

    memory_per_worker: int | None = Field(
        default=None, alias="MOORING_MEMORY_PER_WORKER", ge=16 * 1024 * 1024
    )
    """Bytes of a process' own memory above which it answers 503, and is replaced when it stays
    there. Absent: nine tenths of the cgroup's limit, shared by the workers."""

    receipt_key: str | None = Field(default=None, alias="MOORING_RECEIPT_KEY", min_length=16)
    """Secret that authenticates receipts (HMAC-SHA256). Absent: receipts are unauthenticated."""

    @property
    def cohorts(self) -> CohortRule | None:
        """How predictions are put into cohorts; None: they are not."""
        if self.cohort_seconds is None:
            return None
        return CohortRule(
            self.cohort_seconds, self.revision, dated=self.event_time is EventTime.REQUEST
        )

    @property
    def in_pod(self) -> bool:
        """Whether the process runs in a pod, which shares its node with others."""
        return self.deployment is not None


def read_settings(environ: Mapping[str, str] = os.environ) -> ServerSettings:
    """Read the settings; empty variables count as absent.

    Raises:
        SettingsInvalid: A variable cannot be used; its name and what it must be.
    """
    present = {name: value for name, value in environ.items() if name.startswith("MOORING_")}
    try:
        return ServerSettings.model_validate({k: v for k, v in present.items() if v})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsInvalid(f"{name}: {first['msg']}; correct it in the environment") from error
