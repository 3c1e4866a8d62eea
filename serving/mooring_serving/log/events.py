"""Payload events: a request and its answer as a pair of CloudEvents 1.0, in KServe's form.

The same types, id and extension attributes as KServe's payload logger, so that what consumes those
consumes these. Building and sending happen on threads of `EventSender`; here is the form. Pure.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

import orjson

from mooring_serving.clock import format_microseconds
from mooring_serving.log.settings import EventMode

REQUEST_TYPE = "org.kubeflow.serving.inference.request"
RESPONSE_TYPE = "org.kubeflow.serving.inference.response"
_JSON = "application/json"
_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(slots=True)
class Exchange:
    """One answered request, as it went over the wire.

    Attributes:
        id: Of both events: the request's `ce-id` if it had one, else the prediction's id.
        request: The request's body, decompressed.
        response: The answer's body, before compression.
        answered_at: Seconds since the epoch.
        request_type: Content type of the request.
        response_type: Content type of the answer.
        endpoint: `default`, or `canary` for what the candidate answered.
    """

    id: str
    request: bytes
    response: bytes
    answered_at: float
    request_type: str = _JSON
    response_type: str = _JSON
    endpoint: str = "default"

    @property
    def size(self) -> int:
        """Bytes of both bodies."""
        return len(self.request) + len(self.response)


class EventSink(Protocol):
    """Takes exchanges; None where there are none to take."""

    def offer(self, exchange: Exchange) -> None:
        """Send an exchange as two events some time, or drop it and count; never waits."""
        ...


@dataclass(frozen=True, slots=True)
class EventOrigin:
    """What all events of a pod have in common.

    Attributes:
        deployment: Extension `inferenceservicename`.
        namespace: Extension `namespace`.
        facts: Extension `metadata`: a JSON object of lists of texts.
    """

    deployment: str
    namespace: str
    facts: Mapping[str, str]

    def attributes(self, exchange: Exchange, kind: str) -> dict[str, str]:
        """The context attributes of one of an exchange's events, in their usual order."""
        return {
            "specversion": "1.0",
            "id": exchange.id,
            "type": kind,
            "source": f"/{self.namespace}/{self.deployment}",
            "time": format_microseconds(int(exchange.answered_at * 1_000_000)),
            "inferenceservicename": self.deployment,
            "namespace": self.namespace,
            "component": "predictor",
            "endpoint": exchange.endpoint,
            "metadata": json.dumps({name: [text] for name, text in self.facts.items()}),
        }


@dataclass(frozen=True, slots=True)
class Message:
    """Headers and body of one POST."""

    headers: Mapping[str, str]
    body: bytes


def build_messages(
    exchange: Exchange, origin: EventOrigin, mode: EventMode
) -> tuple[Message, Message]:
    """The request's event and the answer's."""
    return (
        _message(
            origin.attributes(exchange, REQUEST_TYPE), exchange.request, exchange.request_type, mode
        ),
        _message(
            origin.attributes(exchange, RESPONSE_TYPE),
            exchange.response,
            exchange.response_type,
            mode,
        ),
    )


def _message(attributes: dict[str, str], data: bytes, kind: str, mode: EventMode) -> Message:
    if mode is EventMode.BINARY:
        # CloudEvents HTTP binding §3.1.3.2: what is no printable ASCII, `"` and `%` are escaped.
        headers = {
            f"ce-{name}": quote(value, safe=_PRINTABLE) for name, value in attributes.items()
        }
        return Message({"content-type": kind, **headers}, data)
    document: dict[str, object] = {**attributes, "datacontenttype": kind}
    if kind.partition(";")[0] == _JSON:
        document["data"] = orjson.Fragment(data)
    else:
        document["data_base64"] = base64.b64encode(data).decode()
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    return Message(headers, orjson.dumps(document))
