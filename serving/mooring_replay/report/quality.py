"""Missing, invalid and unknown values, and values out of range, over time."""

from collections.abc import Callable, Sequence

from mooring_profile import FeatureCounts, Signal, StreamKind
from mooring_profile.document import QualityBand
from mooring_replay.report.courses import share_course
from mooring_replay.report.lanes import evidence_lanes
from mooring_replay.report.readings import Reading
from mooring_replay.report.svg import escape, percent
from mooring_replay.result import Replay

MAX_SHARES = 24
_NAMES = {
    Signal.MISSING: "values missing",
    Signal.INVALID: "values invalid",
    Signal.UNSEEN: "values never seen before",
    Signal.OUT_OF_RANGE: "values out of the reference's range",
}


def quality_section(found: Replay, readings: Sequence[Reading]) -> str:
    """The section: a lane for each broken column, and every share that is worth a look."""
    broken = [item for item in readings if item.alarm_of(StreamKind.DATA_QUALITY) is not None]
    shares = [
        (item, band) for item in readings for band in item.profile.quality if _telling(item, band)
    ]
    if not broken and not shares:
        return (
            "<h2>Data quality</h2><p class='good'>No column has more missing, invalid, unknown or "
            "out-of-range values than the reference leads to expect.</p>"
        )
    lanes = evidence_lanes(found, broken, StreamKind.DATA_QUALITY) if broken else ""
    figures = "".join(_figure(found, item, band) for item, band in shares[:MAX_SHARES])
    verdict = (
        f"<p class='small'>{len(broken)} of {len(readings)} columns alarm.</p>"
        if broken
        else "<p class='good'>No column alarms; shares that are not 0 are shown.</p>"
    )
    return (
        f"<h2>Data quality</h2>{verdict}<section class='card'>{lanes}"
        f"<div class='pair'>{figures}</div></section>"
    )


def _telling(reading: Reading, band: QualityBand) -> bool:
    """Whether a share is beyond what is normal, or alarmed."""
    now = _part(band.signal)(reading.after)
    alarmed = any(
        stream.signal is band.signal and stream.alarm_window is not None
        for _, stream in reading.streams
    )
    return alarmed or now > band.share + band.tolerance


def _figure(found: Replay, reading: Reading, band: QualityBand) -> str:
    part = _part(band.signal)
    chart = share_course(reading, found.rows, part, band.share)
    return (
        f"<figure><figcaption><b>{escape(reading.name)}</b>: {_NAMES[band.signal]}, "
        f"{percent(band.share)} → {percent(part(reading.after))}</figcaption>{chart}</figure>"
    )


def _part(signal: Signal) -> Callable[[FeatureCounts], float]:
    """The share that a signal watches."""
    match signal:
        case Signal.MISSING:
            return lambda counts: counts.missing / max(1, counts.rows)
        case Signal.INVALID:
            return lambda counts: counts.invalid / max(1, counts.rows)
        case Signal.UNSEEN:
            return lambda counts: counts.unseen / max(1, counts.present)
        case _:
            return lambda counts: (counts.below + counts.above) / max(1, counts.present)
