import pytest

from mooring_operator.reconcile.likeness import carries, fingerprint, intent_of, with_intent
from tests.unit.shell.objects import thing

WANTED = {"spec": {"replicas": 2, "ports": [{"port": 80}], "selector": {"app": "d"}}}


@pytest.mark.parametrize(
    ("live", "same"),
    [
        pytest.param(WANTED, True, id="equal"),
        pytest.param(
            {"spec": {**WANTED["spec"], "clusterIP": "10.0.0.1"}, "status": {}}, True, id="defaults"
        ),
        pytest.param(
            {"spec": {**WANTED["spec"], "ports": [{"port": 80, "protocol": "TCP"}]}},
            True,
            id="default inside a list item",
        ),
        pytest.param({"spec": {**WANTED["spec"], "replicas": 3}}, False, id="edited number"),
        pytest.param(
            {"spec": {**WANTED["spec"], "selector": {"app": "x"}}}, False, id="edited selector"
        ),
        pytest.param(
            {"spec": {**WANTED["spec"], "ports": [{"port": 80}, {"port": 81}]}},
            False,
            id="one more list item",
        ),
        pytest.param({"spec": {"replicas": 2, "ports": [{"port": 80}]}}, False, id="field gone"),
        pytest.param({}, False, id="everything gone"),
    ],
)
def test_object_is_drifted_exactly_when_a_field_of_ours_differs(
    live: dict[str, object], *, same: bool
) -> None:
    assert carries(live, WANTED) is same


def test_empty_values_equal_absent_ones() -> None:
    assert carries({}, {"labels": {}, "items": [], "text": "", "none": None})
    assert not carries({}, {"labels": {"a": "b"}})


def test_intent_ignores_key_order_and_sees_each_value() -> None:
    assert intent_of({"a": 1, "b": 2}) == intent_of({"b": 2, "a": 1})
    assert intent_of({"a": 1}) != intent_of({"a": 2})


def test_intent_annotation_keeps_the_others() -> None:
    marked = with_intent(thing("Service", "s", annotations={"x": "y"}), "0123456789abcdef")
    annotations = {"x": "y", "mooring.dev/intent": "0123456789abcdef"}
    assert marked["metadata"]["annotations"] == annotations


def test_fingerprint_ignores_status_and_bookkeeping() -> None:
    one = thing("Service", "s", version=1, spec={"a": 1}, status={"x": 1})
    two = thing("Service", "s", version=2, spec={"a": 1}, status={"x": 2})
    edited = thing("Service", "s", version=1, spec={"a": 2})
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one) != fingerprint(edited)
