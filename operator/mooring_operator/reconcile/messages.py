"""Sync messages: what one pod is told, ordered and signed; contract §4."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mooring_operator.core.decision import Route
from mooring_operator.reconcile.snapshots import Acknowledged, Identity

Sign = Callable[[bytes], str]


@dataclass(frozen=True)
class Message:
    """A message, and the number by which the pod acknowledges it."""

    body: dict[str, str]
    number: Acknowledged
    route: Route


class Messages:
    """Makes messages whose (epoch, counter) rises, also over restarts within an epoch."""

    def __init__(self, sign: Sign, epoch: Callable[[], int], *, start: int, ttl: timedelta) -> None:
        """Takes how to sign and the present epoch.

        Args:
            sign: base64 signature of bytes.
            epoch: transitions of the Lease.
            start: first counter; above that of any earlier process of the same epoch.
            ttl: how long pods follow a message.
        """
        self._sign, self._epoch = sign, epoch
        self._counter = start
        self._ttl_seconds = max(1, round(ttl.total_seconds()))

    def message(self, identity: Identity, route: Route) -> Message:
        """The next message for one pod."""
        self._counter += 1
        number = Acknowledged(epoch=self._epoch(), counter=self._counter)
        payload = canonical(
            {
                "podUid": identity.pod_uid,
                "deploymentUid": identity.deployment_uid,
                "bootNonce": identity.boot_nonce,
                "epoch": number.epoch,
                "counter": number.counter,
                "ttlSeconds": self._ttl_seconds,
                "route": _wire(route),
            }
        )
        body = {
            "payload": base64.b64encode(payload).decode(),
            "signature": self._sign(payload),
        }
        return Message(body, number, route)


def canonical(document: dict[str, Any]) -> bytes:
    """Canonical JSON of the contract."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _wire(route: Route) -> dict[str, Any]:
    return {
        "role": route.role.value,
        "phase": route.phase,
        "candidateRevision": route.candidate_revision,
        "weightPercent": route.weight_percent,
        "shadowPercent": route.shadow_percent,
        "deadlineMs": route.deadline_ms,
        "stableRevision": route.stable_revision,
        "stickyHeader": route.sticky_header,
    }
