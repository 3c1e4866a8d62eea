"""Every limit of the server with its default, bounds, unit and reason, in one place.

All of them act before memory is taken, and each answers with a 4xx or 503 that names it. Each is a
setting, `MOORING_LIMIT_` and its name in capitals (`read_limits`). The pages
`operator/docs/serving-api.md` and `operator/docs/spec/modeldeployment.md` are tested against this.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Final, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

PREFIX: Final = "MOORING_LIMIT_"
"""How the environment variable of a limit begins."""

MIB: Final = 1024 * 1024


class LimitInvalid(ValueError):
    """A limit's environment variable has a value that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits on connections and messages."""

    body_bytes: Annotated[int, Field(ge=1024, le=1024 * MIB)] = 8 * MIB
    """Bytes of a body, counted while reading, and again while decompressing: 413. A row of 100
    features is about 2 KiB of JSON."""

    pending_body_bytes: Annotated[int, Field(ge=MIB, le=64 * 1024 * MIB)] = 64 * MIB
    """Bytes of bodies of more than 64 KiB each that arrive or wait for their answer, over all
    connections of a port: 503. Without it, 512 clients could hold 4 GiB within the limit of one
    body."""

    header_bytes: Annotated[int, Field(ge=256, le=MIB)] = 16 * 1024
    """Bytes of all header names and values and of the URL: 431."""

    header_count: Annotated[int, Field(ge=8, le=10_000)] = 64
    """Headers in a request: 431."""

    connections: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Open connections of a port; one more is answered 503 and closed."""

    header_seconds: Annotated[float, Field(gt=0, le=600)] = 5.0
    """From a request's first byte to the end of its headers: 408 (slow clients hold a socket)."""

    receive_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """From a request's first byte to its last: 408. Also how long an answer may wait for a client
    that does not read it; then the connection is dropped."""

    idle_seconds: Annotated[float, Field(gt=0, le=86_400)] = 75.0
    """A silent kept-alive connection is closed after this; above the 60 s of usual proxies."""

    connection_requests: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000
    """Requests on one connection; the last answer closes it."""

    connection_seconds: Annotated[float, Field(gt=0, le=604_800)] = 3600.0
    """Age at which a connection's next answer closes it, so that clients which keep connections
    for ever find new pods."""

    compress_bytes: Annotated[int, Field(ge=64, le=1024 * MIB)] = 1024
    """An answer of more bytes is compressed for a client that accepts it; what is shorter fits a
    packet anyway."""


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Limits on gRPC connections and calls."""

    grpc_message_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 8 * 1024 * 1024
    """Bytes of a message, also once decompressed: RESOURCE_EXHAUSTED."""

    grpc_header_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 16 * 1024
    """Bytes of all headers of a call: the connection ends (ENHANCE_YOUR_CALM)."""

    grpc_frame_bytes: Annotated[int, Field(ge=16_384, le=(1 << 24) - 1)] = 64 * 1024
    """Largest HTTP/2 frame: fewer frames for large messages, less to keep for slow clients."""

    grpc_connections: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Open connections; one more is closed with a GOAWAY."""

    grpc_streams: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Calls open at once on a connection: REFUSED_STREAM, which clients try again."""

    grpc_calls: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Calls open at once on all connections: UNAVAILABLE with a time to retry."""

    grpc_waiting_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 40)] = 64 * 1024 * 1024
    """Bytes of messages that are not complete, on all connections: UNAVAILABLE."""

    grpc_idle_frames: Annotated[int, Field(ge=10, le=1_000_000)] = 1000
    """Frames a second that belong to no call (pings, resets, empty ones), and ten for each answer:
    the connection ends (ENHANCE_YOUR_CALM)."""

    grpc_header_seconds: Annotated[float, Field(gt=0, le=86_400)] = 5.0
    """From a connection's opening to its preface, and from a call's first header to its last."""

    grpc_receive_seconds: Annotated[float, Field(gt=0, le=86_400)] = 15.0
    """From a call's start to its message's last byte: DEADLINE_EXCEEDED. A client that reads none
    of its answers for so long is cut off."""

    grpc_idle_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """A connection without calls ends after this; clients open another when they need one."""

    grpc_age_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """A connection ends after this, give or take a tenth, so that clients find new pods: a Service
    balances connections, not calls."""

    grpc_leave_seconds: Annotated[float, Field(gt=0, le=86_400)] = 2.0
    """How long a client has to notice that its connection ends, before new calls on it are left
    for its next one."""

    grpc_keepalive_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """A silent connection is asked whether it still lives."""

    grpc_keepalive_timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 20.0
    """How long it may take to answer that."""


@dataclass(frozen=True, slots=True)
class TensorLimits:
    """Limits on what a body may say."""

    json_depth: Annotated[int, Field(ge=4, le=512)] = 16
    """Nesting of a field that nobody reads: 400. What is read has a structure of its own, and the
    parser refuses more than 1,024 levels before it takes memory for them."""

    tensors: Annotated[int, Field(ge=1, le=65_536)] = 4096
    """Input tensors in a request: 400. Tabular models have one a feature."""

    outputs: Annotated[int, Field(ge=1, le=4096)] = 64
    """Requested outputs: 400."""

    rank: Annotated[int, Field(ge=2, le=32)] = 8
    """Dimensions of a tensor: 400."""

    elements: Annotated[int, Field(ge=1, le=1 << 30)] = 1 << 22
    """Product of a tensor's dimensions (4 Mi): 400."""

    id_length: Annotated[int, Field(ge=16, le=4096)] = 128
    """Characters of `id`, all of `A-Za-z0-9._-`: 400. It is echoed and logged."""

    parameters: Annotated[int, Field(ge=1, le=4096)] = 64
    """Entries of a `parameters` object: 400."""

    text_bytes: Annotated[int, Field(ge=1, le=MIB)] = 4096
    """Bytes of one string value (BYTES element): 400."""


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """Limits on work in hand."""

    in_flight: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Forwards in flight: one more request is answered by the pod itself."""

    queue_rows: Annotated[int, Field(ge=1, le=1 << 24)] = 65_536
    """Rows waiting to be predicted (100 features: 50 MB): one more request is answered 503."""

    inline_ms: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Predictions expected to take less than this (measured at warm-up) run on the event loop,
    since a thread's hand-over costs more than they do; longer ones go to the inference threads."""

    recorder_rows: Annotated[int, Field(ge=1, le=1 << 24)] = 65_536
    """Rows waiting to be counted; more are dropped and counted as dropped."""

    log_rows: Annotated[int, Field(ge=1, le=1 << 24)] = 65_536
    """Rows waiting to be journaled, 0.1 s of them; more are dropped and counted as dropped."""

    log_text_bytes: Annotated[int, Field(ge=1 << 16, le=1 << 32)] = 32 << 20
    """Bytes of the texts of those rows; likewise."""

    log_disk_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 40)] = 256 << 20
    """Bytes of the log on the pod's disk, waiting for the store; likewise. Half of the operator's
    volume for it, since a segment is there twice while it is compressed."""

    shadow_queue: Annotated[int, Field(ge=1, le=1 << 20)] = 256
    """Requests waiting to be mirrored; more are dropped and counted as dropped."""

    receipts: Annotated[int, Field(ge=1, le=1 << 26)] = 200_000
    """Receipts remembered as labelled in this pod, about 100 bytes each; the oldest are forgotten
    (the snapshot's own rule then decides, over all pods)."""

    labels_per_request: Annotated[int, Field(ge=1, le=1 << 20)] = 4096
    """Labels in one feedback request: 400."""

    phases: Annotated[int, Field(ge=1, le=4096)] = 64
    """Phases of analysis kept in the snapshot; the oldest is dropped."""

    drain_in_flight_seconds: Annotated[float, Field(ge=0, le=3600)] = 20.0
    """After the listeners closed, how long work in hand may still take."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """All limits of the engine."""

    http: HttpLimits = field(default_factory=HttpLimits)
    tensors: TensorLimits = field(default_factory=TensorLimits)
    work: WorkLimits = field(default_factory=WorkLimits)
    grpc: GrpcLimits = field(default_factory=GrpcLimits)


_Kind = TypeVar("_Kind", HttpLimits, TensorLimits, WorkLimits, GrpcLimits)
_KINDS: Final = (HttpLimits, TensorLimits, WorkLimits, GrpcLimits)


def limit_names() -> Iterator[str]:
    """The names of all limits; no two kinds share one."""
    for kind in _KINDS:
        yield from (item.name for item in fields(kind))


def read_limits(environ: Mapping[str, str] = os.environ) -> EngineLimits:
    """The limits that the environment sets, defaults elsewhere; empty variables count as absent.

    Raises:
        LimitInvalid: A variable names no limit, or its value is out of bounds.
    """
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value
    }
    unknown = given.keys() - set(limit_names())
    if unknown:
        raise LimitInvalid(
            f"{PREFIX}{min(unknown).upper()}: no such limit; remove it, or correct its name"
        )
    return EngineLimits(
        http=_read(HttpLimits, given),
        tensors=_read(TensorLimits, given),
        work=_read(WorkLimits, given),
        grpc=_read(GrpcLimits, given),
    )


def _read(kind: type[_Kind], given: Mapping[str, str]) -> _Kind:
    own = {item.name for item in fields(kind)}
    try:
        return TypeAdapter(kind).validate_python({k: v for k, v in given.items() if k in own})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        raise LimitInvalid(f"{PREFIX}{name}: {first['msg']}; correct it") from error
