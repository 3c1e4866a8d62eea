"""How the prediction log is to be written: the JSON in `MOORING_PREDICTION_LOG` (contracts §3)."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Names = tuple[Annotated[str, Field(min_length=1, max_length=253)], ...]
Share = Annotated[float, Field(ge=0, le=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid"
    )


class RotateSettings(_Settings):
    """When a segment is closed: at whichever limit is reached first, or when the pod drains."""

    rows: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000
    """Rows of a segment."""

    bytes: Annotated[int, Field(ge=1 << 16, le=128 << 20)] = 32 << 20
    """Bytes of its rows before compression. Bounds the memory of closing it, too."""

    seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Its age. Not what a killed process loses: rows are journaled within 250 ms."""


class EventMode(StrEnum):
    """How a CloudEvent is put into an HTTP request."""

    BINARY = "Binary"
    """Attributes as `ce-` headers and the payload as the body: the form of KServe's logger."""
    STRUCTURED = "Structured"
    """One JSON document, `application/cloudevents+json`."""


class EventSettings(_Settings):
    """Payload events: the request and the answer, posted to a URL."""

    url: Annotated[str, Field(min_length=1, max_length=512)]
    sample: Share = 1.0
    """Share of requests whose two events are sent."""
    mode: EventMode = EventMode.BINARY


class LogSettings(_Settings):
    """What is logged, how it is cut into segments and how long it stays."""

    sample: Share = 1.0
    """Share of requests that are logged. Labels are always logged."""

    include: Names | None = None
    """The features that are logged; None for all. Score and phase always are."""

    exclude: Names = ()
    """Features that are not logged."""

    hash: Names = ()
    """Features that are logged as a salted hash only, whether included or not."""

    retention_seconds: Annotated[float, Field(ge=86_400)] | None = None
    """Segments of days older than this are deleted; None keeps all."""

    rotate: RotateSettings = RotateSettings()
    events: EventSettings | None = None
