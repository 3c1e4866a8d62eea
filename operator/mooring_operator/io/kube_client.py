"""A thin asynchronous Kubernetes client: six verbs, paging, rate limit, error mapping.

It is also where an outage is noticed: who was cut off from the API server must not believe that
its watches told everything, or that its connections still live.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from mooring_operator.core.decision import Manifest
from mooring_operator.errors import (
    AlreadyExists,
    Conflict,
    MooringError,
    NotFound,
    Refused,
    Transient,
)
from mooring_operator.io.clock import Clock
from mooring_operator.io.connection_pool import ConnectionPool, Reply, Unanswered
from mooring_operator.io.fields import objects_at, text_at
from mooring_operator.io.kube import Listing, ObjectRef
from mooring_operator.io.kube_login import Connection
from mooring_operator.io.resources import ResourceType
from mooring_operator.io.token_bucket import TokenBucket
from mooring_operator.io.wire_json import from_bytes, to_bytes, to_kept_bytes
from mooring_operator.metrics import OperatorMetrics

_PAGE = 500
_UNAUTHORIZED = 401
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
_JSON = "application/json"
_ANSWER_SECONDS = 10.0
"""Longest silence within a request. Kubernetes promises 1 s for an object, 30 s for everything at
once; a page is neither. What hangs longer hangs in the network."""
_OUTAGE_SECONDS = 3.0
"""A silence after which watches may have missed something."""
_LEASES = "/apis/coordination.k8s.io/"


def _anybody() -> None:
    """The fence before there is a leader: nothing of the cluster is written yet."""


def _nobody_asks() -> None:
    """What happens after an outage until somebody wants to know."""


class HttpKubeClient:
    """Speaks the `KubeClient` protocol to a real API server. Close it with `aclose`."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        metrics: OperatorMetrics,
        limit: TokenBucket,
        *,
        patience: float = _ANSWER_SECONDS,
    ) -> None:
        """Takes, besides its tools, the longest silence within a request, in seconds."""
        self._connection, self._clock, self._metrics = connection, clock, metrics
        self._limit = limit
        self._pool = ConnectionPool(connection.server, connection.tls(), patience=patience)
        self._answered_at = clock.monotonic()
        self._silent_since: float | None = None
        self.fence: Callable[[], None] = _anybody
        """Raises LeadershipLost when this process may not write. Asked in the step in which a write
        is sent, which may be long after it was wanted: the rate limit makes it wait, and so does
        the connection."""
        self.on_return: Callable[[], None] = _nobody_asks
        """Called when the API server answers again after an outage."""
        self._bearer = connection.bearer()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._pool.aclose()

    async def get(self, ref: ObjectRef) -> Manifest:
        """Reads one object."""
        return await self._request("GET", ref.path, str(ref))

    async def list(self, type_: ResourceType, namespace: str = "") -> Listing:
        """Reads all matching objects. A list that expired half-way begins again once."""
        try:
            return await self._pages(type_, namespace)
        except Conflict:
            return await self._pages(type_, namespace)

    async def _pages(self, type_: ResourceType, namespace: str) -> Listing:
        items: list[bytes] = []
        query: dict[str, Any] = {"limit": _PAGE}
        if type_.selector:
            query["labelSelector"] = type_.selector
        while True:
            page = await self._request(
                "GET", type_.path(namespace), f"list of {type_.plural}", query=query
            )
            for item in objects_at(page, "items"):
                item.setdefault("kind", type_.kind)
                item.setdefault("apiVersion", type_.api_version)
                items.append(to_kept_bytes(item))
            following = text_at(page, "metadata", "continue")
            if not following:
                return Listing(map(from_bytes, items), text_at(page, "metadata", "resourceVersion"))
            query["continue"] = following

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        """Server-side apply with force."""
        ref = ObjectRef.to(manifest)
        return await self._request(
            "PATCH",
            ref.path,
            str(ref),
            query={"fieldManager": manager, "force": "true"},
            body=manifest,
            content_type=_APPLY,
        )

    async def create(self, manifest: Manifest) -> Manifest:
        """Creates an object."""
        ref = ObjectRef.to(manifest)
        return await self._request(
            "POST", ref.type.path(ref.namespace), str(ref), body=manifest, content_type=_JSON
        )

    async def patch(
        self, ref: ObjectRef, body: dict[str, Any], *, manager: str, subresource: str = ""
    ) -> Manifest:
        """Merge patch of an object or of its subresource."""
        path = f"{ref.path}/{subresource}" if subresource else ref.path
        return await self._request(
            "PATCH",
            path,
            str(ref),
            query={"fieldManager": manager},
            body=body,
            content_type=_MERGE,
        )

    async def delete(self, ref: ObjectRef, *, uid: str) -> None:
        """Deletes the object with this uid."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._request("DELETE", ref.path, str(ref), body=body, content_type=_JSON)

    async def _request(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        content_type: str = _JSON,
    ) -> dict[str, Any]:
        await self._clock.sleep(self._limit.reserve(self._clock.monotonic()))
        response = await self._send(method, path, what, query, body, content_type)
        if response.status == _UNAUTHORIZED:
            # The projected token rotates about hourly; read it again, once.
            self._bearer = self._connection.bearer()
            response = await self._send(method, path, what, query, body, content_type)
        self._metrics.requests.labels(str(response.status), method).inc()
        if response.is_success:
            return from_bytes(response.content)
        raise error_of(response, method, what)

    async def _send(
        self,
        method: str,
        path: str,
        what: str,
        query: dict[str, Any] | None,
        body: dict[str, Any] | None,
        content_type: str,
    ) -> Reply:
        headers = {"accept": _JSON}
        if self._bearer:
            headers["authorization"] = f"Bearer {self._bearer}"
        content = None
        if body is not None:
            headers["content-type"] = content_type
            content = to_bytes(body)
        free = method == "GET" or path.startswith(_LEASES)
        started = self._clock.monotonic()
        try:
            response = await self._pool.request(
                method,
                path,
                query=query,
                content=content,
                headers=headers,
                before_sent=_anybody if free else self._ask_fence,
            )
        except asyncio.CancelledError:
            self._fell_silent(started)
            raise
        except Unanswered as error:
            self._fell_silent(started, hung=error.hung)
            self._metrics.requests.labels("error", method).inc()
            raise Transient(f"The API server did not answer {method} {what}: {error}") from error
        self._answered()
        return response

    def _ask_fence(self) -> None:
        self.fence()  # as it is by then

    def _fell_silent(self, started: float, *, hung: bool = False) -> None:
        """A request got no answer.

        Others that did meanwhile show that it alone was unlucky; but one that hung on a living
        connection tells of dead ones, and watches may be on such.
        """
        since = started if hung else max(started, self._answered_at)
        self._silent_since = min(since, self._silent_since or since)

    def _answered(self) -> None:
        now, since = self._clock.monotonic(), self._silent_since
        self._answered_at, self._silent_since = now, None
        if since is not None and now - since >= _OUTAGE_SECONDS:
            self.on_return()


def error_of(reply: Reply, method: str, what: str) -> MooringError:
    """The exception of ours that an error answer of the API server stands for."""
    try:
        status: object = from_bytes(reply.content)
    except ValueError:
        status = None
    plain = reply.content[:200].decode(errors="replace")
    said = f"{method} {what}: {text_at(status, 'message') or plain}"
    match reply.status:
        case 404:
            return NotFound(said)
        case 409 if text_at(status, "reason") == "AlreadyExists":
            return AlreadyExists(said)
        case 409 | 410:
            return Conflict(said)
        case 400 | 403 | 405 | 413 | 415 | 422:
            return Refused(said)
        case _:
            after = reply.retry_after
            return Transient(said, retry_after=float(after) if after.isdigit() else None)
