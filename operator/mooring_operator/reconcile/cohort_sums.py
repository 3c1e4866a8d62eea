"""Cohorts of many pods added: predictions and labels by revision and time (contract §4). Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from mooring_operator.ids import Revision
from mooring_operator.reconcile.snapshots import CohortCounts, Snapshot
from mooring_profile.cohorts import Cohort
from mooring_profile.confusion import Confusion
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


def cohorts_of(sums: CohortSums, revision: Revision, length: timedelta) -> list[Cohort]:
    """The cohorts of one revision and length, in order of time.

    A label may be counted by a pod while the prediction's own pod died uncounted: then as many
    predictions are assumed as there are labels. What cannot be is left out.
    """
    found: list[Cohort] = []
    for (seconds, name), counts in sums.items():
        begin = _begin(name)
        if (
            begin is None
            or seconds != length.total_seconds()
            or not name.startswith(f"{revision}/")
        ):
            continue
        start = datetime.fromtimestamp(begin, UTC)
        confusion = counts.confusion
        try:
            losses = LossTotals(counts.n, counts.loss_sum, counts.loss_squared_sum)
        except CountsInvalid:
            continue  # pods belong to tenants: losses in [0, 1] have no such sums
        found.append(
            Cohort(
                start,
                start + length,
                max(counts.rows, counts.n),
                losses,
                None
                if confusion is None
                else Confusion(confusion.tp, confusion.fp, confusion.fn, confusion.tn),
            )
        )
    return sorted(found, key=lambda cohort: cohort.start)


def _begin(name: str) -> int | None:
    """Begin of a cohort in seconds since the epoch; None for a key of another form."""
    _, _, text = name.rpartition("/")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
