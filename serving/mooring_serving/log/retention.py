"""Deleting old days of the log: by one pod an hour, a bounded number of segments at a time.

Pods elect it without asking anybody: those whose segments lie in today's folder are the candidates,
and the highest hash of pod and hour wins. A dead winner costs an hour; two winners cost nothing,
since deleting is idempotent. Whole days go, and only once their last moment is older than the
limit by a further day: a snapshot that reads the log up to the limit has that long to finish.
"""

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from mooring_serving.log.store import SegmentStore

_LOG = logging.getLogger(__name__)

GRACE = timedelta(days=1)
DELETES_AT_ONCE = 1_000
"""Segments deleted in one sweep, of one stream."""
SWEEP_SECONDS = 3_600.0
"""Between sweeps,"""
BUSY_SECONDS = 30.0
"""and while a sweep found more than it may delete at once."""
_FOLDER = "date="


def is_elected(pod: str, others: Collection[str], slot: str) -> bool:
    """Whether this pod has the highest hash of pod and slot (rendezvous hashing)."""

    def weight(name: str) -> bytes:
        return hashlib.sha256(f"{slot}/{name}".encode()).digest()

    return all(weight(pod) >= weight(other) for other in others)


def expired(folders: Sequence[str], keep: timedelta, now: datetime) -> list[str]:
    """The `date=YYYY-MM-DD` folders whose last moment is older than the limit and the grace."""
    first_kept = now - keep - GRACE
    found: list[str] = []
    for name in sorted(folders):
        day = _day(name)
        if day is not None:
            ends = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
            if ends <= first_kept:
                found.append(name)
    return found


def _day(folder: str) -> date | None:
    try:
        return date.fromisoformat(folder.removeprefix(_FOLDER)) if folder != _FOLDER else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Retention:
    """Deletes what is too old below one stream's folder.

    Attributes:
        store: The log's store.
        prefix: The stream, e.g. `ns/dep/predictions`.
        pod: This pod's uid, which its segments' names begin with.
        keep: How long segments are kept.
    """

    store: SegmentStore
    prefix: str
    pod: str
    keep: timedelta

    def sweep(self, now: datetime) -> tuple[int, bool]:
        """Segments deleted, and whether there is more to delete.

        Raises:
            OSError: The store did not answer.
        """
        old = expired(self.store.folders(self.prefix), self.keep, now)
        if not old or not self._is_mine(now):
            return 0, False
        deleted = 0
        for folder in old:
            path = f"{self.prefix}/{folder}"
            names = [name for name in self.store.files(path) if name.endswith(".parquet")]
            batch = sorted(names)[: DELETES_AT_ONCE - deleted]
            self.store.delete(path, batch)
            deleted += len(batch)
            if len(batch) < len(names):
                return deleted, True
        _LOG.info("deleted %d segments of %s, older than %s", deleted, self.prefix, self.keep)
        return deleted, False

    def _is_mine(self, now: datetime) -> bool:
        today = self.store.files(f"{self.prefix}/{_FOLDER}{now:%Y-%m-%d}")
        pods = {name.removesuffix(".parquet").rsplit("-", 2)[0] for name in today}
        return is_elected(self.pod, pods, f"{now:%Y-%m-%dT%H}")
