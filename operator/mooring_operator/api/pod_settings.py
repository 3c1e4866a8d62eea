"""Settings of pods that no prediction depends on: a change replaces pods, not revisions."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from mooring_operator.api.base import ApiModel, ResourceRequirements, Sentence
from mooring_operator.api.prediction_log import PredictionLog
from mooring_operator.api.runtime import Runtime

SettingsHash = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$", max_length=12)]


class PodSettings(ApiModel):
    """What pods are made of beside their revision."""

    resources: ResourceRequirements
    runtime: Runtime
    prediction_log: PredictionLog | None = None


class PodTrial(ApiModel):
    """New settings whose pods are awaited."""

    settings: SettingsHash
    since: datetime
    applied_at: datetime | None = None
    """When the Deployment had them; the deadline counts from then."""


class PodFailure(ApiModel):
    """Settings whose pods were not ready in time."""

    settings: SettingsHash
    at: datetime
    fields: Annotated[str, Field(max_length=512)]
    """Which fields of the spec differ from the settings that serve."""
    cause: Sentence = ""
    """What Kubernetes says of the pods."""


class PodsStatus(ApiModel):
    """The settings that all pods of stable were ready with, and what became of newer ones."""

    good: PodSettings
    trying: PodTrial | None = None
    failed: PodFailure | None = None
