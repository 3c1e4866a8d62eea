"""When what status tells of quality moves, and what it rests on, by values."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from mooring_operator.core.quality.fact import fairness_fact, quality_fact
from mooring_operator.core.quality.settings import quality_settings
from mooring_operator.core.quality.watch import QualityWatch, SeenLabels, judge_labels
from mooring_profile.calibration import Calibration, CalibrationTask
from mooring_profile.cohorts import Cohort
from mooring_profile.confusion import Confusion
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import SCORE_STREAM, Segment, SegmentProfile
from mooring_profile.risk import LossTotals
from mooring_profile.sketch import Sketch
from tests.unit.core.test_core_quality_watch import (
    HOUR,
    NOON,
    SURE,
    UNSURE,
    WINDOW,
    by_labels,
    by_scores,
    calibration,
    cohort,
    feature,
    grouped,
    monitoring,
    profile,
    scored,
    told,
)

LABELS = {"maturity": "12h"}
MATRIX = {"tp": 40, "fp": -5, "fn": -30}
MAPS = calibration().maps
POSITIVES = {"column": "carrier", "rates": ["truePositiveRate"]}


# When numbers are told anew


@pytest.mark.parametrize(
    ("hours", "loss", "rows"),
    [(1, 0.05, 4000), (6, 0.05, 6400), (1, 0.15, 4400)],
    ids=["a few more rows", "half again as many", "another loss"],
)
def test_verdict_of_labels_that_stays_is_told_anew_only_for_news(
    hours: int, loss: float, rows: int
) -> None:
    asked = monitoring(labels=LABELS, quality={"ceiling": 0.9, "margin": 1.0})
    settings = quality_settings(asked, WINDOW)
    first = [cohort(h, 500, 400, 0.05) for h in range(13, 23)]
    watch = judge_labels(QualityWatch(profile()), settings, SeenLabels(first), NOON)
    known = told(watch)
    more = [cohort(12 - h, 500, 400, loss) for h in range(hours)]
    watch = judge_labels(watch, settings, SeenLabels(more), NOON + timedelta(hours=hours))
    after = told(watch, known)
    assert watch.labels is not None
    assert watch.labels.labelled == 4000 + hours * 400
    assert known.labels is not None
    assert after.labels is not None
    assert (after.labels.verdict, after.labels.rows) == ("Healthy", rows)
    assert (after.labels == known.labels) is (rows == 4000)


def test_estimates_that_were_told_stay_when_no_row_of_a_window_has_a_score() -> None:
    watch = by_scores(QualityWatch(profile()), monitoring(), [scored(SURE)])
    known = told(watch)
    silent = Sketch({SCORE_STREAM: FeatureCounts(np.zeros(4, dtype=int), missing=900)})
    after = told(by_scores(watch, monitoring(), [silent]), known)
    assert after.estimated == known.estimated != []
    said = quality_fact(monitoring(), after).message
    assert "no row of the window has a usable score" in said


@pytest.mark.parametrize(
    ("bins", "same"), [((402, 98, 100, 400), True), (UNSURE, False)], ids=["by chance", "surely"]
)
def test_worth_is_told_anew_when_it_is_surely_another(bins: tuple[int, ...], *, same: bool) -> None:
    asked = monitoring(quality={"valueMatrix": MATRIX})
    known = told(by_scores(QualityWatch(profile()), asked, [scored(SURE)]))
    watch = by_scores(QualityWatch(profile()), asked, [scored(bins)])
    assert watch.worth is not None
    after = told(watch, known)
    assert known.worth is not None
    assert after.worth is not None
    assert round(watch.worth.per_row, 4) != known.worth.per_row
    assert (after.worth == known.worth) is same


def test_fairness_that_was_told_stays_while_the_verdict_on_each_rate_does() -> None:
    asked = monitoring(labels=LABELS, fairness=POSITIVES)
    watch = by_labels(asked, QualityWatch(profile()), other=(60, 40), hours=range(33, 53))
    known = told(watch)
    watch = by_labels(asked, watch, other=(55, 45), hours=range(13, 33))
    anew = told(watch)
    assert known.fairness is not None
    assert anew.fairness is not None
    assert known.fairness.verdict == anew.fairness.verdict == "Unfair"
    assert known.fairness.difference != anew.fairness.difference
    assert told(watch, known).fairness == known.fairness


# What verdicts rest on


def test_worth_and_selection_rates_are_told_of_binary_models_alone() -> None:
    asked = monitoring(fairness={"column": "carrier"}, quality={"valueMatrix": MATRIX})
    error = replace(profile(), calibration=Calibration(CalibrationTask.REGRESSION, MAPS))
    status = told(by_scores(QualityWatch(error), asked, [scored(SURE, AA=SURE, UA=UNSURE)] * 5))
    assert "meanAbsoluteError" in {item.metric for item in status.estimated}
    assert "worth" not in quality_fact(asked, status).message
    fact = fairness_fact(asked, status)
    assert fact is not None
    assert fact.message == "No segments of carrier were compared yet"


def test_labels_are_not_judged_where_nobody_asks() -> None:
    watch = by_scores(QualityWatch(profile()), monitoring(), [scored(SURE)])
    worse = SeenLabels([cohort(h, 500, 400, 0.4) for h in range(13, 23)])
    status = told(judge_labels(watch, quality_settings(monitoring(), WINDOW), worse, NOON))
    assert status.labels is None
    fact = quality_fact(monitoring(), status)
    assert (fact.status, fact.reason) == ("Unknown", "NotLabelled")
    assert fact.message.startswith("spec.monitoring.labels is not set")


def without_labels(hours_ago: int) -> Cohort:
    end = NOON - hours_ago * HOUR
    return Cohort(end - HOUR, end, 500, LossTotals())


def test_worth_by_labels_passes_over_cohorts_for_which_none_came() -> None:
    asked = monitoring(labels=LABELS, quality={"valueMatrix": MATRIX})
    settings = quality_settings(asked, WINDOW)
    seen = [without_labels(14), cohort(13, 500, 400, 0.05)]
    watch = judge_labels(QualityWatch(profile()), settings, SeenLabels(seen), NOON)
    assert "37.75 EUR a row" in quality_fact(asked, told(watch)).message
    watch = by_scores(QualityWatch(profile()), asked, [scored(SURE)])
    watch = judge_labels(watch, settings, SeenLabels([without_labels(14)]), NOON)
    assert "expected from scores" in quality_fact(asked, told(watch)).message


def test_groups_are_those_of_the_column_that_was_asked_for() -> None:
    asked = monitoring(fairness={"column": "carrier"})
    airport = Segment("origin", "JFK")
    others = SegmentProfile(airport, 5000, (feature(SCORE_STREAM, airport),))
    known = profile()
    watched = replace(
        known,
        features=(*known.features, feature("origin")),
        segments=(*known.segments, others),
    )
    window = scored(SURE, AA=SURE, UA=SURE)
    refused = {f"{airport}/{SCORE_STREAM}": FeatureCounts(np.array((900, 100, 0, 0)))}
    windows = [Sketch({**window.counts, **refused})] * 5
    status = told(by_scores(QualityWatch(watched), asked, windows))
    fact = fairness_fact(asked, status)
    assert fact is not None
    assert (fact.status, fact.reason) == ("True", "RatesAlike")
    assert "JFK" not in fact.message


def sparse(hours_ago: int) -> Cohort:
    """One in ten predictions has a label, and every one of these was missed."""
    end = NOON - hours_ago * HOUR
    return Cohort(end - HOUR, end, 1000, LossTotals(100, 100, 100), Confusion(0, 0, 100, 0))


def test_rates_of_a_segment_are_not_compared_by_cohorts_with_few_labels() -> None:
    asked = monitoring(labels=LABELS, fairness=POSITIVES)
    hours = range(13, 33)
    parts = {
        "carrier=AA": [grouped(h, 90, 10) for h in hours],
        "carrier=UA": [sparse(h) for h in hours],
    }
    seen = SeenLabels([grouped(h, 90, 10) for h in hours], parts)
    status = told(
        judge_labels(QualityWatch(profile()), quality_settings(asked, WINDOW), seen, NOON)
    )
    fact = fairness_fact(asked, status)
    assert fact is not None
    assert (fact.status, fact.reason) == ("Unknown", "Insufficient")


@pytest.mark.parametrize(("own", "reason"), [(True, "SegmentDegraded"), (False, "Healthy")])
def test_segment_is_judged_without_a_ceiling_by_its_own_labelled_reference_rows(
    reason: str, *, own: bool
) -> None:
    asked = monitoring(labels=LABELS, quality={"margin": 0.2})
    part = replace(MAPS[0], stream=f"carrier=UA/{SCORE_STREAM}")
    maps = (*MAPS, part) if own else MAPS
    reference = replace(profile(), calibration=Calibration(CalibrationTask.BINARY, maps))
    watch = by_labels(asked, QualityWatch(reference), other=(60, 40), hours=range(13, 33))
    fact = quality_fact(asked, told(watch))
    assert fact.reason == reason
    assert ("where carrier=UA the mean loss is 0.4, above 0.26" in fact.message) is own
