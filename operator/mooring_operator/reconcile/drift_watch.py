"""The drift watch of one deployment over time: profile, detector, windows.

Holds what `core/drift.py` folds. Begins again when another revision is stable or when the
settings of the watch change.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment import Drift, Monitoring
from mooring_operator.api.monitoring_status import DriftStatus
from mooring_operator.core.drift import Counted, DriftWatch, begin, fold
from mooring_operator.core.family import Wanted, announced, judged_profile
from mooring_operator.core.observation import Trouble
from mooring_operator.core.quality.settings import QualitySettings, quality_settings
from mooring_operator.core.quality.watch import (
    QualityWatch,
    SeenLabels,
    judge_labels,
    judge_scores,
)
from mooring_operator.ids import Revision
from mooring_operator.reconcile.cohort_sums import Labelled, cohorts_of, segment_cohorts_of
from mooring_operator.reconcile.snapshots import Snapshot
from mooring_operator.reconcile.sync_state import source_of
from mooring_profile.document import ReferenceProfile
from mooring_profile.edetector import DriftDetector
from mooring_profile.errors import CountsInvalid, ProfileInvalid
from mooring_profile.expectation import Metric
from mooring_profile.sketch import Sketch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchSettings:
    """What a watch is made for; another one begins again.

    Attributes:
        revision: the stable revision.
        window: length of a window.
        false_alarm_interval: as the spec has it.
        wanted: what the spec wants otherwise than the profile.
        quality: how quality is judged.
    """

    revision: Revision
    window: timedelta
    false_alarm_interval: str
    wanted: Wanted
    quality: QualitySettings


def watch_settings(revision: Revision | None, monitoring: Monitoring) -> WatchSettings | None:
    """The watch that a deployment asks for; None: none, or nothing is stable."""
    if revision is None or (monitoring.drift is None and monitoring.labels is None):
        return None
    window = max(parse_duration(monitoring.window), timedelta(seconds=1))
    drift = monitoring.drift or Drift()
    return WatchSettings(
        revision,
        window,
        drift.false_alarm_interval,
        Wanted.of(drift, monitoring.segments),
        quality_settings(monitoring, window),
    )


def quality_series(quality: QualityWatch | None) -> dict[str, float | None]:
    """What Prometheus is told of a quality watch, by the names of `metrics.MONITORING`."""
    if quality is None:
        return {}
    labels, worth = quality.labels, quality.worth
    scores = None if quality.scores is None else quality.scores.estimate
    expected = None if scores is None else scores.metrics.get(Metric.LOSS)
    return {
        "mooring_quality_loss": None if labels is None else labels.loss,
        "mooring_quality_label_coverage": None if labels is None else labels.coverage,
        "mooring_quality_expected_loss": None if expected is None else expected.value,
        "mooring_quality_value_per_row": None if worth is None else worth.per_row,
    }


def monitoring_series(watch: DriftWatch | None) -> dict[str, float | None]:
    """What Prometheus is told of a drift watch, by the names of `metrics.MONITORING`."""
    if watch is None:
        return {}
    nearest = watch.nearest
    return {
        "mooring_coverage": watch.coverage,
        "mooring_drift_judged_rows": watch.rows,
        "mooring_drift_judged_windows": watch.windows,
        "mooring_drift_log_evidence": None if nearest is None else nearest.log_evidence,
        "mooring_drift_log_threshold": None if nearest is None else nearest.threshold,
        "mooring_drift_alarm": len(watch.status.features),
        "mooring_data_quality_alarm": len(watch.status.data_quality),
    }


class Watcher:
    """One deployment's drift watch."""

    def __init__(self) -> None:
        self._settings: WatchSettings | None = None
        self._detector: DriftDetector | None = None
        self._watch: DriftWatch | None = None
        self._segments: tuple[str, ...] = ()
        """Of the pods' profile, in the order in which pods count them."""
        self.quality: QualityWatch | None = None
        """The quality watch; None: as the drift watch."""
        self.trouble: Trouble | None = None
        """Why nothing can be judged, if so."""

    @property
    def watch(self) -> DriftWatch | None:
        """The watch; None: nothing is watched (yet)."""
        return self._watch

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
            self.quality = None
            self.trouble = None
        return settings is not None and self._detector is None

    def begin(self, profile: Mapping[str, object], now: datetime) -> None:
        """Begins the watch with the pods' reference profile; an unusable one is its trouble."""
        settings = self._settings
        if settings is None:
            return
        interval = parse_duration(settings.false_alarm_interval)
        try:
            whole = ReferenceProfile.from_json(dict(profile))
            reference = judged_profile(whole, settings.wanted)
            detector = DriftDetector(
                reference,
                false_alarm_windows=max(1.0, interval / settings.window),
                importance=settings.wanted.importance,
            )
        except ProfileInvalid as error:
            self._say(Trouble(Reason.NO_REFERENCE_PROFILE, str(error)))
            return
        self._detector = detector
        self._segments = tuple(str(part.segment) for part in whole.segments)
        told = announced(settings.revision, reference, detector, settings.false_alarm_interval)
        self._watch = begin(told, detector, now, settings.window)
        self.quality = QualityWatch(reference)
        if self.trouble is not None and self.trouble.reason is not Reason.FOREIGN_COUNTS:
            self.trouble = None

    def lacks_profile(self, why: str) -> None:
        """Says that no pod gave its profile."""
        self._say(Trouble(Reason.NO_REFERENCE_PROFILE, why))

    def fold(self, snapshots: Iterable[Snapshot], now: datetime) -> bool:
        """Ends the window if it is due; returns whether it did.

        Args:
            snapshots: last answers of all pods since the last window, dead ones included.
            now: the time.
        """
        settings, detector, watch = self._settings, self._detector, self._watch
        if settings is None or detector is None or watch is None or now < watch.window_ends:
            return False
        sources: dict[str, Counted] = {}
        trouble: Trouble | None = None
        for snapshot in snapshots:
            if snapshot.revision != settings.revision:
                continue
            try:
                sources[source_of(snapshot)] = _counted(snapshot)
            except CountsInvalid as error:
                trouble = Trouble(Reason.FOREIGN_COUNTS, f"Pod {snapshot.pod_uid}: {error}")
        try:
            after = self._watch = fold(watch, detector, sources, now)
            if self.quality is not None and after.counts is not None and after.rows > watch.rows:
                self.quality = judge_scores(
                    self.quality, settings.quality, after.counts, watch.window_began
                )
        except CountsInvalid as error:
            trouble = Trouble(Reason.FOREIGN_COUNTS, str(error))
            self._detector, self._watch, self.quality = (
                None,
                None,
                None,
            )  # with the profile that the pods have now
        self._say(trouble)
        return True

    def judge_labels(self, labelled: Labelled, now: datetime) -> None:
        """Judges the cohorts that are mature.

        Args:
            labelled: what all pods say.
            now: the time.
        """
        settings = self._settings
        if settings is None or self.quality is None or settings.quality.cohort is None:
            return
        revision, length = settings.revision, settings.quality.cohort
        seen = SeenLabels(
            cohorts_of(labelled.cohorts, revision, length),
            segment_cohorts_of(labelled.cohorts, revision, length, self._segments),
            labelled.duplicates,
        )
        self.quality = judge_labels(self.quality, settings.quality, seen, now)

    def _say(self, trouble: Trouble | None) -> None:
        if trouble is not None and trouble != self.trouble:
            log.warning("drift watch: %s: %s", trouble.reason, trouble.message)
        self.trouble = trouble


def _counted(snapshot: Snapshot) -> Counted:
    """What a pod counted.

    Raises:
        CountsInvalid: its counts are not of the contract's form.
    """
    sketch = Sketch.from_json(snapshot.counts)
    return Counted(sketch, rows=snapshot.rows, sketched=snapshot.sketched_rows)
