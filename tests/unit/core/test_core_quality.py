"""What status tells of the model's quality, by values."""

from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.monitoring_status import LabelledQuality, QualityStatus
from mooring_operator.core.observation import LossCounts
from mooring_operator.core.quality.told import told_loss
from mooring_operator.core.rollout.plan import decide
from tests.builders.observed import look, pods, ref, stable, status, telemetry
from tests.builders.resources import CONFIG, EPOCH, spec

NOW = EPOCH + timedelta(minutes=1)
V1 = ref("v1").revision


def test_quality_stays_while_the_pods_are_silent_or_began_again() -> None:
    known = QualityStatus(
        revision=V1,
        shown="0.098 (n=3210)",
        labelled=LabelledQuality(loss=0.098, rows=3210),
    )
    before = status(stable=stable("v1"), desired=ref("v1"), quality=known)
    assert decide(look(before, pods("v1")), CONFIG, NOW).status.quality == known
    heard = look(before, pods("v1"), telemetry=telemetry())
    assert decide(heard, CONFIG, NOW).status.quality == known
    moved = status(stable=stable("v2"), desired=ref("v2"), quality=known)
    observation = look(moved, pods("v2"), wire_spec=spec("v2"))
    assert decide(observation, CONFIG, NOW).status.quality is None


@pytest.mark.parametrize(
    ("counts", "rows"),
    [
        (LossCounts(1100, 110.0, 30.0), 1000),
        (LossCounts(1100, 330.0, 150.0), 1100),
        (LossCounts(1500, 150.0, 40.0), 1500),
        (LossCounts(200, 20.0, 5.0), 1000),
    ],
    ids=["a few more rows", "another mean", "half again as many", "fewer after a restart"],
)
def test_told_loss_moves_only_for_news(counts: LossCounts, rows: int) -> None:
    told = told_loss(LabelledQuality(loss=0.1, rows=1000), counts)
    assert told is not None
    assert told.rows == rows


@pytest.mark.parametrize(
    ("monitoring", "seconds"), [({}, None), ({"labels": {"maturity": "12h"}}, "3600")]
)
def test_pods_count_by_cohort_only_where_labels_are_judged(
    monitoring: dict[str, Any], seconds: str | None
) -> None:
    before = status(stable=stable("v1"), desired=ref("v1"))
    observation = look(before, pods("v1"), wire_spec=spec("v1", monitoring=monitoring))
    children = decide(observation, CONFIG, NOW).children
    (workload,) = (child for child in children if child["kind"] == "Deployment")
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    values = {item["name"]: item.get("value") for item in container["env"]}
    assert values.get("MOORING_COHORT_SECONDS") == seconds
