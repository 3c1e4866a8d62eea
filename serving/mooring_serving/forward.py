"""Asking another pod of the same deployment first, within a deadline. Owned by the event loop.

The forwarder owns the outcome: whatever happens, it says how the forward ended, and the caller
answers the client exactly once, with the other pod's answer or with its own.
"""

import asyncio
from collections.abc import Callable
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
HEADER_FAULT = "mooring-fault"
"""On a 500 of a model: the kind of fault."""
HEADER_VERSION = "mooring-model-version"
HEADER_REVISION = "mooring-revision"
HEADER_SERVER_MS = "mooring-server-ms"

FORWARD_PORT = 8082

Addresses = Callable[[Role], Address | None]


def service_addresses(deployment: str | None, namespace: str) -> Addresses:
    """Where forwards may go: the two Services of this deployment, nowhere else."""

    def resolve(role: Role) -> Address | None:
        if deployment is None:
            return None
        match role:
            case Role.STABLE:
                return Address(f"{deployment}-candidate.{namespace}.svc", FORWARD_PORT)
            case Role.RETIRED:
                return Address(f"{deployment}.{namespace}.svc", FORWARD_PORT)
            case Role.CANDIDATE:
                return None

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


class Forwarder:
    """Sends requests to the address that the route's role means.

    Args:
        pool: Connections.
        breaker: Stops forwards that keep failing.
        addresses: Where each role forwards to.
        signature: What a usable answer has.
        monotonic: Monotonic seconds.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        breaker: CircuitBreaker,
        *,
        addresses: Addresses,
        signature: Signature,
        monotonic: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._breaker = breaker
        self._addresses = addresses
        self._signature = signature
        self._monotonic = monotonic
        self._target: tuple[Role, str | None] = (Role.STABLE, None)

    def adopt(self, route: Route) -> None:
        """A new route is in force: connections and bad experience with another target go."""
        target = (route.role, route.candidate_revision)
        if target != self._target:
            self._target = target
            self._pool.close()
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
        address = self._addresses(route.role)
        now = self._monotonic()
        if address is None or not self._breaker.allows(now):
            return Forwarded(Outcome.SHORT_CIRCUITED)
        headers = {
            "content-type": "application/json",
            HEADER_ARM: arm.value,
            HEADER_DEADLINE: f"{route.deadline_seconds * 1000:.0f}",
        }
        if route.phase is not None:
            headers[HEADER_PHASE] = route.phase
        forwarded = await self._attempt(address, path, body, headers, request, route)
        failed = forwarded.outcome not in (Outcome.ANSWERED, Outcome.MISROUTED)
        self._breaker.report(self._monotonic(), failed=failed)
        return forwarded

    async def _attempt(
        self,
        address: Address,
        path: str,
        body: bytes,
        headers: dict[str, str],
        request: InferenceRequest,
        route: Route,
    ) -> Forwarded:
        try:
            async with asyncio.timeout(route.deadline_seconds):
                answer = await self._pool.post(address, path, headers, body)
        except TimeoutError:
            return Forwarded(Outcome.LATE)
        except ConnectionBroken:
            return Forwarded(Outcome.REFUSED)
        wanted = route.candidate_revision if route.role is Role.STABLE else None
        return self._judge(answer, request, wanted)

    def _judge(self, answer: Answer, request: InferenceRequest, wanted: str | None) -> Forwarded:
        revision = answer.headers.get(HEADER_REVISION.encode(), b"").decode("latin-1")
        if wanted is not None and revision and revision != wanted:
            self._pool.close()  # its connections lead to pods of another revision
            return Forwarded(Outcome.MISROUTED)
        if answer.status != 200:
            invalid = answer.headers.get(HEADER_FAULT.encode()) == b"InvalidOutput"
            return Forwarded(Outcome.INVALID if invalid else Outcome.FAILED)
        read = read_answer(answer.body, request, self._signature)
        server_ms = _read_milliseconds(answer.headers.get(HEADER_SERVER_MS.encode()))
        if read is None or server_ms is None:
            return Forwarded(Outcome.INVALID)
        version = answer.headers.get(HEADER_VERSION.encode(), b"").decode("latin-1")
        usable = ForwardedAnswer(answer.body, version, revision, server_ms, read)
        return Forwarded(Outcome.ANSWERED, usable)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()


def _read_milliseconds(value: bytes | None) -> float | None:
    """A plain non-negative decimal number, or None."""
    if value is None or not value.replace(b".", b"", 1).isdigit():
        return None
    return float(value)
