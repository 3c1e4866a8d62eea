"""What the monitoring conditions say: reasons, sentences, Events; and that calm writes nothing."""

from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.conditions import Condition, Reason
from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.api.monitoring_status import DriftedFeature, DriftStatus
from mooring_operator.core.decision import Decision
from mooring_operator.core.observation import TelemetryObservation, Trouble
from mooring_operator.core.rollout.plan import decide
from tests.builders.observed import look, pods, ref, stable, status, telemetry
from tests.builders.resources import CONFIG, EPOCH, spec

NOW = EPOCH + timedelta(minutes=1)
V1 = ref("v1").revision
WATCHED = spec("v1", monitoring={"drift": {}})
DELAY = DriftedFeature(
    name="dep_delay",
    kind="Distribution",
    effect=0.2,
    change="median 12.1 → 15.4 (dep_delay < 12.5: 50 % → 40 %)",
    since=EPOCH - timedelta(hours=3),
)


def watch(verdict: str, **fields: Any) -> DriftStatus:
    return DriftStatus(
        revision=V1,
        verdict=verdict,
        false_alarm_interval="90d",
        watched="20 features and the score",
        **fields,
    )


def decided(
    heard: TelemetryObservation | None, before: ModelDeploymentStatus | None = None
) -> Decision[ModelDeploymentStatus]:
    known = before or status(stable=stable("v1"), desired=ref("v1"))
    return decide(look(known, pods("v1"), wire_spec=WATCHED, telemetry=heard), CONFIG, NOW)


def said(decision: Decision[ModelDeploymentStatus], type_: str) -> Condition:
    return next(item for item in decision.status.conditions if item.type == type_)


def test_as_many_drifted_features_are_named_as_a_message_has_room_for() -> None:
    long = "median 1 → 2, which is a change that takes many words to tell of " + 60 * "."
    features = [
        DriftedFeature(name=f"feature_{number}", kind="Distribution", effect=0.2, change=long)
        for number in range(9)
    ]
    message = said(decided(telemetry(drift=watch("Drifted", features=features))), "Drifted").message
    assert len(message) <= 1024
    assert "feature_2" in message
    assert "feature_3" not in message
    assert "; and 6 more (status.drift)" in message


def test_drift_is_told_with_effect_begin_interval_and_what_to_do() -> None:
    alarm = watch("Drifted", features=[DELAY], rows=3600, at=NOW)
    message = said(decided(telemetry(drift=alarm)), "Drifted").message
    for part in (
        "dep_delay (Distribution) since about",
        "median 12.1 → 15.4",
        "At most one false alarm in 90d expected, over 20 features and the score together",
        "RetrainPolicy",
        "no reason to roll back",
    ):
        assert part in message


def test_message_names_as_many_features_as_fit_and_counts_the_rest() -> None:
    many = [
        DELAY.model_copy(update={"name": f"feature_{index}", "change": "x" * 200})
        for index in range(20)
    ]
    alarm = watch("Drifted", features=many, rows=3600, at=NOW)
    message = said(decided(telemetry(drift=alarm)), "Drifted").message
    assert len(message) <= 1024
    assert "feature_0 " in message
    assert "more (status.drift)" in message
    assert "RetrainPolicy" in message


def test_calm_condition_announces_its_interval() -> None:
    condition = said(decided(telemetry(drift=watch("WithinTolerance"))), "Drifted")
    assert (condition.status, condition.reason) == ("False", "WithinTolerance")
    assert "At most one false alarm in 90d expected" in condition.message


@pytest.mark.parametrize(
    ("heard", "expected", "words"),
    [
        (None, ("Unknown", "NoData"), "No counters"),
        (telemetry(), ("True", "Fresh"), "Every ready pod"),
        (telemetry(fresh=False), ("False", "NoPodAnswers"), "No pod is ready"),
        (telemetry(fresh=False, serving=3), ("False", "NoPodAnswers"), "None of 3"),
        (telemetry(fresh=False, serving=3, answering=2), ("False", "Stale"), "2 of 3"),
        (telemetry(coverage=0.67), ("False", "LowCoverage"), "65 to 70 %"),
        (
            telemetry(trouble=Trouble(Reason.NO_REFERENCE_PROFILE, "profile.rows is absent")),
            ("False", "NoReferenceProfile"),
            "profile.rows is absent",
        ),
        (
            telemetry(trouble=Trouble(Reason.FOREIGN_COUNTS, "Pod 1: x has 3 bins")),
            ("False", "ForeignCounts"),
            "x has 3 bins",
        ),
    ],
    ids=["none", "fresh", "no pod", "silent", "stale", "coverage", "no profile", "foreign"],
)
def test_metrics_available_says_why_not(
    heard: TelemetryObservation | None, expected: tuple[str, str], words: str
) -> None:
    condition = said(decided(heard), "MetricsAvailable")
    assert (condition.status.value, condition.reason) == expected
    assert words in condition.message


@pytest.mark.parametrize(
    "heard",
    [
        telemetry(drift=watch("WithinTolerance")),
        telemetry(fresh=False, serving=3, answering=2, drift=watch("Drifted", features=[DELAY])),
        telemetry(coverage=0.67, drift=watch("WithinTolerance")),
        telemetry(trouble=Trouble(Reason.NO_REFERENCE_PROFILE, "profile.rows is absent")),
        telemetry(trouble=Trouble(Reason.FOREIGN_COUNTS, "Pod 1: x has 3 bins")),
        None,
    ],
    ids=["calm", "stale and drifted", "coverage", "no profile", "foreign", "never asked"],
)
def test_operator_that_has_just_begun_says_what_was_said_until_it_asked(
    heard: TelemetryObservation | None,
) -> None:
    before = decided(heard)
    after = decided(None, before.status)
    assert after.status == before.status
    assert after.events == ()


def test_operator_that_has_just_begun_does_not_repeat_words_that_it_does_not_know() -> None:
    before = decided(telemetry()).status
    foreign = [
        item.model_copy(update={"reason": "OfTomorrow"})
        if item.type == "MetricsAvailable"
        else item
        for item in before.conditions
    ]
    after = decided(None, before.model_copy(update={"conditions": foreign}))
    assert said(after, "MetricsAvailable").reason == "NoData"


def test_one_event_is_told_for_each_transition() -> None:
    calm = decided(telemetry(drift=watch("WithinTolerance")))
    assert not [note for note in calm.events if "Drifted" in note.message]
    alarm = telemetry(drift=watch("Drifted", features=[DELAY], rows=9, at=NOW))
    first = decided(alarm, calm.status)
    assert [(note.type, note.reason) for note in first.events] == [("Warning", "InputDrift")]
    assert decided(alarm, first.status).events == ()


def test_data_quality_that_recovers_is_told_by_a_normal_event() -> None:
    bad = watch("WithinTolerance", data_quality=[DELAY.model_copy(update={"kind": "Missing"})])
    first = decided(telemetry(drift=bad))
    second = decided(telemetry(drift=watch("WithinTolerance")), first.status)
    assert [(note.type, note.reason) for note in second.events] == [("Normal", "WithinTolerance")]
    assert said(second, "DataQuality").status == "True"


def test_data_quality_comes_and_goes_behind_a_latched_drift_alarm() -> None:
    alarm = watch("Drifted", features=[DELAY], rows=9, at=NOW)
    before = status(stable=stable("v1"), desired=ref("v1"), drift=alarm)
    bad = watch("WithinTolerance", data_quality=[DELAY.model_copy(update={"kind": "Missing"})])
    decision = decided(telemetry(drift=bad), before)
    assert said(decision, "Drifted").status == "True"
    assert said(decision, "DataQuality").status == "False"


def test_restarted_operator_forgets_no_alarm_before_its_first_window() -> None:
    bad = watch("WithinTolerance", data_quality=[DELAY.model_copy(update={"kind": "Missing"})])
    first = decided(telemetry(drift=bad)).status
    again = decided(telemetry(drift=watch("NoData")), first)
    assert again.status.conditions == first.conditions
    assert again.events == ()
