"""Requests of clients and of other pods to answers; errors become statuses only here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mooring_serving.arms import Arm, Outcome, Role
from mooring_serving.clock import Clock
from mooring_serving.counters import Counters
from mooring_serving.dataplane import Assignment, Dataplane
from mooring_serving.errors import InvalidOutput, ModelFault, Overloaded, RequestRefused
from mooring_serving.forward import (
    HEADER_ARM,
    HEADER_DEADLINE,
    HEADER_FAULT,
    HEADER_PHASE,
    HEADER_REVISION,
    HEADER_SERVER_MS,
    HEADER_VERSION,
    Forwarder,
)
from mooring_serving.http.message import HttpRequest, HttpResponse, error_response
from mooring_serving.inference import InferencePool
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.routing import Route, Routes, plan_request
from mooring_serving.served import Answer
from mooring_serving.shadow import Mirrored, ShadowQueue

Reply = HttpResponse | Awaitable[HttpResponse]

_JSON_TYPES = (b"application/json", b"text/json", b"application/x-www-form-urlencoded")
"""The last is what `curl -d` says when it is not told otherwise."""


_ALONE = Assignment()
"""A prediction that is compared with nobody's."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """Numbers of the app.

    Attributes:
        tensors: Limits of bodies.
        inline_rows: Requests of at most so many rows are predicted on the event loop.
        forward_limit: Forwards in flight; beyond it requests are answered here.
    """

    tensors: TensorLimits
    inline_rows: int
    forward_limit: int


@dataclass(slots=True)
class _Job:
    """A decoded request on its way to an answer."""

    http: HttpRequest
    request: InferenceRequest
    event_time_us: int


@dataclass(frozen=True, slots=True)
class AppParts:
    """What the app is made of.

    Attributes:
        dataplane: Our own model and its duties.
        forwarder: Asks other pods.
        shadow: Mirrors requests.
        pool: Threads for long predictions.
        routes: The operator's route.
        counters: The pod's counters.
        clock: Time.
        draw: Uniform draws in [0, 1).
    """

    dataplane: Dataplane
    forwarder: Forwarder
    shadow: ShadowQueue
    pool: InferencePool
    routes: Routes
    counters: Counters
    clock: Clock
    draw: Callable[[], float]


class InferenceApp:
    """Answers inference requests; owned by the event loop."""

    def __init__(self, parts: AppParts, settings: AppSettings) -> None:
        self._dataplane = parts.dataplane
        self._forwarder = parts.forwarder
        self._shadow = parts.shadow
        self._pool = parts.pool
        self._routes = parts.routes
        self._counters = parts.counters
        self._clock = parts.clock
        self._draw = parts.draw
        self._settings = settings
        self._forwarding = 0
        model = parts.dataplane.model
        self._headers = ((HEADER_VERSION, model.version), (HEADER_REVISION, model.revision))

    def infer_for_client(self, http: HttpRequest, *, pinned: bool) -> Reply:
        """Answer a client; `pinned` requests name a version and are never forwarded."""
        try:
            job = self._decode(http)
        except RequestRefused as refusal:
            return self.refuse(refusal)
        route = self._routes.current(self._clock.monotonic())
        plan = plan_request(route, self._draw)
        if plan.forward and not pinned:
            if self._forwarding < self._settings.forward_limit:
                return self._forward_first(job, route)
            self._count_forward(Outcome.SHORT_CIRCUITED, job, route, None)
        compared = route.phase is not None and route.role is Role.STABLE
        assignment = Assignment(phase=route.phase) if compared else _ALONE
        mirror_to = route if plan.mirror and not pinned else None
        return self._answer(job, assignment, mirror_to, close=route.role is Role.RETIRED)

    def infer_for_pod(self, http: HttpRequest) -> Reply:
        """Answer another pod of this deployment; never forwarded again."""
        try:
            job = self._decode(http)
            assignment = read_assignment(http)
        except RequestRefused as refusal:
            return self.refuse(refusal)
        return self._answer(job, assignment, None, close=False)

    def refuse(self, refusal: RequestRefused) -> HttpResponse:
        """The answer to a request that the client must change."""
        self._counters.count_refusal(refusal.status, refusal.reason)
        return error_response(refusal.status, str(refusal), retry_after=refusal.retry_after)

    # --- steps

    def _decode(self, http: HttpRequest) -> _Job:
        check_encoding(http)
        request, event_time_us = self._dataplane.decode(http.body, self._settings.tensors)
        return _Job(http, request, event_time_us)

    def _answer(
        self, job: _Job, assignment: Assignment, mirror_to: Route | None, *, close: bool
    ) -> Reply:
        """Answer with our own model: at once when quick, else from a thread."""
        if job.request.rows > self._settings.inline_rows:
            return self._answer_later(job, assignment, mirror_to, close=close)
        try:
            answer = self._dataplane.predict(job.request, assignment)
        except ModelFault as fault:
            return self._report_fault(fault)
        return self._finish(job, answer, assignment, mirror_to, close=close)

    async def _answer_later(
        self, job: _Job, assignment: Assignment, mirror_to: Route | None, *, close: bool
    ) -> HttpResponse:
        try:
            answer = await self._pool.run(lambda: self._dataplane.predict(job.request, assignment))
        except ModelFault as fault:
            return self._report_fault(fault)
        except Overloaded as overload:
            self._counters.count_refusal(503)
            return error_response(503, str(overload), retry_after=1)
        return self._finish(job, answer, assignment, mirror_to, close=close)

    async def _forward_first(self, job: _Job, route: Route) -> HttpResponse:
        """Ask the other pod; whatever happens, the client gets exactly one answer, maybe ours."""
        self._forwarding += 1
        try:
            forwarded = await self._forwarder.send(
                job.http.path,
                job.http.body,
                job.request,
                route=route,
                arm=Arm.CANDIDATE if route.role is Role.STABLE else Arm.STABLE,
            )
        finally:
            self._forwarding -= 1
        self._count_forward(forwarded.outcome, job, route, forwarded.server_ms)
        retired = route.role is Role.RETIRED
        if forwarded.outcome is Outcome.ANSWERED:
            return HttpResponse(200, forwarded.body, forwarded.headers, close=retired)
        tried = forwarded.outcome not in (Outcome.SHORT_CIRCUITED, Outcome.MISROUTED)
        assignment = Assignment(phase=None if retired else route.phase, owned=not tried)
        reply = self._answer(job, assignment, None, close=retired)
        return reply if isinstance(reply, HttpResponse) else await reply

    def _finish(
        self,
        job: _Job,
        answer: Answer,
        assignment: Assignment,
        mirror_to: Route | None,
        *,
        close: bool,
    ) -> HttpResponse:
        finished = self._dataplane.finish(
            job.request,
            answer,
            assignment,
            event_time_us=job.event_time_us,
            received_at=job.http.received_at,
        )
        if mirror_to is not None and mirror_to.phase is not None:
            http = job.http
            self._shadow.offer(
                Mirrored(
                    http.path, http.body, job.request, answer.values, mirror_to, mirror_to.phase
                )
            )
        timing = (HEADER_SERVER_MS, f"{finished.server_ms:.3f}")
        return HttpResponse(200, finished.body, (*self._headers, timing), close=close)

    def _report_fault(self, fault: ModelFault) -> HttpResponse:
        response = error_response(500, str(fault))
        kind = "InvalidOutput" if isinstance(fault, InvalidOutput) else "ModelFault"
        response.headers = (*self._headers, (HEADER_FAULT, kind))
        return response

    def _count_forward(
        self, outcome: Outcome, job: _Job, route: Route, server_ms: float | None
    ) -> None:
        self._counters.count_forward(
            outcome,
            rows=job.request.rows,
            milliseconds=server_ms,
            phase=route.phase if route.role is Role.STABLE else None,
        )


def check_encoding(http: HttpRequest) -> None:
    """Refuse bodies that are not plain JSON; a missing content type is read as JSON.

    Raises:
        RequestRefused: 415.
    """
    headers = http.headers
    kind = headers.get(b"content-type")
    if kind is not None:
        name = kind.partition(b";")[0].strip().lower()
        if name and name not in _JSON_TYPES and not name.endswith(b"+json"):
            raise RequestRefused(
                f"content-type {name[:64].decode('latin-1')!r} is not read, send application/json",
                status=415,
            )
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"", b"identity"):
        raise RequestRefused(
            f"content-encoding {encoding[:64].decode('latin-1')!r} is not read, send plain JSON",
            status=415,
        )
    if b"inference-header-content-length" in headers:
        raise RequestRefused("binary tensors are not served, send data as JSON", status=415)


def read_assignment(http: HttpRequest) -> Assignment:
    """What a forwarded request belongs to; its sender owns the outcome.

    Raises:
        RequestRefused: A header is not what our own pods send.
    """
    try:
        arm = Arm(http.headers.get(HEADER_ARM.encode(), b"stable").decode("latin-1"))
        deadline = float(http.headers.get(HEADER_DEADLINE.encode(), b"inf"))
    except ValueError as error:
        raise RequestRefused(f"{HEADER_ARM} or {HEADER_DEADLINE}: {error}") from error
    phase = http.headers.get(HEADER_PHASE.encode())
    return Assignment(
        arm=arm,
        phase=None if phase is None else phase[:96].decode("latin-1"),
        owned=False,
        deadline_seconds=deadline / 1000,
    )
