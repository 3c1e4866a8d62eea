"""Whether an object still carries what we applied. Pure.

Two signs, each enough: every field that we own has our value; or the object is, apart from status
and bookkeeping, what the API server answered when we applied the same intent last (it may have
written a value of ours in another form, such as `1` for `1000m`).
"""

import hashlib
from typing import Any, cast

from mooring_operator.api.group import Annotation
from mooring_operator.core.decision import Manifest
from mooring_operator.io.fields import mapping_at
from mooring_operator.io.wire_json import to_sorted_bytes

_BOOKKEEPING = frozenset(
    {"resourceVersion", "managedFields", "generation", "selfLink", "creationTimestamp"}
)


def intent_of(manifest: Manifest) -> str:
    """Hash of what we want an object to carry: 16 hex digits."""
    return _hash(manifest)


def with_intent(manifest: Manifest, intent: str) -> Manifest:
    """The manifest with its hash as an annotation."""
    metadata = mapping_at(manifest, "metadata")
    annotations = mapping_at(metadata, "annotations")
    marked = annotations | {Annotation.INTENT.value: intent}
    return {**manifest, "metadata": metadata | {"annotations": marked}}


def fingerprint(live: Manifest) -> str:
    """Hash of all that an object carries apart from status and bookkeeping."""
    metadata = {k: v for k, v in live["metadata"].items() if k not in _BOOKKEEPING}
    rest = {k: v for k, v in live.items() if k not in ("status", "metadata")}
    return _hash({"metadata": metadata, **rest})


def carries(live: Any, wanted: Any) -> bool:
    """Whether `live` has every value of `wanted`; it may have more keys, not more list items."""
    if isinstance(wanted, dict):
        if not isinstance(live, dict):
            return False
        have = cast("dict[str, Any]", live)
        return all(
            carries(have[key], value) if key in have else _is_nothing(value)
            for key, value in cast("dict[str, Any]", wanted).items()
        )
    if isinstance(wanted, list | tuple):
        items = cast("list[Any]", wanted)
        have_items = cast("list[Any]", live)
        return (
            isinstance(live, list | tuple)
            and len(have_items) == len(items)
            and all(carries(a, b) for a, b in zip(have_items, items, strict=True))
        )
    return bool(live == wanted)


def _is_nothing(value: Any) -> bool:
    """Empty values come back as absent ones."""
    return value is None or value in ({}, [], (), "", 0, False)


def _hash(document: Any) -> str:
    return hashlib.sha256(to_sorted_bytes(document)).hexdigest()[:16]
