"""Conditions change only when the world does, and exactly one of three is True."""

from datetime import timedelta

import pytest

from mooring_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from mooring_operator.core.conditions import (
    MESSAGE_LIMIT,
    Fact,
    Standing,
    ready,
    reconciling,
    set_condition,
    stalled,
    summarize_ready,
    trimmed,
)
from tests.builders.resources import EPOCH
from tests.contract.kstatus_rules import kstatus, violations

LATER = EPOCH + timedelta(minutes=5)
AVAILABLE = Fact(ConditionType.AVAILABLE, ConditionStatus.TRUE, Reason.STABLE_SERVING, "v1")


def wire(conditions: list[Condition], generation: int) -> dict[str, object]:
    shown = [condition.to_wire() for condition in conditions]
    return {"observedGeneration": generation, "conditions": shown}


def test_transition_time_stays_when_only_reason_and_message_change() -> None:
    before = set_condition([], AVAILABLE, generation=1, now=EPOCH)
    fact = Fact(ConditionType.AVAILABLE, ConditionStatus.TRUE, Reason.PROMOTED, "v2")
    (after,) = set_condition(before, fact, generation=2, now=LATER)
    assert after.last_transition_time == EPOCH
    assert (after.reason, after.message, after.observed_generation) == ("Promoted", "v2", 2)


def test_transition_time_moves_when_the_status_changes() -> None:
    before = set_condition([], AVAILABLE, generation=1, now=EPOCH)
    fact = Fact(ConditionType.AVAILABLE, ConditionStatus.FALSE, Reason.NOT_ENOUGH_PODS)
    (after,) = set_condition(before, fact, generation=1, now=LATER)
    assert after.last_transition_time == LATER


def test_conditions_are_sorted_when_set_in_any_order() -> None:
    paused = Fact(ConditionType.PAUSED, ConditionStatus.FALSE, Reason.NOT_PAUSED)
    one = set_condition(
        set_condition([], paused, generation=1, now=EPOCH), AVAILABLE, generation=1, now=EPOCH
    )
    assert [condition.type for condition in one] == ["Available", "Paused"]


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (ready(Reason.PROMOTED, "serves"), "Current"),
        (reconciling(Reason.ANALYSING, "step 1"), "InProgress"),
        (stalled(Reason.ROLLED_BACK, "errors"), "Failed"),
    ],
    ids=["ready", "reconciling", "stalled"],
)
def test_summary_satisfies_kstatus_when_it_follows_any_other(
    standing: Standing, expected: str
) -> None:
    others = (
        ready(Reason.PROMOTED, "a"),
        reconciling(Reason.PROMOTING, "b"),
        stalled(Reason.QUARANTINED, "c"),
    )
    for before in others:
        conditions = summarize_ready([], before, generation=1, now=EPOCH)
        after = wire(summarize_ready(conditions, standing, generation=2, now=LATER), 2)
        assert violations(after, 2) == []
        assert kstatus(after, 2) == expected
        assert kstatus(after, 3) == "InProgress", "a newer generation was not looked at yet"


def test_message_is_cut_when_it_is_too_long() -> None:
    long = "x" * (MESSAGE_LIMIT + 1)
    assert len(trimmed(long)) == MESSAGE_LIMIT
    assert trimmed(long).endswith("…")
    assert trimmed("short") == "short"


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        ({"observedGeneration": "3", "conditions": []}, "r1"),
        ({"observedGeneration": 3}, "r2"),
        ({"observedGeneration": 3, "conditions": [{"type": "Paused", "status": "False"}]}, "r3"),
        (
            {
                "observedGeneration": 3,
                "conditions": [
                    {"type": "Ready", "status": "False", "observedGeneration": 3},
                    {"type": "Reconciling", "status": "True", "observedGeneration": 3},
                    {"type": "Stalled", "status": "True", "observedGeneration": 3},
                ],
            },
            "r4",
        ),
        (
            {
                "observedGeneration": 3,
                "conditions": [
                    {"type": "Ready", "status": "True", "observedGeneration": 3},
                    {"type": "Stalled", "status": "False", "observedGeneration": 3},
                ],
            },
            "r5",
        ),
        (
            {
                "observedGeneration": 3,
                "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}],
            },
            "r6",
        ),
    ],
    ids=["text generation", "no conditions", "no ready", "two true", "false stalled", "stale"],
)
def test_rules_find_a_status_when_it_breaks_them(broken: dict[str, object], rule: str) -> None:
    assert any(found.startswith(rule) for found in violations(broken, 3))
