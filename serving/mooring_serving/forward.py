"""Asking another pod of the same deployment first, within a deadline. Owned by the event loop.

The forwarder owns the outcome: whatever happens, it says how the forward ended, and the caller
answers the client exactly once, with the other pod's answer or with its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mooring_serving.answers import ReadAnswer, read_answer
from mooring_serving.arms import Arm, Outcome, Role
from mooring_serving.breaker import CircuitBreaker
from mooring_serving.http.client import Address, Answer, ConnectionBroken, ConnectionPool
from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.protocol.signature import Signature
from mooring_serving.routing import Route

HEADER_ARM = "mooring-arm"
"""Which arm a forwarded request belongs to; read on the forward port only."""
HEADER_PHASE = "mooring-phase"
"""The phase that the forwarder counts it in; read on the forward port only."""
HEADER_DEADLINE = "mooring-deadline-ms"
"""After this the forwarder has answered by itself, so the prediction must not be counted."""
HEADER_WANTED = "mooring-wanted-revision"
"""The revision that must answer; another one says 421 at once. Read on the forward port only."""
HEADER_FAULT = "mooring-fault"
"""On a 500 of a model: the kind of fault."""
HEADER_VERSION = "mooring-model-version"
HEADER_REVISION = "mooring-revision"
HEADER_SERVER_MS = "mooring-server-ms"

FORWARD_PORT = 8082
MISDIRECTED = 421
"""Said by a pod that is not of the wanted revision, or retired: nothing was predicted."""
_LOOK_AGAIN_SECONDS = 0.05
"""Pause of a retired pod while neither Service leads to the wanted revision."""

Addresses = Callable[[Role], Sequence[Address]]


def service_addresses(deployment: str | None, namespace: str) -> Addresses:
    """Where forwards may go: the two Services of this deployment, nowhere else.

    A retired pod tries both. After a flip, the nodes take a moment to lead the stable Service to
    other pods; the candidate's leads to them already (core/manifests/children.py).
    """

    def resolve(role: Role) -> Sequence[Address]:
        if deployment is None:
            return ()
        stable = Address(f"{deployment}.{namespace}.svc", FORWARD_PORT)
        candidate = Address(f"{deployment}-candidate.{namespace}.svc", FORWARD_PORT)
        match role:
            case Role.STABLE:
                return (candidate,)
            case Role.RETIRED:
                return (stable, candidate)
            case Role.CANDIDATE:
                return ()

    return resolve


@dataclass(frozen=True, slots=True)
class Forwarded:
    """How a forward ended.

    Attributes:
        outcome: Whether there is a usable answer, or why not.
        answer: The answer, when usable.
    """

    outcome: Outcome
    answer: "ForwardedAnswer | None" = None

    @property
    def server_ms(self) -> float | None:
        """Milliseconds inside the pod that answered, when its answer is usable."""
        return None if self.answer is None else self.answer.server_ms


@dataclass(frozen=True, slots=True)
class ForwardedAnswer:
    """Another pod's usable answer.

    Attributes:
        body: Its body as it came.
        version: The version that answered.
        revision: The revision that answered.
        server_ms: Milliseconds inside that pod.
        read: Outputs and receipt.
    """

    body: bytes
    version: str
    revision: str
    server_ms: float
    read: ReadAnswer


@dataclass(frozen=True, slots=True)
class _Errand:
    """One request on its way: what is sent, and what must come back."""

    path: str
    body: bytes
    headers: dict[str, str]
    request: InferenceRequest
    wanted: str | None


class Forwarder:
    """Sends requests to the addresses that the route's role means.

    Args:
        open_pool: Makes the connections to one address.
        breaker: Stops forwards that keep failing.
        addresses: Where each role forwards to.
        signature: What a usable answer has.
        monotonic: Monotonic seconds.
    """

    def __init__(
        self,
        open_pool: Callable[[], ConnectionPool],
        breaker: CircuitBreaker,
        *,
        addresses: Addresses,
        signature: Signature,
        monotonic: Callable[[], float],
    ) -> None:
        self._open_pool = open_pool
        self._pools: dict[Address, ConnectionPool] = {}
        self._breaker = breaker
        self._addresses = addresses
        self._signature = signature
        self._monotonic = monotonic
        self._target: tuple[Role, str | None] = (Role.STABLE, None)
        self._proved: Address | None = None

    def adopt(self, route: Route) -> None:
        """A new route is in force: connections and bad experience with another target go."""
        target = (route.role, route.wanted)
        if target != self._target:
            self._target = target
            self._proved = None
            self.close()
            self._breaker.reset()

    async def send(
        self, path: str, body: bytes, request: InferenceRequest, *, route: Route, arm: Arm
    ) -> Forwarded:
        """Forward one request.

        Args:
            path: The request's path.
            body: Its body as it came.
            request: The same, decoded.
            route: The route in force.
            arm: `CANDIDATE` or `SHADOW` (stable pods), `STABLE` (retired pods).
        """
        addresses = self._addresses(route.role)
        if not addresses or not self._breaker.allows(self._monotonic()):
            return Forwarded(Outcome.SHORT_CIRCUITED)
        headers = {
            "content-type": "application/json",
            HEADER_ARM: arm.value,
            HEADER_DEADLINE: f"{route.deadline_seconds * 1000:.0f}",
        }
        if route.phase is not None:
            headers[HEADER_PHASE] = route.phase
        if route.wanted is not None:
            headers[HEADER_WANTED] = route.wanted
        errand = _Errand(path, body, headers, request, route.wanted)
        forwarded = await self._in_time(errand, addresses, route)
        failed = forwarded.outcome is not Outcome.ANSWERED and forwarded.outcome.blames
        self._breaker.report(self._monotonic(), failed=failed)
        return forwarded

    async def _in_time(
        self, errand: _Errand, addresses: Sequence[Address], route: Route
    ) -> Forwarded:
        """Ask until the deadline; only a retired pod asks more than once.

        A stable pod has an answer of its own. A retired one should have none, and the Services
        follow within a second or two. It stops looking when the route leads elsewhere meanwhile.
        """
        forwarded = Forwarded(Outcome.LATE)
        targets = (self._target, (route.role, route.wanted))
        try:
            async with asyncio.timeout(route.deadline_seconds):
                while True:
                    forwarded = Forwarded(Outcome.LATE)
                    forwarded = await self._ask_around(errand, addresses)
                    if forwarded.outcome is not Outcome.MISROUTED or route.role is Role.STABLE:
                        return forwarded
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                    if self._target not in targets:
                        return forwarded
        except TimeoutError:
            return forwarded

    async def _ask_around(self, errand: _Errand, addresses: Sequence[Address]) -> Forwarded:
        """Ask one address after the other, first the one that led to the right pods last.

        Passed over is only a pod that is the wrong one or that gives no answer at all.
        """
        proved = self._proved
        ended = Outcome.REFUSED
        for address in sorted(addresses, key=lambda address: address != proved):
            forwarded = await self._attempt(address, errand)
            if forwarded.outcome not in (Outcome.MISROUTED, Outcome.REFUSED):
                self._proved = address
                return forwarded
            if forwarded.outcome is Outcome.MISROUTED:
                ended = Outcome.MISROUTED
        return Forwarded(ended)

    async def _attempt(self, address: Address, errand: _Errand) -> Forwarded:
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = self._open_pool()
        try:
            answer = await pool.post(address, errand.path, errand.headers, errand.body)
        except ConnectionBroken:
            return Forwarded(Outcome.REFUSED)
        forwarded = self._judge(answer, errand)
        if forwarded.outcome is Outcome.MISROUTED:
            pool.close()  # its connections lead to pods of another revision
        return forwarded

    def _judge(self, answer: Answer, errand: _Errand) -> Forwarded:
        revision = answer.headers.get(HEADER_REVISION.encode(), b"").decode("latin-1")
        other = errand.wanted is not None and revision and revision != errand.wanted
        if other or answer.status == MISDIRECTED:
            return Forwarded(Outcome.MISROUTED)
        if answer.status != 200:
            invalid = answer.headers.get(HEADER_FAULT.encode()) == b"InvalidOutput"
            return Forwarded(Outcome.INVALID if invalid else Outcome.FAILED)
        read = read_answer(answer.body, errand.request, self._signature)
        server_ms = _read_milliseconds(answer.headers.get(HEADER_SERVER_MS.encode()))
        if read is None or server_ms is None:
            return Forwarded(Outcome.INVALID)
        version = answer.headers.get(HEADER_VERSION.encode(), b"").decode("latin-1")
        usable = ForwardedAnswer(answer.body, version, revision, server_ms, read)
        return Forwarded(Outcome.ANSWERED, usable)

    def close(self) -> None:
        """Close idle connections."""
        for pool in self._pools.values():
            pool.close()


def _read_milliseconds(value: bytes | None) -> float | None:
    """A plain non-negative decimal number, or None."""
    if value is None or not value.replace(b".", b"", 1).isdigit():
        return None
    return float(value)
