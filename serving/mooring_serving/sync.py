"""The signed message by which the operator sets the route (docs/contracts.md §4).

A message counts only if it was signed by the operator, names this very process (pod, deployment
and boot nonce), and is newer than the last one. Called on the management thread.
"""

import base64
import binascii
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from mooring_serving.arms import Role
from mooring_serving.routing import Route, RouteSink


class SyncRefused(Exception):
    """A message that is not obeyed (400, 403, 409) or not yet by all worker processes (503)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is; the nonce is made at start, so a restarted container is another."""

    pod_uid: str
    boot_nonce: str
    deployment_uid: str
    model: str
    version: str
    revision: str
    namespace: str
    started_at: str

    def to_json(self) -> dict[str, object]:
        """`GET /mooring/v1/identity`."""
        return {
            "podUid": self.pod_uid,
            "bootNonce": self.boot_nonce,
            "model": self.model,
            "version": self.version,
            "revision": self.revision,
            "deploymentUid": self.deployment_uid,
            "namespace": self.namespace,
            "startedAt": self.started_at,
        }


_Percent = Annotated[float, Field(ge=0, le=100)]
_Counter = Annotated[int, Field(ge=0, le=2**53)]


class _Strict(BaseModel):
    """A part of a message: camelCase on the wire, no coercion, later fields ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, frozen=True, strict=True, allow_inf_nan=False, extra="ignore"
    )


class _RouteMessage(_Strict):
    """`route` of a message."""

    role: Annotated[Role, Field(strict=False)]
    phase: Annotated[str, Field(max_length=96, pattern=r"^[a-z0-9.-]+/[0-9]+$")] | None = None
    candidate_revision: Annotated[str, Field(max_length=63)] | None = None
    weight_percent: _Percent = 0.0
    shadow_percent: _Percent = 0.0
    deadline_ms: Annotated[float, Field(gt=0, le=600_000)] = 1000.0
    stable_revision: Annotated[str, Field(max_length=63)] | None = None
    sticky_header: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9-]+$")] | None = None


class _Payload(_Strict):
    """The signed part of a message."""

    pod_uid: str
    deployment_uid: str
    boot_nonce: str
    epoch: _Counter
    counter: _Counter
    ttl_seconds: Annotated[float, Field(gt=0, le=86_400)]
    route: _RouteMessage


class _Envelope(_Strict):
    """The body of a message."""

    payload: Annotated[str, Field(max_length=32_768)]
    signature: Annotated[str, Field(max_length=512)]


_KEYS = TypeAdapter(list[str])


def read_public_keys(path: Path) -> list[Ed25519PublicKey]:
    """The keys that may sign: a JSON list of base64 raw Ed25519 public keys.

    Read again for each message, so that a rotated key needs no restart.

    Raises:
        SyncRefused: The file cannot be read or holds something else (403: nothing can be trusted).
    """
    try:
        texts = _KEYS.validate_json(path.read_bytes())
        return [Ed25519PublicKey.from_public_bytes(base64.b64decode(text)) for text in texts]
    except (OSError, ValueError) as error:
        raise SyncRefused(403, f"the public keys cannot be read: {error}") from error


class SyncGate:
    """Checks messages and sets the route.

    Args:
        identity: Who this process is.
        keys: Path of the public keys, None to refuse every message.
        routes: Where the route goes.
        monotonic: Monotonic seconds.
        on_route: Called after each change of the route, from the calling thread; may refuse to
            acknowledge it.
    """

    def __init__(
        self,
        identity: Identity,
        keys: Path | None,
        routes: RouteSink,
        *,
        monotonic: Callable[[], float],
        on_route: Callable[[Route], None],
    ) -> None:
        self._identity = identity
        self._keys = keys
        self._routes = routes
        self._monotonic = monotonic
        self._on_route = on_route
        self._lock = threading.Lock()
        self._acknowledged: tuple[int, int] | None = None

    @property
    def acknowledged(self) -> dict[str, int] | None:
        """(epoch, counter) of the last message obeyed, None before the first."""
        last = self._acknowledged
        return None if last is None else {"epoch": last[0], "counter": last[1]}

    def accept(self, body: bytes) -> None:
        """Obey a message.

        Raises:
            SyncRefused: 400 malformed, 403 no key fits, 409 meant for another or not newer, 503
                not yet in force everywhere.
        """
        payload = self._verify(body)
        self._check_addressee(payload)
        message = payload.route
        route = Route(
            role=message.role,
            phase=message.phase,
            candidate_revision=message.candidate_revision,
            weight_percent=message.weight_percent,
            shadow_percent=message.shadow_percent,
            deadline_seconds=message.deadline_ms / 1000,
            stable_revision=message.stable_revision,
            sticky_header=message.sticky_header,
        )
        order = (payload.epoch, payload.counter)
        with self._lock:
            if self._acknowledged is not None and order <= self._acknowledged:
                epoch, counter = self._acknowledged
                raise SyncRefused(
                    409,
                    f"epoch {payload.epoch}, counter {payload.counter} is not after "
                    f"epoch {epoch}, counter {counter}",
                )
            self._acknowledged = order
            self._routes.set(route, expires_at=self._monotonic() + payload.ttl_seconds)
        self._on_route(route)

    def _verify(self, body: bytes) -> _Payload:
        if self._keys is None:
            raise SyncRefused(403, "sync is off: MOORING_SYNC_KEYS is not set")
        try:
            envelope = _Envelope.model_validate_json(body)
            payload = base64.b64decode(envelope.payload, validate=True)
            signature = base64.b64decode(envelope.signature, validate=True)
        except (ValidationError, binascii.Error) as error:
            raise SyncRefused(400, f"the message is malformed: {_first_line(error)}") from error
        if not any(_fits(key, signature, payload) for key in read_public_keys(self._keys)):
            raise SyncRefused(403, "the signature fits none of the public keys")
        try:
            return _Payload.model_validate_json(payload)
        except ValidationError as error:
            raise SyncRefused(400, f"the payload is malformed: {_first_line(error)}") from error

    def _check_addressee(self, payload: _Payload) -> None:
        identity = self._identity
        for field, sent, own in (
            ("podUid", payload.pod_uid, identity.pod_uid),
            ("deploymentUid", payload.deployment_uid, identity.deployment_uid),
            ("bootNonce", payload.boot_nonce, identity.boot_nonce),
        ):
            if sent != own:
                raise SyncRefused(409, f"{field} names another: ask for the identity again")


def _fits(key: Ed25519PublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.verify(signature, payload)
    except InvalidSignature:
        return False
    return True


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'body'}: {first['msg']}"
    return str(error)


def encode_snapshot(document: dict[str, object]) -> bytes:
    """A snapshot's bytes; keys sorted, so that equal snapshots are equal bytes."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
