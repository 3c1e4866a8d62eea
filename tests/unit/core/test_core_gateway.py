"""The HTTPRoute as an object and as it is read, a Gateway's word, and what is refused."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.core.manifests.children import children_of
from mooring_operator.core.manifests.route import http_route, wanted_shape
from mooring_operator.core.memory import remember
from mooring_operator.core.observation import RouteObservation, RouteShape
from mooring_operator.core.rollout.plan import decide
from mooring_operator.core.rollout.steps import GATEWAY_SETTLES
from mooring_operator.reconcile.observe_route import observe_route
from tests.builders.observed import candidate, look, phase_of, pods, ref, stable, status, telemetry
from tests.builders.resources import CONFIG, EPOCH, NAMESPACE, deployment, spec

GATEWAY: dict[str, Any] = {"name": "web", "namespace": "infra", "hostnames": ["m.example.com"]}
TRAFFIC = {"mode": "Gateway", "gateway": GATEWAY}
STEPS = {"steps": [{"weight": 10, "minRows": 100_000}]}
LATER = EPOCH + GATEWAY_SETTLES


def owner(**gateway: Any) -> ModelDeployment:
    traffic = {"mode": "Gateway", "gateway": {"name": "web"} | gateway}
    return deployment(spec("v1", traffic=traffic))


def shape(weight: int = 0, **gateway: Any) -> RouteShape:
    found = wanted_shape(owner(**(GATEWAY | gateway)).spec, NAMESPACE, weight)
    assert found is not None
    return found


def manifest(weight: int = 10, parents: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """An HTTPRoute as the API server returns it."""
    made = http_route(owner(**GATEWAY), shape(weight))
    made["metadata"]["generation"] = 3
    if parents is not None:
        made["status"] = {"parents": parents}
    return made


def parent(*conditions: tuple[str, str, str], generation: int = 3, **ref: str) -> dict[str, Any]:
    return {
        "parentRef": {"name": "web", "namespace": "infra"} | ref,
        "controllerName": "example.com/gateway",
        "conditions": [
            {
                "type": type_,
                "status": status_,
                "reason": reason,
                "message": "",
                "observedGeneration": generation,
            }
            for type_, status_, reason in conditions
        ],
    }


ACCEPTED = ("Accepted", "True", "Accepted")
RESOLVED = ("ResolvedRefs", "True", "ResolvedRefs")
REFUSED = ("Accepted", "False", "NotAllowedByListeners")
UNRESOLVED = ("ResolvedRefs", "False", "BackendNotFound")

_labels = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)


@given(
    name=_labels,
    namespace=_labels,
    section=st.one_of(st.just(""), _labels),
    hostnames=st.lists(_labels, max_size=3, unique=True).map(tuple),
    path_prefix=st.sampled_from(("/", "/v2/models/m")),
    weight=st.integers(0, 100),
)
def test_what_a_route_is_made_of_is_read_from_it(
    name: str,
    namespace: str,
    section: str,
    hostnames: tuple[str, ...],
    path_prefix: str,
    weight: int,
) -> None:
    wanted = RouteShape(name, namespace, section, hostnames, path_prefix, weight)
    assert observe_route(http_route(owner(), wanted)).shape == wanted


def test_weights_of_both_services_are_whole_percents_of_all_requests() -> None:
    rule = manifest(25)["spec"]["rules"][0]
    backends = [(b["name"], b["port"], b["weight"]) for b in rule["backendRefs"]]
    assert backends == [("delays", 80, 75), ("delays-candidate", 80, 25)]
    assert "filters" not in rule


@pytest.mark.parametrize(
    "odd",
    [
        {"backendRefs": []},
        {"backendRefs": [{"name": "delays", "weight": 100}, {"name": "mine", "weight": 0}]},
        {"filters": [{"type": "RequestMirror"}]},
        {"backendRefs": [{"name": "delays", "weight": 1}, {"name": "delays-candidate"}]},
    ],
    ids=["no backends", "another Service", "a filter", "other weights"],
)
def test_route_that_divides_in_another_way_is_none_that_is_wanted(odd: dict[str, Any]) -> None:
    edited = manifest()
    edited["spec"]["rules"][0] |= odd
    assert observe_route(edited).shape.weight == -1


@pytest.mark.parametrize(
    ("parents", "accepted", "refusal"),
    [
        ([parent(ACCEPTED, RESOLVED)], True, ""),
        ([parent(ACCEPTED)], True, ""),
        ([], False, ""),
        ([parent(ACCEPTED, RESOLVED, generation=2)], False, ""),
        ([parent(REFUSED)], False, "Accepted is False, NotAllowedByListeners"),
        ([parent(REFUSED, generation=2)], False, ""),
        ([parent(ACCEPTED, UNRESOLVED)], False, "ResolvedRefs is False, BackendNotFound"),
        ([parent(ACCEPTED, RESOLVED, name="other")], False, ""),
        ([parent(ACCEPTED, RESOLVED, namespace=NAMESPACE)], False, ""),
        ([parent(ACCEPTED, RESOLVED, sectionName="https")], False, ""),
        ([parent(ACCEPTED), parent(REFUSED)], True, ""),
        ([parent(("Accepted", "Unknown", "Pending"))], False, ""),
    ],
    ids=[
        "accepted", "accepted alone", "nobody answers", "of an older generation", "refused",
        "refused before", "without a Service", "another Gateway", "of another namespace",
        "another listener", "of two controllers one accepts", "not decided",
    ],
)  # fmt: skip
def test_gateway_has_accepted_only_what_it_says_of_the_present_generation(
    parents: list[dict[str, Any]], *, accepted: bool, refusal: str
) -> None:
    seen = observe_route(manifest(parents=parents))
    assert (seen.accepted, seen.refusal) == (accepted, refusal)


def weighed(route: RouteObservation | None, **fields: Any) -> Any:
    """One look at a candidate that should get a tenth of the requests."""
    now = fields.pop("now", EPOCH)
    trying = candidate("v2", **fields)
    known = status(stable=stable("v1"), desired=ref("v2"), candidate=trying)
    observation = look(
        known,
        pods("v1"),
        pods("v2"),
        wire_spec=spec("v2", traffic=TRAFFIC, rollout=STEPS),
        telemetry=telemetry(),
        gateway_api=True,
        route=route,
    )
    return decide(observation, CONFIG, now)


def told(decision: Any) -> tuple[str | None, str | None]:
    """Phases of the stable pods and of the candidate's."""
    routes = decision.routes
    return routes[ref("v1").revision].phase, routes[ref("v2").revision].phase


def test_nothing_counts_until_the_accepted_weight_had_time_to_settle() -> None:
    follows = RouteObservation(shape(10), accepted=True)
    first = weighed(follows)
    assert told(first) == (None, None)
    assert first.status.candidate.routed.at == EPOCH
    assert first.requeue_after == GATEWAY_SETTLES
    routed = first.status.candidate.routed
    key = phase_of(candidate("v2"), rollout=STEPS)
    assert told(weighed(follows, now=LATER, routed=routed)) == (key, key)
    route = weighed(follows, now=LATER, routed=routed).routes[ref("v1").revision]
    assert (route.weight_percent, route.shadow_percent) == (0, 0), "the Gateway divides"


@pytest.mark.parametrize(
    "route",
    [
        None,
        RouteObservation(shape(5), accepted=True),
        RouteObservation(shape(10), accepted=False),
        RouteObservation(shape(10, namespace="other"), accepted=True),
    ],
    ids=["no route", "another weight", "not accepted", "another Gateway"],
)
def test_what_was_known_of_a_gateway_ends_with_its_word(route: RouteObservation | None) -> None:
    routed = weighed(RouteObservation(shape(10), accepted=True)).status.candidate.routed
    after = weighed(route, now=LATER, routed=routed)
    assert after.status.candidate.routed is None
    assert told(after) == (None, None)
    assert after.status.candidate.held_since == LATER, "its clock stands still"


def test_gateway_that_says_nothing_is_looked_at_again_when_its_time_is_over_and_no_more() -> None:
    silent = RouteObservation(shape(10), accepted=False)
    waiting = weighed(silent)
    length = waiting.requeue_after
    assert length is not None
    observation = look(
        waiting.status,
        pods("v1"),
        pods("v2"),
        wire_spec=spec("v2", traffic=TRAFFIC, rollout=STEPS),
        telemetry=telemetry(at=EPOCH + length),
        gateway_api=True,
        route=silent,
    )
    early = decide(observation, CONFIG, EPOCH + length - timedelta(seconds=1))
    assert early.requeue_after == timedelta(seconds=1)
    late = decide(observation, CONFIG, EPOCH + length)
    assert late.requeue_after is not None
    assert late.requeue_after > length, "what its controller says is told; stable soaks on"
    stalled = next(c for c in late.status.conditions if c.type == "Stalled")
    assert stalled.reason == "RouteNotAccepted"


def test_memory_does_not_change_with_what_the_gateway_follows() -> None:
    one = weighed(RouteObservation(shape(10), accepted=True)).status
    other = weighed(None).status
    assert one.candidate != other.candidate
    assert remember(one) == remember(other)


def test_candidate_service_has_a_port_for_the_gateway_in_that_mode_alone() -> None:
    known = status(stable=stable("v1"), desired=ref("v1"))

    def ports(**fields: Any) -> list[int]:
        made = children_of(look(known, wire_spec=spec(**fields)), known, CONFIG, EPOCH)
        (service,) = [m for m in made if m["metadata"]["name"] == "delays-candidate"]
        return [port["port"] for port in service["spec"]["ports"]]

    assert ports() == [8082]
    assert ports(traffic=TRAFFIC) == [80, 8082]


@pytest.mark.parametrize(
    "traffic",
    [{"mode": "Gateway"}, {"mode": "Forward", "gateway": GATEWAY}],
    ids=["a mode without a Gateway", "a Gateway without the mode"],
)
def test_mode_and_gateway_belong_together(traffic: dict[str, Any]) -> None:
    known = status(stable=stable("v1"), desired=ref("v1"))
    decision = decide(look(known, pods("v1"), wire_spec=spec(traffic=traffic)), CONFIG, EPOCH)
    stalled = next(c for c in decision.status.conditions if c.type == "Stalled")
    assert stalled.reason == "InvalidSpec"
    assert "traffic.gateway.name" in stalled.message
    assert not [m for m in decision.children if m["kind"] == "HTTPRoute"]


@pytest.mark.parametrize(
    "field",
    [{"hostnames": ["UPPER.example.com"]}, {"hostnames": ["a b"]}, {"hostnames": ["*"]},
     {"hostnames": ["a.*.com"]}, {"pathPrefix": "v2"}, {"pathPrefix": "/v2/"},
     {"pathPrefix": "/v2/x y"}, {"pathPrefix": "/v2/../x"}, {"pathPrefix": "/.."},
     {"pathPrefix": "/./v2"}, {"name": "Web"}, {"sectionName": "a.b"}],
)  # fmt: skip
def test_field_that_no_route_can_have_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        owner(**field)
