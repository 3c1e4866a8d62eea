"""Which of our objects an object speaks of: by its labels, or by a reference in its spec.

Pure. The cache indexes by these links, so that waking and observing cost O(1) per object.
"""

import sys

from mooring_operator.api.group import Kind, Label
from mooring_operator.core.decision import Manifest
from mooring_operator.ids import ObjectKey
from mooring_operator.io.fields import mapping_at, text_at

_OWN_KINDS = frozenset(kind.value for kind in Kind)
_BY_LABEL = {
    Label.DEPLOYMENT.value: Kind.MODEL_DEPLOYMENT.value,
    Label.MODEL.value: Kind.MODEL.value,
    Label.RETRAIN_POLICY.value: Kind.RETRAIN_POLICY.value,
}


def key_of(manifest: Manifest) -> ObjectKey:
    """The key of an object that has its kind and metadata."""
    # Of kinds and namespaces there are few, of keys many: they share these words.
    return ObjectKey(
        sys.intern(text_at(manifest, "kind")),
        sys.intern(text_at(manifest, "metadata", "namespace")),
        text_at(manifest, "metadata", "name"),
    )


def links_of(manifest: Manifest) -> frozenset[ObjectKey]:
    """The objects of ours that this one speaks of. Never leaves the namespace."""
    kind = text_at(manifest, "kind")
    namespace = text_at(manifest, "metadata", "namespace")
    match kind:
        case Kind.MODEL_DEPLOYMENT.value:
            return _only(Kind.MODEL, namespace, text_at(manifest, "spec", "model", "name"))
        case Kind.RETRAIN_POLICY.value:
            name = text_at(manifest, "spec", "deployment", "name")
            return _only(Kind.MODEL_DEPLOYMENT, namespace, name)
        case _ if kind in _OWN_KINDS or not namespace:
            return frozenset()
        case _:
            labels = mapping_at(manifest, "metadata", "labels")
            return frozenset(
                ObjectKey(owner, namespace, labels[label])
                for label, owner in _BY_LABEL.items()
                if labels.get(label)
            )


def _only(kind: Kind, namespace: str, name: str) -> frozenset[ObjectKey]:
    return frozenset({ObjectKey(kind.value, namespace, name)} if name else ())
