"""The methods of the gRPC port: calls to queries, replies and errors to answers."""

from collections.abc import Callable
from importlib.metadata import version
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from mooring_serving.app import InferenceApp
from mooring_serving.conversation import Query, Reply
from mooring_serving.errors import RequestRefused, ServingError
from mooring_serving.forward import HEADER_REVISION, HEADER_SERVER_MS, HEADER_VERSION
from mooring_serving.grpc.call import Call
from mooring_serving.grpc.codec import decode_request, encode_reply, parse_request
from mooring_serving.grpc.heads import encode_headers
from mooring_serving.grpc.proto import health_pb2 as health
from mooring_serving.grpc.proto import open_inference_pb2 as pb
from mooring_serving.grpc.repeated import MessageMemory
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.metadata import (
    EXTENSIONS,
    SERVER_NAME,
    describe_platform,
)
from mooring_serving.refusals import Refusal
from mooring_serving.served import ServedModel

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"

_Message = TypeVar("_Message", bound=Message)


class GrpcService:
    """Answers calls; owned by the event loop.

    Args:
        app: Answers queries.
        model: The served model.
        limits: Limits of what a message may say.
        is_ready: Whether the server is ready.
    """

    def __init__(
        self,
        app: InferenceApp,
        model: ServedModel,
        limits: TensorLimits,
        *,
        is_ready: Callable[[], bool],
    ) -> None:
        self._app = app
        self._model = model
        self._limits = limits
        self._is_ready = is_ready
        self._messages = MessageMemory(model.signature)
        self._metadata = _encode_metadata(model)
        self._headers = _encode_origin(model.version, model.revision)
        self._methods: dict[str, Callable[[Call], None]] = {
            f"/{SERVICE}/ModelInfer": self._infer,
            f"/{SERVICE}/ServerLive": self._server_live,
            f"/{SERVICE}/ServerReady": self._server_ready,
            f"/{SERVICE}/ModelReady": self._model_ready,
            f"/{SERVICE}/ServerMetadata": self._server_metadata,
            f"/{SERVICE}/ModelMetadata": self._model_metadata,
            f"/{HEALTH}/Check": self._check_health,
        }

    def handle(self, call: Call) -> None:
        """Answer one call, now or later.

        Raises:
            RequestRefused: It gets no answer.
        """
        method = self._methods.get(call.head.path)
        if method is None:
            raise RequestRefused(
                f"there is no method {call.head.path[:200]}; {SERVICE} and {HEALTH}/Check are "
                "served",
                status=501,
                reason=Refusal.NOT_FOUND,
            )
        method(call)

    def _infer(self, call: Call) -> None:
        recalled = self._messages.recall(call.message)
        if recalled is not None:
            (request, pinned), raw = recalled, True
        else:
            document = parse_request(call.message, self._limits)
            self._check_name(document.model_name, document.model_version)
            request = decode_request(document, self._model.signature, self._limits)
            pinned = document.model_version != ""
            raw = len(document.raw_input_contents) > 0
            self._messages.learn(call.message, document, request)
        query = Query(
            request,
            call.received_at,
            pinned=pinned,
            deadline_at=call.deadline,
            headers=call.head.headers,
        )

        def settle(outcome: Reply | ServingError) -> None:
            self._settle(call, outcome, raw=raw)

        self._app.submit(query, settle)

    def _settle(self, call: Call, outcome: Reply | ServingError, *, raw: bool) -> None:
        if isinstance(outcome, RequestRefused):
            call.refuse(outcome)
            return
        if isinstance(outcome, ServingError):
            call.fault(str(outcome))
            return
        model = self._model
        headers = self._headers
        if outcome.revision != model.revision:
            headers = _encode_origin(outcome.version, outcome.revision)
        timing = b"%.3f" % outcome.server_ms
        headers += encode_headers(((HEADER_SERVER_MS.encode(), timing),))
        body = encode_reply(outcome, model.signature, model=model.name, raw=raw)
        call.answer(body, headers, close=outcome.close)

    def _check_name(self, name: str, wanted: str) -> None:
        model = self._model
        if name != model.name:
            raise RequestRefused(f"this server has the model {model.name!r} only", status=404)
        if wanted not in ("", model.version):
            raise RequestRefused(
                f"this server has version {model.version!r} of the model only", status=404
            )

    # --- the server and its model

    def _server_live(self, call: Call) -> None:
        _parse(pb.ServerLiveRequest, call)
        call.answer(pb.ServerLiveResponse(live=True).SerializeToString())

    def _server_ready(self, call: Call) -> None:
        _parse(pb.ServerReadyRequest, call)
        call.answer(pb.ServerReadyResponse(ready=self._is_ready()).SerializeToString())

    def _model_ready(self, call: Call) -> None:
        request = _parse(pb.ModelReadyRequest, call)
        self._check_name(request.name, request.version)
        call.answer(pb.ModelReadyResponse(ready=self._is_ready()).SerializeToString())

    def _server_metadata(self, call: Call) -> None:
        _parse(pb.ServerMetadataRequest, call)
        response = pb.ServerMetadataResponse(
            name=SERVER_NAME, version=version("mooring"), extensions=EXTENSIONS
        )
        call.answer(response.SerializeToString())

    def _model_metadata(self, call: Call) -> None:
        request = _parse(pb.ModelMetadataRequest, call)
        self._check_name(request.name, request.version)
        call.answer(self._metadata)

    def _check_health(self, call: Call) -> None:
        """The whole server, or our service, by name (grpc.health.v1)."""
        request = _parse(health.HealthCheckRequest, call)
        if request.service not in ("", SERVICE):
            raise RequestRefused(
                f"there is no service {request.service[:200]!r} here, {SERVICE} is", status=404
            )
        statuses = health.HealthCheckResponse
        status = statuses.SERVING if self._is_ready() else statuses.NOT_SERVING
        call.answer(health.HealthCheckResponse(status=status).SerializeToString())


def _parse(kind: type[_Message], call: Call) -> _Message:
    try:
        return kind.FromString(call.message)
    except DecodeError as error:
        raise RequestRefused(
            f"the message is not a {kind.DESCRIPTOR.full_name}", reason=Refusal.MALFORMED_BODY
        ) from error


def _encode_origin(model_version: str, revision: str) -> bytes:
    """Headers that say which version and revision answered."""
    return encode_headers(
        (
            (HEADER_VERSION.encode(), model_version.encode()),
            (HEADER_REVISION.encode(), revision.encode()),
        )
    )


def _encode_metadata(model: ServedModel) -> bytes:
    """ModelMetadata's response; -1 is the number of rows."""
    kind = pb.ModelMetadataResponse
    signature = model.signature
    inputs = [
        kind.TensorMetadata(name=feature.name, datatype=feature.datatype.value, shape=[-1])
        for feature in signature.features
    ]
    outputs = [
        kind.TensorMetadata(
            name=output.name,
            datatype=output.datatype.value,
            shape=[-1] if output.width == 1 else [-1, output.width],
        )
        for output in signature.outputs
    ]
    return kind(
        name=model.name,
        versions=[model.version],
        platform=describe_platform(model.model_format),
        inputs=inputs,
        outputs=outputs,
    ).SerializeToString()
