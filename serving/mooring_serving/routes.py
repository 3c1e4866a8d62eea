"""Paths of the client and forward ports: which handler answers what."""

from collections.abc import Callable
from importlib.metadata import version
from urllib.parse import quote

from mooring_serving.app import InferenceApp, Reply, check_encoding
from mooring_serving.clock import Clock
from mooring_serving.errors import RequestRefused
from mooring_serving.feedback import LABELS_AT_ONCE, LABELS_PER_SECOND, FeedbackDesk, TokenBucket
from mooring_serving.http.message import HttpRequest, HttpResponse, error_response, json_response
from mooring_serving.limits import TensorLimits, WorkLimits
from mooring_serving.protocol.codec import parse_json_object
from mooring_serving.protocol.metadata import describe_model, describe_server
from mooring_serving.served import ServedModel

_READ_METHODS = ("GET", "HEAD")
_Handler = Callable[[HttpRequest], Reply]


class Router:
    """Exact paths to handlers; a path of another model or version is 404, a wrong method 405.

    Args:
        app: Answers inference requests.
        feedback: Takes labels.
        model: The served model.
        is_ready: Whether the server is ready.
        clock: Time.
        forward: Whether this is the port for other pods of the deployment.
    """

    def __init__(
        self,
        app: InferenceApp,
        feedback: FeedbackDesk,
        model: ServedModel,
        *,
        is_ready: Callable[[], bool],
        clock: Clock,
        forward: bool,
    ) -> None:
        self._app = app
        self._feedback = feedback
        self._model = model
        self._is_ready = is_ready
        self._clock = clock
        self._bucket = TokenBucket(
            LABELS_PER_SECOND, LABELS_AT_ONCE, LABELS_AT_ONCE, clock.monotonic()
        )
        self._tensors = TensorLimits()
        self._label_limit = WorkLimits().labels_per_request
        base = f"/v2/models/{quote(model.name, safe='')}"
        pinned = f"{base}/versions/{model.version}"
        self._base = base
        reads = {
            "/v2": json_response(200, describe_server(version("mooring"))),
            base: self._metadata(),
            pinned: self._metadata(),
        }
        self._posts: dict[str, _Handler] = {
            f"{base}/infer": app.infer_for_pod
            if forward
            else lambda http: app.infer_for_client(http, pinned=False),
            f"{pinned}/infer": app.infer_for_pod
            if forward
            else lambda http: app.infer_for_client(http, pinned=True),
            f"{base}/feedback": self._take_feedback,
        }
        self._gets: dict[str, _Handler] = {
            path: (lambda _, answer=answer: answer) for path, answer in reads.items()
        }
        self._gets |= {
            "/v2/health/live": lambda _: json_response(200, {"live": True, "ready": is_ready()}),
            "/v2/health/ready": self._server_ready,
            f"{base}/ready": self._model_ready,
            f"{pinned}/ready": self._model_ready,
        }

    def answer(self, http: HttpRequest) -> Reply:
        """Answer one request."""
        path = http.path
        if http.method == "POST":
            post = self._posts.get(path)
            if post is not None:
                return post(http)
        path = path.rstrip("/") or "/"
        handler = self._gets.get(path)
        if handler is not None and http.method in _READ_METHODS:
            return handler(http)
        if handler is not None or path in self._posts:
            allowed = "GET, HEAD" if handler is not None else "POST"
            return self._refuse(405, f"{http.method[:16]} is not possible on {path[:200]}", allowed)
        return self._refuse(404, self._explain_absence(path))

    def _refuse(self, status: int, message: str, allow: str | None = None) -> HttpResponse:
        response = self._app.refuse(RequestRefused(message, status=status))
        if allow is not None:
            response.headers = (("allow", allow),)
        return response

    def _explain_absence(self, path: str) -> str:
        if not path.startswith("/v2/models/"):
            return f"there is nothing at {path[:200]}; the API starts at /v2"
        if path.startswith(f"{self._base}/versions/"):
            return f"this server has version {self._model.version!r} of the model only"
        return f"this server has the model {self._model.name!r} only"

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

    def _take_feedback(self, http: HttpRequest) -> HttpResponse:
        try:
            check_encoding(http)
            document = parse_json_object(http.body, self._tensors)
            result = self._feedback.accept(
                document,
                limit=self._label_limit,
                now=self._clock.now(),
                admit=lambda count: self._bucket.take(count, self._clock.monotonic()),
            )
        except RequestRefused as refusal:
            return self._app.refuse(refusal)
        return json_response(200, result)
