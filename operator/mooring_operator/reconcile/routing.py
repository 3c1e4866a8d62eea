"""Who must look again when an object changed. Pure, on top of the cache's index."""

from mooring_operator.api.group import Kind, Label
from mooring_operator.core.decision import Manifest
from mooring_operator.ids import ObjectKey
from mooring_operator.io.fields import mapping_at, objects_at, text_at, value_at
from mooring_operator.reconcile.assignment import assigned_to
from mooring_operator.reconcile.cache import Cache, Change
from mooring_operator.reconcile.links import links_of

_OWN_KINDS = frozenset(kind.value for kind in Kind)


def keys_to_wake(cache: Cache, change: Change) -> set[ObjectKey]:
    """The keys whose observation may differ after this change."""
    if change.key.kind == "Namespace":
        return _in_namespace(cache, change)
    woken = _speaking_of(change.before) | _speaking_of(change.after)
    if change.key.kind == Kind.MODEL_DEPLOYMENT and _is_the_same_to_its_model(change):
        woken.clear()
    if change.key.kind in _OWN_KINDS:
        woken.add(change.key)
        if change.key.kind != Kind.MODEL or not _is_the_same_to_its_users(change):
            woken |= _dependants(cache, change.key)
    return {key for key in woken if key.kind in _OWN_KINDS}


def _speaking_of(manifest: Manifest | None) -> set[ObjectKey]:
    return set() if manifest is None else set(links_of(manifest))


def _is_the_same_to_its_model(change: Change) -> bool:
    """Whether a Model that looked at a deployment before would find the same now.

    It reads who uses which version and who rolled it back (`core/registry/usage.py`), which few
    writes to a deployment change.
    """
    before, after = change.before, change.after
    return before is not None and after is not None and _use_in(before) == _use_in(after)


def _use_in(deployment: Manifest) -> tuple[str | tuple[str, str], ...]:
    return (
        text_at(deployment, "spec", "model", "name"),
        text_at(deployment, "status", "stable", "version"),
        text_at(deployment, "status", "candidate", "version"),
        *(
            (text_at(entry, "version"), text_at(entry, "digest"))
            for entry in objects_at(deployment, "status", "quarantine")
        ),
    )


def _is_the_same_to_its_users(change: Change) -> bool:
    """Whether a Model changed in nothing but who uses it, which its users have told it."""
    before, after = change.before, change.after
    return before is not None and after is not None and _offer_of(before) == _offer_of(after)


def _offer_of(model: Manifest) -> tuple[object, ...]:
    metadata, status = mapping_at(model, "metadata"), mapping_at(model, "status")
    return (
        {name: value for name, value in metadata.items() if name != "resourceVersion"},
        value_at(model, "spec"),
        {name: value for name, value in status.items() if name != "usedBy"},
    )


def _dependants(cache: Cache, key: ObjectKey) -> set[ObjectKey]:
    policy = Kind.RETRAIN_POLICY.value
    if key.kind == Kind.MODEL_DEPLOYMENT:
        return set(cache.keys_linked(policy, key))
    if key.kind != Kind.MODEL:
        return set()
    deployments = set(cache.keys_linked(Kind.MODEL_DEPLOYMENT.value, key))
    policies = {
        item for deployment in deployments for item in cache.keys_linked(policy, deployment)
    }
    return deployments | policies


def _in_namespace(cache: Cache, change: Change) -> set[ObjectKey]:
    """Two labels of a namespace matter to us: its environment, and who serves it."""
    kinds: list[Kind] = []
    if assigned_to(change.before) != assigned_to(change.after):
        kinds = list(Kind)
    elif _environment(change.before) != _environment(change.after):
        kinds = [Kind.MODEL_DEPLOYMENT]
    return {key for kind in kinds for key in cache.in_namespace(kind.value, change.key.name)}


def _environment(namespace: Manifest | None) -> str | None:
    return text_at(namespace, "metadata", "labels", Label.ENVIRONMENT.value) or None
