"""Queries to replies: our own model, another pod first, a mirrored copy. On the event loop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from mooring_serving.arms import Arm, Outcome, Role
from mooring_serving.batching import Batcher
from mooring_serving.conversation import Query, Reply, Settle
from mooring_serving.counters import Counters
from mooring_serving.dataplane import Assignment, Dataplane, Ticket
from mooring_serving.errors import RequestRefused, ServingError
from mooring_serving.forward import MISDIRECTED, Forwarder
from mooring_serving.protocol.encode import encode_request
from mooring_serving.routing import Route, Routes, admits, plan_request
from mooring_serving.shadow import Mirrored, ShadowQueue

_RETIRED_FORWARDS = 8
"""Times as many forwards may be in flight in a retired pod."""
_ALONE = Assignment()
"""A prediction that is compared with nobody's."""


@dataclass(frozen=True, slots=True)
class AppParts:
    """What the app is made of.

    Attributes:
        dataplane: Our own model and its duties.
        batcher: Puts requests together.
        forwarder: Asks other pods.
        shadow: Mirrors requests.
        routes: The operator's route.
        counters: The pod's counters.
        draw: Uniform draws in [0, 1).
        forward_limit: Forwards in flight; beyond it requests are answered here.
    """

    dataplane: Dataplane
    batcher: Batcher
    forwarder: Forwarder
    shadow: ShadowQueue
    routes: Routes
    counters: Counters
    draw: Callable[[], float]
    forward_limit: int


class InferenceApp:
    """Answers queries of every transport."""

    def __init__(self, parts: AppParts) -> None:
        self._parts = parts
        self._dataplane = parts.dataplane
        self._batcher = parts.batcher
        self._routes = parts.routes
        self._loop = asyncio.get_running_loop()
        self._forwards: set[asyncio.Task[None]] = set()
        self._path = f"/v2/models/{quote(parts.dataplane.model.name, safe='')}/infer"

    def submit(self, query: Query, settle: Settle) -> None:
        """Answer a client's query; `settle` is called once, maybe at once."""
        try:
            event_time_us = self._dataplane.read_event_time(query.request)
        except RequestRefused as refusal:
            settle(refusal)
            return
        route = self._routes.current(query.received_at)
        plan = plan_request(route, self._parts.draw, query.headers)
        if plan.forward and not query.pinned:
            if len(self._forwards) < self._most_forwards(route):
                task = self._loop.create_task(
                    self._forward_first(query, event_time_us, route, settle)
                )
                self._forwards.add(task)
                task.add_done_callback(self._forwards.discard)
                return
            self._count_forward(Outcome.SHORT_CIRCUITED, query, route, None)
        assignment = _assignment(route)
        if plan.mirror and not query.pinned and route.phase is not None:
            settle = self._mirroring(query, route, route.phase, settle)
        retired = route.role is Role.RETIRED
        if retired and not query.pinned:
            settle = self._owning_up(settle)
        self._batcher.submit(Ticket(query, event_time_us, assignment, settle, retired))

    def submit_for_pod(self, query: Query, assignment: Assignment, settle: Settle) -> None:
        """Answer another pod of this deployment; never forwarded again.

        A retired pod answers none: whoever asks does not know yet, and asks elsewhere.
        """
        if self._routes.current(query.received_at).role is Role.RETIRED:
            settle(RequestRefused("this pod is retired: ask the stable one", status=MISDIRECTED))
            return
        try:
            event_time_us = self._dataplane.read_event_time(query.request)
        except RequestRefused as refusal:
            settle(refusal)
            return
        self._batcher.submit(Ticket(query, event_time_us, assignment, settle))

    def _most_forwards(self, route: Route) -> int:
        """A retired pod has nothing better to do than to forward."""
        limit = self._parts.forward_limit
        return limit * _RETIRED_FORWARDS if route.role is Role.RETIRED else limit

    def _owning_up(self, settle: Settle) -> Settle:
        """Settles, and counts the answer of a model that should not have given it."""

        def settle_and_count(outcome: Reply | ServingError) -> None:
            if isinstance(outcome, Reply):
                self._parts.counters.count_retired_answer()
            settle(outcome)

        return settle_and_count

    def _mirroring(self, query: Query, route: Route, phase: str, settle: Settle) -> Settle:
        """Settles, then mirrors: the client has its answer first."""

        def settle_and_mirror(outcome: Reply | ServingError) -> None:
            settle(outcome)
            if isinstance(outcome, Reply):
                self._parts.shadow.offer(
                    Mirrored(
                        self._path,
                        self._body_of(query),
                        query.request,
                        outcome.values,
                        route,
                        phase,
                    )
                )

        return settle_and_mirror

    async def _forward_first(
        self, query: Query, event_time_us: int, route: Route, settle: Settle
    ) -> None:
        """Ask the other pod; whatever happens, the client gets exactly one answer, maybe ours."""
        request = query.request
        forwarded = await self._parts.forwarder.send(
            self._path,
            self._body_of(query),
            request,
            route=route,
            arm=Arm.CANDIDATE if route.role is Role.STABLE else Arm.STABLE,
        )
        outcome, answer = forwarded.outcome, forwarded.answer
        now = self._routes.current(self._loop.time())
        if answer is not None and not admits(now, answer.revision):
            outcome, answer = Outcome.OVERTAKEN, None
        self._count_forward(outcome, query, route, forwarded.server_ms)
        retired = Role.RETIRED in (route.role, now.role)
        if answer is not None:
            if route.phase is not None and not retired:
                self._dataplane.recorder.answers.offer(
                    route.phase, Arm.CANDIDATE, request, answer.read.values
                )
            settle(
                Reply(
                    request,
                    answer.read.values,
                    answer.read.prediction_id,
                    answer.version,
                    answer.revision,
                    answer.server_ms,
                    retired,
                    None if query.body is None else answer.body,
                )
            )
            return
        if route.role is now.role is Role.RETIRED:
            settle = self._owning_up(settle)
        phase = route.phase if route.role is Role.STABLE else None
        assignment = Assignment(phase=phase, owned=not outcome.blames)
        self._batcher.submit(Ticket(query, event_time_us, assignment, settle, retired))

    def _body_of(self, query: Query) -> bytes:
        if query.body is not None:
            return query.body
        return encode_request(query.request, self._dataplane.model.signature)

    def _count_forward(
        self, outcome: Outcome, query: Query, route: Route, server_ms: float | None
    ) -> None:
        self._parts.counters.count_forward(
            outcome,
            rows=query.request.rows,
            milliseconds=server_ms,
            phase=route.phase if route.role is Role.STABLE else None,
        )


def _assignment(route: Route) -> Assignment:
    """Which side a client's request is on that this pod answers itself.

    A candidate that has a phase gets its share from a Gateway: nobody else counts it.
    """
    if route.phase is None or route.role is Role.RETIRED:
        return _ALONE
    arm = Arm.CANDIDATE if route.role is Role.CANDIDATE else Arm.STABLE
    return Assignment(arm=arm, phase=route.phase)
