"""Cohorts of many pods added: predictions and labels by revision and time (contract §4). Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mooring_operator.ids import Revision
from mooring_operator.reconcile.snapshots import CohortCounts, Decided, Snapshot
from mooring_profile.cohorts import Cohort
from mooring_profile.confusion import Confusion
from mooring_profile.duplicates import Duplicates
from mooring_profile.errors import CountsInvalid
from mooring_profile.risk import LossTotals

MOST_GONE = 256
"""Cohorts kept of pods that are no more."""

CohortKey = tuple[int, str]
"""Length in seconds, and the key in a snapshot."""
CohortSums = Mapping[CohortKey, CohortCounts]


def plus(sums: CohortSums, snapshots: Iterable[Snapshot]) -> dict[CohortKey, CohortCounts]:
    """The sums and what the snapshots counted, those of the youngest cohorts."""
    total = dict(sums)
    for snapshot in snapshots:
        if snapshot.cohort_seconds is None:
            continue
        for name, counts in snapshot.cohorts.items():
            key = snapshot.cohort_seconds, name
            known = total.get(key)
            total[key] = counts if known is None else known.plus(counts)
    youngest = sorted(total, key=lambda key: (_begin(key[1]) or 0, key))[-MOST_GONE:]
    return {key: total[key] for key in youngest}


@dataclass(frozen=True)
class Labelled:
    """What the pods say of labels, those that are no more included.

    Attributes:
        cohorts: predictions and labels.
        duplicates: how many of the labels were told to several pods.
    """

    cohorts: CohortSums
    duplicates: Duplicates


def cohorts_of(sums: CohortSums, revision: Revision, length: timedelta) -> list[Cohort]:
    """The cohorts of one revision and length, in order of time."""
    return [
        cohort
        for start, counts in _in_order(sums, revision, length)
        if (cohort := _cohort(start, length, counts)) is not None
    ]


def segment_cohorts_of(
    sums: CohortSums, revision: Revision, length: timedelta, segments: Sequence[str]
) -> dict[str, list[Cohort]]:
    """The same of each segment.

    Args:
        sums: of all pods.
        revision: that predicted.
        length: of a cohort.
        segments: of the revision's reference profile, in its order.
    """
    found: dict[str, list[Cohort]] = {name: [] for name in segments}
    for start, counts in _in_order(sums, revision, length):
        for place, numbers in counts.segments.items():
            rows, n, loss, squares, tp, fp, fn, tn = numbers
            decided = Decided.model_construct(tp=tp, fp=fp, fn=fn, tn=tn)
            part = CohortCounts.model_construct(
                rows=rows,
                n=n,
                loss_sum=loss,
                loss_squared_sum=squares,
                confusion=decided if tp + fp + fn + tn else None,
            )
            cohort = _cohort(start, length, part)
            if cohort is not None and place < len(segments):
                found[segments[place]].append(cohort)
    return found


def _in_order(
    sums: CohortSums, revision: Revision, length: timedelta
) -> list[tuple[datetime, CohortCounts]]:
    """Begin and counts of the revision's cohorts of this length."""
    found: list[tuple[datetime, CohortCounts]] = []
    for (seconds, name), counts in sums.items():
        begin = _begin(name)
        if (
            begin is not None
            and seconds == length.total_seconds()
            and name.startswith(f"{revision}/")
        ):
            found.append((datetime.fromtimestamp(begin, UTC), counts))
    return sorted(found, key=lambda item: item[0])


def _cohort(start: datetime, length: timedelta, counts: CohortCounts) -> Cohort | None:
    """None for what cannot be: pods belong to tenants.

    A label may be counted by a pod while the prediction's own pod died uncounted: then as many
    predictions are assumed as there are labels.
    """
    confusion = counts.confusion
    try:
        losses = LossTotals(counts.n, counts.loss_sum, counts.loss_squared_sum)
    except CountsInvalid:
        return None
    return Cohort(
        start,
        start + length,
        max(counts.rows, counts.n),
        losses,
        None
        if confusion is None
        else Confusion(confusion.tp, confusion.fp, confusion.fn, confusion.tn),
    )


def _begin(name: str) -> int | None:
    """Begin of a cohort in seconds since the epoch; None for a key of another form."""
    _, _, text = name.rpartition("/")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
