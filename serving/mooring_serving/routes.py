"""Paths of the client and forward ports: which handler answers what, and in which encoding."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import quote, unquote

from mooring_serving.errors import RequestRefused
from mooring_serving.feedback import Feedback
from mooring_serving.http.compression import (
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    ENCODINGS,
    LARGE,
    decode_body,
    encode_body,
)
from mooring_serving.http.message import (
    HttpRequest,
    HttpResponse,
    Pending,
    error_response,
    json_response,
    settled,
)
from mooring_serving.limits import EngineLimits
from mooring_serving.protocol.codec import parse_json_object
from mooring_serving.protocol.metadata import describe_model, describe_server
from mooring_serving.protocol.openapi import ApiDescription, describe_api
from mooring_serving.rest import Response, RestInference, check_encoding
from mooring_serving.served import ServedModel

_READ_METHODS = ("GET", "HEAD")
_SHOWN = 200
"""Characters of a path that a message quotes."""
_Handler = Callable[[HttpRequest], Response]


@dataclass(frozen=True, slots=True)
class RouterParts:
    """What a router leads to.

    Attributes:
        rest: Answers inference requests.
        feedback: Takes labels.
        model: The served model.
        is_ready: Whether the server is ready.
        limits: All limits.
        example: A request that the model answers.
    """

    rest: RestInference
    feedback: Feedback
    model: ServedModel
    is_ready: Callable[[], bool]
    limits: EngineLimits
    example: Mapping[str, object]


class Router:
    """Exact paths to handlers; a path of another model or version is 404, a wrong method 405.

    Args:
        parts: What it leads to.
        forward: Whether this is the port for other pods of the deployment.
    """

    def __init__(self, parts: RouterParts, *, forward: bool) -> None:
        rest, model, is_ready = parts.rest, parts.model, parts.is_ready
        self._rest = rest
        self._feedback = parts.feedback
        self._model = model
        self._is_ready = is_ready
        self._limits = parts.limits
        base = f"/v2/models/{quote(model.name, safe='')}"
        pinned = f"{base}/versions/{model.version}"
        self._base = base
        self._posts: dict[str, _Handler] = {
            f"{base}/infer": rest.infer_for_pod
            if forward
            else lambda http: rest.infer_for_client(http, pinned=False),
            f"{pinned}/infer": rest.infer_for_pod
            if forward
            else lambda http: rest.infer_for_client(http, pinned=True),
            f"{base}/feedback": self._take_feedback,
        }
        metadata = self._metadata()
        documents = {
            "/v2": json_response(200, describe_server(version("mooring"))),
            "/openapi.json": json_response(200, self._describe_api(parts.example)),
            base: metadata,
            pinned: metadata,
            f"{base}/versions": json_response(
                200, {"name": model.name, "versions": [model.version]}
            ),
        }
        self._gets: dict[str, _Handler] = {
            path: (lambda _, answer=answer: answer) for path, answer in documents.items()
        }
        self._gets |= {
            "/v2/health/live": lambda _: json_response(200, {"live": True, "ready": is_ready()}),
            "/v2/health/ready": self._server_ready,
            f"{base}/ready": self._model_ready,
            f"{pinned}/ready": self._model_ready,
        }

    def answer(self, http: HttpRequest) -> Response | Awaitable[HttpResponse]:
        """Answer one request, in the encoding that its client accepts."""
        headers = http.headers
        if CONTENT_ENCODING in headers:
            return self._decode_first(http)
        return self._encoded(http, self._route(http))

    # --- encodings

    def _decode_first(self, http: HttpRequest) -> Response | Awaitable[HttpResponse]:
        if len(http.body) > LARGE:
            return self._decode_later(http)
        try:
            plain = self._plain(http)
        except RequestRefused as refusal:
            return self._refuse_encoding(refusal)
        return self._encoded(http, self._route(plain))

    async def _decode_later(self, http: HttpRequest) -> HttpResponse:
        try:
            plain = await asyncio.to_thread(self._plain, http)
        except RequestRefused as refusal:
            return self._refuse_encoding(refusal)
        return await settled(self._encoded(http, self._route(plain)))

    def _plain(self, http: HttpRequest) -> HttpRequest:
        """The same request as if it had come without a content-encoding."""
        body = decode_body(http.headers, http.body, self._limits.http.body_bytes)
        headers = {k: v for k, v in http.headers.items() if k != CONTENT_ENCODING}
        return HttpRequest(http.method, http.path, headers, body, http.received_at)

    def _refuse_encoding(self, refusal: RequestRefused) -> HttpResponse:
        response = self._rest.refuse(refusal)
        if refusal.status == 415:
            response.headers = (*response.headers, ("accept-encoding", ENCODINGS))
        return response

    def _encoded(self, http: HttpRequest, response: Response) -> Response | Awaitable[HttpResponse]:
        """The answer in an encoding that the client accepts."""
        accepted = http.headers.get(ACCEPT_ENCODING)
        if accepted is None:
            return response
        if isinstance(response, Pending):
            response.alter(lambda settled: self._encode(accepted, settled))
            return response
        return self._encode(accepted, response)

    def _encode(
        self, accepted: bytes, response: HttpResponse
    ) -> HttpResponse | Awaitable[HttpResponse]:
        threshold = self._limits.http.compress_bytes
        if len(response.body) <= LARGE:
            return encode_body(accepted, response, threshold)
        return asyncio.to_thread(encode_body, accepted, response, threshold)

    # --- paths

    def _route(self, http: HttpRequest) -> Response:
        if http.method == "POST":
            post = self._posts.get(http.path)
            if post is not None:
                return post(http)
        path = _plain_path(http.path)
        posts, gets = self._posts.get(path), self._gets.get(path)
        if posts is not None and http.method == "POST":
            # Forwards go to the path as the other pod knows it.
            return posts(HttpRequest("POST", path, http.headers, http.body, http.received_at))
        if gets is not None and http.method in _READ_METHODS:
            return gets(http)
        allowed = [*(_READ_METHODS if gets is not None else ()), *(("POST",) if posts else ())]
        if http.method == "OPTIONS" and (allowed or path == "*"):
            return HttpResponse(204, b"", (("allow", _allow(allowed or ("GET", "HEAD", "POST"))),))
        if allowed:
            message = f"{http.method[:16]} is not possible on {path[:_SHOWN]}"
            return self._refuse(405, message, _allow(allowed))
        return self._refuse(404, self._explain_absence(path))

    def _refuse(self, status: int, message: str, allow: str | None = None) -> HttpResponse:
        response = self._rest.refuse(RequestRefused(message, status=status))
        if allow is not None:
            response.headers = (("allow", allow),)
        return response

    def _explain_absence(self, path: str) -> str:
        if not path.startswith("/v2/models/"):
            return f"there is nothing at {path[:_SHOWN]}; /openapi.json lists what is"
        if path.startswith(f"{self._base}/versions/"):
            return f"this server has version {self._model.version!r} of the model only"
        if path.startswith(f"{self._base}/"):
            return f"there is nothing at {path[:_SHOWN]}; /openapi.json lists what is"
        return f"this server has the model {self._model.name!r} only"

    # --- documents

    def _describe_api(self, example: Mapping[str, object]) -> dict[str, object]:
        return describe_api(
            ApiDescription(
                name=self._model.name,
                version=self._model.version,
                server_version=version("mooring"),
                signature=self._model.signature,
                limits=self._limits.tensors,
                labels=self._limits.work.labels_per_request,
                example=example,
            )
        )

    def _metadata(self) -> HttpResponse:
        model = self._model
        document = describe_model(
            model.signature,
            name=model.name,
            version=model.version,
            model_format=model.model_format,
        )
        return json_response(200, document)

    def _server_ready(self, _: HttpRequest) -> HttpResponse:
        ready = self._is_ready()
        document = {"live": True, "ready": ready}
        headers = [] if ready else [("retry-after", "1")]
        return json_response(200 if ready else 503, document, headers=headers)

    def _model_ready(self, _: HttpRequest) -> HttpResponse:
        if not self._is_ready():
            return error_response(503, "the model is not ready", retry_after=1)
        return json_response(200, {"name": self._model.name, "ready": True})

    def _take_feedback(self, http: HttpRequest) -> Response:
        try:
            check_encoding(http)
            taken = self._feedback.take(parse_json_object(http.body, self._limits.tensors))
        except RequestRefused as refusal:
            return self._rest.refuse(refusal)
        if isinstance(taken, Mapping):
            return json_response(200, taken)
        later: Pending[asyncio.Task[HttpResponse]] = Pending(lambda task: task.result())
        asyncio.get_running_loop().create_task(self._await(taken)).add_done_callback(later.settle)
        return later

    async def _await(self, taken: Awaitable[Mapping[str, object]]) -> HttpResponse:
        try:
            return json_response(200, await taken)
        except RequestRefused as refusal:
            return self._rest.refuse(refusal)


def _allow(methods: Iterable[str]) -> str:
    return ", ".join((*methods, "OPTIONS"))


def _plain_path(path: str) -> str:
    """The path without percent-encoding, a proxy's scheme and authority, and trailing slashes.

    Each segment is decoded by itself and encoded again in one way, so that an encoded slash stays
    what it is: a part of a name, of which there is none here.
    """
    if not path.startswith("/"):
        scheme, found, rest = path.partition("://")
        if found and scheme.lower() in ("http", "https"):
            path = "/" + rest.partition("/")[2]
    if "%" in path:
        path = "/".join(quote(unquote(part, "latin-1"), safe="") for part in path.split("/"))
    return path.rstrip("/") or "/"
