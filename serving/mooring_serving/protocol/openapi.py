"""`GET /openapi.json`: OpenAPI 3.1 of this very model, made from its signature. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.metadata import EXTENSIONS, SERVER_NAME
from mooring_serving.protocol.openapi_schemas import (
    Schema,
    closed,
    feedback_answer,
    feedback_request,
    infer_answer,
    infer_request,
)
from mooring_serving.protocol.signature import Signature

_TEXT: Schema = {"type": "string"}
_ERROR = {"$ref": "#/components/responses/Error"}
_LATER = {"$ref": "#/components/responses/Later"}


@dataclass(frozen=True, slots=True)
class ApiDescription:
    """What the document is about.

    Attributes:
        name: The protocol's model name.
        version: Name of the version.
        server_version: Of this software.
        signature: Inputs and outputs.
        limits: Limits of bodies.
        labels: Most labels of a feedback request.
        example: A request that the model answers, from its samples.
    """

    name: str
    version: str
    server_version: str
    signature: Signature
    limits: TensorLimits
    labels: int
    example: Mapping[str, object]


def describe_api(api: ApiDescription) -> dict[str, object]:
    """The whole document."""
    base = f"/v2/models/{api.name}"
    pinned = f"{base}/versions/{api.version}"
    tensor = _tensor_metadata()
    model = _ref("ModelMetadata")
    ready = closed({"name": {"const": api.name}, "ready": {"const": True}})
    health = closed({"live": {"type": "boolean"}, "ready": {"type": "boolean"}})
    versions: Schema = {"type": "array", "items": _TEXT, "minItems": 1}
    paths: dict[str, object] = {
        "/openapi.json": _read("describeApi", "This document", {"type": "object"}),
        "/v2": _read("describeServer", "Server metadata", _server_metadata()),
        "/v2/health/live": _read("serverLive", "Whether the server runs", health),
        "/v2/health/ready": _read("serverReady", "Whether it answers", health, waits=health),
        base: _read("describeModel", "Model metadata", model),
        pinned: _read("describeVersion", "Model metadata", model),
        f"{base}/versions": _read(
            "listVersions",
            "The versions that this server has",
            closed({"name": {"const": api.name}, "versions": versions}),
        ),
        f"{base}/ready": _read("modelReady", "Whether the model answers", ready, waits=_error()),
        f"{pinned}/ready": _read(
            "versionReady", "Whether the version answers", ready, waits=_error()
        ),
        f"{base}/infer": _infer("infer", api),
        f"{pinned}/infer": _infer("inferVersion", api),
        f"{base}/feedback": _feedback(api),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Model {api.name}",
            "version": api.version,
            "summary": "Open Inference Protocol v2",
            "description": f"Served by {SERVER_NAME} {api.server_version}.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": _error(),
                "InferRequest": infer_request(api.signature, api.limits),
                "InferAnswer": infer_answer(api.signature, name=api.name, version=api.version),
                "FeedbackRequest": feedback_request(api.labels),
                "FeedbackAnswer": feedback_answer(),
                "TensorMetadata": tensor,
                "ModelMetadata": _model_metadata(api.name),
            },
            "responses": _named_responses(),
        },
    }


def _named_responses() -> dict[str, object]:
    wait = {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}}
    return {
        "Error": _json("What is wrong, naming the field or header", _ref("Error")),
        "Later": _json("Not now", _ref("Error")) | {"headers": {"retry-after": wait}},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: Mapping[str, object]) -> dict[str, object]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _error() -> Schema:
    return closed({"error": {"type": "string", "minLength": 1}})


def _read(
    operation: str, summary: str, schema: Schema, *, waits: Schema | None = None
) -> dict[str, object]:
    """A path that is read; `waits` is the body of its 503."""
    responses: dict[str, object] = {
        "200": _json(summary, schema),
        "400": _ERROR,
        "408": _ERROR,
        "413": _ERROR,
        "415": _ERROR,
        "431": _ERROR,
        "503": _json("Not now", schema if waits is None else waits),
    }
    if waits is None:
        responses["503"] = _LATER
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}


def _posts(
    operation: str, summary: str, request: Schema, answer: dict[str, object]
) -> dict[str, object]:
    responses: dict[str, object] = {"200": answer}
    responses |= dict.fromkeys(("400", "408", "413", "415", "431", "500", "504"), _ERROR)
    responses |= dict.fromkeys(("429", "503"), _LATER)
    return {
        "post": {
            "operationId": operation,
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": request}},
            "responses": responses,
        }
    }


def _infer(operation: str, api: ApiDescription) -> dict[str, object]:
    request: Schema = {"schema": _ref("InferRequest"), "example": dict(api.example)}
    answer: dict[str, object] = {
        "description": "The answer; JSON followed by tensors as bytes when these are asked for "
        "(the binary tensor extension, of which this document describes the JSON alone)",
        "content": {
            "application/json": {"schema": _ref("InferAnswer")},
            "application/octet-stream": {"schema": {}},
        },
    }
    return _posts(operation, "Predict some rows", request, answer)


def _feedback(api: ApiDescription) -> dict[str, object]:
    request: Schema = {"schema": _ref("FeedbackRequest")}
    answer = _json("What became of each label", _ref("FeedbackAnswer"))
    return _posts("feedback", f"Labels of predictions of {api.name}", request, answer)


def _server_metadata() -> Schema:
    return closed(
        {
            "name": {"const": SERVER_NAME},
            "version": _TEXT,
            "extensions": {"type": "array", "items": {"enum": list(EXTENSIONS)}},
        }
    )


def _tensor_metadata() -> Schema:
    return {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": _TEXT,
            "datatype": _TEXT,
            "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
            "parameters": {
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            },
        },
    }


def _model_metadata(name: str) -> Schema:
    tensors: Schema = {"type": "array", "minItems": 1, "items": _ref("TensorMetadata")}
    return closed(
        {
            "name": {"const": name},
            "versions": {"type": "array", "items": _TEXT, "minItems": 1},
            "platform": _TEXT,
            "inputs": tensors,
            "outputs": tensors,
            "parameters": {"type": "object"},
        }
    )
