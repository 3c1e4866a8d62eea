"""Labels of children, their selectors, and the owner reference that they all carry.

Selector labels never change after a Deployment was created: Kubernetes refuses it.
"""

from typing import Any

from mooring_operator.api.base import Metadata
from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.group import API_VERSION, MANAGED_BY, Kind, Label
from mooring_operator.core.decision import Manifest


def deployment_labels(deployment: str) -> dict[str, str]:
    """Labels that every child and every pod of a deployment has."""
    return {Label.MANAGED_BY.value: MANAGED_BY, Label.DEPLOYMENT.value: deployment}


def revision_labels(deployment: str, revision: str) -> dict[str, str]:
    """Labels of one revision's Deployment and pods."""
    return deployment_labels(deployment) | {Label.REVISION.value: revision}


def deployment_selector(deployment: str) -> dict[str, str]:
    """Selects all pods of a deployment, whatever their revision."""
    return {Label.DEPLOYMENT.value: deployment}


def revision_selector(deployment: str, revision: str) -> dict[str, str]:
    """Selects the pods of one revision."""
    return {Label.DEPLOYMENT.value: deployment, Label.REVISION.value: revision}


def selector_text(deployment: str, revision: str) -> str:
    """The selector of one revision's pods as the scale subresource wants it."""
    pairs = revision_selector(deployment, revision).items()
    return ",".join(f"{key}={value}" for key, value in pairs)


def owner_reference(metadata: Metadata) -> dict[str, Any]:
    """The reference by which Kubernetes deletes a child with its ModelDeployment."""
    return {
        "apiVersion": API_VERSION,
        "kind": Kind.MODEL_DEPLOYMENT.value,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child(
    api_version: str, kind: str, name: str, owner: ModelDeployment, body: Manifest
) -> Manifest:
    """A child: its identity, its owner's labels and reference, and what is its own."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": owner.metadata.namespace,
            "labels": deployment_labels(owner.metadata.name),
            "ownerReferences": [owner_reference(owner.metadata)],
        },
        **body,
    }
