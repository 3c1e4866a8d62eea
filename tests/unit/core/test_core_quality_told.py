"""What conditions tell of fairness and of segments, by values."""

from mooring_operator.api.conditions import ConditionStatus, Reason
from mooring_operator.api.deployment import Monitoring
from mooring_operator.api.monitoring_status import JudgedQuality, QualityStatus, SegmentQuality
from mooring_operator.core.quality.fact import fairness_fact, quality_fact


def watched(**fields: object) -> Monitoring:
    return Monitoring.model_validate(fields)


def test_rates_that_need_labels_say_so_when_no_labels_are_judged() -> None:
    asked = watched(fairness={"column": "carrier", "rates": ["truePositiveRate"]})
    fact = fairness_fact(asked, None)
    assert fact is not None
    assert (fact.status, fact.reason) == (ConditionStatus.UNKNOWN, Reason.NOT_LABELLED)
    assert fact.message == "truePositiveRate need labels: set spec.monitoring.labels"


def test_segments_and_all_rows_are_told_together_when_both_lose_too_much() -> None:
    labels = JudgedQuality(verdict="Degraded", message="mean loss 0.4, above 0.2")
    segment = SegmentQuality(name="carrier=AA", loss=0.5, limit=0.2, since="Monday", rows=90)
    quality = QualityStatus(revision="a" * 12, labels=labels, segments=[segment])
    fact = quality_fact(watched(labels={"maturity": "1h"}), quality)
    assert (fact.status, fact.reason) == (ConditionStatus.FALSE, Reason.DEGRADED)
    assert "where carrier=AA the mean loss is 0.5, above 0.2, since Monday (90 labels)" in (
        fact.message
    )
    assert "Of all rows: mean loss 0.4, above 0.2" in fact.message


def test_segments_alone_are_told_when_all_rows_together_are_fine() -> None:
    labels = JudgedQuality(verdict="Healthy", message="mean loss 0.1")
    segment = SegmentQuality(name="carrier=AA", loss=0.5, limit=0.2)
    quality = QualityStatus(revision="a" * 12, labels=labels, segments=[segment] * 5)
    fact = quality_fact(watched(labels={"maturity": "1h"}), quality)
    assert fact.reason == Reason.SEGMENT_DEGRADED
    assert "and 2 more segments (status.quality.segments)" in fact.message
    assert "Of all rows" not in fact.message
