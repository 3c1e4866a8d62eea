"""Model: which versions of a model exist, where their packages lie, which channel serves which."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mooring_operator.api.base import (
    ApiModel,
    DigestText,
    DnsLabel,
    Duration,
    Metadata,
    SecretName,
    Sentence,
    StoreUri,
    cel,
    list_map,
    validations,
)
from mooring_operator.api.conditions import Condition


class Follow(StrEnum):
    """How a channel moves by itself."""

    NEWEST = "Newest"
    """To the version that became known last and passed verification."""


class ModelVersion(ApiModel):
    """An immutable package that people declare."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "self.uri == oldSelf.uri && self.digest == oldSelf.digest",
                "a version is immutable: give the new package a new version name",
            ),
        )
    )

    name: DnsLabel
    uri: StoreUri
    """Where the package lies: s3://BUCKET/PREFIX, https://HOST/DIRECTORY or pvc://CLAIM/PATH."""
    digest: DigestText
    """The package digest that `mooring package` and `mooring push` print."""
    secret_name: SecretName | None = None
    """A Secret of this namespace with the store's credentials as environment variables."""


class Channel(ApiModel):
    """A named pointer that deployments follow."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "has(self.version) != has(self.follow)",
                "a channel has exactly one of version (pinned) and follow",
            ),
        )
    )

    name: DnsLabel
    version: DnsLabel | None = None
    """Pins the channel to this version."""
    follow: Follow | None = None
    """Moves the channel by itself."""


class Verification(ApiModel):
    """How a version is verified before it may serve."""

    timeout: Duration = "10m"
    """Longest time that a verification Job may take."""


class ModelSpec(ApiModel):
    """What people declare of a model."""

    purpose: Annotated[str, Field(min_length=1, max_length=512)]
    """What the model is for, in a sentence."""
    versions: Annotated[
        list[ModelVersion], Field(max_length=50, json_schema_extra=list_map("name"))
    ] = []
    channels: Annotated[
        list[Channel], Field(max_length=10, json_schema_extra=list_map("name"))
    ] = []
    verification: Verification = Verification()


class Origin(StrEnum):
    """Where a version comes from."""

    DECLARED = "Declared"
    """From spec.versions."""
    RETRAINED = "Retrained"
    """From a RetrainPolicy run, recorded as a ControllerRevision."""


class VersionPhase(StrEnum):
    """How far the verification of a version has come."""

    PENDING = "Pending"
    VERIFYING = "Verifying"
    VERIFIED = "Verified"
    REFUSED = "Refused"
    """Terminal for this version; the reason says why."""


class VersionReport(ApiModel):
    """What verification measured."""

    format: Annotated[str, Field(max_length=32)]
    task: Annotated[str, Field(max_length=32)] = ""
    replayed_rows: Annotated[int, Field(ge=0)] = 0
    max_absolute_difference: Annotated[float, Field(ge=0)] = 0.0
    p99_ms: Annotated[float, Field(ge=0)] = 0.0
    peak_memory_bytes: Annotated[int, Field(ge=0)] = 0


class VersionStatus(ApiModel):
    """One version as the registry knows it; an index over spec, records and Jobs."""

    name: DnsLabel
    digest: DigestText
    uri: StoreUri
    secret_name: SecretName | None = None
    origin: Origin
    phase: VersionPhase
    seq: Annotated[int, Field(ge=0)] = 0
    """Given once, when the version becomes known; the newest has the largest."""
    reason: Annotated[str, Field(max_length=64)] = ""
    message: Sentence = ""
    record_ref: Annotated[str, Field(max_length=253)] = ""
    """The ControllerRevision that holds the verification, immutable."""
    report: VersionReport | None = None
    rejected_in: Annotated[list[DnsLabel], Field(max_length=20)] = []
    """ModelDeployments that rolled this version back and quarantine it."""


class ChannelStatus(ApiModel):
    """Where a channel points."""

    name: DnsLabel
    version: DnsLabel
    digest: DigestText
    since: datetime
    seq: Annotated[int, Field(ge=0)] = 0
    """Rises with each move of the channel."""


class ModelUse(ApiModel):
    """A deployment that serves a version."""

    deployment: DnsLabel
    version: DnsLabel
    role: Annotated[str, Field(max_length=16)]


class ModelStatus(ApiModel):
    """What the operator knows of a model."""

    observed_generation: Annotated[int, Field(ge=-1)] = -1
    conditions: Annotated[
        list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))
    ] = []
    versions: Annotated[
        list[VersionStatus], Field(max_length=100, json_schema_extra=list_map("name"))
    ] = []
    channels: Annotated[
        list[ChannelStatus], Field(max_length=10, json_schema_extra=list_map("name"))
    ] = []
    used_by: Annotated[list[ModelUse], Field(max_length=100)] = []
    newest: Annotated[str, Field(max_length=63)] = ""
    """The newest verified version, for the printer column."""
    verified: Annotated[str, Field(max_length=16)] = ""
    """`verified/known` versions, for the printer column."""


class Model(ApiModel):
    """The Model resource."""

    metadata: Metadata
    spec: ModelSpec
    status: ModelStatus = ModelStatus()
