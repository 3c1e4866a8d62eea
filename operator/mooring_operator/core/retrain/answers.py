"""What a training Job answered: its termination message (contract §7) as a typed value."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationError

from mooring_operator.api.base import ApiModel, DigestText, StoreUri
from mooring_operator.api.retrain import RunResult, Verdict
from mooring_operator.core.conditions import trimmed
from mooring_operator.core.observation import JobObservation
from mooring_operator.core.registry.answers import Refused, Unavailable, failure_of

LEAST_DECIMALS = 3
MOST_DECIMALS = 6


class Rows(ApiModel):
    """Rows of the snapshot."""

    train: Annotated[int, Field(ge=0)] = 0
    test: Annotated[int, Field(ge=0)] = 0


class Comparison(ApiModel):
    """Champion against challenger on the same later rows."""

    model_config = ConfigDict(allow_inf_nan=False)

    verdict: Literal["Accepted", "Rejected", "Inconclusive"]
    version: str | None = None
    uri: StoreUri | None = None
    digest: DigestText | None = None
    snapshot_digest: DigestText | None = None
    rows: Rows = Rows()
    blocks: Annotated[int, Field(ge=0)] = 0
    metric: Annotated[str, Field(max_length=64)] = ""
    champion: float | None = None
    challenger: float | None = None
    effect: float | None = None
    """Champion minus challenger: positive is better."""
    lower: float | None = None
    upper: float | None = None
    message: str = ""


@dataclass(frozen=True)
class Malformed:
    """An answer that the contract does not know."""

    message: str


Answer = Comparison | Refused | Unavailable | Malformed


def answer_of(job: JobObservation) -> Answer | None:
    """The answer of a finished training Job; None: it left none."""
    if not job.finished or job.message is None:
        return None
    try:
        if job.succeeded:
            return Comparison.model_validate(job.message)
        return failure_of(job.message)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        return Malformed(f"its answer breaks the contract at {fields or 'its form'}")


def interval_text(effect: float | None, lower: float | None, upper: float | None) -> str:
    """The effect with its interval, such as `+0.012 [0.004, 0.021]`; empty without one."""
    if effect is None or lower is None or upper is None:
        return ""
    decimals = LEAST_DECIMALS
    while decimals < MOST_DECIMALS and round(upper - lower, decimals) < 10 ** (1 - decimals):
        decimals += 1
    return f"{effect:+.{decimals}f} [{lower:.{decimals}f}, {upper:.{decimals}f}]"


def describe(result: RunResult) -> str:
    """One sentence on how a run ended."""
    interval = interval_text(result.effect, result.lower, result.upper)
    parts = [f"run {result.run} ended {result.verdict.value}"]
    if interval:
        parts.append(f"{result.metric} gain {interval} over {result.blocks} blocks")
    if result.verdict is Verdict.ACCEPTED:
        parts.append(f"version {result.version} recorded")
    if result.message:
        parts.append(result.message)
    return trimmed(": ".join([parts[0], "; ".join(parts[1:])]) if parts[1:] else parts[0])
