"""The drift detector: a family of Shiryaev-Roberts e-detectors over merged counts.

For an event with normal share at most mu (upward; mirrored downward) and an alternative q beyond
mu, C occurrences among n rows give the e-value

    e = (q / mu)^C ((1 - q) / (1 - mu))^(n - C),   with C and n divided by the design effect,

whose expectation is at most 1 for every share that is normal. Each window updates

    R <- (R + 1) e,

a stream's evidence is the mean of R over its events and alternatives, and stream j alarms when it
reaches A / w_j. Since the weights w_j sum to 1, the expected number of windows to the first alarm
of the *whole family* is at least A, however features depend on each other (Shin, Ramdas and
Rinaldo, E-detectors, arXiv 2203.03532, theorem 2.4). By Doob's inequality the probability of any
alarm within t windows is at most t / A.

Evidence of windows with too few rows is collected, not judged: a stream is judged when 50
effective rows came together.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mooring_profile.divergence import StabilityIndex
from mooring_profile.document import FeatureKind, ReferenceProfile, Signal
from mooring_profile.errors import CountsInvalid, ProfileInvalid
from mooring_profile.fields import FloatArray, IntArray
from mooring_profile.sketch import Sketch
from mooring_profile.state import DetectorState
from mooring_profile.streams import Family, Stream, event_ranges, flat_cells, row_ranges

ALTERNATIVES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Alternatives q, as parts of the way from the limit of the normal to 0 or 1."""
ONSET_ALTERNATIVE = 2
"""Index of the alternative that estimates when a change began."""
MIN_EFFECTIVE_ROWS = 50


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
        kind: what an alarm means.
        signal: which signal of the feature.
        log_evidence: natural logarithm of the evidence; None while nothing was judged yet.
        threshold: the evidence, on the same scale, at which the stream alarms.
        alarm: whether it does.
        since_window: index of the window in which the change is estimated to have begun (the
            first window of the state is 0); None while nothing points to one.
        at: the share that moved most tellingly, for people, such as `dep_delay < 12.5`.
        reference_share: that share in the reference.
        observed_share: that share since `since_window`; None with it.
        effect: how far the observed share is from the reference's beyond the tolerance, >= 0;
            None with it.
        psi: population stability index of this window over about 10 cells, its sampling bias
            taken out (near 0 without drift); None for data quality and below 200 effective rows.
    """

    feature: str
    kind: StreamKind
    signal: Signal
    log_evidence: float | None
    threshold: float
    alarm: bool
    since_window: int | None
    at: str
    reference_share: float
    observed_share: float | None
    effect: float | None
    psi: float | None


class DriftDetector:
    """Judges windows of merged counts against a reference profile.

    Deterministic and without memory of its own: `step` is a pure function of the state and the
    window. Begin again from `initial` when another revision serves, when an alarm was dealt with,
    or with another profile.
    """

    def __init__(self, profile: ReferenceProfile, *, false_alarm_windows: float) -> None:
        """Lays out the family of streams.

        Args:
            profile: the reference.
            false_alarm_windows: announced expected number of windows between false alarms of the
                whole family, >= 1.

        Raises:
            ProfileInvalid: `false_alarm_windows` is below 1, or the profile has nothing to watch.
        """
        if not (math.isfinite(false_alarm_windows) and false_alarm_windows >= 1):
            raise ProfileInvalid(
                f"false_alarm_windows is {false_alarm_windows}; it must be a number >= 1"
            )
        self._family = Family.of(profile)
        streams = self._family.streams
        if not streams:
            raise ProfileInvalid("The profile has no feature, score or share to watch")
        self._thresholds = [math.log(false_alarm_windows / stream.weight) for stream in streams]
        self._event_ranges = event_ranges(self._family)
        self._row_ranges = row_ranges(self._family)
        sizes = np.array([len(stream.events) for stream in streams])
        self._stream_of_event = np.repeat(np.arange(sizes.size), sizes)
        self._first_event = np.cumsum(sizes) - sizes
        self._design_effects = np.array([stream.design_effect for stream in streams])
        self._gain, self._loss = _log_ratios(streams)
        self._indices = [_index(stream) for stream in streams]
        digest = json.dumps([profile.to_json(), ALTERNATIVES], sort_keys=True)
        self._fingerprint = hashlib.sha256(digest.encode()).hexdigest()

    @property
    def streams(self) -> tuple[tuple[str, Signal], ...]:
        """Feature and signal of every stream of the family, in the order of the evidence."""
        return tuple((stream.feature.name, stream.signal) for stream in self._family.streams)

    def initial(self) -> DetectorState:
        """Returns the state before the first window."""
        return DetectorState.empty(
            fingerprint=self._fingerprint,
            streams=len(self._family.streams),
            events=self._stream_of_event.size,
            alternatives=len(ALTERNATIVES),
        )

    def step(
        self, state: DetectorState, window: Sketch
    ) -> tuple[DetectorState, tuple[StreamEvidence, ...]]:
        """Judges one window of merged counts.

        Raises:
            CountsInvalid: the state or the window was made with another profile.
        """
        if state.fingerprint != self._fingerprint:
            raise CountsInvalid(
                "The detector's state belongs to another reference profile; begin from initial()"
            )
        sums = self._family.flatten(window)
        rows = sums[self._row_ranges[:, 1]] - sums[self._row_ranges[:, 0]]
        hits = sums[self._event_ranges[:, 1]] - sums[self._event_ranges[:, 0]]
        after = self._advance(state, rows, hits)
        return after, self._evidence(after, sums)

    def _advance(self, state: DetectorState, rows: IntArray, hits: IntArray) -> DetectorState:
        begins = np.where(state.pending_rows > 0, state.pending_since, state.windows)
        rows = state.pending_rows + rows
        hits = state.pending_hits + hits
        judged = rows / self._design_effects >= MIN_EFFECTIVE_ROWS
        which = judged[self._stream_of_event]
        count = rows[self._stream_of_event]
        weight = 1 / self._design_effects[self._stream_of_event]
        log_e = (
            self._gain * (hits * weight)[:, None] + self._loss * ((count - hits) * weight)[:, None]
        )
        log_r = np.where(which[:, None], np.logaddexp(state.log_r, 0.0) + log_e, state.log_r)
        # The restart that a sum of log e-values favours is where the change began (Page 1954).
        restart = which & (state.onset <= 0)
        onset = np.where(restart, 0.0, state.onset)
        return DetectorState(
            fingerprint=state.fingerprint,
            windows=state.windows + 1,
            log_r=log_r,
            onset=np.where(which, onset + log_e[:, ONSET_ALTERNATIVE], onset),
            since=np.where(restart, begins[self._stream_of_event], state.since),
            since_hits=np.where(restart, 0, state.since_hits) + np.where(which, hits, 0),
            since_rows=np.where(restart, 0, state.since_rows) + np.where(which, count, 0),
            pending_rows=np.where(judged, 0, rows),
            pending_hits=np.where(which, 0, hits),
            pending_since=np.where(judged, state.windows + 1, begins),
        )

    def _evidence(self, state: DetectorState, sums: IntArray) -> tuple[StreamEvidence, ...]:
        # Logarithms of the means over alternatives, then over the events of each stream.
        highest = np.maximum.reduceat(state.log_r.max(axis=1), self._first_event)
        highest = np.where(np.isfinite(highest), highest, 0.0)
        scaled = np.exp(state.log_r - highest[self._stream_of_event, None]).mean(axis=1)
        sizes = np.diff(self._first_event, append=scaled.size)
        with np.errstate(divide="ignore"):
            levels = np.log(np.add.reduceat(scaled, self._first_event) / sizes) + highest
        return tuple(
            self._told(
                state, sums, index, first + int(scaled[first : first + size].argmax()), level
            )
            for index, (first, size, level) in enumerate(
                zip(self._first_event.tolist(), sizes.tolist(), levels.tolist(), strict=True)
            )
        )

    def _told(
        self, state: DetectorState, sums: IntArray, index: int, best: int, level: float
    ) -> StreamEvidence:
        stream = self._family.streams[index]
        event = stream.events[best - int(self._first_event[index])]
        rows = int(state.since_rows[best])
        started = bool(state.onset[best] > 0) and rows > 0
        observed = int(state.since_hits[best]) / rows if started else None
        effect = (
            None if observed is None else max(0.0, abs(observed - event.share) - stream.tolerance)
        )
        stability = self._indices[index]
        first, last = stream.rows
        # Shares within the range are told as shares outside it.
        outside = stream.signal is Signal.OUT_OF_RANGE
        drift = stream.signal in (Signal.DISTRIBUTION, Signal.OUT_OF_RANGE)
        return StreamEvidence(
            feature=stream.feature.name,
            kind=StreamKind.DRIFT if drift else StreamKind.DATA_QUALITY,
            signal=stream.signal,
            log_evidence=level if math.isfinite(level) else None,
            threshold=self._thresholds[index],
            alarm=level >= self._thresholds[index],
            since_window=int(state.since[best]) if started else None,
            at="share outside the reference's range" if outside else event.label,
            reference_share=1 - event.share if outside else event.share,
            observed_share=1 - observed if outside and observed is not None else observed,
            effect=effect,
            psi=None if stability is None else stability.of(np.diff(sums[first : last + 1])),
        )


def _log_ratios(streams: tuple[Stream, ...]) -> tuple[FloatArray, FloatArray]:
    """Log likelihood ratios of an occurrence and of its absence, [events, alternatives] each."""
    limits = np.array([event.limit for stream in streams for event in stream.events])[:, None]
    upward = np.array([event.upward for stream in streams for event in stream.events])[:, None]
    part = np.array(ALTERNATIVES)
    alternative = np.where(upward, limits + part * (1 - limits), limits * (1 - part))
    return np.log(alternative / limits), np.log((1 - alternative) / (1 - limits))


def _index(stream: Stream) -> StabilityIndex | None:
    if stream.signal is not Signal.DISTRIBUTION:
        return None
    return StabilityIndex(
        flat_cells(stream.feature.kind, stream.feature.counts)[:-2],
        design_effect=stream.design_effect,
        ordered=stream.feature.kind is FeatureKind.NUMERIC,
    )
