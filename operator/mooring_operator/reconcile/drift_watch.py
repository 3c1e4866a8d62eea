"""The drift watch of one deployment over time: profile, detector, windows.

Holds what `core/drift.py` folds. Begins again when another revision is stable or when the
settings of the watch change.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.deployment import Monitoring
from mooring_operator.api.deployment_status import DriftStatus
from mooring_operator.core.drift import Counted, DriftWatch, begin, fold
from mooring_operator.ids import Revision
from mooring_operator.reconcile.snapshots import Snapshot
from mooring_operator.reconcile.sync_state import source_of
from mooring_profile.document import ReferenceProfile
from mooring_profile.edetector import DriftDetector
from mooring_profile.errors import CountsInvalid, ProfileInvalid
from mooring_profile.sketch import Sketch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchSettings:
    """What a watch is made for; another one begins again."""

    revision: Revision
    window: timedelta
    false_alarm_interval: timedelta


def watch_settings(revision: Revision | None, monitoring: Monitoring) -> WatchSettings | None:
    """The watch that a deployment asks for; None: none, or nothing is stable."""
    if monitoring.drift is None or revision is None:
        return None
    window = max(parse_duration(monitoring.window), timedelta(seconds=1))
    return WatchSettings(revision, window, parse_duration(monitoring.drift.false_alarm_interval))


class Watcher:
    """One deployment's drift watch."""

    def __init__(self) -> None:
        self._settings: WatchSettings | None = None
        self._detector: DriftDetector | None = None
        self._watch: DriftWatch | None = None

    @property
    def status(self) -> DriftStatus | None:
        """What to tell; None: nothing is watched."""
        return None if self._watch is None else self._watch.status

    @property
    def window_ends(self) -> datetime | None:
        """When the present window ends."""
        return None if self._watch is None else self._watch.window_ends

    def needs_profile(self, settings: WatchSettings | None) -> bool:
        """Whether the pods must be asked for their profile to go on."""
        if settings != self._settings:
            self._settings, self._detector, self._watch = settings, None, None
        return settings is not None and self._detector is None

    def begin(self, profile: Mapping[str, object], now: datetime) -> None:
        """Begins the watch with the pods' reference profile; an unusable one is logged."""
        if self._settings is None:
            return
        windows = self._settings.false_alarm_interval / self._settings.window
        try:
            self._detector = DriftDetector(
                ReferenceProfile.from_json(dict(profile)), false_alarm_windows=max(1.0, windows)
            )
        except ProfileInvalid as error:
            log.warning("profile of revision %s: %s", self._settings.revision, error)
            return
        self._watch = begin(self._settings.revision, self._detector, now, self._settings.window)

    def fold(self, snapshots: Iterable[Snapshot], now: datetime) -> bool:
        """Ends the window if it is due; returns whether it did.

        Args:
            snapshots: last answers of all pods since the last window, dead ones included.
            now: the time.
        """
        settings, detector, watch = self._settings, self._detector, self._watch
        if settings is None or detector is None or watch is None or now < watch.window_ends:
            return False
        sources = {
            source_of(snapshot): counted
            for snapshot in snapshots
            if snapshot.revision == settings.revision
            and (counted := _counted(snapshot)) is not None
        }
        try:
            self._watch = fold(watch, detector, sources, now, settings.window)
        except CountsInvalid as error:
            log.warning("drift of revision %s: %s; the watch begins again", watch.revision, error)
            self._detector, self._watch = None, None
        return True


def _counted(snapshot: Snapshot) -> Counted | None:
    try:
        sketch = Sketch.from_json(snapshot.counts)
    except CountsInvalid as error:
        log.warning("counts of pod %s: %s", snapshot.pod_uid, error)
        return None
    return Counted(sketch, rows=snapshot.rows, sketched=snapshot.sketched_rows)
