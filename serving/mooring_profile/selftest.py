"""Replays the reference as traffic, to find streams that would alarm without any change.

Design effects and seasons are estimated, so the detector's guarantee is as good as the estimates.
The replay measures it: the blocks of time are dealt into five folds, each fold's runs of rows are
windows for a detector that was made from the other folds and that announces one false alarm in as
many windows as are replayed. A stream that alarms more often than its share of that allows is not
armed.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mooring_profile.arming import SelfTest, StreamTest
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import ReferenceProfile, Signal
from mooring_profile.edetector import DriftDetector
from mooring_profile.evidence import StreamEvidence
from mooring_profile.sketch import Sketch
from mooring_profile.tallies import Tallies
from mooring_profile.tally import Tally

FOLDS = 5
"""Not 7: a fold of weekly blocks would take a whole weekday out of the reference."""
MOST_WINDOWS = 600
"""Replayed at most: bounds the time, a thousand streams take about 0.1 s a window."""
LEVEL = 0.01
"""Probability that a family of streams that keep to their rate has any of them refused."""

Name = tuple[str, Signal]
Mask = npt.NDArray[np.bool_]


def run_self_test(tallies: Tallies, profile: ReferenceProfile, floor: float) -> SelfTest:
    """Replays a reference that has blocks of time enough.

    Args:
        tallies: its counts by run.
        profile: made of them.
        floor: the tolerance's floor that it was made with.
    """
    replay = _Replay.of(tallies, floor)
    refused: dict[Name, StreamTest] = {}
    while True:
        found = replay.run(tuple(refused.values()))
        worst = found.too_many()
        if not worst:
            break
        refused |= {name: _refused(name, found) for name in worst}
    allowed = found.allowed
    armed = [
        StreamTest(
            name, signal, found.alarms[name, signal], allowed[name, signal], armed=True, reason=None
        )
        for name, signal in DriftDetector(
            replace(profile, self_test=None), false_alarm_windows=replay.windows
        ).streams
        if (name, signal) not in refused and (name, signal) in allowed
    ]
    return SelfTest(
        windows=found.windows,
        window_rows=replay.window_rows,
        false_alarm_windows=float(replay.windows),
        alarms=found.family,
        streams=(*armed, *(refused[name] for name in sorted(refused))),
    )


@dataclass(frozen=True)
class _Found:
    """What one replay counted; `allowed` are alarms a window by stream."""

    windows: int
    family: int
    alarms: Counter[Name]
    allowed: dict[Name, float]

    def too_many(self) -> list[Name]:
        """The streams above their rate, or where only all together are, the worst of them."""
        tails = {
            name: binomial_tail(self.windows, self.allowed[name], count)
            for name, count in self.alarms.items()
        }
        limits = {name: LEVEL * self.allowed[name] * self.windows for name in tails}
        above = sorted(name for name, tail in tails.items() if tail < limits[name])
        if above or not tails:
            return above
        family = binomial_tail(self.windows, 1 / self.windows, self.family)
        return [min(tails, key=lambda name: (tails[name], name))] if family < LEVEL else []


def _refused(name: Name, found: _Found) -> StreamTest:
    count, allowed = found.alarms[name], found.allowed[name]
    reason = (
        f"alarmed in {count} of {found.windows} windows of the reference itself, where at most "
        f"{found.windows * allowed:.2g} were announced: its blocks of time differ more than the "
        "others tell; profile more of them, or tolerate more"
    )
    return StreamTest(*name, alarms=count, allowed=allowed, armed=False, reason=reason)


@dataclass(frozen=True, eq=False)
class _Fold:
    """Windows, and the profile of all that they do not hold."""

    profile: ReferenceProfile
    windows: tuple[Sketch, ...]


@dataclass(frozen=True, eq=False)
class _Replay:
    """The folds of a reference.

    Attributes:
        folds: each with its windows in their order of time.
        window_rows: mean rows of a window.
    """

    folds: tuple[_Fold, ...]
    window_rows: int

    @property
    def windows(self) -> int:
        """How many there are."""
        return sum(len(fold.windows) for fold in self.folds)

    @classmethod
    def of(cls, tallies: Tallies, floor: float) -> "_Replay":
        blocks = tallies.design.blocks
        most = max(FOLDS, MOST_WINDOWS * blocks.blocks // max(1, blocks.runs))
        chosen = np.unique(np.linspace(0, blocks.blocks - 1, min(blocks.blocks, most)).astype(int))
        seen = {name: tally.as_seen_by_others() for name, tally in _all(tallies)}
        of_run = blocks.block_of_run
        folds: list[_Fold] = []
        rows = 0
        for number in range(FOLDS):
            held = np.isin(of_run, chosen[number::FOLDS])
            windows = tuple(
                Sketch({name: FeatureCounts.from_cells(table[run]) for name, table in seen.items()})
                for run in np.flatnonzero(held).tolist()
            )
            first = next(iter(seen.values()))
            rows += int(first[:-1][held].sum())
            folds.append(_Fold(_without(tallies, held).profile(floor), windows))
        return cls(tuple(folds), round(rows / sum(len(fold.windows) for fold in folds)))

    def run(self, refused: tuple[StreamTest, ...]) -> _Found:
        """Replays all folds, each from the beginning and again from it after an alarm."""
        alarms: Counter[Name] = Counter()
        allowed: dict[Name, float] = {}
        windows = family = 0
        test = SelfTest(0, 0, self.windows, 0, refused)
        for fold in self.folds:
            detector = DriftDetector(
                replace(fold.profile, self_test=test), false_alarm_windows=self.windows
            )
            before = detector.initial()
            if fold.windows:
                _, first = detector.step(before, fold.windows[0])
                allowed |= {_name(item): math.exp(-item.threshold) for item in first}
            for window in fold.windows:
                after, alarm = detector.advance(before, window)
                windows += 1
                if alarm:
                    _, evidence = detector.step(before, window)
                    alarms.update(_name(item) for item in evidence if item.alarm)
                    family += 1
                    after = detector.initial()
                before = after
        return _Found(windows, family, alarms, allowed)


def _name(item: StreamEvidence) -> Name:
    name = item.feature if item.segment is None else f"{item.segment}/{item.feature}"
    return name, item.signal


def _all(tallies: Tallies) -> Iterator[tuple[str, Tally]]:
    """Every tally under the name of its stream."""
    yield from tallies.streams.items()
    for part in tallies.segments:
        for name, tally in part.streams.items():
            yield f"{part.segment}/{name}", tally


def _without(tallies: Tallies, held: Mask) -> Tallies:
    kept = np.append(~held, [True])
    return replace(
        tallies,
        streams={name: tally.of_runs(kept) for name, tally in tallies.streams.items()},
        segments=tuple(
            replace(
                part,
                streams={name: tally.of_runs(kept) for name, tally in part.streams.items()},
            )
            for part in tallies.segments
        ),
    )


def binomial_tail(trials: int, share: float, hits: int) -> float:
    """Returns P(at least so many hits) of independent trials.

    The alarms of a detector that begins again after each are at least `1 / share` windows apart on
    average, as those trials' hits are.
    """
    if hits <= 0:
        return 1.0
    if share >= 1:
        return 1.0
    terms = [
        math.lgamma(trials + 1)
        - math.lgamma(count + 1)
        - math.lgamma(trials - count + 1)
        + count * math.log(share)
        + (trials - count) * math.log1p(-share)
        for count in range(hits, trials + 1)
    ]
    return min(1.0, math.fsum(math.exp(term) for term in terms))
