"""What a transport asks of the server and what it gets, whatever the transport is.

REST and gRPC decode a message into a `Query`, hand it to `InferenceApp.submit`, and encode the
`Reply` in the form in which the client asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mooring_serving.errors import ServingError
from mooring_serving.protocol.messages import InferenceRequest, OutputArrays


@dataclass(slots=True)
class Query:
    """A decoded request of a client. Not frozen: one a request, and freezing costs a microsecond.

    Attributes:
        request: The request.
        received_at: Monotonic seconds at its last byte.
        pinned: Whether it names a version: such a request is never forwarded.
        body: The JSON body that says exactly this, to be forwarded as it came; None when it came
            in another form.
        deadline_at: Monotonic seconds after which the client no longer waits; None: the server's
            own deadline alone counts.
        headers: What the client sent beside it, names in lower case; None: nothing.
    """

    request: InferenceRequest
    received_at: float
    pinned: bool = False
    body: bytes | None = None
    deadline_at: float | None = None
    headers: Mapping[bytes, bytes] | None = None


@dataclass(slots=True)
class Reply:
    """An answer.

    Attributes:
        request: The request; its `outputs` and `binary` say what is sent, and how.
        values: Every output of the model.
        prediction_id: The receipt.
        version: Version that answered.
        revision: Revision that answered.
        server_ms: Milliseconds inside the server that answered.
        close: Whether the connection should end (a retired pod).
        body: Another pod's JSON answer as it came, None when our own model answered.
    """

    request: InferenceRequest
    values: OutputArrays
    prediction_id: str
    version: str
    revision: str
    server_ms: float
    close: bool = False
    body: bytes | None = None


Settle: TypeAlias = Callable[[Reply | ServingError], None]
"""Called once, on the event loop."""
