"""A pod's answer to a sync message (contract §4), parsed with bounds: pods belong to tenants."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError

from mooring_operator.api.base import ApiModel
from mooring_operator.errors import PodRefused
from mooring_profile.duplicates import SIZE
from mooring_profile.segments import MOST_SEGMENTS

Count = Annotated[int, Field(ge=0, le=2**53)]
Sum = Annotated[float, Field(ge=0, le=1e18)]
Name = Annotated[str, Field(max_length=253)]
ReceiptId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
_PHASES = 64
_COHORTS = 128


class PodDocument(ApiModel):
    """A part of a pod's answer: no infinities, unknown fields ignored."""

    model_config = ConfigDict(allow_inf_nan=False)


class Latency(PodDocument):
    """Histogram of milliseconds: one more count than bounds."""

    bounds: Annotated[tuple[float, ...], Field(max_length=64)] = ()
    counts: Annotated[tuple[Count, ...], Field(max_length=65)] = ()


class Arm(PodDocument):
    """Requests of one arm in one phase."""

    requests: Count = 0
    rows: Count = 0
    errors: Count = 0
    invalid_outputs: Count = 0
    latency_ms: Latency = Latency()
    disagreements: Count = 0
    """Rows of the shadow that stable answered differently."""
    answers: Annotated[tuple[Count, ...], Field(max_length=64)] = ()
    """Answered rows by score, at least one more than the snapshot's `answer_edges`."""


class PhaseArms(PodDocument):
    """Both arms and the shadow of one phase."""

    stable: Arm = Arm()
    candidate: Arm = Arm()
    shadow: Arm = Arm()


class Losses(PodDocument):
    """Labelled predictions."""

    n: Count = 0
    loss_sum: Sum = 0.0
    loss_squared_sum: Sum = 0.0


class LabelArms(PodDocument):
    """Labelled predictions of one phase."""

    stable: Losses = Losses()
    candidate: Losses = Losses()


class Decided(PodDocument):
    """Labelled rows of a binary model by decision and label."""

    tp: Count = 0
    fp: Count = 0
    fn: Count = 0
    tn: Count = 0


SegmentPlace = Annotated[int, Field(ge=0, lt=MOST_SEGMENTS)]
SegmentNumbers = tuple[Count, Count, Sum, Sum, Count, Count, Count, Count]
"""Of a segment: rows, n, lossSum, lossSquaredSum, tp, fp, fn, tn."""


class CohortCounts(Losses):
    """Predictions of one stretch of time, and their labels."""

    rows: Count = 0
    confusion: Decided | None = None
    segments: dict[SegmentPlace, SegmentNumbers] = Field(default_factory=dict[int, SegmentNumbers])
    """By position in the reference profile."""

    def plus(self, other: "CohortCounts") -> "CohortCounts":
        """Both together."""
        one, two = self.confusion, other.confusion
        confusion = one or two
        if one is not None and two is not None:
            confusion = Decided.model_construct(
                tp=one.tp + two.tp, fp=one.fp + two.fp, fn=one.fn + two.fn, tn=one.tn + two.tn
            )
        return CohortCounts.model_construct(
            rows=self.rows + other.rows,
            n=self.n + other.n,
            loss_sum=self.loss_sum + other.loss_sum,
            loss_squared_sum=self.loss_squared_sum + other.loss_squared_sum,
            confusion=confusion,
            segments=_added(self.segments, other.segments),
        )


def _added(
    one: Mapping[int, SegmentNumbers], other: Mapping[int, SegmentNumbers]
) -> dict[int, SegmentNumbers]:
    total = dict(one)
    for place, numbers in other.items():
        known = total.get(place)
        total[place] = numbers if known is None else _sum(known, numbers)
    return total


def _sum(one: SegmentNumbers, other: SegmentNumbers) -> SegmentNumbers:
    rows, n, loss, squares, tp, fp, fn, tn = other
    return (
        one[0] + rows,
        one[1] + n,
        one[2] + loss,
        one[3] + squares,
        one[4] + tp,
        one[5] + fp,
        one[6] + fn,
        one[7] + tn,
    )


class Acknowledged(PodDocument):
    """The message that the pod follows."""

    epoch: Count
    counter: Count


class Identity(PodDocument):
    """`GET /mooring/v1/identity`."""

    pod_uid: Name
    boot_nonce: Name
    revision: Name
    deployment_uid: Name


class Snapshot(PodDocument):
    """Cumulative counters since the pod's boot."""

    pod_uid: Name
    boot_nonce: Name
    revision: Name
    acknowledged: Acknowledged | None = None
    requests: Count = 0
    errors: Count = 0
    rows: Count = 0
    sketched_rows: Count = 0
    dropped_rows: Count = 0
    retired_answers: Count = 0
    counts: dict[Name, dict[str, Count | list[Count]]] = Field(default_factory=dict)
    answer_edges: Annotated[tuple[float, ...], Field(max_length=63)] = ()
    phases: dict[Name, PhaseArms] = Field(default_factory=dict, max_length=_PHASES)
    labels: dict[Name, LabelArms] = Field(default_factory=dict, max_length=_PHASES)
    labelled: Losses = Losses()
    label_sample: Annotated[tuple[ReceiptId, ...], Field(max_length=SIZE)] = ()
    """Some of the receipts whose labels this pod took."""
    cohort_seconds: Annotated[int, Field(ge=1, le=2**31)] | None = None
    cohorts: dict[Name, CohortCounts] = Field(default_factory=dict, max_length=_COHORTS)


def parse_identity(document: object, where: str) -> Identity:
    """The pod's identity.

    Raises:
        PodRefused: the answer does not fit the contract.
    """
    try:
        return Identity.model_validate(document)
    except ValidationError as error:
        raise _unfit(error, where) from error


def parse_snapshot(document: object, where: str) -> Snapshot:
    """The pod's snapshot.

    Raises:
        PodRefused: the answer does not fit the contract.
    """
    try:
        return Snapshot.model_validate(document)
    except ValidationError as error:
        raise _unfit(error, where) from error


def _unfit(error: ValidationError, where: str) -> PodRefused:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return PodRefused(f"{where}: the answer's {field}: {first['msg']}")
