"""Settings of the server, read once from the environment that the operator fills."""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class EventTime(StrEnum):
    """Which time a prediction is about."""

    ARRIVAL = "Arrival"
    """When the request came."""
    REQUEST = "Request"
    """`parameters.event_time` of the request; a request without one counts as of its arrival."""


_NAME = r"^[A-Za-z0-9._-]+$"
"""What may stand in a path and a header as it is."""


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

    event_time: EventTime = Field(default=EventTime.ARRIVAL, alias="MOORING_EVENT_TIME")
    """Whether requests may say which time they are about; off by default, since clients could
    otherwise move their rows between windows."""

    drain_seconds: float = Field(default=5.0, alias="MOORING_DRAIN_SECONDS", ge=0, le=600)
    """Seconds to keep accepting after SIGTERM: endpoints take a while to leave every proxy."""

    receipt_key: str | None = Field(default=None, alias="MOORING_RECEIPT_KEY", min_length=16)
    """Secret that authenticates receipts (HMAC-SHA256). Absent: receipts are unauthenticated."""


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
