"""How a decision reaches the resource's status: one writer, only when it differs, guarded."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from mooring_operator.api.conditions import Condition
from mooring_operator.api.group import STATUS_MANAGER
from mooring_operator.core.conditions import Standing, summarize_ready
from mooring_operator.core.decision import Manifest
from mooring_operator.errors import Conflict
from mooring_operator.io.fields import Json, mapping_at, number_at, text_at, value_at
from mooring_operator.io.kube import KubeClient, ObjectRef
from mooring_operator.reconcile.certainty import Certainty
from mooring_operator.reconcile.ingest import Ingest
from mooring_operator.reconcile.links import key_of

log = logging.getLogger(__name__)
_CONDITIONS = TypeAdapter(list[Condition])

Guard = Callable[[], None]
"""Raises LeadershipLost when this process may not write."""


class StatusWriter:
    """The only writer of status."""

    def __init__(
        self, kube: KubeClient, ingest: Ingest, guard: Guard, certainty: Certainty
    ) -> None:
        self._kube, self._ingest, self._guard = kube, ingest, guard
        self._certainty = certainty

    async def write(self, manifest: Manifest, status: Json) -> bool:
        """Makes the status as given, if it is not so already; returns whether it was written.

        Raises:
            Conflict: the object changed since it was read; the newest is in the cache by now.
        """
        changes = merge_patch(mapping_at(manifest, "status"), status)
        if not changes:
            return False
        self._guard()
        ref, key = ObjectRef.to(manifest), key_of(manifest)
        version = text_at(manifest, "metadata", "resourceVersion")
        body = {"metadata": {"resourceVersion": version}, "status": changes}
        try:
            with self._ingest.writing(key, by=key):
                written = await self._kube.patch(
                    ref, body, manager=STATUS_MANAGER, subresource="status"
                )
                self._ingest.written(written, key)
        except Conflict:
            self._ingest.written(await self._kube.get(ref), key)
            raise
        self._certainty.written(written)
        return True


def merge_patch(old: Json, new: Json) -> Json:
    """The JSON merge patch (RFC 7386) that makes `new` of `old`; empty when they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if key not in old or before != value:
            if isinstance(before, dict) and isinstance(value, dict):
                patch[key] = merge_patch(cast("Json", before), cast("Json", value))
            else:
                patch[key] = value
    return patch


def with_standing(status: Json, manifest: Manifest, standing: Standing, now: datetime) -> Json:
    """The status with Ready, Reconciling and Stalled as `standing` says, all else as it was.

    For what goes wrong outside decisions; works on statuses that do not fit our types, too.
    """
    generation = number_at(manifest, "metadata", "generation")
    try:
        before = _CONDITIONS.validate_python(value_at(status, "conditions") or [])
    except ValidationError:
        before = []
    after = summarize_ready(before, standing, generation=generation, now=now)
    return status | {"conditions": [condition.to_wire() for condition in after]}
