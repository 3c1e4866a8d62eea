"""The key that signs sync messages: Ed25519, kept in one Secret of the operator's namespace.

Pods hold only public keys. The Secret may hold a second key, `next`, whose public half pods
already accept: rotating is a move of `next` to `current`, without a restart of any pod.
"""

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mooring_operator.api.base import SYNC_KEY_SECRET
from mooring_operator.api.group import FIELD_MANAGER, MANAGED_BY, Label
from mooring_operator.core.decision import Manifest
from mooring_operator.errors import AlreadyExists, NotFound, Refused
from mooring_operator.io.fields import mapping_at, text_at
from mooring_operator.io.kube import KubeClient, ObjectRef
from mooring_operator.io.resources import RESOURCES

SECRET_NAME = SYNC_KEY_SECRET
SECRET_TYPE = f"{FIELD_MANAGER}.dev/sync-key"
_CURRENT, _NEXT = "current", "next"


class Signer:
    """Signs with the current key; knows the public keys that pods must accept."""

    def __init__(self, current: bytes, following: bytes | None = None) -> None:
        """Takes raw 32-byte private keys."""
        self._key = Ed25519PrivateKey.from_private_bytes(current)
        keys = [self._key]
        if following is not None:
            keys.append(Ed25519PrivateKey.from_private_bytes(following))
        self.public_keys = tuple(
            base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in keys
        )
        """Base64 of raw public keys, current first."""

    def sign(self, payload: bytes) -> str:
        """Base64 of the signature over these bytes."""
        return base64.b64encode(self._key.sign(payload)).decode()


async def load_signer(kube: KubeClient, namespace: str) -> Signer:
    """Reads the key's Secret, creating it with a fresh key if absent.

    Raises:
        Refused: the Secret is there but is not the operator's, or holds no usable key.
        Transient: the API server does not answer.
    """
    ref = ObjectRef(RESOURCES["Secret"], namespace, SECRET_NAME)
    try:
        secret = await kube.get(ref)
    except NotFound:
        try:
            secret = await kube.create(_new_secret(namespace))
        except AlreadyExists:
            secret = await kube.get(ref)
    _refuse_foreign(ref, secret)
    data = mapping_at(secret, "data")
    try:
        current = base64.b64decode(data[_CURRENT], validate=True)
        following = base64.b64decode(data[_NEXT], validate=True) if _NEXT in data else None
        return Signer(current, following)
    except (KeyError, ValueError, binascii.Error) as error:
        raise Refused(
            f"{ref} holds no usable key: `{_CURRENT}` must be 32 raw bytes of an Ed25519 private "
            "key. Delete the Secret and restart the operator to get a new one"
        ) from error


def _refuse_foreign(ref: ObjectRef, secret: Manifest) -> None:
    """Whoever knows the key commands the pods: one that somebody else made is not signed with.

    A copy can carry these marks too. That nobody but the operator makes this Secret is for the
    policy in `manifests/install` to enforce; this finds the Secret that only has its name.
    """
    kind, label = text_at(secret, "type"), Label.MANAGED_BY.value
    manager = text_at(secret, "metadata", "labels", label)
    if kind == SECRET_TYPE and manager == MANAGED_BY:
        return
    raise Refused(
        f"{ref} is not the operator's: it has type {kind or 'none'} and label {label}="
        f"{manager or 'none'}, not {SECRET_TYPE} and {MANAGED_BY}. Somebody else made it, so no"
        " pod is told to believe its key. Find out who may create Secrets there, then delete it:"
        " the operator makes a new one"
    )


def _new_secret(namespace: str) -> Manifest:
    raw = Ed25519PrivateKey.generate().private_bytes_raw()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": SECRET_NAME,
            "namespace": namespace,
            "labels": {Label.MANAGED_BY.value: MANAGED_BY},
        },
        "type": SECRET_TYPE,
        "data": {_CURRENT: base64.b64encode(raw).decode()},
    }
