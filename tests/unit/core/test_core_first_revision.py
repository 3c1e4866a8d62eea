"""`decide` by values: where clients are led while the first revision starts, and unknown ones."""

from typing import Any

import pytest

from mooring_operator.core.manifests.names import stable_service_name
from mooring_operator.ids import Revision
from tests.builders.decided import MINUTE, decided, standing
from tests.builders.observed import look, pods, ref
from tests.builders.resources import DEPLOYMENT, model, spec

V1, V2 = Revision(ref("v1").revision), Revision(ref("v2").revision)


@pytest.mark.parametrize(
    ("others", "moved"),
    [((pods("v1"),), False), ((pods("v1", 0),), True), ((), True)],
    ids=["another one serves", "another one has no pod", "there is no other"],
)
def test_clients_are_led_to_the_first_revision_unless_another_one_has_pods(
    others: tuple[Any, ...], *, moved: bool
) -> None:
    """Status and memory may be lost, and the spec asks for something else than what serves."""
    decision = decided(look(None, *others, pods("v2", 0), wire_spec=spec("v2")), MINUTE)
    assert standing(decision) == "Reconciling/Initializing"
    entrances = [
        child["kind"]
        for child in decision.children
        if child["metadata"]["name"] == stable_service_name(DEPLOYMENT)
        and child["kind"] in ("Service", "PodDisruptionBudget")
    ]
    assert entrances == (["PodDisruptionBudget", "Service"] if moved else [])
    assert bool(decision.prune) is (bool(others) and moved)


def test_clients_are_led_to_the_first_revision_once_its_pods_are_ready() -> None:
    decision = decided(look(None, pods("v1"), pods("v2"), wire_spec=spec("v2")), MINUTE)
    assert standing(decision) == "Ready/Initialized"
    (service,) = [
        child
        for child in decision.children
        if (child["kind"], child["metadata"]["name"]) == ("Service", DEPLOYMENT)
    ]
    assert service["spec"]["selector"]["mooring.dev/revision"] == V2
    assert [gone.name for gone in decision.prune] == [f"{DEPLOYMENT}-{V1}"]


def test_newest_versions_are_listed_with_how_many_more_there_are() -> None:
    known = model(*(f"v{number}" for number in range(1, 13)))
    decision = decided(look(None, wire_spec=spec("v99"), registry=known), MINUTE)
    (stalled,) = [c for c in decision.status.conditions if c.type == "Stalled"]
    assert "it has v5, v6, v7, v8, v9, v10, v11, v12 and 4 more; add the version" in stalled.message
