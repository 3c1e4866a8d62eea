"""The family of streams that a detector watches: what each looks at, and what is normal there.

A stream is one signal of one feature. It consists of *events* ("value below edge k", "category is
c", "value is missing"), each watched in one direction, and for ordered values of *shapes*, which
look at all cells at once. An event's count and its number of rows are sums over consecutive cells
of the feature's counts, so that all of them come from one cumulative sum. Laid out flat by
`layout`, used by `edetector`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mooring_profile.alternatives import shape_scores
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import (
    FeatureKind,
    FeatureProfile,
    QualityBand,
    ReferenceProfile,
    Signal,
)
from mooring_profile.fields import FloatArray, IntArray
from mooring_profile.rarity import RARE_ALTERNATIVES, RARE_FACTOR, RARE_SHARE, share_limits
from mooring_profile.weights import family_weights

ALTERNATIVES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Alternatives of an event, as parts of the way from the limit of the normal to 0 or 1."""
USUAL_TOLERANCE = 0.02


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


@dataclass(frozen=True, eq=False)
class Stream:
    """One signal of one feature.

    Attributes:
        feature: its profile.
        signal: what is watched.
        rows: half-open range in the flat cells that counts the rows it speaks about.
        design_effect: rows that weigh as one.
        events: at least one.
        shapes: float64 [cells of `rows`, SHAPES], what a row adds to the log e-value of each
            location and scale alternative; None where the values have no order.
        weight: its share of the family's false alarms; weights sum to 1.
    """

    feature: FeatureProfile
    signal: Signal
    rows: tuple[int, int]
    design_effect: float
    events: tuple[Event, ...]
    shapes: FloatArray | None = None
    weight: float = 0.0


def streams_of(
    profile: ReferenceProfile, importance: Mapping[str, float] | None
) -> tuple[Stream, ...]:
    """Returns the weighed streams of a profile.

    One on which nothing could alarm is left out, and one that its self-test refuses to arm.
    """
    found: list[Stream] = []
    test = profile.self_test
    offset = 0
    for feature in profile.streams:
        found.extend(
            stream
            for stream in _streams_of(feature, offset)
            if test is None or test.is_armed(feature.name, stream.signal)
        )
        offset += flat_cells(feature.kind, feature.counts).size
    weights = family_weights([(item.feature, item.signal) for item in found], importance)
    return tuple(
        replace(stream, weight=weight) for stream, weight in zip(found, weights, strict=True)
    )


def flat_cells(kind: FeatureKind, counts: FeatureCounts) -> IntArray:
    """Returns counts in flat order: those of present values first, then missing and invalid."""
    if kind is FeatureKind.NUMERIC:
        inner = np.array([counts.missing, counts.invalid + counts.unseen], dtype=np.int64)
        ends = np.array([counts.below, counts.above], dtype=np.int64)
        return np.concatenate([ends[:1], counts.bins, ends[1:], inner])
    odd = counts.invalid + counts.below + counts.above
    tail = np.array([counts.unseen, counts.missing, odd], dtype=np.int64)
    return np.concatenate([counts.bins, tail])


def alternatives_of(stream: Stream, event: Event) -> list[float]:
    """Returns the shares that an event is tested against, beyond its limit."""
    limit = event.limit
    if stream.signal is Signal.RARE:
        if event.upward:
            return [min(limit * factor, (1 + limit) / 2) for factor in RARE_ALTERNATIVES]
        return [limit / factor for factor in RARE_ALTERNATIVES]
    if event.upward:
        return [limit + part * (1 - limit) for part in ALTERNATIVES]
    return [limit * (1 - part) for part in ALTERNATIVES]


def _streams_of(feature: FeatureProfile, offset: int) -> list[Stream]:
    cells = flat_cells(feature.kind, feature.counts)
    size = cells.size
    present = (offset, offset + size - 2)
    streams: list[Stream] = []
    for signal, events in (
        (Signal.DISTRIBUTION, _distribution_events(feature, cells, offset)),
        (Signal.RARE, _rare_events(feature, cells, offset)),
    ):
        if events:
            ordered = signal is Signal.DISTRIBUTION and feature.kind is FeatureKind.NUMERIC
            shapes = shape_scores(cells[:-2], feature.tolerance) if ordered else None
            streams.append(Stream(feature, signal, present, feature.design_effect, events, shapes))
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
        streams.append(Stream(feature, band.signal, rows, band.design_effect, (event,)))
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
                f"{feature.feature} < {edge:.6g}",
                (offset, offset + index + 1),
                float(shares[index]),
                feature.tolerance,
            )
        return tuple(events)
    for index, name in enumerate(category_labels(feature)):
        place = (offset + index, offset + index + 1)
        events += _both_directions(name, place, float(present[index]) / total, feature.tolerance)
    return tuple(events)


def category_labels(feature: FeatureProfile) -> list[str]:
    """Returns what a person calls the bins of a categorical feature that hold anything."""
    names = [f"{feature.feature} = {category}" for category in feature.categories]
    if feature.other_categories:
        names.append(f"{feature.feature} is a rarer category")
    return names


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


def _rare_events(feature: FeatureProfile, cells: IntArray, offset: int) -> tuple[Event, ...]:
    bins = cells[1:-3] if feature.kind is FeatureKind.NUMERIC else cells[:-3]
    total = int(cells[:-2].sum())
    shares = bins / max(1, total)
    rare = np.flatnonzero((shares > 0) & (shares <= min(RARE_SHARE, feature.tolerance)))
    if not rare.size:
        return ()
    independent = total / feature.design_effect
    lower, upper = share_limits(bins[rare] / feature.design_effect, independent)
    factor = RARE_FACTOR * _seasonal_factor(feature, independent)
    first = offset + 1 if feature.kind is FeatureKind.NUMERIC else offset
    events: list[Event] = []
    for index, low, high in zip(rare.tolist(), lower.tolist(), upper.tolist(), strict=True):
        share, place = float(shares[index]), (first + index, first + index + 1)
        label = _bin_label(feature, index)
        ends = max(high, share * factor), min(low, share / factor)
        events += [
            Event(label, place, share, limit, upward)
            for limit, upward in zip(ends, (True, False), strict=True)
            if 0 < limit < 1
        ]
    return tuple(events)


def _seasonal_factor(feature: FeatureProfile, independent_rows: float) -> float:
    """How much a season widens the tolerance, as a factor: a rare bin's own season is not known.

    A tolerance beyond the usual floor and the reference's own error was measured between blocks
    of time, or wanted by the user.
    """
    error = math.sqrt(math.log(200) / (2 * independent_rows))
    return max(1.0, feature.tolerance / max(USUAL_TOLERANCE, error))


def _bin_label(feature: FeatureProfile, index: int) -> str:
    if feature.kind is FeatureKind.CATEGORICAL:
        return category_labels(feature)[index]
    low, high = feature.edges[index : index + 2]
    return f"{low:.6g} <= {feature.feature} < {high:.6g}"


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
