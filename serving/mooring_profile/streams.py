"""The family of streams that a detector watches, laid out flat for numpy.

A stream is one signal of one feature. It consists of *events* ("value below edge k", "category is
c", "value is missing"), each watched in one or two directions. An event's count and its number of
rows are sums over consecutive cells of the feature's counts, so that all of them come from one
cumulative sum. Used by `edetector` only.
"""

from dataclasses import dataclass

import numpy as np

from mooring_profile.counts import FeatureCounts
from mooring_profile.document import (
    FeatureKind,
    FeatureProfile,
    QualityBand,
    ReferenceProfile,
    Signal,
)
from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import FloatArray, IntArray
from mooring_profile.sketch import Sketch

DISTRIBUTION_WEIGHT = 0.9
"""Share of the family's false alarms given to the distribution streams; data quality, whose
changes are seldom subtle, gets the rest."""


@dataclass(frozen=True)
class Event:
    """One share that is watched in one direction.

    Attributes:
        label: for people, such as `dep_delay < 12.5`.
        cells: half-open range in the flat cells that counts the event.
        share: the reference's share of the event.
        limit: the largest (upward) or smallest (downward) share that is normal; within (0, 1).
        upward: whether a larger share is the alternative.
    """

    label: str
    cells: tuple[int, int]
    share: float
    limit: float
    upward: bool


@dataclass(frozen=True)
class Stream:
    """One signal of one feature.

    Attributes:
        feature: its profile.
        signal: what is watched.
        weight: its share of the family's false alarms; weights sum to 1.
        rows: half-open range in the flat cells that counts the rows it speaks about.
        tolerance: how far a share may be from the reference's.
        design_effect: rows that weigh as one.
        events: at least one.
    """

    feature: FeatureProfile
    signal: Signal
    weight: float
    rows: tuple[int, int]
    tolerance: float
    design_effect: float
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Family:
    """All streams of a profile, and the flat order of the cells they count in."""

    profile: ReferenceProfile
    streams: tuple[Stream, ...]
    cells: int

    @classmethod
    def of(cls, profile: ReferenceProfile) -> "Family":
        """Lays out the streams of a profile; a stream on which nothing could alarm is left out."""
        found: list[Stream] = []
        offset = 0
        for feature in profile.streams:
            found.extend(_streams_of(feature, offset))
            offset += flat_cells(feature.kind, feature.counts).size
        drift = sum(1 for stream in found if stream.signal is Signal.DISTRIBUTION)
        quality = len(found) - drift
        shares = (DISTRIBUTION_WEIGHT, 1 - DISTRIBUTION_WEIGHT) if drift and quality else (1.0, 1.0)
        streams = tuple(
            _weighted(
                stream,
                shares[0] / drift if stream.signal is Signal.DISTRIBUTION else shares[1] / quality,
            )
            for stream in found
        )
        return cls(profile, streams, offset)

    def flatten(self, window: Sketch) -> IntArray:
        """Returns the cells of all features, int64 [cells + 1], summed up from a leading zero.

        A feature that the window lacks counts no rows.

        Raises:
            CountsInvalid: counts that were made with another profile.
        """
        parts = [np.zeros(1, dtype=np.int64)]
        for feature in self.profile.streams:
            counts = window.counts.get(feature.name)
            if counts is None:
                counts = FeatureCounts.empty(feature.bin_count)
            if counts.bins.size != feature.bin_count:
                raise CountsInvalid(
                    f"Counts of {feature.name!r} have {counts.bins.size} bins, its profile has "
                    f"{feature.bin_count}: they come from another version's profile"
                )
            parts.append(flat_cells(feature.kind, counts))
        return np.cumsum(np.concatenate(parts))


def flat_cells(kind: FeatureKind, counts: FeatureCounts) -> IntArray:
    """Returns counts in flat order: those of present values first, then missing and invalid."""
    if kind is FeatureKind.NUMERIC:
        inner = np.array([counts.missing, counts.invalid + counts.unseen], dtype=np.int64)
        ends = np.array([counts.below, counts.above], dtype=np.int64)
        return np.concatenate([ends[:1], counts.bins, ends[1:], inner])
    odd = counts.invalid + counts.below + counts.above
    tail = np.array([counts.unseen, counts.missing, odd], dtype=np.int64)
    return np.concatenate([counts.bins, tail])


def event_ranges(family: Family) -> IntArray:
    """Returns int64 [events, 2], the cell ranges of all events of all streams in order."""
    return np.array([event.cells for stream in family.streams for event in stream.events])


def row_ranges(family: Family) -> IntArray:
    """Returns int64 [streams, 2], the cell ranges of the rows of all streams in order."""
    return np.array([stream.rows for stream in family.streams])


def _weighted(stream: Stream, weight: float) -> Stream:
    return Stream(
        stream.feature,
        stream.signal,
        weight,
        stream.rows,
        stream.tolerance,
        stream.design_effect,
        stream.events,
    )


def _streams_of(feature: FeatureProfile, offset: int) -> list[Stream]:
    cells = flat_cells(feature.kind, feature.counts)
    size = cells.size
    present = (offset, offset + size - 2)
    events = _distribution_events(feature, cells, offset)
    streams: list[Stream] = []
    if events:
        streams.append(
            Stream(
                feature,
                Signal.DISTRIBUTION,
                0.0,
                present,
                feature.tolerance,
                feature.design_effect,
                events,
            )
        )
    places = {
        Signal.MISSING: (offset + size - 2, offset + size - 1),
        Signal.INVALID: (offset + size - 1, offset + size),
        Signal.UNSEEN: (offset + size - 3, offset + size - 2),
        Signal.OUT_OF_RANGE: (offset + 1, offset + size - 3),
    }
    for band in feature.quality:
        event = _quality_event(band, places[band.signal])
        if event is None:
            continue
        whole = band.signal in (Signal.MISSING, Signal.INVALID)
        rows = (offset, offset + size) if whole else present
        streams.append(
            Stream(feature, band.signal, 0.0, rows, band.tolerance, band.design_effect, (event,))
        )
    return streams


def _distribution_events(
    feature: FeatureProfile, cells: IntArray, offset: int
) -> tuple[Event, ...]:
    present = cells[:-2]
    total = int(present.sum())
    if total == 0:
        return ()
    events: list[Event] = []
    if feature.kind is FeatureKind.NUMERIC:
        shares: FloatArray = np.cumsum(present)[:-1] / total
        for index, edge in enumerate(feature.edges):
            events += _both_directions(
                f"{feature.name} < {edge:.6g}",
                (offset, offset + index + 1),
                float(shares[index]),
                feature.tolerance,
            )
        return tuple(events)
    names = [f"{feature.name} = {category}" for category in feature.categories]
    if feature.other_categories:
        names.append(f"{feature.name} is a rarer category")
    for index, name in enumerate(names):
        place = (offset + index, offset + index + 1)
        events += _both_directions(name, place, float(present[index]) / total, feature.tolerance)
    return tuple(events)


def _both_directions(
    label: str, cells: tuple[int, int], share: float, tolerance: float
) -> list[Event]:
    """A direction in which every share is normal cannot alarm and is left out."""
    events: list[Event] = []
    high, low = share + tolerance, share - tolerance
    if 0 < high < 1:
        events.append(Event(label, cells, share, high, upward=True))
    if 0 < low < 1:
        events.append(Event(label, cells, share, low, upward=False))
    return events


def _quality_event(band: QualityBand, place: tuple[int, int]) -> Event | None:
    limit = band.share + band.tolerance
    if not 0 < limit < 1:
        return None
    if band.signal is Signal.OUT_OF_RANGE:
        # The cells below and above the range are apart; those inside it are consecutive.
        return Event("share in range", place, 1 - band.share, 1 - limit, upward=False)
    label = {
        Signal.MISSING: "share of missing values",
        Signal.INVALID: "share of invalid values",
        Signal.UNSEEN: "share of unseen categories",
    }[band.signal]
    return Event(label, place, band.share, limit, upward=True)
