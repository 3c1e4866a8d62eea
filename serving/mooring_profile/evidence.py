"""What the detector says about one stream after a window, in words and units that a person reads.

Made by `edetector`; read by the operator and the command line.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mooring_profile.document import FeatureKind, Signal
from mooring_profile.fields import IntArray
from mooring_profile.streams import Event, Stream

NO_CHANGE = "no change seen"
_QUANTILES = {
    0.05: "5th percentile",
    0.25: "lower quartile",
    0.5: "median",
    0.75: "upper quartile",
    0.95: "95th percentile",
}


class StreamKind(StrEnum):
    """What an alarm of a stream means."""

    DRIFT = "Drift"
    """Values are distributed differently, or lie outside the reference's range more often: a
    season warmer than any training row is drift, and training again is its remedy (ADR 0002)."""
    DATA_QUALITY = "DataQuality"
    """Values are missing, invalid or unknown more often."""


@dataclass(frozen=True)
class StreamEvidence:
    """What one stream says after a window.

    The divergences speak about this window's rows; each is None for data quality and below its
    least number of rows (`divergence`), and none of them alarms.

    Attributes:
        feature: name of the feature, or `@score`.
        segment: the segment it was counted in, as `column=value`; None for all rows.
        kind: what an alarm means.
        signal: which signal of the feature.
        log_evidence: natural logarithm of the evidence; None while nothing was judged yet.
        threshold: the evidence, on the same scale, at which the stream alarms.
        alarm: whether it does.
        since_window: index of the window in which the change is estimated to have begun (the
            first window of the state is 0); None while nothing points to one.
        since_rows: rows counted since then, or since shortly after; 0 without it.
        at: the share that moved most tellingly, for people, such as `dep_delay < 12.5`.
        reference_share: that share in the reference.
        observed_share: that share in `since_rows`; None without them.
        effect: how far the observed share is beyond the normal, >= 0; None with it.
        effect_text: the change in units of the feature, such as
            `median 12.1 → 15.4 (dep_delay < 12.5: 50 % → 40 %)`.
        psi: population stability index over about 10 cells, its sampling bias taken out (near 0
            without drift).
        js: Jensen-Shannon distance over the same cells.
        js_null95: what it exceeds in 5 % of windows of as many rows without drift.
        ks: Kolmogorov-Smirnov distance; numeric only.
        ks_null95: likewise.
        wasserstein: Wasserstein-1 distance in the reference's standard deviations; numeric only.
        wasserstein_null95: likewise.
    """

    feature: str
    segment: str | None
    kind: StreamKind
    signal: Signal
    log_evidence: float | None
    threshold: float
    alarm: bool
    since_window: int | None
    since_rows: int
    at: str
    reference_share: float
    observed_share: float | None
    effect: float | None
    effect_text: str
    psi: float | None
    js: float | None
    js_null95: float | None
    ks: float | None
    ks_null95: float | None
    wasserstein: float | None
    wasserstein_null95: float | None


def effect_text(stream: Stream, event: Event, best: int, hits: IntArray, rows: int) -> str:
    """Returns a change in units of the feature.

    Args:
        stream: whose change.
        event: its most telling event.
        best: the event's index in the stream.
        hits: int64 [events], occurrences of each of the stream's events.
        rows: among how many rows; 0 when there is no change to tell.
    """
    if rows == 0:
        return NO_CHANGE
    before, after = event.share, int(hits[best]) / rows
    if stream.signal is Signal.OUT_OF_RANGE:
        return f"outside the reference's range {_percent(1 - before)} → {_percent(1 - after)}"
    moved = f"{_percent(before)} → {_percent(after)}"
    ordered = stream.feature.kind is FeatureKind.NUMERIC
    if stream.signal is not Signal.DISTRIBUTION or not ordered:
        return f"{event.label} {moved}"
    level = min(_QUANTILES, key=lambda quantile: abs(quantile - before))
    old, new = _quantile_moved(stream, hits / rows, level)
    return f"{_QUANTILES[level]} {old:.4g} → {new:.4g} ({event.label}: {moved})"


def _quantile_moved(
    stream: Stream, shares: np.ndarray[tuple[int], np.dtype[np.float64]], level: float
) -> tuple[float, float]:
    """A quantile before and after, between edges by straight lines."""
    first = stream.rows[0] + 1
    edges = np.array([stream.feature.edges[event.cells[1] - first] for event in stream.events])
    reference = np.array([event.share for event in stream.events])
    return (
        float(np.interp(level, np.maximum.accumulate(reference), edges)),
        float(np.interp(level, np.maximum.accumulate(shares), edges)),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
