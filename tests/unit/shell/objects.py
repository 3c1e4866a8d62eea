"""Builders of Kubernetes objects for the shell's tests."""

from typing import Any

from mooring_operator.core.decision import Manifest

GROUP_VERSION = "mooring.dev/v1alpha1"


def thing(
    kind: str, name: str, *, version: int = 1, uid: str = "", namespace: str = "a", **rest: Any
) -> Manifest:
    """An object with its metadata; `labels` and `owner` go there, all else to the top."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{kind}-{name}",
        "resourceVersion": str(version),
    }
    for place in ("labels", "annotations", "deletionTimestamp", "generation", "finalizers"):
        if place in rest:
            metadata[place] = rest.pop(place)
    metadata["creationTimestamp"] = rest.pop("created", "2026-01-01T00:00:00Z")
    owner = rest.pop("owner", "")
    if owner:
        metadata["ownerReferences"] = [
            {"apiVersion": GROUP_VERSION, "kind": "X", "name": "x", "uid": owner}
            | {"controller": True}
        ]
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **rest}


def deployment_resource(name: str = "d", *, version: int = 1, **spec: Any) -> Manifest:
    """A ModelDeployment of model `m`."""
    return thing(
        "ModelDeployment",
        name,
        version=version,
        generation=1,
        spec={"model": {"name": "m", "version": "v1"}, **spec},
        status={"observedGeneration": -1},
    ) | {"apiVersion": GROUP_VERSION}


def pod(name: str, revision: str, *, ready: bool = True, version: int = 1, **rest: Any) -> Manifest:
    """A pod of deployment `d` with an address made from its name."""
    labels = {
        "app.kubernetes.io/managed-by": "mooring",
        "mooring.dev/deployment": "d",
        "mooring.dev/revision": revision,
    }
    status: dict[str, Any] = {
        "podIP": f"10.0.0.{name}",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    fields: dict[str, Any] = {"status": status} | rest
    return thing("Pod", name, version=version, labels=labels, **fields)
