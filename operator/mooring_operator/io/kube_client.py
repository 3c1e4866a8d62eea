"""A thin asynchronous Kubernetes client on httpx: six verbs, paging, rate limit, error mapping."""

import json
from typing import Any

import httpx

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
from mooring_operator.io.fields import objects_at, text_at
from mooring_operator.io.kube import Listing, ObjectRef
from mooring_operator.io.kube_login import Connection
from mooring_operator.io.resources import ResourceType
from mooring_operator.io.token_bucket import TokenBucket
from mooring_operator.metrics import OperatorMetrics

_PAGE = 500
_UNAUTHORIZED = 401
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
_JSON = "application/json"


class HttpKubeClient:
    """Speaks the `KubeClient` protocol to a real API server. Close it with `aclose`."""

    def __init__(
        self, connection: Connection, clock: Clock, metrics: OperatorMetrics, limit: TokenBucket
    ) -> None:
        self._connection, self._clock, self._metrics = connection, clock, metrics
        self._limit = limit
        self._http = httpx.AsyncClient(
            base_url=connection.server,
            verify=connection.tls(),
            timeout=httpx.Timeout(30.0, connect=5.0),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32),
            trust_env=False,
        )
        self._bearer = connection.bearer()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

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
        items: list[Manifest] = []
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
                items.append(item)
            following = text_at(page, "metadata", "continue")
            if not following:
                return Listing(tuple(items), text_at(page, "metadata", "resourceVersion"))
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
        if response.status_code == _UNAUTHORIZED:
            # The projected token rotates about hourly; read it again, once.
            self._bearer = self._connection.bearer()
            response = await self._send(method, path, what, query, body, content_type)
        self._metrics.requests.labels(str(response.status_code), method).inc()
        if response.is_success:
            return response.json()
        raise error_of(response, method, what)

    async def _send(
        self,
        method: str,
        path: str,
        what: str,
        query: dict[str, Any] | None,
        body: dict[str, Any] | None,
        content_type: str,
    ) -> httpx.Response:
        headers = {"accept": _JSON}
        if self._bearer:
            headers["authorization"] = f"Bearer {self._bearer}"
        content = None
        if body is not None:
            headers["content-type"] = content_type
            content = json.dumps(body, separators=(",", ":")).encode()
        try:
            return await self._http.request(
                method, path, params=query, content=content, headers=headers
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._metrics.requests.labels("error", method).inc()
            raise Transient(
                f"The API server did not answer {method} {what}: {type(error).__name__} {error}"
            ) from error


def error_of(response: httpx.Response, method: str, what: str) -> MooringError:
    """The exception of ours that an error answer of the API server stands for."""
    try:
        status: object = response.json()
    except ValueError:
        status = None
    said = f"{method} {what}: {text_at(status, 'message') or response.text[:200]}"
    match response.status_code:
        case 404:
            return NotFound(said)
        case 409 if text_at(status, "reason") == "AlreadyExists":
            return AlreadyExists(said)
        case 409 | 410:
            return Conflict(said)
        case 400 | 403 | 405 | 413 | 415 | 422:
            return Refused(said)
        case _:
            after = response.headers.get("retry-after", "")
            return Transient(said, retry_after=float(after) if after.isdigit() else None)
