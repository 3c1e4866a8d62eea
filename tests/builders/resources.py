"""Resources for tests: small, valid, and changed by keyword."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.model import Model
from mooring_operator.core.decision import OperatorConfig

EPOCH = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
IMAGE = "mooring-serving:1"
CONFIG = OperatorConfig(
    serving_image=IMAGE, operator_namespace="mooring", sync_public_keys=("a2V5LW9uZQ==",)
)
MODEL = "flight-delay"
NAMESPACE = "flights-prod"
DEPLOYMENT = "delays"


def digest_of(version: str) -> str:
    """The package digest of a version's name: tests need no packages."""
    return f"sha256:{hashlib.sha256(version.encode()).hexdigest()}"


def version_status(name: str, phase: str = "Verified", **fields: str) -> dict[str, Any]:
    """One entry of Model.status.versions."""
    return {
        "name": name,
        "digest": digest_of(name),
        "uri": f"s3://models/{MODEL}/{name}",
        "origin": "Declared",
        "phase": phase,
        **fields,
    }


def model(
    *versions: str | Mapping[str, Any],
    channels: Mapping[str, str] | None = None,
    declared: tuple[str, ...] = (),
    declared_channels: tuple[str, ...] = (),
) -> Model:
    """A Model with verified versions (or entries of status.versions), and channels by name."""
    entries = [version_status(v) if isinstance(v, str) else dict(v) for v in versions]
    pointers = [
        {"name": name, "version": v, "digest": digest_of(v), "since": EPOCH, "seq": 1}
        for name, v in (channels or {}).items()
    ]
    return Model.model_validate(
        {
            "metadata": {"name": MODEL, "namespace": NAMESPACE, "uid": "model-uid"},
            "spec": {
                "purpose": "Predict late arrivals",
                "versions": [
                    {"name": v, "uri": f"s3://models/{MODEL}/{v}", "digest": digest_of(v)}
                    for v in declared
                ],
                "channels": [{"name": name, "follow": "Newest"} for name in declared_channels],
            },
            "status": {"versions": entries, "channels": pointers},
        }
    )


def spec(version: str | None = "v1", channel: str | None = None, **fields: Any) -> dict[str, Any]:
    """A ModelDeployment spec on the wire."""
    reference = {"name": MODEL} | (
        {"version": version} if channel is None else {"channel": channel}
    )
    return {"model": reference, **fields}


def deployment(
    wire_spec: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    *,
    generation: int = 1,
    annotations: Mapping[str, str] | None = None,
    deleted: datetime | None = None,
) -> ModelDeployment:
    """A ModelDeployment as the API server would return it."""
    return ModelDeployment.model_validate(
        {
            "metadata": {
                "name": DEPLOYMENT,
                "namespace": NAMESPACE,
                "uid": "deployment-uid",
                "generation": generation,
                "annotations": dict(annotations or {}),
                "deletionTimestamp": deleted,
            },
            "spec": dict(wire_spec or spec()),
            "status": dict(status or {"observedGeneration": -1}),
        }
    )
