"""The rows and columns of the conformance matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Behaviour(StrEnum):
    """What a client must be able to do with our server."""

    LIVE = "live"
    """Asks whether the server lives."""
    READY = "ready"
    """Asks whether the server is ready."""
    MODEL_READY = "model ready"
    """Asks whether a model is ready; an unknown one is not."""
    SERVER_METADATA = "server metadata"
    """Reads name, version and extensions."""
    MODEL_METADATA = "model metadata"
    """Reads inputs, outputs and platform."""
    VERSIONS = "versions"
    """Names the version in metadata, readiness and prediction."""
    WRONG_VERSION = "wrong version"
    """Names a version that is not there: not found."""
    JSON_JSON = "JSON in, JSON out"
    """Predicts with tensors as JSON."""
    JSON_BINARY = "JSON in, binary out"
    """Asks in JSON for binary outputs."""
    BINARY_JSON = "binary in, JSON out"
    """Asks in binary for JSON outputs."""
    BINARY_BINARY = "binary in, binary out"
    """Predicts with binary tensors."""
    DEFAULTS = "defaults"
    """Predicts with whatever the client sends when nothing is chosen."""
    GRPC_RAW = "gRPC raw"
    """Predicts with raw contents."""
    GRPC_TYPED = "gRPC typed"
    """Predicts with typed contents."""
    GZIP = "gzip"
    """Compresses both ways."""
    DEFLATE = "deflate"
    """Compresses both ways."""
    ID_ECHO = "id echo"
    """Finds its id in the answer."""
    OUTPUTS = "outputs selection"
    """Gets the outputs that it asked for and no others."""
    UNKNOWN_MODEL = "unknown model"
    """Is told that there is no such model."""
    UNKNOWN_OUTPUT = "unknown output"
    """Is told that there is no such output."""
    WRONG_SHAPE = "wrong shape"
    """Is told that the shape does not fit."""
    MALFORMED = "malformed"
    """Is told what is wrong with a body that is no request."""
    MICRO_BATCHES = "micro-batches"
    """Groups rows into requests and splits the answers."""
    TEXT_JSON = "text JSON"
    """Predicts from categories, numbers, integers and flags, one tensor each."""
    TEXT_BINARY = "text binary"
    """The same with binary tensors."""
    TEXT_GRPC = "text gRPC"
    """The same over gRPC."""
    SCHEMA = "schema"
    """Every answer is one that /openapi.json describes, and none is a 5xx."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client of the matrix.

    Attributes:
        name: The script's name, and the column's.
        environment: Name of its environment; None for ours.
        requirements: What that environment holds.
    """

    name: str
    environment: str | None
    requirements: Sequence[str]


_TRITON = ("tritonclient[http,grpc]==2.73.0",)
_KSERVE = ("kserve==0.21.0",)
_MLSERVER = ("mlserver==1.7.1",)

CLIENTS: Sequence[Client] = (
    Client("plain_http", None, ()),
    Client("fresh_proto", None, ()),
    Client("triton_http", "tritonclient", _TRITON),
    Client("triton_grpc", "tritonclient", _TRITON),
    Client("kserve_rest", "kserve-client", _KSERVE),
    Client("kserve_grpc", "kserve-client", _KSERVE),
    Client("mlserver_infer", "mlserver-client", _MLSERVER),
)
SCHEMATHESIS = ("schemathesis==4.32.5",)
