"""Segments of a stable revision: the mean loss of each, and whether their rows are treated alike.

Labels count by the cohort of their prediction, as for all rows, and each cohort once: when it is
mature. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mooring_operator.core.quality.settings import QualitySettings
from mooring_profile.calibration import Calibration
from mooring_profile.cohorts import (
    Cohort,
    CohortPolicy,
    CohortReport,
    CohortState,
    judge_cohorts,
    reference_losses,
)
from mooring_profile.confusion import Confusion
from mooring_profile.document import SCORE_STREAM
from mooring_profile.duplicates import Duplicates
from mooring_profile.fairness import FairnessMetric, FairnessReport, Hits, hits_of, judge_fairness
from mooring_profile.risk import LossTotals

MORE_ROWS = 1.05
"""Groups are compared again when they have so many times the rows: a pair takes 10 ms, and a
confidence sequence holds whenever one looks."""

SegmentCohorts = Mapping[str, Sequence[Cohort]]
"""Cohorts of one revision by segment (`column=value`), merged over pods."""


@dataclass(frozen=True)
class Compared:
    """Groups compared by one rate.

    Attributes:
        rows: that the groups had then.
        report: what was found.
    """

    rows: float
    report: FairnessReport


@dataclass(frozen=True)
class LabelledSegment:
    """What was judged of a segment's labels."""

    state: CohortState
    report: CohortReport


@dataclass(frozen=True)
class Groups:
    """The segments' part of a quality watch.

    Attributes:
        selected: rows above the threshold of all rows, by segment; needs no label.
        decided: labelled rows of mature cohorts by decision and label, by segment.
        until: end of the last cohort in `decided`.
        compared: by rate.
        losses: verdict on the labels of each segment.
    """

    selected: Mapping[str, Hits] = field(default_factory=dict[str, Hits])
    decided: Mapping[str, Confusion] = field(default_factory=dict[str, Confusion])
    until: datetime | None = None
    compared: Mapping[FairnessMetric, Compared] = field(
        default_factory=dict[FairnessMetric, Compared]
    )
    losses: Mapping[str, LabelledSegment] = field(default_factory=dict[str, LabelledSegment])


def add_selected(
    groups: Groups, settings: QualitySettings, new: Mapping[str, Hits], design_effect: float
) -> Groups:
    """The groups after a window.

    Args:
        groups: before it.
        settings: how they are judged.
        new: rows of this window alone.
        design_effect: rows that weigh as one independent row.
    """
    selected = dict(groups.selected)
    for name, hits in new.items():
        known = selected.get(name, Hits(0, 0))
        selected[name] = Hits(known.rows + hits.rows, known.hits + min(hits.rows, hits.hits))
    after = replace(groups, selected=selected)
    return _compare(after, settings, FairnessMetric.SELECTION_RATE, selected, design_effect)


def add_labelled(
    groups: Groups,
    settings: QualitySettings,
    parts: SegmentCohorts,
    calibration: Calibration | None,
    *,
    now: datetime,
) -> Groups:
    """The groups after a look at the cohorts.

    Args:
        groups: before it.
        settings: how they are judged.
        parts: the cohorts of each segment that is watched.
        calibration: what the labelled reference was like; None: it had none.
        now: when cohorts end that are mature after `settings.labels.maturity`.
    """
    policy = settings.labels
    if policy is None or not parts:
        return groups
    losses = _judge_losses(groups.losses, parts, calibration, policy, now=now)
    decided, until = dict(groups.decided), groups.until
    for name, cohorts in parts.items():
        for cohort in _mature(cohorts, policy, groups.until, now):
            until = cohort.end if until is None else max(until, cohort.end)
            if cohort.confusion is not None and cohort.coverage >= policy.least_coverage:
                known = decided.get(name)
                decided[name] = cohort.confusion if known is None else known.merge(cohort.confusion)
    after = replace(groups, losses=losses, decided=decided, until=until)
    effect = policy.design_effect
    if calibration is not None:
        effect *= calibration.maps[0].design_effect
    for rate in (FairnessMetric.TRUE_POSITIVE_RATE, FairnessMetric.FALSE_POSITIVE_RATE):
        hits = {
            name: hits_of(rate, confusion)
            for name, confusion in decided.items()
            if name.startswith(f"{settings.column}=")
        }
        after = _compare(after, settings, rate, hits, effect)
    return after


def family_policy(policy: CohortPolicy, segments: int) -> CohortPolicy:
    """The policy of all rows where so many segments share its announced interval.

    Half of the false alarms are theirs: weights that sum to 1 make one detector of all of them.
    """
    return policy if segments == 0 else _rarer(policy, 2)


def without_duplicates(policy: CohortPolicy, duplicates: Duplicates) -> CohortPolicy:
    """The policy for counts in which some labels are counted several times.

    Several counts of a label weigh as one row, and make no more predictions labelled.
    """
    return replace(
        policy,
        design_effect=policy.design_effect * duplicates.design_effect,
        least_coverage=min(1.0, policy.least_coverage * duplicates.multiplicity),
    )


def segment_policy(policy: CohortPolicy, segments: int) -> CohortPolicy:
    """The policy of each of so many segments."""
    return _rarer(policy, 2 * segments)


def _rarer(policy: CohortPolicy, times: float) -> CohortPolicy:
    risk = replace(policy.risk, false_alarm_every=policy.risk.false_alarm_every * times)
    return replace(policy, risk=risk)


def _judge_losses(
    known: Mapping[str, LabelledSegment],
    parts: SegmentCohorts,
    calibration: Calibration | None,
    policy: CohortPolicy,
    *,
    now: datetime,
) -> Mapping[str, LabelledSegment]:
    shared = segment_policy(policy, len(parts))
    found: dict[str, LabelledSegment] = {}
    for name, cohorts in parts.items():
        before = known[name].state if name in known else CohortState()
        reference, own = LossTotals(), shared
        map_ = None if calibration is None else calibration.map_of(f"{name}/{SCORE_STREAM}")
        if map_ is not None:
            reference = reference_losses(map_)
            own = replace(shared, design_effect=shared.design_effect * map_.design_effect)
        state, report = judge_cohorts(before, cohorts, now=now, reference=reference, policy=own)
        found[name] = LabelledSegment(state, report)
    return found


def _mature(
    cohorts: Iterable[Cohort], policy: CohortPolicy, until: datetime | None, now: datetime
) -> list[Cohort]:
    horizon = now - policy.maturity
    return [
        cohort
        for cohort in cohorts
        if cohort.end <= horizon and (until is None or cohort.start >= until)
    ]


def _compare(
    groups: Groups,
    settings: QualitySettings,
    rate: FairnessMetric,
    hits: Mapping[str, Hits],
    design_effect: float,
) -> Groups:
    """With the groups compared by a rate, where it is asked for and there are more rows."""
    known, rows = groups.compared.get(rate), sum(group.rows for group in hits.values())
    if rate not in settings.rates or (known is not None and rows < MORE_ROWS * known.rows):
        return groups
    policy = replace(
        settings.fairness,
        alpha=settings.fairness.alpha / len(settings.rates),
        design_effect=design_effect,
    )
    found = Compared(rows, judge_fairness(rate, hits, policy))
    return replace(groups, compared={**groups.compared, rate: found})
