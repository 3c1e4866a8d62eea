"""The drift detector: a family of Shiryaev-Roberts e-detectors over merged counts.

A *component* turns the counts of a window into an e-value, e, whose expectation is at most 1 for
every distribution that is normal. For an event with normal share at most mu (upward; mirrored
downward) and an alternative q beyond mu, C occurrences among n rows give

    e = (q / mu)^C ((1 - q) / (1 - mu))^(n - C);

for ordered values, location and scale alternatives give e-values from all cells (`alternatives`).
With a design effect d, e^(1/d) is used: by Jensen's inequality that is an e-value too. Each window
updates R <- (R + 1) e, a stream's evidence is the weighted mean of R over its components, and
stream j alarms when it reaches A / w_j.

Why A windows are guaranteed: given the past, E[R_t] <= R_(t-1) + 1, so the sum M_t of w_j times the
evidence of stream j, minus t, is a supermartingale, whatever the weights and however features
depend on each other. At the first alarm, tau, M >= A; by optional stopping E[tau] >= E[M_tau] >= A
(Shin, Ramdas and Rinaldo, E-detectors, arXiv 2203.03532, theorem 2.4). By Doob's inequality the
probability of any alarm within t windows is at most t / A. Weights and alternatives may be chosen
freely as long as the traffic does not choose them.

Rows are collected until 50 effective ones of a feature came together; then they are judged.
"""

import hashlib
import json
import math
from collections.abc import Mapping

import numpy as np

from mooring_profile.divergence import DivergenceReader, Divergences
from mooring_profile.document import ReferenceProfile, Signal, StreamTest
from mooring_profile.errors import CountsInvalid, ProfileInvalid
from mooring_profile.evidence import StreamEvidence, StreamKind, Teller
from mooring_profile.fields import FloatArray
from mooring_profile.layout import Flattener, Layout
from mooring_profile.recursion import next_state, standing
from mooring_profile.sketch import Sketch
from mooring_profile.state import DetectorState, StateSizes
from mooring_profile.streams import ALTERNATIVES, streams_of

__all__ = ["ALTERNATIVES", "DriftDetector", "StreamEvidence", "StreamKind"]

LEAST_TOLD = 1e-300
"""Evidence that vanished is told as this much, so that its logarithm is finite."""
REVISION = 2
"""Of the arithmetic that a state depends on: one of another revision begins again."""


class DriftDetector:
    """Judges windows of merged counts against a reference profile.

    Deterministic and without memory of its own: `step` is a pure function of the state and the
    window. Begin again from `initial` when another revision serves, when an alarm was dealt with,
    or with another profile.
    """

    def __init__(
        self,
        profile: ReferenceProfile,
        *,
        false_alarm_windows: float,
        importance: Mapping[str, float] | None = None,
    ) -> None:
        """Lays out the family of streams.

        Args:
            profile: the reference.
            false_alarm_windows: announced expected number of windows between false alarms of the
                whole family, >= 1.
            importance: how much each feature matters, by name, >= 0: what matters more is found
                sooner. None when all matter alike.

        Raises:
            ProfileInvalid: `false_alarm_windows` is below 1, the profile has nothing to watch, or
                an importance is negative.
        """
        if not (math.isfinite(false_alarm_windows) and false_alarm_windows >= 1):
            raise ProfileInvalid(
                f"false_alarm_windows is {false_alarm_windows}; it must be a number >= 1"
            )
        self._streams = streams_of(profile, importance)
        self._refused = () if profile.self_test is None else profile.self_test.refused
        if not self._streams:
            raise ProfileInvalid(
                "The profile has no feature, score or share to watch"
                + (f": {self._refused[0].reason}" if self._refused else "")
            )
        weights = np.array([stream.weight for stream in self._streams])
        self._thresholds = np.log(false_alarm_windows / weights)
        self._tellers = [
            Teller(stream, threshold)
            for stream, threshold in zip(self._streams, self._thresholds.tolist(), strict=True)
        ]
        self._layout = Layout.of(profile, self._streams)
        self._sizes = StateSizes(
            components=self._layout.stream_of_component.size,
            tracks=self._layout.stream_of_track.size,
            events=self._layout.stream_of_event.size,
            streams=len(self._streams),
            cells=self._layout.feature_of_cell.size,
            features=self._layout.first_cell.size,
        )
        self._flattener = Flattener(profile)
        self._divergences = DivergenceReader(profile.streams)
        self._fingerprint = _fingerprint(profile)

    @property
    def streams(self) -> tuple[tuple[str, Signal], ...]:
        """Name and signal of every stream of the family, in the order of the evidence."""
        return tuple((stream.feature.name, stream.signal) for stream in self._streams)

    @property
    def refused(self) -> tuple[StreamTest, ...]:
        """The streams that may not alarm, because they did on their own reference, with reasons."""
        return self._refused

    def initial(self) -> DetectorState:
        """Returns the state before the first window."""
        return DetectorState.empty(self._fingerprint, self._sizes)

    def step(
        self, state: DetectorState, window: Sketch
    ) -> tuple[DetectorState, tuple[StreamEvidence, ...]]:
        """Judges one window of merged counts.

        Raises:
            CountsInvalid: the state or the window was made with another profile.
        """
        self._must_fit(state)
        cells = self._flattener.flatten(window)
        after = next_state(self._layout, state, cells)
        return after, self._evidence(after, self._divergences.of(cells))

    def advance(self, state: DetectorState, window: Sketch) -> tuple[DetectorState, bool]:
        """Does as `step` and tells only whether anything alarms; quicker, for simulations.

        Raises:
            CountsInvalid: the state or the window was made with another profile.
        """
        self._must_fit(state)
        after = next_state(self._layout, state, self._flattener.flatten(window))
        levels = standing(self._layout, after.evidence, after.onset, after.since).levels
        return after, bool((_logarithms(levels) >= self._thresholds).any())

    def _must_fit(self, state: DetectorState) -> None:
        if state.fingerprint != self._fingerprint:
            raise CountsInvalid(
                "The detector's state belongs to another reference profile; begin from initial()"
            )
        if state.sizes != self._sizes:
            raise CountsInvalid(
                f"The detector's state is damaged: it holds {state.sizes} instead of "
                f"{self._sizes}; begin from initial()"
            )

    def _evidence(
        self, state: DetectorState, divergences: list[Divergences]
    ) -> tuple[StreamEvidence, ...]:
        layout = self._layout
        found = standing(layout, state.evidence, state.onset, state.since)
        silent = Divergences()
        of_stream: list[int] = layout.feature_of_stream.tolist()
        first: list[int] = layout.first_event.tolist()
        columns: tuple[list[bool], list[float], list[int], list[int], list[int]] = (
            (state.judged > 0).tolist(),
            _logarithms(found.levels).tolist(),
            found.event.tolist(),
            found.since.tolist(),
            state.since_rows.tolist(),
        )
        return tuple(
            teller.tell(
                level=level if judged else None,
                best=event - begin,
                since=since,
                rows=rows,
                hits=state.since_hits[begin:],
                divergences=divergences[feature] if teller.has_divergences else silent,
            )
            for teller, feature, begin, judged, level, event, since, rows in zip(
                self._tellers, of_stream, first, *columns, strict=True
            )
        )


def _logarithms(levels: FloatArray) -> FloatArray:
    return np.log(np.maximum(levels, LEAST_TOLD))


def _fingerprint(profile: ReferenceProfile) -> str:
    digest = json.dumps([REVISION, profile.to_json()], sort_keys=True)
    return hashlib.sha256(digest.encode()).hexdigest()
