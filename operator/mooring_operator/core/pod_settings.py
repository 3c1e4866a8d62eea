"""Which settings pods have now: those of the spec, or the last good ones where those failed."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from mooring_operator.api.deployment import ModelDeployment, ModelDeploymentSpec
from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.api.pod_settings import PodSettings

HASH_LENGTH = 12
_SHOWN = 4
"""Differing fields that a message names."""


def wanted_settings(spec: ModelDeploymentSpec) -> PodSettings:
    """The settings that the spec asks for."""
    return PodSettings(
        resources=spec.resources, runtime=spec.runtime, prediction_log=spec.prediction_log
    )


def settings_hash(settings: PodSettings) -> str:
    """The name of settings: 12 hex digits of the sha256 of their canonical JSON."""
    text = json.dumps(settings.to_wire(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def settings_in_use(status: ModelDeploymentStatus, spec: ModelDeploymentSpec) -> PodSettings:
    """The settings that pods must have."""
    wanted, known = wanted_settings(spec), status.pods
    if known is None or known.failed is None:
        return wanted
    return known.good if known.failed.settings == settings_hash(wanted) else wanted


def with_settings(owner: ModelDeployment, status: ModelDeploymentStatus) -> ModelDeployment:
    """The owner whose spec has the settings that its pods must have."""
    used = settings_in_use(status, owner.spec)
    parts = {name: getattr(used, name) for name in PodSettings.model_fields}
    return owner.model_copy(update={"spec": owner.spec.model_copy(update=parts)})


def differing(good: PodSettings, wanted: PodSettings) -> str:
    """The fields of the spec in which settings differ, with both values."""
    found = list(_differences("spec", good.to_wire(), wanted.to_wire()))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (", ".join(found[:_SHOWN]) + more)[:512]


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        one, other = cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", new)
        for key in sorted(one.keys() | other.keys()):
            yield from _differences(f"{path}.{key}", one.get(key), other.get(key))
    elif old != new:
        yield f"{path} ({_shown(new)}, was {_shown(old)})"


def _shown(value: Any) -> str:
    return "absent" if value is None else json.dumps(value)[:60]
