"""The HTTPRoute of a deployment as decisions read it: what it says, and what a Gateway says of it.

The inverse of `core/manifests/route.py`. What a route says otherwise than ours do reads as a shape
that no decision wants, so that it is put right.
"""

from typing import Any

from mooring_operator.core.decision import Manifest
from mooring_operator.core.manifests.names import candidate_service_name, stable_service_name
from mooring_operator.core.observation import RouteObservation, RouteShape
from mooring_operator.io.fields import mapping_at, number_at, objects_at, text_at

_ODD = -1
"""The weight of a route that divides in another way."""
_WHOLE = 100
_ACCEPTED, _RESOLVED = "Accepted", "ResolvedRefs"


def observe_route(manifest: Manifest) -> RouteObservation:
    """The observation of an HTTPRoute of ours."""
    shape = _shape(manifest)
    told = [_told(entry, manifest) for entry in _of_parent(manifest, shape)]
    accepted = any(yes and not why for yes, why in told)
    refusals = [why for _, why in told if why]
    return RouteObservation(shape, accepted, "" if accepted else "; ".join(dict.fromkeys(refusals)))


def _shape(manifest: Manifest) -> RouteShape:
    parents = objects_at(manifest, "spec", "parentRefs")
    parent = parents[0] if len(parents) == 1 else {}
    rules = objects_at(manifest, "spec", "rules")
    rule = rules[0] if len(rules) == 1 else {}
    matches = objects_at(rule, "matches")
    path = mapping_at(matches[0], "path") if len(matches) == 1 else {}
    hostnames: list[Any] = mapping_at(manifest, "spec").get("hostnames") or []
    return RouteShape(
        gateway=text_at(parent, "name"),
        namespace=text_at(parent, "namespace") or text_at(manifest, "metadata", "namespace"),
        section=text_at(parent, "sectionName"),
        hostnames=tuple(str(name) for name in hostnames),
        path_prefix=text_at(path, "value") if text_at(path, "type") == "PathPrefix" else "",
        weight=_weight(manifest, rule),
    )


def _weight(manifest: Manifest, rule: Manifest) -> int:
    name = text_at(manifest, "metadata", "name")
    backends = objects_at(rule, "backendRefs")
    names = [text_at(backend, "name") for backend in backends]
    if names != [stable_service_name(name), candidate_service_name(name)] or rule.get("filters"):
        return _ODD
    stable, candidate = (number_at(backend, "weight") for backend in backends)
    return candidate if stable + candidate == _WHOLE else _ODD


def _of_parent(manifest: Manifest, shape: RouteShape) -> list[Manifest]:
    """What controllers say of the route under our Gateway."""
    own = text_at(manifest, "metadata", "namespace")
    return [
        entry
        for entry in objects_at(manifest, "status", "parents")
        if text_at(entry, "parentRef", "name") == shape.gateway
        and (text_at(entry, "parentRef", "namespace") or own) == shape.namespace
        and text_at(entry, "parentRef", "sectionName") == shape.section
    ]


def _told(entry: Manifest, manifest: Manifest) -> tuple[bool, str]:
    """Whether one controller accepted the present generation, and why not, if it said so."""
    generation = number_at(manifest, "metadata", "generation")
    current = {
        text_at(item, "type"): item
        for item in objects_at(entry, "conditions")
        if number_at(item, "observedGeneration") >= generation
    }
    accepted = current.get(_ACCEPTED)
    refusals = [_refusal(item) for type_ in (_ACCEPTED, _RESOLVED) if (item := current.get(type_))]
    why = "; ".join(refusal for refusal in refusals if refusal)
    return accepted is not None and text_at(accepted, "status") == "True", why


def _refusal(item: Manifest) -> str:
    """What a condition that is False says; empty: it is not."""
    if text_at(item, "status") != "False":
        return ""
    message = text_at(item, "message")
    said = f"{text_at(item, 'type')} is False, {text_at(item, 'reason')}"
    return f"{said}: {message}" if message else said
