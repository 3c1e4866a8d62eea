"""The drift watch of a stable revision: cumulative counts of its pods, folded into windows.

Pure. A window is what the pods counted since the last one ended, merged; a pod that restarted is
another source, so nothing is subtracted that was never added. The first window of a watch holds
all that the pods counted since they started, so a restarted operator loses no row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mooring_operator.api.deployment_status import DriftedFeature, DriftStatus
from mooring_operator.ids import Revision
from mooring_profile.edetector import DriftDetector, StreamEvidence, StreamKind
from mooring_profile.errors import CountsInvalid
from mooring_profile.sketch import Sketch
from mooring_profile.state import DetectorState

LEAST_COVERAGE = 0.9
"""Counted rows / answered rows below which a window is not judged: the counted ones may differ."""
MOST_FEATURES = 20

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
        revision: the stable revision that is watched.
        state: the detector's.
        seen: what each source had counted when the last window ended.
        window_ends: when the present window ends.
        status: what to tell.
    """

    revision: Revision
    state: DetectorState
    window_ends: datetime
    status: DriftStatus
    seen: Mapping[str, Counted] = field(default_factory=dict[str, Counted])


def begin(
    revision: Revision, detector: DriftDetector, now: datetime, window: timedelta
) -> DriftWatch:
    """A watch before its first window."""
    return DriftWatch(
        revision=revision,
        state=detector.initial(),
        window_ends=now + window,
        status=DriftStatus(revision=revision, verdict=NO_DATA),
    )


def fold(
    watch: DriftWatch,
    detector: DriftDetector,
    sources: Mapping[str, Counted],
    now: datetime,
    window: timedelta,
) -> DriftWatch:
    """The watch after the window that ends now.

    Args:
        watch: the watch so far.
        detector: of the revision's reference profile.
        sources: cumulative counts by source; those that are no more, with their last ones.
        now: when the window ends.
        window: length of the next one.

    Raises:
        CountsInvalid: the counts were made with another profile than the detector's.
    """
    parts = [_since(counted, watch.seen.get(name)) for name, counted in sources.items()]
    rows = sum(part.rows for part in parts)
    sketched = sum(part.sketched for part in parts)
    after = replace(watch, seen=dict(sources), window_ends=now + window)
    if watch.status.verdict == DRIFTED or sketched <= 0:
        return after  # an alarm is latched; a window without rows says nothing
    if sketched < LEAST_COVERAGE * rows:
        return after
    state, evidence = detector.step(watch.state, Sketch.merge_all(part.sketch for part in parts))
    return replace(after, state=state, status=_told(watch, evidence, sketched, now))


def _since(counted: Counted, before: Counted | None) -> Counted:
    """What a source counted since the last window."""
    if before is None:
        return counted
    try:
        sketch = counted.sketch.subtract(before.sketch)
    except CountsInvalid:
        return counted  # it began again without telling: all of it is new
    return Counted(
        sketch, max(0, counted.rows - before.rows), max(0, counted.sketched - before.sketched)
    )


def _told(
    watch: DriftWatch, evidence: tuple[StreamEvidence, ...], rows: int, now: datetime
) -> DriftStatus:
    alarms = [item for item in evidence if item.alarm]
    drifted = [item for item in alarms if item.kind is StreamKind.DRIFT]
    return DriftStatus(
        revision=watch.revision,
        verdict=DRIFTED if drifted else WITHIN_TOLERANCE,
        features=_features(drifted),
        rows=watch.status.rows + rows,
        windows=watch.status.windows + 1,
        at=now if drifted else None,
        data_quality=_features(item for item in alarms if item.kind is StreamKind.DATA_QUALITY),
    )


def _features(alarms: Iterable[StreamEvidence]) -> list[DriftedFeature]:
    """The streams in alarm, largest effect first."""
    ordered = sorted(alarms, key=lambda item: (-(item.effect or 0.0), item.feature))
    return [
        DriftedFeature(
            name=item.feature, kind=item.signal.value, effect=round(item.effect or 0.0, 4)
        )
        for item in ordered[:MOST_FEATURES]
    ]
