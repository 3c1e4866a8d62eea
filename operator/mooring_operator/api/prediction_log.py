"""The prediction log of a ModelDeployment: where, how much of it, for how long; payload events.

Nothing here changes a prediction, so nothing here makes a revision: a change rolls the pods in
place. What is left out is not told to the server, which then uses the default of its own image.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mooring_operator.api.base import (
    SET_LIST,
    ApiModel,
    Duration,
    HttpUrl,
    S3Uri,
    SecretName,
    SegmentSize,
    cel,
    validations,
)

FeatureNames = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=253)]],
    Field(min_length=1, max_length=512, json_schema_extra=SET_LIST),
]
Share = Annotated[float, Field(ge=0, le=1)]


class LogFields(ApiModel):
    """What is logged of the features. Score and phase always are."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "!(has(self.include) && has(self.exclude))",
                "name features in include or in exclude, not in both: include is the safer",
            ),
            cel(
                "!has(self.hash) || has(self.saltSecretName)",
                "hash needs saltSecretName: a Secret that starts with mooring-, with the salt under"
                " its key salt",
            ),
        )
    )

    include: FeatureNames | None = None
    """The features that are logged; all without it."""
    exclude: FeatureNames | None = None
    """Features that are not logged."""
    hash: FeatureNames | None = None
    """Features of which only a salted hash is logged."""
    salt_secret_name: SecretName | None = None
    """Secret whose key `salt` holds the hashes' salt, at least 16 bytes."""


class LogRotation(ApiModel):
    """When a segment is closed: at whichever is reached first."""

    rows: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Rows of a segment."""
    size: SegmentSize | None = None
    """Size of its rows before compression."""
    age: Duration | None = None
    """Its age, 1s to 1h. Readers see rows this late."""


class EventMode(StrEnum):
    """How a CloudEvent is put into an HTTP request."""

    BINARY = "Binary"
    """Attributes as headers, the payload as the body: the form of KServe's logger."""
    STRUCTURED = "Structured"
    """One JSON document."""


class PayloadEvents(ApiModel):
    """Requests and answers as CloudEvents, posted to a URL. Lost when nobody takes them."""

    url: HttpUrl
    sample: Share | None = None
    """Share of the requests whose two events are sent."""
    mode: EventMode | None = None


class PredictionLog(ApiModel):
    """Where predictions and labels are written, in Parquet. Retraining reads them."""

    uri: S3Uri
    secret_name: SecretName | None = None
    sample: Share | None = None
    """Share of the requests that are logged. Labels always are."""
    fields: LogFields | None = None
    retention: Duration | None = None
    """How long segments are kept, at least 1d; for ever without it."""
    rotate: LogRotation | None = None
    events: PayloadEvents | None = None
