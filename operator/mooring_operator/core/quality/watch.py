"""The quality watch of a stable revision: by its scores each window, by its labels each cohort.

Pure. Neither verdict rolls anything back: both speak about what serves now against the reference,
not about one revision against another on the same traffic.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mooring_operator.core.quality.groups import (
    Groups,
    SegmentCohorts,
    add_labelled,
    add_selected,
    family_policy,
    without_duplicates,
)
from mooring_operator.core.quality.settings import QualitySettings
from mooring_operator.core.timeline import minute
from mooring_profile.calibration import CalibrationMap, CalibrationTask
from mooring_profile.cohorts import (
    Cohort,
    CohortReport,
    CohortState,
    judge_cohorts,
    reference_losses,
)
from mooring_profile.confusion import Confusion
from mooring_profile.document import SCORE_STREAM, ReferenceProfile
from mooring_profile.duplicates import Duplicates
from mooring_profile.fairness import Hits
from mooring_profile.quality import QualityReport, ScoreReference, judge_quality
from mooring_profile.risk import LossTotals, RiskState
from mooring_profile.sketch import Sketch
from mooring_profile.value import Worth, estimated_worth, labelled_worth


@dataclass(frozen=True)
class QualityWatch:
    """The watch of one revision.

    Attributes:
        profile: its reference.
        risk: evidence of the expected loss; None before the first window.
        scores: verdict without labels; None: no calibration, or no window yet.
        groups: what was found of the segments.
        state: evidence of the labelled loss.
        labels: verdict of the labels; None: not asked for, or not judged yet.
        worth: value of a row; None: not asked for, or nothing to tell it by.
        duplicates: labels that count several times; None: none were judged yet.
    """

    profile: ReferenceProfile
    risk: RiskState | None = None
    scores: QualityReport | None = None
    groups: Groups = field(default_factory=Groups)
    state: CohortState = field(default_factory=CohortState)
    labels: CohortReport | None = None
    worth: Worth | None = None
    duplicates: Duplicates | None = None


@dataclass(frozen=True)
class SeenLabels:
    """What all pods say of the labels of the watch's revision.

    Attributes:
        cohorts: merged over pods.
        parts: the same of each segment.
        duplicates: how many labels were told to several pods, and so count several times.
    """

    cohorts: Iterable[Cohort]
    parts: SegmentCohorts = field(default_factory=dict[str, Sequence[Cohort]])
    duplicates: Duplicates = field(default_factory=Duplicates)


def judge_scores(
    watch: QualityWatch, settings: QualitySettings, counts: Sketch, began: datetime
) -> QualityWatch:
    """The watch after a window.

    Args:
        watch: before it.
        settings: how quality is judged.
        counts: of this window alone.
        began: when the window began.

    Raises:
        CountsInvalid: the counts were made with another profile.
    """
    calibration = watch.profile.calibration
    if calibration is None:
        return watch
    reference = ScoreReference(calibration)
    risk, report = judge_quality(
        reference, watch.risk, minute(began), counts, policy=settings.scores
    )
    after = replace(watch, risk=risk, scores=report)
    if calibration.task is not CalibrationTask.BINARY:
        return after
    if settings.column is not None:
        after = _judge_groups(after, settings, calibration.maps[0], counts)
    score = counts.counts.get(SCORE_STREAM)
    labelled = watch.worth is not None and watch.worth.labelled
    if settings.matrix is not None and score is not None and not labelled:
        cells = reference.map.cells_of(score)
        after = replace(after, worth=estimated_worth(reference.map, cells, settings.matrix))
    return after


def judge_labels(
    watch: QualityWatch, settings: QualitySettings, seen: SeenLabels, now: datetime
) -> QualityWatch:
    """The watch after a look at the cohorts.

    Args:
        watch: before it.
        settings: how quality is judged.
        seen: what the pods say.
        now: wall clock; where requests say the time, the newest of theirs counts instead.
    """
    if settings.labels is None:
        return watch
    known = list(seen.cohorts)
    if settings.by_request:
        now = max((cohort.end for cohort in known), default=now)
    calibration = watch.profile.calibration
    reference = LossTotals() if calibration is None else reference_losses(calibration.maps[0])
    effect = 1.0 if calibration is None else calibration.maps[0].design_effect
    watched = {
        str(part.segment): seen.parts.get(str(part.segment), ()) for part in watch.profile.segments
    }
    labels = without_duplicates(settings.labels, seen.duplicates)
    policy = replace(
        family_policy(labels, len(watched)), design_effect=labels.design_effect * effect
    )
    state, report = judge_cohorts(watch.state, known, now=now, reference=reference, policy=policy)
    groups = add_labelled(
        watch.groups, replace(settings, labels=labels), watched, calibration, now=now
    )
    after = replace(watch, state=state, labels=report, groups=groups, duplicates=seen.duplicates)
    if settings.matrix is None:
        return after
    mature = [cohort for cohort in known if cohort.end <= now - policy.maturity]
    worth = labelled_worth(_confusion(mature), settings.matrix, design_effect=policy.design_effect)
    return after if worth is None else replace(after, worth=worth)


def _confusion(cohorts: Iterable[Cohort]) -> Confusion:
    total = Confusion(0, 0, 0, 0)
    for cohort in cohorts:
        if cohort.confusion is not None:
            total = total.merge(cohort.confusion)
    return total


def _judge_groups(
    watch: QualityWatch, settings: QualitySettings, whole: CalibrationMap, counts: Sketch
) -> QualityWatch:
    """Selection rates by segment: sums of score bins, so that no label is needed."""
    new: dict[str, Hits] = {}
    for part in watch.profile.segments:
        found = counts.counts.get(f"{part.segment}/{SCORE_STREAM}")
        if part.segment.column != settings.column or found is None:
            continue
        cells = whole.cells_of(found)
        rows, hits = float(cells.sum()), float(cells @ whole.selected)
        new[str(part.segment)] = Hits(rows, min(rows, hits))
    return replace(watch, groups=add_selected(watch.groups, settings, new, whole.design_effect))
