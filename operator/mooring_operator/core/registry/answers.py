"""What a verification Job answered: its termination message (contract §3) as a typed value.

The message comes from a pod in a tenant's namespace: whatever does not parse is no answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from mooring_operator.api.base import ApiModel, DigestText
from mooring_operator.api.model import VersionReport
from mooring_operator.core.observation import JobObservation

ReasonText = Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]


@dataclass(frozen=True)
class Verified:
    """The package is what its digest says, loads, and answers its samples."""

    digest: str
    report: VersionReport


@dataclass(frozen=True)
class Refused:
    """Terminal: the same package would be refused again."""

    reason: str
    message: str
    remedy: str

    @property
    def text(self) -> str:
        """The sentence for people: what is wrong and what to do."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


@dataclass(frozen=True)
class Unavailable:
    """The store did not answer, or not to these credentials: worth another try."""

    reason: str
    text: str


Answer = Verified | Refused | Unavailable


class _Message(ApiModel):
    model_config = ConfigDict(allow_inf_nan=False)


class _Failure(_Message):
    verdict: Literal["Refused", "Unavailable"]
    reason: ReasonText
    message: str = ""
    remedy: str = ""


class _Latency(_Message):
    p99: Annotated[float, Field(ge=0)] = 0.0


class _Success(_Message):
    verdict: Literal["Verified"]
    digest: DigestText
    format: Annotated[str, Field(max_length=32)]
    task: Annotated[str, Field(max_length=32)] = ""
    replayed_rows: Annotated[int, Field(ge=0)] = 0
    max_absolute_difference: Annotated[float, Field(ge=0)] = 0.0
    latency_ms: _Latency = _Latency()
    peak_memory_bytes: Annotated[int, Field(ge=0)] = 0


def answer_of(job: JobObservation) -> Answer | None:
    """The answer of a finished verification Job; None: it gave none that counts."""
    if not job.finished or job.message is None:
        return None
    try:
        return _verified(job.message) if job.succeeded else failure_of(job.message)
    except ValidationError:
        return None


def failure_of(message: Mapping[str, Any]) -> Refused | Unavailable:
    """What a failed container says of itself.

    Raises:
        ValidationError: the message is no refusal of contract §3.
    """
    said = _Failure.model_validate(message)
    refused = Refused(said.reason, said.message, said.remedy)
    if said.verdict == "Refused":
        return refused
    return Unavailable(said.reason, refused.text)


def _verified(message: Mapping[str, Any]) -> Verified:
    said = _Success.model_validate(message)
    report = VersionReport(
        format=said.format,
        task=said.task,
        replayed_rows=said.replayed_rows,
        max_absolute_difference=said.max_absolute_difference,
        p99_ms=said.latency_ms.p99,
        peak_memory_bytes=said.peak_memory_bytes,
    )
    return Verified(said.digest, report)
