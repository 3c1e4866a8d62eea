"""How the pods of a ModelDeployment run: processes, threads, batches, deadlines, limits.

Nothing here changes a prediction, so nothing here makes a revision: a change rolls the pods in
place. What is left out is not told to the server, which then uses the default of its own image.
"""

from typing import Annotated

from pydantic import Field

from mooring_operator.api.base import ApiModel, Duration

MIB = 1024 * 1024


class Batching(ApiModel):
    """How waiting requests are predicted together."""

    max_rows: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Rows that are predicted together at most."""
    max_wait: Duration | None = None
    """How long a request may wait for others, at most 1s."""
    max_queue: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests that may wait for the model in a pod; one more is answered 503 with Retry-After."""


class WarmUp(ApiModel):
    """What a pod predicts before it is ready."""

    requests: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Predictions of the package's samples."""


class Limits(ApiModel):
    """What a pod refuses before it takes memory for it. The defaults are the server's."""

    body_bytes: Annotated[int, Field(ge=1024, le=1024 * MIB)] | None = None
    """Bytes of a request's body, as sent and decompressed: 413."""
    pending_body_bytes: Annotated[int, Field(ge=MIB, le=64 * 1024 * MIB)] | None = None
    """Bytes of all large bodies of a port that arrive or wait for their answer: 503."""
    header_bytes: Annotated[int, Field(ge=256, le=MIB)] | None = None
    """Bytes of a request's headers and URL: 431."""
    header_count: Annotated[int, Field(ge=8, le=10_000)] | None = None
    """Headers in a request: 431."""
    connections: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Open connections of a port: 503."""
    header_timeout: Duration | None = None
    """From a request's first byte to the end of its headers, at most 10m: 408."""
    receive_timeout: Duration | None = None
    """From a request's first byte to its last, at most 1h: 408."""
    idle_timeout: Duration | None = None
    """How long a silent connection is kept, at most 24h."""
    connection_requests: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Requests on one connection; the last answer closes it."""
    connection_age: Duration | None = None
    """Age at which a connection's next answer closes it, at most 7d."""
    compress_bytes: Annotated[int, Field(ge=64, le=1024 * MIB)] | None = None
    """Longer answers are compressed for clients that accept it."""
    json_depth: Annotated[int, Field(ge=4, le=512)] | None = None
    """Nesting of a field that nobody reads: 400."""
    tensors: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Input tensors in a request: 400."""
    outputs: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Requested outputs: 400."""
    rank: Annotated[int, Field(ge=2, le=32)] | None = None
    """Dimensions of a tensor: 400."""
    elements: Annotated[int, Field(ge=1, le=1 << 30)] | None = None
    """Product of a tensor's dimensions: 400."""
    id_length: Annotated[int, Field(ge=16, le=4096)] | None = None
    """Characters of a request's id: 400."""
    parameters: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Entries of an object of parameters: 400."""
    text_bytes: Annotated[int, Field(ge=1, le=MIB)] | None = None
    """Bytes of one text value: 400."""
    in_flight: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Requests that wait for another pod; one more is answered by the pod itself."""


class Runtime(ApiModel):
    """How a pod runs. Changes roll in place."""

    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Worker processes; without it as many as the CPU limit has cores."""
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    """Threads of the model's runtime in each worker."""
    deadline: Duration | None = None
    """Longest time from a request's last byte to its answer, at most 10m: 504."""
    warmup: WarmUp = WarmUp()
    batching: Batching = Batching()
    limits: Limits = Limits()
