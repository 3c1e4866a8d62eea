"""The quality watch by values: scores each window, labels each cohort, worth, groups, calm."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from mooring_operator.api.deployment import Monitoring
from mooring_operator.api.monitoring_status import QualityStatus
from mooring_operator.core.observation import TelemetryObservation
from mooring_operator.core.quality.fact import fairness_fact, quality_fact
from mooring_operator.core.quality.groups import family_policy, segment_policy
from mooring_operator.core.quality.settings import cohort_length, quality_settings
from mooring_operator.core.quality.told import quality_status
from mooring_operator.core.quality.watch import (
    QualityWatch,
    SeenLabels,
    judge_labels,
    judge_scores,
)
from mooring_operator.ids import Revision
from mooring_profile.calibration import Calibration, CalibrationMap, CalibrationTask
from mooring_profile.cohorts import Cohort
from mooring_profile.confusion import Confusion
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import (
    SCORE_STREAM,
    FeatureKind,
    FeatureProfile,
    ReferenceProfile,
    Segment,
    SegmentProfile,
)
from mooring_profile.duplicates import Duplicates
from mooring_profile.risk import LossTotals
from mooring_profile.sketch import Sketch

REVISION = Revision("1" * 12)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = timedelta(minutes=5)
SURE, UNSURE = (400, 100, 100, 400), (100, 400, 400, 100)


def feature(name: str, segment: Segment | None = None) -> FeatureProfile:
    return FeatureProfile(
        name=name if segment is None else f"{segment}/{name}",
        kind=FeatureKind.NUMERIC,
        counts=FeatureCounts(np.array(SURE) * 10),
        tolerance=0.05,
        design_effect=1.0,
        quality=(),
        edges=(0.0, 0.25, 0.5, 0.75, 1.0),
        segment=segment,
    )


def calibration() -> Calibration:
    """Four bins of which the outer ones are nearly always right."""
    probability = np.array([0.02, 0.02, 0.4, 0.6, 0.98, 0.98])
    loss = probability * (1 - probability)
    found = CalibrationMap(
        stream=SCORE_STREAM,
        rows=np.array([0.0, 4000.0, 1000.0, 1000.0, 4000.0, 0.0]),
        probability=probability,
        selected=np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        loss=loss,
        loss_variance=loss * 0.1,
        order=np.full(6, 0.5),
    )
    return Calibration(CalibrationTask.BINARY, (found,))


def profile(*, calibrated: bool = True) -> ReferenceProfile:
    parts = [Segment("carrier", value) for value in ("AA", "UA")]
    return ReferenceProfile(
        features=(feature("x"), feature("carrier")),
        score=feature(SCORE_STREAM),
        rows=10_000,
        segments=tuple(
            SegmentProfile(part, 5000, (feature(SCORE_STREAM, part),)) for part in parts
        ),
        calibration=calibration() if calibrated else None,
    )


def monitoring(**fields: Any) -> Monitoring:
    return Monitoring.model_validate({"drift": {}, **fields})


def scored(bins: tuple[int, ...], **others: tuple[int, ...]) -> Sketch:
    named = {SCORE_STREAM: bins, **{f"carrier={name}/@score": n for name, n in others.items()}}
    return Sketch({name: FeatureCounts(np.array(item)) for name, item in named.items()})


def by_scores(watch: QualityWatch, asked: Monitoring, windows: Iterable[Sketch]) -> QualityWatch:
    for index, window in enumerate(windows):
        began = NOON + index * WINDOW
        watch = judge_scores(watch, quality_settings(asked, WINDOW), window, began)
    return watch


def cohort(hours_ago: float, rows: int, labels: int, loss: float) -> Cohort:
    end = NOON - timedelta(hours=hours_ago)
    wrong = round(labels * loss)
    return Cohort(
        end - HOUR,
        end,
        rows,
        LossTotals(labels, wrong, wrong),
        Confusion(labels - wrong, wrong, 0, 0),
    )


def told(watch: QualityWatch, known: QualityStatus | None = None) -> QualityStatus:
    heard = TelemetryObservation(NOON, True, {}, stable=REVISION, quality=watch)
    found = quality_status(known, heard, REVISION)
    assert found is not None
    return found


def test_estimate_is_told_with_interval_reference_and_blindness() -> None:
    watch = by_scores(QualityWatch(profile()), monitoring(), [scored(SURE)])
    status = told(watch)
    found = {item.metric: item for item in status.estimated}
    accuracy = found["accuracy"]
    assert accuracy.lower < accuracy.value < accuracy.upper
    assert accuracy.reference == pytest.approx(accuracy.value, abs=0.01)
    fact = quality_fact(monitoring(), status)
    assert (fact.status, fact.reason) == ("Unknown", "NotLabelled")
    assert "blind to concept drift" in fact.message
    assert status.shown.startswith("~")


def test_quality_is_false_when_scores_promise_a_higher_loss() -> None:
    watch = by_scores(QualityWatch(profile()), monitoring(), [scored(UNSURE)] * 10)
    fact = quality_fact(monitoring(), told(watch))
    assert (fact.status, fact.reason) == ("False", "ExpectedWorse")
    for part in ("since 2026-11-24 12:00Z", "blind to concept drift", "Nothing is rolled back"):
        assert part in fact.message


def test_steady_scores_write_nothing_new() -> None:
    rng = np.random.default_rng(5)
    watch, status, writes = QualityWatch(profile()), None, 0
    for _ in range(200):
        bins = tuple(rng.multinomial(1000, np.array(SURE) / 1000).tolist())
        watch = by_scores(watch, monitoring(), [scored(bins)])
        before, status = status, told(watch, status)
        writes += status != before
    assert writes <= 10, f"{writes} writes in 200 windows"


@pytest.mark.parametrize(
    ("cohorts", "expected"),
    [
        ([cohort(1, 500, 400, 0.5)], ("Unknown", "Immature")),
        ([cohort(13, 500, 100, 0.5)], ("Unknown", "Insufficient")),
        ([cohort(h, 500, 400, 0.05) for h in range(13, 23)], ("True", "Healthy")),
        ([cohort(h, 500, 400, 0.4) for h in range(13, 23)], ("False", "Degraded")),
    ],
    ids=["too young", "too few labels", "as good", "worse"],
)
def test_labels_are_judged_by_mature_cohorts(
    cohorts: list[Cohort], expected: tuple[str, str]
) -> None:
    asked = monitoring(labels={"maturity": "12h"})
    watch = judge_labels(
        QualityWatch(profile()), quality_settings(asked, WINDOW), SeenLabels(cohorts), NOON
    )
    fact = quality_fact(asked, told(watch))
    assert (fact.status.value, fact.reason) == expected


def test_labels_that_count_twice_weigh_once_and_cover_no_more_predictions() -> None:
    asked = monitoring(labels={"maturity": "12h", "minCoverage": 0.6})
    settings = quality_settings(asked, WINDOW)
    twice = Duplicates(distinct=100, counted=200, squares=400)
    worse = [cohort(h, 500, 400, 0.2) for h in range(13, 16)]
    once = judge_labels(QualityWatch(profile()), settings, SeenLabels(worse), NOON)
    halved = judge_labels(
        QualityWatch(profile()), settings, SeenLabels(worse, duplicates=twice), NOON
    )
    assert once.labels is not None
    assert halved.labels is not None
    assert halved.labels.verdict == "Insufficient", "400 counts are 200 labels of 500 predictions"
    full = [cohort(h, 400, 400, 0.2) for h in range(13, 16)]
    seen = SeenLabels(full, duplicates=twice)
    weighed = judge_labels(QualityWatch(profile()), settings, seen, NOON)
    plain = judge_labels(QualityWatch(profile()), settings, SeenLabels(full), NOON)
    assert weighed.labels is not None
    assert plain.labels is not None
    assert 0 < weighed.labels.evidence < plain.labels.evidence
    status = told(weighed)
    assert status.labels is not None
    assert "50 to 55 % of the labels" in status.labels.message
    plain_status = told(plain)
    assert plain_status.labels is not None
    assert "another pod" not in plain_status.labels.message


def test_labels_are_judged_by_the_ceiling_alone_without_a_calibration() -> None:
    watch = QualityWatch(profile(calibrated=False))
    cohorts = [cohort(h, 500, 400, 0.4) for h in range(13, 23)]
    for ceiling, reason in ((None, "Insufficient"), (0.2, "Degraded"), (0.5, "Healthy")):
        asked = monitoring(
            labels={"maturity": "12h"}, quality={} if ceiling is None else {"ceiling": ceiling}
        )
        judged = judge_labels(watch, quality_settings(asked, WINDOW), SeenLabels(cohorts), NOON)
        assert quality_fact(asked, told(judged)).reason == reason


def test_time_is_that_of_the_requests_where_they_say_it() -> None:
    asked = monitoring(labels={"maturity": "12h"}, eventTime="Request")
    long_ago = [cohort(h, 500, 400, 0.05) for h in range(1000, 1020)]
    settings = quality_settings(asked, WINDOW)
    judged = judge_labels(QualityWatch(profile()), settings, SeenLabels(long_ago), NOON)
    assert judged.labels is not None
    assert judged.labels.immature == 12, "the newest cohorts of the replay still wait"


def test_worth_rests_on_scores_until_labels_are_mature() -> None:
    matrix = {"tp": 40, "fp": -5, "fn": -30}
    asked = monitoring(labels={"maturity": "12h"}, quality={"valueMatrix": matrix})
    watch = by_scores(QualityWatch(profile()), asked, [scored(SURE)])
    assert watch.worth is not None
    assert not watch.worth.labelled
    settings = quality_settings(asked, WINDOW)
    watch = judge_labels(watch, settings, SeenLabels([cohort(13, 500, 400, 0.05)]), NOON)
    assert watch.worth.labelled if watch.worth else False
    watch = by_scores(watch, asked, [scored(SURE)])
    status = told(watch)
    assert status.worth is not None
    assert (status.worth.per_row, status.worth.unit) == (
        pytest.approx(0.95 * 40 - 0.05 * 5, abs=0.01),
        "EUR",
    )
    assert "37.75 EUR a row" in quality_fact(asked, status).message


@pytest.mark.parametrize(
    ("other", "verdict"), [((400, 100, 100, 400), "Fair"), ((800, 100, 50, 50), "Unfair")]
)
def test_selection_rates_of_segments_are_compared(other: tuple[int, ...], verdict: str) -> None:
    asked = monitoring(fairness={"column": "carrier"})
    windows = [scored(SURE, AA=SURE, UA=other)] * 5
    status = told(by_scores(QualityWatch(profile()), asked, windows))
    assert status.fairness is not None
    assert status.fairness.verdict == verdict
    assert "carrier=AA" in status.fairness.message
    fact = fairness_fact(asked, status)
    assert fact is not None
    expected = {"Fair": ("True", "RatesAlike"), "Unfair": ("False", "Unfair")}[verdict]
    assert (fact.status, fact.reason) == expected
    assert fairness_fact(monitoring(), status) is None


def grouped(hours_ago: int, tp: int, fn: int) -> Cohort:
    end = NOON - timedelta(hours=hours_ago)
    losses = LossTotals(tp + fn, fn, fn)
    return Cohort(end - HOUR, end, tp + fn, losses, Confusion(tp, 0, fn, 0))


def by_labels(
    asked: Monitoring, watch: QualityWatch, *, other: tuple[int, int], hours: range
) -> QualityWatch:
    """Cohorts of two segments: nine of ten positives are found in the first."""
    parts = {
        "carrier=AA": [grouped(h, 90, 10) for h in hours],
        "carrier=UA": [grouped(h, *other) for h in hours],
    }
    whole = [grouped(h, 90 + other[0], 10 + other[1]) for h in hours]
    return judge_labels(watch, quality_settings(asked, WINDOW), SeenLabels(whole, parts), NOON)


@pytest.mark.parametrize(
    ("other", "verdict"),
    [((90, 10), "Fair"), ((60, 40), "Unfair"), ((82, 18), "Undecided")],
)
def test_true_positive_rates_of_segments_are_compared_by_mature_labels(
    other: tuple[int, int], verdict: str
) -> None:
    asked = monitoring(
        labels={"maturity": "12h"}, fairness={"column": "carrier", "rates": ["truePositiveRate"]}
    )
    watch = by_labels(asked, QualityWatch(profile()), other=other, hours=range(13, 33))
    status = told(watch)
    assert status.fairness is not None
    assert [(item.name, item.verdict) for item in status.fairness.rates] == [
        ("truePositiveRate", verdict)
    ]
    again = by_labels(asked, watch, other=(0, 100), hours=range(13, 33))
    assert again.groups.decided == watch.groups.decided, "a cohort counts once"
    young = by_labels(asked, QualityWatch(profile()), other=(0, 100), hours=range(1, 12))
    assert young.groups.decided == {}


def test_rates_share_alpha_and_the_gravest_verdict_is_told() -> None:
    rates = ["selectionRate", "truePositiveRate"]
    asked = monitoring(
        labels={"maturity": "12h"}, fairness={"column": "carrier", "rates": rates, "alpha": 0.05}
    )
    windows = [scored(SURE, AA=SURE, UA=SURE)] * 20
    watch = by_scores(QualityWatch(profile()), asked, windows)
    waiting = fairness_fact(asked, told(watch))
    assert waiting is not None
    assert (waiting.status, waiting.reason) == ("Unknown", "NoData")
    watch = by_labels(asked, watch, other=(60, 40), hours=range(13, 33))
    fact = fairness_fact(asked, told(watch))
    assert fact is not None
    assert (fact.status, fact.reason) == ("False", "Unfair")
    assert fact.message.startswith("truePositiveRate 0.9 for carrier=AA and 0.6 for carrier=UA")


def test_rates_of_labels_say_that_they_need_labels() -> None:
    asked = monitoring(fairness={"column": "carrier", "rates": ["falsePositiveRate"]})
    fact = fairness_fact(asked, None)
    assert fact is not None
    assert (fact.status, fact.reason) == ("Unknown", "NotLabelled")
    assert "set spec.monitoring.labels" in fact.message


def test_quality_is_false_when_one_segment_is_worse_though_all_rows_are_not() -> None:
    asked = monitoring(labels={"maturity": "12h"}, quality={"ceiling": 0.3, "margin": 1.0})
    watch = by_labels(asked, QualityWatch(profile()), other=(50, 50), hours=range(13, 33))
    status = told(watch)
    assert [item.name for item in status.segments] == ["carrier=UA"]
    fact = quality_fact(asked, status)
    assert (fact.status, fact.reason) == ("False", "SegmentDegraded")
    assert "where carrier=UA the mean loss is 0.5, above 0.3" in fact.message
    assert status.shown == "Degraded 0.500 where carrier=UA"
    restarted = told(QualityWatch(profile()), status)
    assert restarted.segments == status.segments, "what was told stays until it is judged again"


def test_segments_share_the_announced_interval_with_all_rows() -> None:
    policy = quality_settings(monitoring(labels={"maturity": "12h"}), WINDOW).labels
    assert policy is not None
    whole, part = family_policy(policy, 5).risk, segment_policy(policy, 5).risk
    together = 1 / whole.false_alarm_every + 5 / part.false_alarm_every
    assert together == pytest.approx(1 / policy.risk.false_alarm_every)
    assert family_policy(policy, 0) == policy


@pytest.mark.parametrize(
    ("labels", "seconds"),
    [
        ({"maturity": "12h"}, 3600),
        ({"maturity": "12h", "cohort": "30m"}, 1800),
        ({"maturity": "30d", "cohort": "1h"}, 51_840),
        ({"maturity": "6s"}, 1),
        ({"maturity": "0s"}, 1),
    ],
)
def test_cohort_is_not_so_short_that_pods_forget_it(labels: dict[str, str], seconds: int) -> None:
    asked = monitoring(labels=labels).labels
    assert asked is not None
    assert cohort_length(asked).total_seconds() == seconds
