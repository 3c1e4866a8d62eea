"""Whether a Gateway follows: its controller has accepted the route, with the weight asked for.

Nothing is counted for a weight before that, so that what a slow Gateway still divides as before is
compared with nothing. The condition Routed says it; it is the only memory of how long it takes.
"""

from datetime import timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import ConditionStatus, ConditionType, Reason
from mooring_operator.api.gateway import GatewayReference, RoutedStatus
from mooring_operator.core.conditions import Fact, Standing, condition_of, reconciling, stalled
from mooring_operator.core.manifests.names import route_name
from mooring_operator.core.manifests.route import (
    ROUTE_API,
    ROUTE_KIND,
    asked_gateway,
    wanted_shape,
)
from mooring_operator.core.observation import RouteObservation
from mooring_operator.core.rollout.steps import gateway_settles_at, gateway_weight
from mooring_operator.core.rollout.turn import Situation, Turn, named, with_candidate


def settle_route(situation: Situation) -> Situation:
    """The same look, with what the Gateway is known to give the candidate."""
    candidate = situation.status.candidate
    if candidate is None:
        return situation
    routed, weight = None, gateway_weight(situation.status, situation.spec)
    if _accepted(situation, weight):
        known = candidate.routed
        kept = known is not None and known.weight == weight
        routed = known if kept else RoutedStatus(weight=weight, at=situation.now)
    if routed == candidate.routed:
        return situation
    return situation.on(with_candidate(situation, routed=routed))


def await_gateway(situation: Situation) -> Turn | None:
    """A weight that the Gateway does not give yet: the clock stands still; None: it does."""
    candidate = situation.candidate
    weight = gateway_weight(situation.status, situation.spec)
    if not weight:
        return None
    left = settles_in(situation)
    if left == timedelta():
        return None
    told = f"{named(candidate)} waits to get {weight}% of the requests"
    standing = gateway_standing(situation) or reconciling(
        Reason.AWAITING_GATEWAY, f"the Gateway accepted {_route(situation)} and takes it over"
    )
    message = f"{told}: {standing.message}"
    return Turn(
        with_candidate(situation, held_since=candidate.held_since or situation.now),
        Standing(standing.type, standing.reason, message),
        requeue_after=left or gateway_wait(situation),
    )


def gateway_has_let_go(situation: Situation) -> bool:
    """Whether no Gateway gives the candidate requests of clients any more."""
    if asked_gateway(situation.spec) is None or situation.candidate.probe is not None:
        return True
    since = gateway_settles_at(situation.candidate, 0)
    return since is not None and situation.now >= since


def settles_in(situation: Situation) -> timedelta | None:
    """Time until the Gateway divides as asked for; None: that is not known."""
    candidate = situation.status.candidate
    if candidate is None:
        return None
    since = gateway_settles_at(candidate, gateway_weight(situation.status, situation.spec))
    return None if since is None else max(since - situation.now, timedelta())


def gateway_standing(situation: Situation) -> Standing | None:
    """Why clients are not, or not yet, led as the status says; None: they are, or need no Gateway.

    What the controller refuses needs a person. One that says nothing is waited for; for longer than
    a rollout may take to start, and a person should look too.
    """
    gateway = asked_gateway(situation.spec)
    if gateway is None:
        return None
    if not situation.observation.gateway_api:
        message = (
            f"spec.traffic.mode Gateway needs {ROUTE_KIND} of {ROUTE_API}, which this API server"
            " does not have: install the CRDs of the Gateway API (its standard channel), or set"
            " another traffic.mode"
        )
        return stalled(Reason.GATEWAY_API_MISSING, message)
    route = _route_as_wanted(situation, gateway_weight(situation.status, situation.spec))
    if route is None:
        return _waiting(situation, f"{_route(situation)} is being applied")
    if route.accepted:
        return None
    if route.refusal:
        message = (
            f"{_named(gateway, situation)} does not accept {_route(situation)} ({route.refusal}):"
            " correct spec.traffic.gateway, or what the Gateway's listeners admit"
        )
        return stalled(Reason.ROUTE_NOT_ACCEPTED, message)
    return _waiting(
        situation, f"{_named(gateway, situation)} has not accepted {_route(situation)} yet"
    )


def gateway_wait(situation: Situation) -> timedelta | None:
    """When to look again, where only time shows something new; None: a change will be told."""
    left = _patience_left(situation)
    return left if left > timedelta() else None


def routed_fact(situation: Situation) -> Fact | None:
    """What the condition Routed says; None where no Gateway is asked for."""
    gateway = asked_gateway(situation.spec)
    if gateway is None:
        return None
    type_ = ConditionType.ROUTED
    if _taken(situation):
        message = f"{_route(situation)} exists and is not this deployment's"
        return Fact(type_, ConditionStatus.FALSE, Reason.NAME_CONFLICT, message)
    standing = gateway_standing(situation)
    if standing is None:
        message = f"{_named(gateway, situation)} accepted {_route(situation)}"
        return Fact(type_, ConditionStatus.TRUE, Reason.ROUTE_ACCEPTED, message)
    route = _route_as_wanted(situation, gateway_weight(situation.status, situation.spec))
    refused = route is not None and route.refusal != ""
    if refused or standing.reason is Reason.GATEWAY_API_MISSING:
        return Fact(type_, ConditionStatus.FALSE, standing.reason, standing.message)
    return Fact(type_, ConditionStatus.UNKNOWN, Reason.AWAITING_GATEWAY, standing.message)


def _waiting(situation: Situation, message: str) -> Standing:
    if _patience_left(situation) > timedelta():
        return reconciling(Reason.AWAITING_GATEWAY, message)
    deadline = situation.spec.rollout.progress_deadline
    told = (
        f"{message}, for longer than progressDeadline {deadline}: look whether the Gateway exists,"
        " and whether the controller of its class runs"
    )
    return stalled(Reason.ROUTE_NOT_ACCEPTED, told)


def _patience_left(situation: Situation) -> timedelta:
    """Time for the Gateway's controller to answer, since the condition says that it is awaited."""
    known = condition_of(situation.before.conditions, ConditionType.ROUTED)
    waits = known is not None and known.status is ConditionStatus.UNKNOWN
    began = known.last_transition_time if known is not None and waits else situation.now
    deadline = parse_duration(situation.spec.rollout.progress_deadline)
    return max(began + deadline - situation.now, timedelta())


def _accepted(situation: Situation, weight: int) -> bool:
    route = _route_as_wanted(situation, weight)
    return route is not None and route.accepted


def _route_as_wanted(situation: Situation, weight: int) -> RouteObservation | None:
    """The route, if it says what it must: what was accepted of another one proves nothing."""
    owner, route = situation.observation.resource, situation.observation.route
    shape = wanted_shape(owner.spec, owner.metadata.namespace, weight)
    return route if route is not None and shape is not None and route.shape == shape else None


def _taken(situation: Situation) -> bool:
    return _route(situation) in situation.observation.foreign


def _route(situation: Situation) -> str:
    return f"{ROUTE_KIND} {route_name(situation.observation.resource.metadata.name)}"


def _named(gateway: GatewayReference, situation: Situation) -> str:
    own = situation.observation.resource.metadata.namespace
    return f"Gateway {gateway.namespace or own}/{gateway.name}"
