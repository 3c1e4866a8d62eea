"""The drift watch of a stable revision: cumulative counts of its pods, folded into windows.

Pure. A window is what the pods counted since the last one ended, merged; a pod that restarted is
another source, so nothing is subtracted that was never added. The first window of a watch holds
all that the pods counted since they started, so a restarted operator loses no row.

What is told (`DriftStatus`) moves only when an alarm comes or goes: the counts stay in here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mooring_operator.api.monitoring_status import DriftedFeature, DriftStatus
from mooring_operator.core.timeline import Timeline
from mooring_operator.ids import Revision
from mooring_profile.edetector import DriftDetector, StreamEvidence, StreamKind
from mooring_profile.sketch import Sketch
from mooring_profile.state import DetectorState

LEAST_COVERAGE = 0.9
"""Counted rows / answered rows below which a window is not judged: the counted ones may differ."""
MOST_FEATURES = 20
_LONGEST_CHANGE = 256
_LONGEST_NAME = 128
_MOST_SILENT = 64
"""Sources remembered that gave no counts in the last window: most are gone for good."""

WITHIN_TOLERANCE = "WithinTolerance"
DRIFTED = "Drifted"
NO_DATA = "NoData"


@dataclass(frozen=True)
class Counted:
    """What one source (a pod since its boot) has counted so far.

    Attributes:
        sketch: counts by feature.
        rows: rows that it answered.
        sketched: rows among them that are in the sketch.
    """

    sketch: Sketch
    rows: int
    sketched: int


@dataclass(frozen=True)
class DriftWatch:
    """The watch of one revision after some windows.

    Attributes:
        state: the detector's.
        timeline: when the judged windows began.
        window_began: when the present window began.
        window_ends: when the present window ends.
        status: what to tell.
        seen: what each source had counted when the last window ended.
        rows: rows judged so far.
        coverage: counted / answered rows of the last window that had any; None before it.
        counts: of the last judged window; None before it.
        nearest: the stream that is nearest to its alarm; None before the first judged window.
    """

    state: DetectorState
    timeline: Timeline
    window_began: datetime
    window_ends: datetime
    status: DriftStatus
    seen: Mapping[str, Counted] = field(default_factory=dict[str, Counted])
    rows: int = 0
    coverage: float | None = None
    counts: Sketch | None = None
    nearest: StreamEvidence | None = None

    @property
    def windows(self) -> int:
        """Windows judged so far."""
        return self.state.windows


def begin(
    status: DriftStatus, detector: DriftDetector, now: datetime, window: timedelta
) -> DriftWatch:
    """A watch before its first window.

    Args:
        status: what to tell until then; see `untold`.
        detector: of the revision's reference profile.
        now: when it begins.
        window: length of a window.
    """
    return DriftWatch(
        state=detector.initial(),
        timeline=Timeline(window),
        window_began=now,
        window_ends=now + window,
        status=status,
    )


def untold(revision: Revision) -> DriftStatus:
    """What is told of a revision before its first window."""
    return DriftStatus(revision=revision, verdict=NO_DATA)


def fold(
    watch: DriftWatch, detector: DriftDetector, sources: Mapping[str, Counted], now: datetime
) -> DriftWatch:
    """The watch after the window that ends now.

    Args:
        watch: the watch so far.
        detector: of the revision's reference profile.
        sources: cumulative counts by source; those that are no more, with their last ones.
        now: when the window ends.

    Raises:
        CountsInvalid: the counts were made with another profile than the detector's.
    """
    parts = [
        part
        for name, counted in sources.items()
        if (part := _since(counted, watch.seen.get(name))) is not None
    ]
    rows = sum(part.rows for part in parts)
    sketched = sum(part.sketched for part in parts)
    after = replace(
        watch,
        seen=_seen(watch.seen, sources),
        window_began=now,
        window_ends=_next_end(watch, now),
        coverage=watch.coverage if rows <= 0 else min(1.0, sketched / rows),
    )
    if sketched <= 0 or sketched < LEAST_COVERAGE * rows:
        return after  # a window without rows, or with too few of them, says nothing
    timeline = watch.timeline.plus(watch.windows, watch.window_began)
    counts = Sketch.merge_all(part.sketch for part in parts)
    state, evidence = detector.step(watch.state, counts)
    judged = replace(
        after,
        state=state,
        timeline=timeline,
        rows=watch.rows + sketched,
        counts=counts,
        nearest=max(evidence, key=_nearness),
    )
    return replace(judged, status=latched(watch.status, _told(judged, evidence, now)))


def latched(known: DriftStatus, seen: DriftStatus) -> DriftStatus:
    """What to tell when `known` was told and `seen` is found now, both of one revision.

    A drift alarm stays, and takes in features that alarm later. Data quality comes and goes. What
    alarms on keeps the numbers that it alarmed with: a status must not move with each window.
    """
    if seen.verdict == NO_DATA:
        return known if known.verdict != NO_DATA else seen
    quality = [_kept(known.data_quality, item) for item in seen.data_quality]
    if known.verdict != DRIFTED:
        return seen.model_copy(update={"data_quality": quality})
    names = {_identity(item) for item in known.features}
    late = [item for item in seen.features if _identity(item) not in names]
    features = [*known.features, *late][:MOST_FEATURES]
    announced = {
        "false_alarm_interval": seen.false_alarm_interval or known.false_alarm_interval,
        "watched": seen.watched or known.watched,
        "unarmed": seen.unarmed,
    }
    return known.model_copy(update={"features": features, "data_quality": quality, **announced})


def _next_end(watch: DriftWatch, now: datetime) -> datetime:
    """The first end after now on the watch's grid: late rounds do not shift the windows."""
    window = watch.timeline.window
    late = (now - watch.window_ends) // window
    return watch.window_ends + (max(0, late) + 1) * window


def _seen(before: Mapping[str, Counted], sources: Mapping[str, Counted]) -> dict[str, Counted]:
    """The latest counts of each source, those included that could not be read this time."""
    silent = {name: counted for name, counted in before.items() if name not in sources}
    kept = dict(list(silent.items())[-_MOST_SILENT:])
    for name, counted in sources.items():
        known = before.get(name)
        kept[name] = counted if known is None or counted.sketched >= known.sketched else known
    return kept


def _since(counted: Counted, before: Counted | None) -> Counted | None:
    """What a source counted since the last window; None: these counts are older than the last.

    A pod that starts again is another source, so counts of one source never fall.
    """
    if before is None:
        return counted
    if counted.sketched < before.sketched:
        return None
    return Counted(
        counted.sketch.subtract(before.sketch),
        max(0, counted.rows - before.rows),
        counted.sketched - before.sketched,
    )


def _told(watch: DriftWatch, evidence: tuple[StreamEvidence, ...], now: datetime) -> DriftStatus:
    """What the windows so far say by themselves."""
    alarms = [item for item in evidence if item.alarm]
    drifted = [item for item in alarms if item.kind is StreamKind.DRIFT]
    quality = [item for item in alarms if item.kind is StreamKind.DATA_QUALITY]
    return watch.status.model_copy(
        update={
            "verdict": DRIFTED if drifted else WITHIN_TOLERANCE,
            "features": _features(drifted, watch.timeline),
            "rows": watch.rows if drifted else 0,
            "windows": watch.windows if drifted else 0,
            "at": now if drifted else None,
            "data_quality": _features(quality, watch.timeline),
        }
    )


def _features(alarms: Iterable[StreamEvidence], timeline: Timeline) -> list[DriftedFeature]:
    """The streams in alarm, largest effect first."""
    ordered = sorted(alarms, key=lambda item: (-(item.effect or 0.0), item.feature, item.signal))
    return [
        DriftedFeature(
            name=item.feature[:_LONGEST_NAME],
            segment=(item.segment or "")[:_LONGEST_NAME],
            kind=item.signal.value,
            effect=round(item.effect or 0.0, 4),
            change=item.effect_text[:_LONGEST_CHANGE],
            since=None if item.since_window is None else timeline.begin_of(item.since_window),
        )
        for item in ordered[:MOST_FEATURES]
    ]


def _kept(known: Sequence[DriftedFeature], item: DriftedFeature) -> DriftedFeature:
    """The entry as it was told first, if it was."""
    return next((old for old in known if _identity(old) == _identity(item)), item)


def _identity(item: DriftedFeature) -> tuple[str, str, str]:
    return item.segment, item.name, item.kind


def _nearness(item: StreamEvidence) -> float:
    """Log evidence above (or, negative, below) the alarm's threshold."""
    return float("-inf") if item.log_evidence is None else item.log_evidence - item.threshold
