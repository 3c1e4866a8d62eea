"""The numbers of the report: each watched column before and after its change, and over time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mooring_profile import FeatureCounts, FeatureKind, FeatureProfile, Sketch, StreamKind
from mooring_profile.divergence import DivergenceReader, Divergences
from mooring_profile.fields import FloatArray
from mooring_profile.layout import Flattener
from mooring_profile.sketch import sketch_of
from mooring_replay.report.svg import number, percent
from mooring_replay.result import Alarm, Replay, StreamResult

MAX_POINTS = 160
"""Points of a line over time; more cannot be told apart on a screen."""
_QUANTILES = {0.1: "lowest tenth", 0.25: "lower quartile", 0.5: "median", 0.75: "upper quartile",
              0.9: "highest tenth"}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """One watched column, or one of a segment.

    Attributes:
        name: the column, with its segment.
        profile: its reference.
        alarms: of it, first first.
        streams: indices of its streams in the replay, with what they found.
        since_row: first row of `after`, from 1: where the change began, or the stream.
        after: counts of the rows from there on.
        divergences: of those from the reference.
        times: last row of each stretch of time.
        over_time: counts of each.
    """

    name: str
    profile: FeatureProfile
    alarms: tuple[Alarm, ...]
    streams: tuple[tuple[int, StreamResult], ...]
    since_row: int
    after: FeatureCounts
    divergences: Divergences
    times: tuple[int, ...]
    over_time: tuple[FeatureCounts, ...]

    def alarm_of(self, kind: StreamKind) -> Alarm | None:
        """The alarm of one kind."""
        return next((alarm for alarm in self.alarms if alarm.kind is kind), None)


def read(found: Replay) -> list[Reading]:
    """The readings of all watched columns: alarmed ones first, then by their evidence."""
    profile, window = found.profile, found.settings.window
    times, sketches = _over_time(found)
    since = {item.name: 0 for item in profile.streams}
    alarms = {item.name: _alarms(found, item) for item in profile.streams}
    for name, risen in alarms.items():
        if risen:
            since[name] = (min(alarm.change_row for alarm in risen) - 1) // window
    after = {
        name: sketch_of(profile, found.history.since(first)).counts[name]
        for name, first in since.items()
    }
    flat = Flattener(profile).flatten(Sketch(after))
    divergences = DivergenceReader(profile.streams).of(flat)
    readings = [
        Reading(
            name=_title(found, item),
            profile=item,
            alarms=alarms[item.name],
            streams=tuple(
                (index, stream)
                for index, stream in enumerate(found.streams)
                if (stream.feature, stream.segment) == _key(found, item)
            ),
            since_row=since[item.name] * window + 1,
            after=after[item.name],
            divergences=divergence,
            times=times,
            over_time=tuple(sketch.counts[item.name] for sketch in sketches),
        )
        for item, divergence in zip(profile.streams, divergences, strict=True)
    ]
    return sorted(readings, key=lambda reading: _rank(found, reading))


def evidence_of(found: Replay, reading: Reading, kind: StreamKind) -> FloatArray:
    """Largest evidence of a column's streams of one kind, as a part of its threshold, [windows]."""
    parts = [
        np.nan_to_num(found.evidence[:, index], nan=0.0) / stream.threshold
        for index, stream in reading.streams
        if stream.kind is kind
    ]
    if not parts:
        return np.zeros(found.windows)
    return np.clip(np.max(parts, axis=0), 0.0, None)


def _over_time(found: Replay) -> tuple[tuple[int, ...], list[Sketch]]:
    buckets = found.history.buckets()
    each = -(-len(buckets) // MAX_POINTS)
    windows = found.history.windows_a_bucket * each
    starts = range(0, len(buckets), each)
    times = tuple(
        found.last_row(min((place + 1) * windows, found.windows)) for place in range(len(starts))
    )
    return times, [
        sketch_of(found.profile, buckets[start : start + each].sum(axis=0)) for start in starts
    ]


def _key(found: Replay, item: FeatureProfile) -> tuple[str, str | None]:
    return found.plan.column_of(item.feature), None if item.segment is None else str(item.segment)


def _title(found: Replay, item: FeatureProfile) -> str:
    column, segment = _key(found, item)
    return column if segment is None else f"{column} ({segment})"


def _alarms(found: Replay, item: FeatureProfile) -> tuple[Alarm, ...]:
    key = _key(found, item)
    return tuple(alarm for alarm in found.alarms if (alarm.feature, alarm.segment) == key)


def _rank(found: Replay, reading: Reading) -> tuple[int, float]:
    first = min((alarm.row for alarm in reading.alarms), default=found.rows + 1)
    last = [
        found.evidence[-1, index] / stream.threshold
        for index, stream in reading.streams
        if np.isfinite(found.evidence[-1, index])
    ]
    return first, -max(last, default=0.0)


def shares(counts: FeatureCounts) -> FloatArray:
    """Shares of the present values below, in each bin, and above, [bins + 2]."""
    cells = np.array([counts.below, *counts.bins.tolist(), counts.above], dtype=np.float64)
    return cells / max(1.0, cells.sum())


def quantiles(reading: Reading, counts: FeatureCounts, levels: tuple[float, ...]) -> list[float]:
    """Quantiles between the edges, by straight lines; at the ends of the range where beyond it."""
    edges = reading.profile.edges
    below = np.cumsum(shares(counts))[:-1]
    return [float(np.interp(level, below, edges)) for level in levels]


def category_shares(reading: Reading, counts: FeatureCounts) -> Iterator[tuple[str, float]]:
    """Each category's share of the present values; the rarer and the unseen ones last."""
    total = max(1, counts.present)
    names = [*reading.profile.categories]
    values = counts.bins.tolist()
    for name, value in zip(names, values, strict=False):
        yield name, value / total
    if reading.profile.other_categories:
        yield "rarer ones", values[-1] / total
    yield "never seen before", counts.unseen / total


def moved(reading: Reading) -> str:
    """What moved most since the change, in units of the column."""
    if reading.profile.kind is FeatureKind.CATEGORICAL:
        before = dict(category_shares(reading, reading.profile.counts))
        after = dict(category_shares(reading, reading.after))
        name = max(before, key=lambda category: abs(after[category] - before[category]))
        return f"Share of {name}: {percent(before[name])} → {percent(after[name])}"
    old = quantiles(reading, reading.profile.counts, tuple(_QUANTILES))
    new = quantiles(reading, reading.after, tuple(_QUANTILES))
    names = list(_QUANTILES.values())
    place = max(range(len(names)), key=lambda index: abs(new[index] - old[index]))
    told = dict.fromkeys((names.index("median"), place))  # the median always, and first
    return "; ".join(
        f"{names[index]} {number(old[index])} → {number(new[index])}" for index in told
    ).capitalize()
