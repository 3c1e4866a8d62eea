"""Every limit of the server with its default, unit and reason, in one place.

All of them act before memory is taken, and each answers with a 4xx or 503 that names it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits on connections and messages."""

    body_bytes: int = 8 * 1024 * 1024
    """Bytes of a body, counted while reading: 413. A row of 100 features is about 2 KiB of JSON."""

    header_bytes: int = 16 * 1024
    """Bytes of all header names and values and of the URL: 431."""

    header_count: int = 64
    """Headers in a request: 431."""

    connections: int = 512
    """Open connections on a listener; one more is answered 503 and closed."""

    header_seconds: float = 5.0
    """From a request's first byte to the end of its headers: 408 (slow clients hold a socket)."""

    receive_seconds: float = 15.0
    """From a request's first byte to its last: 408."""

    idle_seconds: float = 75.0
    """A silent kept-alive connection is closed after this; above the 60 s of usual proxies."""


@dataclass(frozen=True, slots=True)
class TensorLimits:
    """Limits on what a body may say."""

    json_depth: int = 16
    """Nesting of a field that nobody reads: 400. What is read has a structure of its own, and the
    parser refuses more than 1,024 levels before it takes memory for them."""

    tensors: int = 4096
    """Input tensors in a request: 400. Tabular models have one a feature."""

    outputs: int = 64
    """Requested outputs: 400."""

    rank: int = 8
    """Dimensions of a tensor: 400."""

    elements: int = 1 << 22
    """Product of a tensor's dimensions (4 Mi): 400."""

    id_length: int = 128
    """Characters of `id`, all of `A-Za-z0-9._-`: 400. It is echoed and logged."""

    parameters: int = 64
    """Entries of a `parameters` object: 400."""

    text_bytes: int = 4096
    """Bytes of one string value (BYTES element): 400."""


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """Limits on work in hand."""

    in_flight: int = 64
    """Requests waiting for the inference threads or a forward: one more is answered 503."""

    inline_ms: float = 1.0
    """Predictions expected to take less than this (measured at warm-up) run on the event loop,
    since a thread's hand-over costs more than they do; longer ones go to the inference threads."""

    recorder_rows: int = 65_536
    """Rows waiting to be counted; more are dropped and counted as dropped."""

    log_rows: int = 20_000
    """Rows waiting for the prediction log; more are dropped and counted as dropped."""

    shadow_queue: int = 256
    """Requests waiting to be mirrored; more are dropped and counted as dropped."""

    receipts: int = 200_000
    """Receipts remembered as labelled in this pod, about 100 bytes each; the oldest are forgotten
    (the snapshot's own rule then decides, over all pods)."""

    labels_per_request: int = 4096
    """Labels in one feedback request: 400."""

    phases: int = 64
    """Phases of analysis kept in the snapshot; the oldest is dropped."""

    drain_in_flight_seconds: float = 20.0
    """After the listeners closed, how long work in hand may still take."""
