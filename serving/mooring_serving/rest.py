"""REST's side of inference: HTTP messages to queries, replies and errors to HTTP messages."""

from collections.abc import Callable
from typing import Any

from mooring_serving.app import InferenceApp
from mooring_serving.arms import Arm
from mooring_serving.conversation import Query, Reply
from mooring_serving.counters import Counters
from mooring_serving.dataplane import Assignment
from mooring_serving.errors import InvalidOutput, ModelFault, RequestRefused, ServingError
from mooring_serving.forward import (
    HEADER_ARM,
    HEADER_DEADLINE,
    HEADER_FAULT,
    HEADER_PHASE,
    HEADER_REVISION,
    HEADER_VERSION,
    HEADER_WANTED,
)
from mooring_serving.http.message import (
    HttpRequest,
    HttpResponse,
    Pending,
    error_response,
    render_headers,
)
from mooring_serving.limits import TensorLimits
from mooring_serving.log.events import EventSink, Exchange
from mooring_serving.protocol.binary import (
    HEADER_LENGTH,
    OCTETS,
    encode_binary_answer,
)
from mooring_serving.protocol.encode import encode_answer
from mooring_serving.protocol.repeated import BodyReader
from mooring_serving.receipts import receipt_id
from mooring_serving.served import ServedModel

_JSON_TYPES = (b"application/json", b"text/json", b"application/x-www-form-urlencoded")
"""The last is what `curl -d` says when it is not told otherwise."""

_HEADER_LENGTH = HEADER_LENGTH.encode()
_CE_ID = b"ce-id"
_WANTED = HEADER_WANTED.encode()
_CONTENT_TYPE = b"content-type"

Answered = Reply | ServingError
Response = HttpResponse | Pending[Any]


class RestInference:
    """Answers inference requests over HTTP; owned by the event loop.

    Args:
        app: Answers queries.
        model: The served model.
        counters: Counts refusals.
        limits: Limits of bodies.
        events: Takes what clients asked and got; None where nobody wants it.
        wall: Seconds since the epoch.
    """

    def __init__(
        self,
        app: InferenceApp,
        model: ServedModel,
        counters: Counters,
        limits: TensorLimits,
        *,
        events: EventSink | None,
        wall: Callable[[], float],
    ) -> None:
        self._app = app
        self._model = model
        self._counters = counters
        self._bodies = BodyReader(model.signature, limits)
        self._events = events
        self._wall = wall
        self._block = render_headers(
            ((HEADER_VERSION, model.version), (HEADER_REVISION, model.revision))
        )

    def infer_for_client(self, http: HttpRequest, *, pinned: bool) -> Response:
        """Answer a client; `pinned` requests name a version and are never forwarded."""
        try:
            query = self._decode(http, pinned=pinned)
        except RequestRefused as refusal:
            return self.refuse(refusal)
        pending = Pending(self._encode if self._events is None else self._telling(http))
        self._app.submit(query, pending.settle)
        return pending

    def infer_for_pod(self, http: HttpRequest) -> Response:
        """Answer another pod of this deployment."""
        try:
            query = self._decode(http, pinned=True)
            assignment = read_assignment(http)
        except RequestRefused as refusal:
            return self.refuse(refusal)
        pending = Pending(self._encode)
        wanted = http.headers.get(_WANTED)
        if wanted is not None and wanted != self._model.revision.encode():
            return self.refuse(
                RequestRefused(f"this pod has revision {self._model.revision}", status=421)
            )
        self._app.submit_for_pod(query, assignment, pending.settle)
        return pending

    def refuse(self, refusal: ServingError) -> HttpResponse:
        """The answer to a request that gets none."""
        if not isinstance(refusal, RequestRefused):
            return self._report_fault(refusal)
        self._counters.count_refusal(refusal.status, refusal.reason)
        return error_response(refusal.status, str(refusal), retry_after=refusal.retry_after)

    def _telling(self, http: HttpRequest) -> Callable[[Answered], HttpResponse]:
        """Encodes, and offers request and answer as events."""

        def encode(outcome: Answered) -> HttpResponse:
            response = self._encode(outcome)
            if self._events is not None and isinstance(outcome, Reply):
                self._events.offer(self._exchange(http, outcome, response))
            return response

        return encode

    def _exchange(self, http: HttpRequest, reply: Reply, response: HttpResponse) -> Exchange:
        given = http.headers.get(_CE_ID)
        return Exchange(
            id=receipt_id(reply.prediction_id) if given is None else given.decode("latin-1"),
            request=http.body,
            response=response.body,
            answered_at=self._wall(),
            request_type=http.headers.get(_CONTENT_TYPE, b"application/json").decode("latin-1"),
            response_type=response.content_type,
            endpoint="default" if reply.revision == self._model.revision else "canary",
        )

    def _decode(self, http: HttpRequest, *, pinned: bool) -> Query:
        check_encoding(http)
        length = http.headers.get(_HEADER_LENGTH)
        if length is not None:
            request = self._bodies.read_binary(http.body, length)
            return Query(request, http.received_at, pinned, headers=http.headers)
        request = self._bodies.read(http.body)
        body = None if request.binary else http.body
        return Query(request, http.received_at, pinned, body, headers=http.headers)

    def _encode(self, outcome: Answered) -> HttpResponse:
        if isinstance(outcome, ServingError):
            return self.refuse(outcome)
        block = self._block
        if outcome.revision != self._model.revision:
            others = ((HEADER_VERSION, outcome.version), (HEADER_REVISION, outcome.revision))
            block = render_headers(others)
        block += b"mooring-server-ms: %.3f\r\n" % outcome.server_ms
        if outcome.body is not None:
            return HttpResponse(200, outcome.body, close=outcome.close, block=block)
        model = (self._model.name, outcome.version)
        if outcome.request.binary:
            body, length = encode_binary_answer(
                outcome.request,
                self._model.signature,
                outcome.values,
                model=model,
                prediction_id=outcome.prediction_id,
            )
            headers = ((HEADER_LENGTH, str(length)),)
            return HttpResponse(200, body, headers, OCTETS, close=outcome.close, block=block)
        body = encode_answer(
            outcome.request,
            self._model.signature,
            outcome.values,
            model=model,
            prediction_id=outcome.prediction_id,
        )
        return HttpResponse(200, body, close=outcome.close, block=block)

    def _report_fault(self, fault: ServingError) -> HttpResponse:
        response = error_response(500, str(fault))
        kind = InvalidOutput if isinstance(fault, InvalidOutput) else ModelFault
        response.block = self._block
        response.headers = ((HEADER_FAULT, kind.__name__),)
        return response


def check_encoding(http: HttpRequest) -> None:
    """Refuse bodies that are not read; a missing content type is read as JSON.

    Raises:
        RequestRefused: 415.
    """
    headers = http.headers
    kind = headers.get(b"content-type")
    if kind is not None and kind != b"application/json" and _HEADER_LENGTH not in headers:
        name = kind.partition(b";")[0].strip().lower()
        if name and name not in _JSON_TYPES and not name.endswith(b"+json"):
            raise RequestRefused(
                f"content-type {name[:64].decode('latin-1')!r} is not read, send application/json",
                status=415,
            )


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
