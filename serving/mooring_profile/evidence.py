"""What the detector says about one stream after a window, in words and units that a person reads.

Made by `edetector`; read by the operator and the command line.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mooring_profile.divergence import Divergences
from mooring_profile.document import FeatureKind, Signal
from mooring_profile.fields import FloatArray, IntArray
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
        divergences: of this window, for people to read beside the evidence; the properties `psi`,
            `js`, `ks`, `wasserstein` and their `…_null95` are its values.
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
    divergences: Divergences

    @property
    def psi(self) -> float | None:
        """See `Divergences`."""
        return self.divergences.psi

    @property
    def js(self) -> float | None:
        """See `Divergences`."""
        return self.divergences.js

    @property
    def js_null95(self) -> float | None:
        """See `Divergences`."""
        return self.divergences.js_null95

    @property
    def ks(self) -> float | None:
        """See `Divergences`."""
        return self.divergences.ks

    @property
    def ks_null95(self) -> float | None:
        """See `Divergences`."""
        return self.divergences.ks_null95

    @property
    def wasserstein(self) -> float | None:
        """See `Divergences`."""
        return self.divergences.wasserstein

    @property
    def wasserstein_null95(self) -> float | None:
        """See `Divergences`."""
        return self.divergences.wasserstein_null95


_DRIFT = frozenset({Signal.DISTRIBUTION, Signal.RARE, Signal.OUT_OF_RANGE})


class Teller:
    """Tells where one stream stands, window after window.

    Attributes:
        has_divergences: whether the divergences of its feature are its to tell.
    """

    def __init__(self, stream: Stream, threshold: float) -> None:
        self._stream = stream
        self._threshold = threshold
        segment = stream.feature.segment
        self._feature = stream.feature.feature
        self._segment = None if segment is None else str(segment)
        self._kind = StreamKind.DRIFT if stream.signal in _DRIFT else StreamKind.DATA_QUALITY
        self.has_divergences = stream.signal is Signal.DISTRIBUTION

    def tell(
        self,
        *,
        level: float | None,
        best: int,
        since: int,
        rows: int,
        hits: IntArray,
        divergences: Divergences,
    ) -> StreamEvidence:
        """Returns the stream's evidence.

        Args:
            level: logarithm of the evidence; None while nothing was judged.
            best: index of the stream's most telling event.
            since: the window in which its change would have begun.
            rows: rows counted since then; 0 when nothing points to a change.
            hits: int64, occurrences among them of each of the stream's events (and of others).
            divergences: of this window.
        """
        stream, event = self._stream, self._stream.events[best]
        observed = int(hits[best]) / rows if rows else None
        beyond = None if observed is None else observed - event.limit
        # Shares within the range are told as shares outside it.
        outside = stream.signal is Signal.OUT_OF_RANGE
        return StreamEvidence(
            feature=self._feature,
            segment=self._segment,
            kind=self._kind,
            signal=stream.signal,
            log_evidence=level,
            threshold=self._threshold,
            alarm=level is not None and level >= self._threshold,
            since_window=since if rows else None,
            since_rows=rows,
            at="share outside the reference's range" if outside else event.label,
            reference_share=1 - event.share if outside else event.share,
            observed_share=1 - observed if outside and observed is not None else observed,
            effect=None if beyond is None else max(0.0, beyond if event.upward else -beyond),
            effect_text=effect_text(stream, event, best, hits, rows) if rows else NO_CHANGE,
            divergences=divergences,
        )


def effect_text(stream: Stream, event: Event, best: int, hits: IntArray, rows: int) -> str:
    """Returns a change in units of the feature.

    Args:
        stream: whose change.
        event: its most telling event.
        best: the event's index in the stream.
        hits: int64, occurrences of each of the stream's events (and of others).
        rows: among how many rows, > 0.
    """
    before, after = event.share, int(hits[best]) / rows
    if stream.signal is Signal.OUT_OF_RANGE:
        return f"outside the reference's range {_percent(1 - before)} → {_percent(1 - after)}"
    moved = f"{_percent(before)} → {_percent(after)}"
    ordered = stream.feature.kind is FeatureKind.NUMERIC
    if stream.signal is not Signal.DISTRIBUTION or not ordered:
        return f"{event.label} {moved}"
    level = min(_QUANTILES, key=lambda quantile: abs(quantile - before))
    old, new = _quantile_moved(stream, hits[: len(stream.events)] / rows, level)
    return f"{_QUANTILES[level]} {old:.4g} → {new:.4g} ({event.label}: {moved})"


def _quantile_moved(stream: Stream, shares: FloatArray, level: float) -> tuple[float, float]:
    """A quantile before and after, between edges by straight lines."""
    edges = [stream.feature.edges[event.cells[1] - stream.rows[0] - 1] for event in stream.events]
    reference = [event.share for event in stream.events]
    return (
        float(np.interp(level, np.maximum.accumulate(reference), edges)),
        float(np.interp(level, np.maximum.accumulate(shares), edges)),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
