"""The route that the operator set, and what it means for one request. Pure but for its lock."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mooring_serving.arms import Role


@dataclass(frozen=True, slots=True)
class Route:
    """What the pod does with requests.

    Attributes:
        role: What this pod is.
        phase: `<candidate revision>/<step>`, None when nothing is analysed.
        candidate_revision: The revision that must answer a forward; None accepts any.
        weight_percent: Share of requests that the candidate answers, 0 to 100.
        shadow_percent: Share of the others that is mirrored, 0 to 100.
        deadline_seconds: How long a forward may take before the local model answers.
        stable_revision: The revision that must answer what a retired pod forwards; None accepts
            any.
        sticky_header: Name, in lower case, of the header whose value decides about the weight;
            None: every request by itself.
    """

    role: Role = Role.STABLE
    phase: str | None = None
    candidate_revision: str | None = None
    weight_percent: float = 0.0
    shadow_percent: float = 0.0
    deadline_seconds: float = 1.0
    stable_revision: str | None = None
    sticky_header: str | None = None

    @property
    def wanted(self) -> str | None:
        """The revision that must answer a forward; None accepts any."""
        return self.stable_revision if self.role is Role.RETIRED else self.candidate_revision


_QUIET = Route()
_QUIET_BY_ROLE = {
    Role.STABLE: _QUIET,
    Role.CANDIDATE: Route(role=Role.CANDIDATE),
}


def in_force(route: Route, expires_at: float, now: float) -> Route:
    """The route at monotonic time `now`: itself until it expires, then a quiet one of its role."""
    return route if now < expires_at else _QUIET_BY_ROLE.get(route.role, route)


class RouteSink(Protocol):
    """Where a new route goes."""

    def set(self, route: Route, *, expires_at: float) -> None:
        """Replace the route; `expires_at` is monotonic seconds."""
        ...


class Routes(Protocol):
    """Where a request's route is looked up."""

    def current(self, now: float) -> Route:
        """The route in force at monotonic time `now`."""
        ...


class RouteTable:
    """The current route of one process, which loses its weights when the operator goes silent.

    An expired route has no phase either: its stable rows would otherwise be compared with a
    candidate that saw other minutes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._route = _QUIET
        self._expires_at = float("inf")

    def set(self, route: Route, *, expires_at: float) -> None:
        """Replace the route; `expires_at` is monotonic seconds."""
        with self._lock:
            self._route = route
            self._expires_at = expires_at

    def current(self, now: float) -> Route:
        """The route in force at monotonic time `now`."""
        route = self._route
        if now < self._expires_at:
            return route
        return _QUIET_BY_ROLE.get(route.role, route)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with one request.

    Attributes:
        forward: Ask another pod first.
        mirror: Send a copy to the candidate once the client has its answer.
    """

    forward: bool
    mirror: bool


_ANSWER = Plan(forward=False, mirror=False)
_MIRROR = Plan(forward=False, mirror=True)
_FORWARD = Plan(forward=True, mirror=False)


def plan_request(
    route: Route, draw: Callable[[], float], headers: Mapping[bytes, bytes] | None = None
) -> Plan:
    """Decide one request of a client.

    Args:
        route: The route in force.
        draw: Gives independent uniform numbers in [0, 1): one for the weight, one for the shadow.
        headers: The request's, names in lower case.
    """
    match route.role:
        case Role.RETIRED:
            return _FORWARD
        case Role.CANDIDATE:
            return _ANSWER
        case Role.STABLE:
            if route.phase is None:
                return _ANSWER
            if _share(route, draw, headers) * 100 < route.weight_percent:
                return _FORWARD
            return _MIRROR if draw() * 100 < route.shadow_percent else _ANSWER


def _share(route: Route, draw: Callable[[], float], headers: Mapping[bytes, bytes] | None) -> float:
    if route.sticky_header is None or headers is None:
        return draw()
    value = headers.get(route.sticky_header.encode())
    return draw() if value is None else sticky_share(route.phase or "", value)


def sticky_share(phase: str, value: bytes) -> float:
    """Where in [0, 1) a header's value stands in a rollout: the same in every pod and step.

    Whoever stands below a weight stands below every larger one, so that nobody is moved back while
    the weight only grows. Another rollout shuffles anew: nobody is always the first to try.

    Args:
        phase: Of the route: the rollout's name, a slash, the step.
        value: The header's value.
    """
    rollout = phase.partition("/")[0].encode()
    digest = hashlib.blake2b(value, digest_size=8, key=rollout[:64]).digest()
    return int.from_bytes(digest, "big") / 2**64


def admits(route: Route, revision: str) -> bool:
    """Whether a client may get another revision's answer under this route.

    Asked when the answer is there: the verdict may have come while it was on its way.
    """
    match route.role:
        case Role.RETIRED:
            return route.stable_revision in (None, revision)
        case Role.STABLE:
            forwards = route.phase is not None and route.weight_percent > 0
            return forwards and route.candidate_revision in (None, revision)
        case Role.CANDIDATE:
            return False


class Draws:
    """Uniform draws in [0, 1) from an explicit generator, made in blocks: 40 ns each."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._block: list[float] = []

    def __call__(self) -> float:
        """The next draw."""
        if not self._block:
            self._block = self._generator.random(4096).tolist()
        return self._block.pop()
